//! The addresses of this host.

use std::net::IpAddr;

use netlink_packet_route::{
    RouteNetlinkMessage,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

/// An IP address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// The interface.
    pub ifindex: Ifindex,
    /// The address.
    pub ip: IpAddr,
    /// The length of its subnet's prefix.
    pub prefix_len: u8,
    /// Whether it is meant to be used beyond the link.
    pub global: bool,
    /// Whether packets may be sent from it now: not while duplicates are still looked for, nor once it is deprecated.
    pub preferred: bool,
}

impl InterfaceAddress {
    /// Reads an address message; `None` where it holds no usable address, such as one that is a duplicate.
    pub(super) fn from_message(message: &AddressMessage) -> Option<Self> {
        let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
        let (mut local, mut address) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                // On a point-to-point link `Address` is the other side's.
                AddressAttribute::Local(ip) => local = Some(*ip),
                AddressAttribute::Address(ip) => address = Some(*ip),
                AddressAttribute::Flags(all) => flags = *all,
                _ => {}
            }
        }
        if flags.contains(AddressFlags::Dadfailed) {
            return None;
        }
        let pending =
            flags.contains(AddressFlags::Tentative) && !flags.contains(AddressFlags::Optimistic);
        Some(Self {
            ifindex: Ifindex::new(message.header.index),
            ip: local.or(address)?,
            prefix_len: message.header.prefix_len,
            global: matches!(
                message.header.scope,
                AddressScope::Universe | AddressScope::Site
            ),
            preferred: !pending && !flags.contains(AddressFlags::Deprecated),
        })
    }
}

impl Netlink {
    /// Every address of the namespace: `ip address show`. Within an interface the best to send from comes first; of those that
    /// are as good the oldest, which others know us by.
    pub async fn addresses(&self) -> Result<Vec<InterfaceAddress>, Error> {
        let question = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let messages = self.dump("list", "addresses", question).await?;
        let addresses: Vec<InterfaceAddress> = messages
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewAddress(address) => {
                    InterfaceAddress::from_message(&address)
                }
                _ => None,
            })
            .collect();
        // The kernel lists IPv6 addresses with the newest first (`ipv6_link_dev_addr`), those of IPv4 with the oldest first.
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|a| a.ip.is_ipv4());
        let mut addresses: Vec<_> = v4.into_iter().chain(v6.into_iter().rev()).collect();
        addresses.sort_by_key(rank);
        Ok(addresses)
    }

    /// The addresses of one interface, the best to send from first: `ip address show dev DEV`.
    pub async fn local_addresses(&self, ifindex: Ifindex) -> Result<Vec<IpAddr>, Error> {
        let addresses = self.addresses().await?;
        Ok(addresses
            .into_iter()
            .filter(|a| a.ifindex == ifindex)
            .map(|a| a.ip)
            .collect())
    }

    /// Every address that this namespace answers to, by interface.
    pub async fn all_local_addresses(&self) -> Result<Vec<IpAddr>, Error> {
        Ok(self
            .addresses()
            .await?
            .into_iter()
            .map(|address| address.ip)
            .collect())
    }
}

/// Sorts by interface, then global before link-local, then those that may be used now. The sort is stable, so the
/// kernel's order decides the rest.
fn rank(address: &InterfaceAddress) -> (Ifindex, bool, bool) {
    (address.ifindex, !address.global, !address.preferred)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_side_of_a_point_to_point_address_is_taken() {
        let mut message = message("192.0.2.2");
        message
            .attributes
            .push(AddressAttribute::Local(ip("192.0.2.1")));

        assert_eq!(
            InterfaceAddress::from_message(&message).unwrap().ip,
            ip("192.0.2.1")
        );
    }

    #[test]
    fn an_address_that_is_a_duplicate_is_left_out() {
        let mut message = message("2001:db8::1");
        message
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Dadfailed));

        assert_eq!(InterfaceAddress::from_message(&message), None);
    }

    #[test]
    fn a_usable_global_address_comes_first() {
        let mut tentative = message("2001:db8::1");
        tentative
            .attributes
            .push(AddressAttribute::Flags(AddressFlags::Tentative));
        let mut link_local = message("fe80::1");
        link_local.header.scope = AddressScope::Link;
        let good = message("2001:db8::2");

        let mut all: Vec<InterfaceAddress> = [&link_local, &tentative, &good]
            .into_iter()
            .filter_map(InterfaceAddress::from_message)
            .collect();
        all.sort_by_key(rank);

        let ips: Vec<IpAddr> = all.iter().map(|address| address.ip).collect();
        assert_eq!(ips, [ip("2001:db8::2"), ip("2001:db8::1"), ip("fe80::1")]);
    }

    fn message(address: &str) -> AddressMessage {
        let mut message = AddressMessage::default();
        message.header.index = 3;
        message
            .attributes
            .push(AddressAttribute::Address(ip(address)));
        message
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
