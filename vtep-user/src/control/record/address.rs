//! Addresses that nobody can have.

use std::net::IpAddr;

/// What `ip` is, if it can be no VTEP's address.
#[must_use]
pub fn unfit(ip: IpAddr) -> Option<String> {
    let what = match ip {
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_multicast() => "a multicast address",
        _ if ip.is_loopback() => "a loopback address",
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => return Some(format!("an IPv4-mapped IPv6 address ({v4})")),
            None if v6.is_unicast_link_local() => "a link-local address, which no route reaches",
            None => return None,
        },
        IpAddr::V4(_) => return None,
    };
    Some(what.to_owned())
}

/// What `ip` is, if it can be no host's address.
pub(crate) fn unfit_host(ip: IpAddr) -> Option<String> {
    match ip {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => None,
        _ => unfit(ip),
    }
}
