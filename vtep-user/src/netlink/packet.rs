//! A packet socket, to send frames with at any interface.

use std::{
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use vtep_common::abi::id::Ifindex;

/// Sends frames as they are. It receives none, and never blocks.
#[derive(Debug)]
pub struct FrameSender(OwnedFd);

impl FrameSender {
    /// Opens a socket in the network namespace of this thread, for which `CAP_NET_RAW` is needed.
    pub fn open() -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // No protocol: nothing is received.
        // SAFETY: the call takes numbers only.
        let fd = unsafe { libc::socket(libc::AF_PACKET, kind, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends a frame by an interface.
    pub fn send(&self, ifindex: Ifindex, frame: &[u8]) -> io::Result<()> {
        // SAFETY: zeros are a valid address.
        let mut to: libc::sockaddr_ll = unsafe { mem::zeroed() };
        to.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        to.sll_ifindex = i32::try_from(ifindex.get()).map_err(io::Error::other)?;
        // What is in the frame: the kernel looks for headers there.
        if let Some([a, b]) = frame.get(12..14) {
            to.sll_protocol = u16::from_ne_bytes([*a, *b]);
        }
        let len = libc::socklen_t::try_from(size_of_val(&to)).map_err(io::Error::other)?;
        // SAFETY: the kernel reads the frame and the address, each of its length.
        let sent = unsafe {
            libc::sendto(
                self.0.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                len,
            )
        };
        if sent < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }
}
