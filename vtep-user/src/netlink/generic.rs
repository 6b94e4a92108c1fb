//! Questions to the kernel by netlink, most to families of generic netlink: one at a time, each answered at once.

use std::io;

use netlink_packet_core::{NetlinkBuffer, NlasIterator};
use rtnetlink::sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// The family that resolves names of families.
const GENL_ID_CTRL: u16 = 16;
/// `CTRL_CMD_GETFAMILY`.
const CTRL_CMD_GETFAMILY: u8 = 3;
/// `CTRL_ATTR_FAMILY_ID`.
const CTRL_ATTR_FAMILY_ID: u16 = 1;
/// `CTRL_ATTR_FAMILY_NAME`.
const CTRL_ATTR_FAMILY_NAME: u16 = 2;
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

/// An answer: its attributes.
pub(super) struct Answer(Vec<u8>);

impl Answer {
    /// The value of an attribute, if it is there.
    pub(super) fn attribute(&self, wanted: u16) -> io::Result<Option<Vec<u8>>> {
        attribute_of(&self.0, wanted)
    }
}

/// Asks a family; `None` if the kernel does not know it, or not what was asked for. The question is asked in the calling thread's network
/// namespace.
pub(super) fn ask(family: &str, command: u8, attribute: &[u8]) -> io::Result<Option<Answer>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = [family.as_bytes(), b"\0"].concat();
    let name = attribute_bytes(CTRL_ATTR_FAMILY_NAME, &name);
    let question = message(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name);
    let Some(answer) = exchange(&socket, &question, GENERIC_HEADER_LEN)? else {
        return Ok(None);
    };
    let id = attribute_of(&answer, CTRL_ATTR_FAMILY_ID)?.unwrap_or_default();
    let Ok(id) = <[u8; 2]>::try_from(id.as_slice()).map(u16::from_ne_bytes) else {
        return Ok(None);
    };
    let question = message(id, command, attribute);
    Ok(exchange(&socket, &question, GENERIC_HEADER_LEN)?.map(Answer))
}

/// An attribute.
pub(super) fn attribute_bytes(kind: u16, value: &[u8]) -> Vec<u8> {
    let len = ATTRIBUTE_HEADER_LEN + value.len();
    let mut bytes = Vec::with_capacity(len.next_multiple_of(ALIGN));
    bytes.extend(u16::try_from(len).unwrap_or_default().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(len.next_multiple_of(ALIGN), 0);
    bytes
}

/// A request to a family of generic netlink with these attributes.
fn message(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let header: [u8; GENERIC_HEADER_LEN] = [command, 1, 0, 0]; // version 1
    request(family, &header, attributes)
}

/// A request of this type: the header that goes with the type, and attributes.
pub(super) fn request(kind: u16, header: &[u8], attributes: &[u8]) -> Vec<u8> {
    let len = HEADER_LEN + header.len() + attributes.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(u32::try_from(len).unwrap_or_default().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(FLAG_REQUEST.to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port: one question at a time needs neither
    bytes.extend(header);
    bytes.extend(attributes);
    bytes
}

/// Sends a request and returns the attributes of the answer, which stand behind a header of so many bytes; `None` if the kernel does
/// not know what was asked for.
pub(super) fn exchange(
    socket: &Socket,
    question: &[u8],
    header_len: usize,
) -> io::Result<Option<Vec<u8>>> {
    socket.send_to(question, &SocketAddr::new(0, 0), 0)?;
    let mut answer = Vec::with_capacity(HEADER_LEN * 1024);
    // The kernel has answered by the time that sending returns.
    socket.recv_from(&mut answer, libc::MSG_DONTWAIT)?;
    answer_in(&answer, header_len)
}

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

fn answer_in(message: &[u8], header_len: usize) -> io::Result<Option<Vec<u8>>> {
    let message = NetlinkBuffer::new_checked(message).map_err(|_| invalid())?;
    let payload = message.payload();
    if message.message_type() == TYPE_ERROR {
        let code = payload.first_chunk().copied().ok_or_else(invalid)?;
        return match i32::from_ne_bytes(code) {
            code if matches!(-code, libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP) => Ok(None),
            code => Err(io::Error::from_raw_os_error(-code)),
        };
    }
    let attributes = payload.get(header_len..).ok_or_else(invalid)?;
    Ok(Some(attributes.to_vec()))
}

/// The value of the first attribute of this kind.
pub(super) fn attribute_of(attributes: &[u8], wanted: u16) -> io::Result<Option<Vec<u8>>> {
    Ok(attributes_of(attributes, wanted)?.into_iter().next())
}

/// The values of all attributes of this kind.
pub(super) fn attributes_of(attributes: &[u8], wanted: u16) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| invalid())?;
        if attribute.kind() == wanted {
            found.push(attribute.value().to_vec());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: u16 = 3;

    /// A message with a number for an attribute.
    fn seven() -> Vec<u8> {
        message(0x20, 1, &attribute_bytes(KIND, &7u64.to_ne_bytes()))
    }

    #[test]
    fn the_wanted_attribute_is_found_in_an_answer() {
        let answer = answer_in(&seven(), GENERIC_HEADER_LEN).unwrap().unwrap();
        let answer = Answer(answer);

        let got = answer.attribute(KIND).unwrap();

        assert_eq!(got, Some(7u64.to_ne_bytes().to_vec()));
        assert_eq!(answer.attribute(1).unwrap(), None);
    }

    #[test]
    fn an_unknown_family_is_an_absent_answer_and_other_errors_are_errors() {
        let answer = |errno: i32| {
            let mut bytes = message(TYPE_ERROR, 0, &[0; 20]);
            bytes[HEADER_LEN..][..4].copy_from_slice(&(-errno).to_ne_bytes());
            bytes
        };

        assert!(
            answer_in(&answer(libc::ENOENT), GENERIC_HEADER_LEN)
                .unwrap()
                .is_none()
        );
        let refused = answer_in(&answer(libc::EPERM), GENERIC_HEADER_LEN)
            .err()
            .unwrap();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_truncated_answer_is_an_error() {
        let answer = seven();

        for len in 0..answer.len() {
            let read = answer_in(&answer[..len], GENERIC_HEADER_LEN);
            assert!(read.is_err(), "{len} bytes");
        }
    }
}
