//! Dumps of tables whose rows are read as bytes: each is answered at once, whatever stands in it.

use std::io;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer};
use rtnetlink::sys::{Socket, SocketAddr};

use super::DUMP_ATTEMPTS;

/// `NLMSG_ERROR` and `NLMSG_DONE`.
const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;
/// Bytes of a netlink header.
const HEADER_LEN: usize = 16;
/// Messages start at multiples of this many bytes (`NLMSG_ALIGNTO`).
const ALIGN: usize = 4;
/// More than the kernel puts into one datagram of a dump.
const DATAGRAM_CAPACITY: usize = 64 * 1024;

/// All rows of a table in the calling thread's network namespace, without their netlink headers, and whether it was the same all the time.
struct Dumped {
    rows: Vec<Vec<u8>>,
    is_whole: bool,
}

/// Which rows are kept of a table that may be long.
#[derive(Clone, Copy)]
pub(super) enum Kept<'a> {
    All,
    Those(&'a dyn Fn(&[u8]) -> bool),
}

/// The rows of a table of the family `protocol`, asked for by a message of type `kind`. None, if the kernel does not have such a table.
pub(super) fn dump(protocol: isize, kind: u16, question: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    dump_those(protocol, kind, question, Kept::All)
}

/// Some rows of such a table.
pub(super) fn dump_those(
    protocol: isize,
    kind: u16,
    question: &[u8],
    kept: Kept<'_>,
) -> io::Result<Vec<Vec<u8>>> {
    let mut attempt = 1;
    loop {
        let dumped = dump_once(protocol, kind, question, kept)?;
        if dumped.is_whole || attempt == DUMP_ATTEMPTS {
            return Ok(dumped.rows);
        }
        attempt += 1;
    }
}

fn dump_once(protocol: isize, kind: u16, question: &[u8], kept: Kept<'_>) -> io::Result<Dumped> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.send_to(&request(kind, question), &SocketAddr::new(0, 0), 0)?;
    let mut dumped = Dumped {
        rows: Vec::new(),
        is_whole: true,
    };
    let mut datagram = Vec::with_capacity(DATAGRAM_CAPACITY);
    loop {
        datagram.clear();
        // The kernel has the first part ready by the time that sending returns, and each other one when the last is read.
        socket.recv_from(&mut datagram, libc::MSG_DONTWAIT)?;
        if take(&datagram, &mut dumped, kept)? {
            return Ok(dumped);
        }
    }
}

fn request(kind: u16, question: &[u8]) -> Vec<u8> {
    let len = HEADER_LEN + question.len();
    let mut bytes = Vec::with_capacity(len);
    bytes.extend(u32::try_from(len).unwrap_or_default().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend([0; 8]); // sequence and port: one question at a time needs neither
    bytes.extend(question);
    bytes
}

fn invalid() -> io::Error {
    io::Error::from(io::ErrorKind::InvalidData)
}

/// Takes the rows of a datagram; true if it was the last.
fn take(datagram: &[u8], dumped: &mut Dumped, kept: Kept<'_>) -> io::Result<bool> {
    let mut rest = datagram;
    while !rest.is_empty() {
        let message = NetlinkBuffer::new_checked(rest).map_err(|_| invalid())?;
        let len = usize::try_from(message.length()).map_err(|_| invalid())?;
        dumped.is_whole &= message.flags() & NLM_F_DUMP_INTR == 0;
        let payload = rest.get(HEADER_LEN..len).ok_or_else(invalid)?;
        match message.message_type() {
            TYPE_DONE | TYPE_ERROR => {
                // Where a table has ended without trouble, there may be no number.
                let code = payload.first_chunk().copied().map_or(0, i32::from_ne_bytes);
                return match -code {
                    0 | libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP | libc::EINVAL => Ok(true),
                    errno => Err(io::Error::from_raw_os_error(errno)),
                };
            }
            _ => match kept {
                Kept::Those(wanted) if !wanted(payload) => {}
                Kept::All | Kept::Those(_) => dumped.rows.push(payload.to_vec()),
            },
        }
        rest = rest.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = request(kind, payload);
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
        bytes
    }

    fn read(datagram: &[u8]) -> io::Result<(Dumped, bool)> {
        let mut dumped = Dumped {
            rows: vec![],
            is_whole: true,
        };
        let last = take(datagram, &mut dumped, Kept::All)?;
        Ok((dumped, last))
    }

    #[test]
    fn rows_are_taken_until_the_table_ends() {
        let rows = [message(36, 2, b"one"), message(36, 2, b"more")].concat();
        let (dumped, last) = read(&rows).unwrap();
        assert_eq!(dumped.rows, [b"one".to_vec(), b"more".to_vec()]);
        assert!(!last && dumped.is_whole);
        let end = message(TYPE_DONE, 2, &0_i32.to_ne_bytes());
        assert!(read(&end).unwrap().1);
    }

    #[test]
    fn a_table_that_changed_meanwhile_is_not_whole() {
        let (dumped, _) = read(&message(36, NLM_F_DUMP_INTR, b"one")).unwrap();
        assert!(!dumped.is_whole);
    }

    #[test]
    fn a_table_that_the_kernel_does_not_have_is_empty_and_other_errors_are_errors() {
        let refused = |errno: i32| read(&message(TYPE_ERROR, 0, &(-errno).to_ne_bytes()));
        assert!(refused(libc::EOPNOTSUPP).unwrap().1);
        let error = refused(libc::EPERM).err().unwrap();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_truncated_row_is_an_error() {
        let whole = message(36, 2, b"four");
        for len in 1..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len} bytes");
        }
    }
}
