//! Being a member of multicast groups, so that routers and switches send us what is for them (IGMP, MLD).
//!
//! A membership lives as long as the socket that asked for it. The sockets are bound to no port: nothing is ever received
//! on them. It takes no privilege.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use vtep_common::abi::id::Ifindex;

use super::udp;

/// What one socket may ask for in IPv4 (`net.ipv4.igmp_max_memberships`) unless the administrator said otherwise.
const PER_SOCKET: usize = 20;

/// Of the files that the process may open, so many are left to others: groups alone need ever more, and the API goes on without
/// them. Its connections are at most 160 (`api/connections.rs`).
const LEFT_TO_OTHERS: u64 = 224;

/// A group on an interface.
pub type Member = (IpAddr, Ifindex);

/// The memberships of this process, any number of them.
#[derive(Debug, Default)]
pub struct Memberships {
    sockets: Vec<MembershipSocket>,
    /// Which socket has which.
    members: HashMap<Member, usize>,
}

#[derive(Debug)]
struct MembershipSocket {
    fd: OwnedFd,
    v4: bool,
    members: usize,
    /// It takes no more, though it has fewer than usual.
    full: bool,
}

impl Memberships {
    /// Becomes a member of `group` on the interface with number `ifindex`; once is enough.
    pub fn join(&mut self, group: IpAddr, ifindex: Ifindex) -> io::Result<()> {
        if self.members.contains_key(&(group, ifindex)) {
            return Ok(());
        }
        loop {
            let at = self.socket_for(group.is_ipv4())?;
            let socket = &mut self.sockets[at];
            match ask(&socket.fd, group, ifindex, true) {
                Ok(()) => {
                    socket.members += 1;
                    self.members.insert((group, ifindex), at);
                    return Ok(());
                }
                // The limit of this machine is a lower one.
                Err(error)
                    if matches!(error.raw_os_error(), Some(libc::ENOBUFS | libc::ENOMEM))
                        && socket.members > 0 =>
                {
                    socket.full = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Is a member no longer; that one is none already, or that the interface is gone, is no failure.
    pub fn leave(&mut self, group: IpAddr, ifindex: Ifindex) -> io::Result<()> {
        let Some(at) = self.members.remove(&(group, ifindex)) else {
            return Ok(());
        };
        let socket = &mut self.sockets[at];
        socket.members -= 1;
        socket.full = false;
        match ask(&socket.fd, group, ifindex, false) {
            Err(error)
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::ENODEV | libc::EADDRNOTAVAIL)
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// What there is.
    pub fn iter(&self) -> impl Iterator<Item = Member> {
        self.members.keys().copied()
    }

    /// A socket of the family that takes one more.
    fn socket_for(&mut self, v4: bool) -> io::Result<usize> {
        let found = self
            .sockets
            .iter()
            .position(|socket| socket.v4 == v4 && !socket.full && socket.members < PER_SOCKET);
        if let Some(at) = found {
            return Ok(at);
        }
        self.sockets.push(MembershipSocket {
            fd: open(v4)?,
            v4,
            members: 0,
            full: false,
        });
        Ok(self.sockets.len() - 1)
    }
}

fn open(v4: bool) -> io::Result<OwnedFd> {
    let family = if v4 { libc::AF_INET } else { libc::AF_INET6 };
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::socket(family, kind, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us the descriptor, and nobody else has it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    if leaves_enough(u64::from(fd.as_raw_fd().unsigned_abs()), open_files()?) {
        Ok(fd)
    } else {
        Err(io::Error::from_raw_os_error(libc::EMFILE))
    }
}

/// Whether a process that may open so many files has enough left when the kernel gives it this descriptor: it gives the lowest
/// that is free.
const fn leaves_enough(fd: u64, most: u64) -> bool {
    fd < most.saturating_sub(LEFT_TO_OTHERS)
}

/// How many files the process may open.
fn open_files() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the call fills in the limit that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

/// Asks the kernel to join a group, or to leave it.
fn ask(socket: &OwnedFd, group: IpAddr, ifindex: Ifindex, join: bool) -> io::Result<()> {
    match group {
        IpAddr::V4(v4) => {
            let request = udp::mreqn(v4.octets(), ifindex);
            let option = if join {
                libc::IP_ADD_MEMBERSHIP
            } else {
                libc::IP_DROP_MEMBERSHIP
            };
            udp::set(socket, libc::IPPROTO_IP, option, &request)
        }
        IpAddr::V6(v6) => {
            let request = libc::ipv6_mreq {
                ipv6mr_multiaddr: libc::in6_addr {
                    s6_addr: v6.octets(),
                },
                ipv6mr_interface: ifindex.get(),
            };
            let option = if join {
                libc::IPV6_ADD_MEMBERSHIP
            } else {
                libc::IPV6_DROP_MEMBERSHIP
            };
            udp::set(socket, libc::IPPROTO_IPV6, option, &request)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_leave_descriptors_to_others() {
        assert!(leaves_enough(799, 1024));
        assert!(!leaves_enough(800, 1024));
        assert!(!leaves_enough(3, 64));
        assert!(leaves_enough(1 << 20, u64::MAX));
    }
}
