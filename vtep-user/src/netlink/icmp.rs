//! Hearing what the underlay says of paths: raw ICMP sockets.
//!
//! What is encapsulated in place was sent by no socket, so that no other kind of socket is told. Anybody can send such messages, and as many
//! as they like: the kernel keeps few, and so many a second are read.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    time::Duration,
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    time::Instant,
};
use vtep_common::{abi::id::Ifindex, frame::path_report::PathReport};

use super::udp::set;

/// Messages that are read in a second, at most.
const MOST: u32 = 1_000;
/// Bytes of messages that wait, at most.
const WAITING: libc::c_int = 128 << 10;
/// Bytes of a message that are read: more than any says that means something here.
const MESSAGE_LEN: usize = 1_500;
/// Bytes of what the kernel says besides.
const CONTROL_LEN: u16 = 128;
/// Level and option of `icmp(7)`, and of `ipv6(7)`.
const SOL_RAW: libc::c_int = 255;
const ICMP_FILTER: libc::c_int = 1;
const ICMP6_FILTER: libc::c_int = 1;

/// What the underlay says of paths.
#[derive(Debug)]
pub struct PathReports {
    v4: Option<AsyncFd<OwnedFd>>,
    v6: Option<AsyncFd<OwnedFd>>,
    /// How many more are read before `fresh`.
    left: u32,
    /// When the next second begins.
    fresh: Instant,
}

impl PathReports {
    /// Opens the sockets in the network namespace of this thread, for which `CAP_NET_RAW` is needed. Must be called within a tokio
    /// runtime.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            v4: Some(open_v4()?),
            v6: open_v6()?,
            ..Self::deaf()
        })
    }

    /// Hears nothing.
    #[must_use]
    pub fn deaf() -> Self {
        Self {
            v4: None,
            v6: None,
            left: 0,
            fresh: Instant::now(),
        }
    }

    /// The next message that quotes a VXLAN packet, and the interface that it came by. Nothing is lost if this is not waited for to the end.
    pub async fn next(&mut self) -> io::Result<(PathReport, Ifindex)> {
        loop {
            if self.left == 0 {
                tokio::time::sleep_until(self.fresh).await;
                self.left = MOST;
                self.fresh = Instant::now() + Duration::from_secs(1);
            }
            let (found, read): (_, fn(&[u8]) -> _) = tokio::select! {
                found = receive(self.v4.as_ref()) => (found?, PathReport::read_v4),
                found = receive(self.v6.as_ref()) => (found?, PathReport::read_v6),
            };
            self.left -= 1;
            if let Some((ifindex, message)) = found
                && let Some(report) = read(&message)
            {
                return Ok((report, ifindex));
            }
        }
    }
}

fn open_v4() -> io::Result<AsyncFd<OwnedFd>> {
    /// Type of "destination unreachable" (RFC 792).
    const UNREACHABLE: u32 = 3;
    let socket = open(libc::AF_INET, libc::IPPROTO_ICMP)?;
    // Those whose bit is set are not heard.
    let filter = !(1_u32 << UNREACHABLE);
    set(&socket, SOL_RAW, ICMP_FILTER, &filter)?;
    set::<libc::c_int>(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, &1)?;
    watched(socket)
}

/// None on a host without IPv6.
fn open_v6() -> io::Result<Option<AsyncFd<OwnedFd>>> {
    /// Type of "packet too big" (RFC 4443).
    const PACKET_TOO_BIG: u32 = 2;
    let socket = match open(libc::AF_INET6, libc::IPPROTO_ICMPV6) {
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => return Ok(None),
        opened => opened?,
    };
    let mut filter = [u32::MAX; 8];
    filter[0] = !(1_u32 << PACKET_TOO_BIG);
    set(&socket, libc::IPPROTO_ICMPV6, ICMP6_FILTER, &filter)?;
    set::<libc::c_int>(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, &1)?;
    watched(socket).map(Some)
}

/// Something to wait at until a message comes.
fn watched(socket: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the descriptor is our own, and stays open for as long as its owner is there, which moves into the result.
    Ok(unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?)
}

fn open(family: libc::c_int, protocol: libc::c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(family, kind, protocol) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made it for us.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, &WAITING)?;
    Ok(socket)
}

/// The next message at a socket, and the interface that it came by where the kernel says that. Without a socket, there is none ever.
async fn receive(socket: Option<&AsyncFd<OwnedFd>>) -> io::Result<Option<(Ifindex, Vec<u8>)>> {
    match socket {
        Some(socket) => socket.async_io(Interest::READABLE, receive_one).await,
        None => std::future::pending().await,
    }
}

fn receive_one(socket: &OwnedFd) -> io::Result<Option<(Ifindex, Vec<u8>)>> {
    let mut message = vec![0; MESSAGE_LEN];
    // Words, so that what the kernel puts there is aligned.
    let mut control = [0_u64; CONTROL_LEN as usize / size_of::<u64>()];
    let mut part = libc::iovec {
        iov_base: message.as_mut_ptr().cast(),
        iov_len: message.len(),
    };
    // SAFETY: zeros are a valid header.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = CONTROL_LEN.into();
    // SAFETY: the kernel writes into the buffers of the header, each of its length.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    message.truncate(len);
    Ok(interface(&header).map(|ifindex| (ifindex, message)))
}

/// The interface that a message came by.
fn interface(header: &libc::msghdr) -> Option<Ifindex> {
    // SAFETY: the kernel has filled in the header, and its buffers are there.
    let mut at = unsafe { libc::CMSG_FIRSTHDR(header) };
    while !at.is_null() {
        // SAFETY: it lies within the buffer, which is aligned for it.
        let (level, kind) = unsafe { ((*at).cmsg_level, (*at).cmsg_type) };
        // SAFETY: as above.
        let data = unsafe { libc::CMSG_DATA(at) };
        let ifindex = match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                // SAFETY: the kernel has put one there.
                let info = unsafe { data.cast::<libc::in_pktinfo>().read_unaligned() };
                u32::try_from(info.ipi_ifindex).ok()
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: as above.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                Some(info.ipi6_ifindex)
            }
            _ => None,
        };
        if let Some(ifindex) = ifindex {
            return Some(Ifindex::new(ifindex));
        }
        // SAFETY: as above.
        at = unsafe { libc::CMSG_NXTHDR(header, at) };
    }
    None
}
