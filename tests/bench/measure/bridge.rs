//! How many MACs a bridge of the kernel has learned, by rtnetlink: the tools print no such number, and take long to count rows.

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use vtep_tests::lab::ns::Ns;

/// Attributes (kernel `include/uapi/linux/if_link.h`).
const LINKINFO: u16 = 18;
const INFO_DATA: u16 = 2;
const BR_FDB_N_LEARNED: u16 = 48;

/// MACs that a bridge has learned and not forgotten (Linux 6.7).
///
/// # Panics
///
/// If the kernel does not say.
pub(crate) fn learned(ns: &Ns, bridge: &str) -> u64 {
    let index = ns.ifindex(bridge);
    let answer = ns.run(|| ask(index)).expect("ask for the bridge");
    // The header of the message and that of the link come first.
    let attributes = answer.get(16 + 16..).unwrap_or_default();
    let found = [LINKINFO, INFO_DATA, BR_FDB_N_LEARNED]
        .into_iter()
        .try_fold(attributes, attribute);
    let number = found.and_then(|bytes| bytes.try_into().ok());
    u32::from_ne_bytes(number.expect("a number of MACs")).into()
}

/// The value of the attribute of a kind.
fn attribute(mut rest: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        // The upper two bits are flags.
        if u16::from_ne_bytes([c, d]) & 0x3fff == kind {
            return rest.get(4..length);
        }
        rest = rest.get(length.max(4).next_multiple_of(4)..)?;
    }
}

/// What the kernel says of an interface of this namespace: `RTM_NEWLINK`.
fn ask(index: u32) -> io::Result<Vec<u8>> {
    let mut request = Vec::new();
    request.extend(32_u32.to_ne_bytes());
    request.extend(libc::RTM_GETLINK.to_ne_bytes());
    request.extend(1_u16.to_ne_bytes()); // NLM_F_REQUEST
    request.extend([0; 8]);
    request.extend([0; 4]);
    request.extend(index.to_ne_bytes());
    request.extend([0; 8]);
    // SAFETY: plain calls with buffers of the lengths that are said; the descriptor becomes an owner once it is known to be one.
    unsafe {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        let fd = libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        let sent = libc::send(
            socket.as_raw_fd(),
            request.as_ptr().cast(),
            request.len(),
            0,
        );
        if sent < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut answer = vec![0_u8; 1 << 16];
        let room = answer.len();
        let got = libc::recv(socket.as_raw_fd(), answer.as_mut_ptr().cast(), room, 0);
        let length = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
        answer.truncate(length);
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_found_behind_others_and_their_padding() {
        let mut bytes = Vec::new();
        for (length, kind) in [(5_u16, 1_u16), (8, BR_FDB_N_LEARNED | 0x8000)] {
            bytes.extend(length.to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend([7; 4]);
        }
        assert_eq!(attribute(&bytes, 1), Some(&[7][..]));
        assert_eq!(attribute(&bytes, 48), Some(&[7; 4][..]));
        assert_eq!(attribute(&bytes, 2), None);
    }
}
