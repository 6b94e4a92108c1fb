//! UDP sockets to send VXLAN packets with, and setting what `std` does not.

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::{AsFd, AsRawFd as _},
};

use vtep_common::abi::id::Ifindex;

/// Source ports of VXLAN packets (RFC 7348 section 5).
const SOURCE_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Time to live, and hop limit: as the data path has it.
const TTL: libc::c_int = 64;

/// A socket that sends from `local`: by the interface with number `oif` where it is for a multicast group.
///
/// What it sends has DF set, and over IPv4 no UDP checksum, as RFC 7348 asks of a VTEP. It never blocks.
pub fn sender(local: IpAddr, oif: Option<Ifindex>) -> io::Result<UdpSocket> {
    let socket = bind(local)?;
    socket.set_nonblocking(true)?;
    if local.is_ipv4() {
        let ip = |option, value: libc::c_int| set(&socket, libc::IPPROTO_IP, option, &value);
        ip(libc::IP_TTL, TTL)?;
        ip(libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
        set::<libc::c_int>(&socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, &1)?;
        if let Some(oif) = oif {
            ip(libc::IP_MULTICAST_TTL, TTL)?;
            ip(libc::IP_MULTICAST_LOOP, 0)?;
            set(
                &socket,
                libc::IPPROTO_IP,
                libc::IP_MULTICAST_IF,
                &mreqn([0; 4], oif),
            )?;
        }
    } else {
        let ipv6 = |option, value: libc::c_int| set(&socket, libc::IPPROTO_IPV6, option, &value);
        ipv6(libc::IPV6_UNICAST_HOPS, TTL)?;
        ipv6(libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO)?;
        if let Some(oif) = oif {
            ipv6(libc::IPV6_MULTICAST_HOPS, TTL)?;
            ipv6(libc::IPV6_MULTICAST_LOOP, 0)?;
            ipv6(libc::IPV6_MULTICAST_IF, index(oif))?;
        }
    }
    Ok(socket)
}

/// Binds to the first source port that is free.
fn bind(local: IpAddr) -> io::Result<UdpSocket> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for port in SOURCE_PORTS {
        match UdpSocket::bind(SocketAddr::new(local, port)) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => last = error,
            bound => return bound,
        }
    }
    Err(last)
}

/// An interface, and a group or zeros, as IPv4's socket options take them.
pub(super) fn mreqn(group: [u8; 4], ifindex: Ifindex) -> libc::ip_mreqn {
    libc::ip_mreqn {
        imr_multiaddr: libc::in_addr {
            s_addr: u32::from_ne_bytes(group),
        },
        imr_address: libc::in_addr { s_addr: 0 },
        imr_ifindex: index(ifindex),
    }
}

fn index(ifindex: Ifindex) -> libc::c_int {
    libc::c_int::try_from(ifindex.get()).unwrap_or(libc::c_int::MAX)
}

/// Sets an option of a socket to a plain C value.
pub(super) fn set<T>(
    socket: &impl AsFd,
    level: libc::c_int,
    option: libc::c_int,
    value: &T,
) -> io::Result<()> {
    let len = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: the kernel reads `len` bytes of a value that has so many.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            len,
        )
    };
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
