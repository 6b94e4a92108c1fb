//! What a driver can do for XDP, asked of the kernel's `netdev` family of generic netlink.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

/// The family that resolves names of families.
const GENL_ID_CTRL: u16 = 16;
/// `CTRL_CMD_GETFAMILY`.
const CTRL_CMD_GETFAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`.
const CTRL_ATTR_FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`.
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
/// `NETDEV_CMD_DEV_GET`.
const NETDEV_CMD_DEV_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX`.
const NETDEV_A_DEV_IFINDEX: u16 = 1;
/// `NETDEV_A_DEV_XDP_FEATURES`.
const NETDEV_A_DEV_XDP_FEATURES: u16 = 3;
/// `NLM_F_REQUEST`.
const FLAG_REQUEST: u16 = 1;
/// `NLMSG_ERROR`.
const TYPE_ERROR: u16 = 2;
/// Bytes of a netlink header.
const HEADER_LEN: usize = 16;
/// Bytes of a generic netlink header.
const GENERIC_HEADER_LEN: usize = 4;
/// Bytes of an attribute's header.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Attributes start at multiples of this many bytes.
const ALIGN: usize = 4;

/// What a driver can do for XDP (`enum netdev_xdp_act`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpFeatures(pub u64);

impl XdpFeatures {
    /// Runs programs in the driver, with pass, drop, abort and transmit.
    pub const BASIC: u64 = 1;
    /// Frames can be redirected from it.
    pub const REDIRECT: u64 = 2;
    /// Frames can be redirected to it.
    pub const NDO_XMIT: u64 = 4;
    /// `AF_XDP` without copies.
    pub const XSK_ZEROCOPY: u64 = 8;
    /// Programs can run in the hardware.
    pub const HW_OFFLOAD: u64 = 16;
    /// Programs may see frames of more than one buffer.
    pub const RX_SG: u64 = 32;
    /// Frames of more than one buffer can be redirected to it.
    pub const NDO_XMIT_SG: u64 = 64;

    /// Whether all of `wanted` are there.
    #[must_use]
    pub const fn has(self, wanted: u64) -> bool {
        self.0 & wanted == wanted
    }
}

impl Netlink {
    /// What an interface's driver can do for XDP; `None` on kernels before 6.3, which do not say, and for an
    /// interface that does not exist. A veth says that it takes redirected frames only while its other end is ready
    /// for them.
    ///
    /// The question is asked in the calling thread's network namespace, and answered at once.
    pub fn xdp_features(&self, ifindex: Ifindex) -> Result<Option<XdpFeatures>, Error> {
        ask(ifindex).map_err(|source| Error::Request {
            operation: "look up the XDP features of interface",
            object: ifindex.to_string(),
            source,
        })
    }
}

fn ask(ifindex: Ifindex) -> io::Result<Option<XdpFeatures>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = b"netdev\0";
    let question = message(
        GENL_ID_CTRL,
        CTRL_CMD_GETFAMILY,
        CTRL_ATTR_FAMILY_NAME,
        name,
    );
    let Some(id) = exchange(&socket, &question, CTRL_ATTR_FAMILY_ID)? else {
        return Ok(None);
    };
    let Ok(family) = <[u8; 2]>::try_from(id.as_slice()).map(u16::from_ne_bytes) else {
        return Ok(None);
    };
    let index = ifindex.get().to_ne_bytes();
    let question = message(family, NETDEV_CMD_DEV_GET, NETDEV_A_DEV_IFINDEX, &index);
    let features = exchange(&socket, &question, NETDEV_A_DEV_XDP_FEATURES)?;
    Ok(features
        .and_then(|bytes| <[u8; 8]>::try_from(bytes.as_slice()).ok())
        .map(|bytes| XdpFeatures(u64::from_ne_bytes(bytes))))
}

/// A request with one attribute.
fn message(family: u16, command: u8, attribute: u16, value: &[u8]) -> Vec<u8> {
    let attribute_len = ATTRIBUTE_HEADER_LEN + value.len();
    let len = HEADER_LEN + GENERIC_HEADER_LEN + attribute_len.next_multiple_of(ALIGN);
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(u32::try_from(len).unwrap_or_default().to_ne_bytes());
    bytes.extend(family.to_ne_bytes());
    bytes.extend(FLAG_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port: one question at a time needs neither
    bytes.extend([command, 1, 0, 0]); // version 1
    bytes.extend(
        u16::try_from(attribute_len)
            .unwrap_or_default()
            .to_ne_bytes(),
    );
    bytes.extend(attribute.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len, 0);
    bytes
}

/// Sends a request and returns the value of one attribute of the answer; `None` if the kernel does not know what was
/// asked for.
fn exchange(socket: &Socket, question: &[u8], wanted: u16) -> io::Result<Option<Vec<u8>>> {
    socket.send_to(question, &SocketAddr::new(0, 0), 0)?;
    let mut answer = Vec::with_capacity(HEADER_LEN * 1024);
    // The kernel has answered by the time that sending returns.
    socket.recv_from(&mut answer, libc::MSG_DONTWAIT)?;
    attribute_of(&answer, wanted)
}

fn attribute_of(answer: &[u8], wanted: u16) -> io::Result<Option<Vec<u8>>> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let message = NetlinkBuffer::new_checked(answer).map_err(|_| invalid())?;
    let payload = message.payload();
    if message.message_type() == TYPE_ERROR {
        let code = payload.first_chunk().copied().ok_or_else(invalid)?;
        return match i32::from_ne_bytes(code) {
            code if matches!(-code, libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => Ok(None),
            code => Err(io::Error::from_raw_os_error(-code)),
        };
    }
    let attributes = payload.get(GENERIC_HEADER_LEN..).ok_or_else(invalid)?;
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| invalid())?;
        if attribute.kind() == wanted {
            return Ok(Some(attribute.value().to_vec()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_attribute_is_found_in_an_answer() {
        let answer = message(
            0x20,
            NETDEV_CMD_DEV_GET,
            NETDEV_A_DEV_XDP_FEATURES,
            &7u64.to_ne_bytes(),
        );

        let got = attribute_of(&answer, NETDEV_A_DEV_XDP_FEATURES).unwrap();

        assert_eq!(got, Some(7u64.to_ne_bytes().to_vec()));
        assert_eq!(attribute_of(&answer, NETDEV_A_DEV_IFINDEX).unwrap(), None);
    }

    #[test]
    fn an_unknown_family_is_an_absent_answer_and_other_errors_are_errors() {
        let answer = |errno: i32| {
            let mut bytes = message(TYPE_ERROR, 0, 0, &[0; 16]);
            bytes[HEADER_LEN..][..4].copy_from_slice(&(-errno).to_ne_bytes());
            bytes
        };

        assert_eq!(attribute_of(&answer(libc::ENOENT), 1).unwrap(), None);
        let refused = attribute_of(&answer(libc::EPERM), 1).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_truncated_answer_is_an_error_or_absent() {
        let answer = message(0x20, 1, NETDEV_A_DEV_XDP_FEATURES, &7u64.to_ne_bytes());

        for len in 0..answer.len() {
            assert!(
                attribute_of(&answer[..len], NETDEV_A_DEV_XDP_FEATURES).is_err(),
                "{len} bytes"
            );
        }
    }
}
