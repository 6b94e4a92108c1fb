//! A packet socket on a device: sends raw frames and sees what passes, tags included.

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::time::Duration;

use crate::lab::ns::Ns;
use crate::link::{Link, readable};
use crate::wait::{DEADLINE, poll};

const ETH_P_ALL_BE: u16 = 0x0003_u16.to_be();
const PACKET_IGNORE_OUTGOING: i32 = 23;

/// The packet socket.
#[derive(Debug)]
pub struct Capture {
    fd: OwnedFd,
    name: String,
}

impl Capture {
    /// Sees what arrives on `dev`, but not what leaves by it.
    #[must_use]
    pub fn arriving(ns: &Ns, dev: &str) -> Self {
        let capture = Self::all(ns, dev);
        capture.set(PACKET_IGNORE_OUTGOING, 1);
        capture
    }

    /// Sees what passes `dev` in either direction.
    ///
    /// # Panics
    ///
    /// If the socket cannot be made.
    #[must_use]
    pub fn all(ns: &Ns, dev: &str) -> Self {
        let index = i32::try_from(ns.ifindex(dev)).expect("an interface index");
        let fd = ns.run(|| {
            let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
            // SAFETY: plain call; the result is checked before it becomes an owner.
            let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
            assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
            // SAFETY: `fd` was just opened and nobody else knows it.
            unsafe { OwnedFd::from_raw_fd(fd) }
        });
        let capture = Self {
            fd,
            name: format!("{}/{dev}", ns.name()),
        };
        capture.set(libc::PACKET_AUXDATA, 1);
        capture.set_at(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20);
        // SAFETY: all-zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).expect("a small constant");
        address.sll_protocol = ETH_P_ALL_BE;
        address.sll_ifindex = index;
        // SAFETY: the address is of the size stated and outlives the call.
        let bound = unsafe {
            libc::bind(
                capture.fd.as_raw_fd(),
                (&raw const address).cast(),
                size_u32::<libc::sockaddr_ll>(),
            )
        };
        assert_eq!(
            bound,
            0,
            "bind to {}: {}",
            capture.name,
            io::Error::last_os_error()
        );
        capture
    }

    fn set(&self, option: i32, value: i32) {
        self.set_at(libc::SOL_PACKET, option, value);
    }

    fn set_at(&self, level: i32, option: i32, value: i32) {
        // SAFETY: the value is of the size stated and outlives the call.
        let set = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                4,
            )
        };
        assert_eq!(
            set,
            0,
            "socket option {option}: {}",
            io::Error::last_os_error()
        );
    }
}

impl Link for Capture {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&self, frame: &[u8]) {
        // SAFETY: pointer and length are of one slice that outlives the call.
        let sent =
            unsafe { libc::send(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0) };
        let error = io::Error::last_os_error();
        assert_eq!(
            usize::try_from(sent),
            Ok(frame.len()),
            "send on {}: {error}",
            self.name
        );
    }

    fn recv(&self, within: Duration) -> Option<Vec<u8>> {
        if !readable(self.fd.as_raw_fd(), within) {
            return None;
        }
        let mut frame = vec![0_u8; 1 << 17];
        let mut control = [0_u64; 16];
        let mut part = libc::iovec {
            iov_base: frame.as_mut_ptr().cast(),
            iov_len: frame.len(),
        };
        // SAFETY: all-zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { zeroed() };
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<[u64; 16]>();
        // SAFETY: every buffer that the message points to is alive and of the size stated.
        let len = unsafe { libc::recvmsg(self.fd.as_raw_fd(), &raw mut message, 0) };
        frame.truncate(usize::try_from(len).ok()?);
        if let Some((tpid, tci)) = stripped_tag(&message) {
            let tag: Vec<u8> = [tpid.to_be_bytes(), tci.to_be_bytes()].concat();
            frame.splice(12..12, tag);
        }
        Some(frame)
    }
}

/// The 802.1Q tag that the kernel took out of the frame.
fn stripped_tag(message: &libc::msghdr) -> Option<(u16, u16)> {
    // SAFETY: the message was filled in by recvmsg and its control buffer is alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref()? };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_PACKET, libc::PACKET_AUXDATA) {
        return None;
    }
    // SAFETY: a PACKET_AUXDATA message carries one tpacket_auxdata.
    let aux = unsafe {
        libc::CMSG_DATA(header)
            .cast::<libc::tpacket_auxdata>()
            .read_unaligned()
    };
    let valid = |flag: u32| aux.tp_status & flag != 0;
    valid(libc::TP_STATUS_VLAN_VALID).then(|| {
        let tpid = if valid(libc::TP_STATUS_VLAN_TPID_VALID) {
            aux.tp_vlan_tpid
        } else {
            0x8100
        };
        (tpid, aux.tp_vlan_tci)
    })
}

/// The underlay frames that end with `inner` among those that come to each of `links`, in their order: waits until all of
/// them have got `want` together, and then for `more`, in which one too many would come.
#[must_use]
pub fn carrying(links: &[Capture], inner: &[u8], want: usize, more: Duration) -> Vec<Vec<Vec<u8>>> {
    let mut carried = vec![Vec::new(); links.len()];
    let mut look = |within| {
        for (link, carried) in links.iter().zip(&mut carried) {
            let seen = link.collect(within, |_| false);
            let has_inner = |outer: &Vec<u8>| outer.len() > inner.len() && outer.ends_with(inner);
            carried.extend(seen.into_iter().filter(has_inner));
        }
        carried.iter().map(Vec::len).sum::<usize>()
    };
    poll(DEADLINE, || (look(Duration::ZERO) >= want).then_some(()));
    look(more);
    carried
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a small type")
}
