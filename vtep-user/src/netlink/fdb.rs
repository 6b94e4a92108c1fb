//! The forwarding databases of the kernel's bridges and vxlan devices.

use std::net::IpAddr;

use netlink_packet_core::Nla as _;
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Mac, Netlink};

/// `NDA_NH_ID`: the nexthop that an entry points to.
const NDA_NH_ID: u16 = 13;
/// `NUD_NOARP` and `NUD_PERMANENT`: states in which an entry does not age.
const LASTING: u16 = 0x40 | 0x80;

/// An entry as `bridge fdb show` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FdbEntry {
    /// The interface: the vxlan device itself, or a member of a bridge.
    pub ifindex: Ifindex,
    /// The MAC; zeros for the flood list.
    pub mac: Mac,
    /// What made it.
    pub kind: FdbKind,
    /// Whether it belongs to the bridge that the interface is a member of (`master`), and not to the interface (`self`).
    pub of_bridge: bool,
    /// The VLAN of the bridge.
    pub vlan: Option<u16>,
    /// The VTEP that it is behind.
    pub dst: Option<IpAddr>,
    /// The UDP port of that VTEP, where it is not the device's.
    pub port: Option<u16>,
    /// The VNI that packets to that VTEP have, where it is not the device's.
    pub vni: Option<u32>,
    /// The VNI that it is an entry of, where the device has several.
    pub source_vni: Option<u32>,
    /// The number of the nexthop that it points to instead of a VTEP (`nhid`).
    pub nexthop: Option<u32>,
}

/// What made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FdbKind {
    /// It was set by hand, and does not age (`static`; `permanent` on a vxlan device).
    Static,
    /// A routing daemon or another controller keeps it (`extern_learn`).
    External,
    /// The MAC is the interface's own (`permanent` in a bridge).
    Own,
    /// It was learned, and ages.
    Learned,
}

impl FdbEntry {
    /// Reads a neighbour message of the bridge's family; `None` for others.
    fn from_message(message: &NeighbourMessage) -> Option<Self> {
        if message.header.family != AddressFamily::Bridge {
            return None;
        }
        let flags = message.header.flags;
        // A bridge says nothing of who it is in the flags of its entries.
        let of_bridge = !flags.contains(NeighbourFlags::Own);
        let mut mac = None;
        let mut entry = Self {
            ifindex: Ifindex::new(message.header.ifindex),
            mac: Mac::default(),
            kind: match message.header.state {
                _ if flags.contains(NeighbourFlags::ExtLearned) => FdbKind::External,
                NeighbourState::Permanent if of_bridge => FdbKind::Own,
                NeighbourState::Permanent | NeighbourState::Noarp => FdbKind::Static,
                // A device's own flood list has another bit beside this one, and so has what `bridge fdb add … static` makes.
                NeighbourState::Other(bits) if bits & LASTING != 0 => FdbKind::Static,
                _ => FdbKind::Learned,
            },
            of_bridge,
            vlan: None,
            dst: None,
            port: None,
            vni: None,
            source_vni: None,
            nexthop: None,
        };
        for attribute in &message.attributes {
            match attribute {
                NeighbourAttribute::LinkLayerAddress(bytes) => {
                    mac = Mac::try_from(bytes.as_slice()).ok();
                }
                NeighbourAttribute::Destination(address) => entry.dst = ip_of(address),
                NeighbourAttribute::Vlan(vlan) => entry.vlan = Some(*vlan),
                NeighbourAttribute::Port(port) => entry.port = Some(*port),
                NeighbourAttribute::Vni(vni) => entry.vni = Some(*vni),
                NeighbourAttribute::SourceVni(vni) => entry.source_vni = Some(*vni),
                NeighbourAttribute::Other(other) if other.kind() == NDA_NH_ID => {
                    let mut value = [0; 4];
                    if other.value_len() == value.len() {
                        other.emit_value(&mut value);
                        entry.nexthop = Some(u32::from_ne_bytes(value));
                    }
                }
                _ => {}
            }
        }
        entry.mac = mac?;
        Some(entry)
    }
}

/// An address in a message of the bridge's family, which does not say which family the address has.
fn ip_of(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(ip) => Some(IpAddr::V4(*ip)),
        NeighbourAddress::Inet6(ip) => Some(IpAddr::V6(*ip)),
        NeighbourAddress::Other(bytes) => {
            let v4 = <[u8; 4]>::try_from(bytes.as_slice()).map(IpAddr::from);
            let v6 = || <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from);
            v4.or_else(|_| v6()).ok()
        }
        _ => None,
    }
    .filter(|ip| !ip.is_unspecified())
}

impl Netlink {
    /// Every entry of the namespace: `bridge fdb show`.
    pub async fn fdb(&self) -> Result<Vec<FdbEntry>, Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        let question = RouteNetlinkMessage::GetNeighbour(message);
        let messages = self.dump("list", "FDB entries", question).await?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewNeighbour(entry) => FdbEntry::from_message(entry),
                _ => None,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::DefaultNla;

    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 0xb];

    #[test]
    fn an_entry_of_a_vxlan_device_says_its_vtep() {
        let address = NeighbourAddress::Other(vec![192, 0, 2, 2]);
        let entry = of(
            NeighbourState::Permanent,
            NeighbourFlags::Own,
            vec![
                NeighbourAttribute::Destination(address),
                NeighbourAttribute::SourceVni(100),
            ],
        );

        assert_eq!(entry.dst, Some("192.0.2.2".parse().unwrap()));
        assert_eq!((entry.kind, entry.mac), (FdbKind::Static, MAC));
        assert_eq!((entry.source_vni, entry.of_bridge), (Some(100), false));
    }

    #[test]
    fn an_address_may_be_of_either_family() {
        let mut bytes = [0; 16];
        bytes[0] = 0x20;
        let v6 = NeighbourAddress::Other(bytes.to_vec());

        assert_eq!(ip_of(&v6), Some("2000::".parse().unwrap()));
        assert_eq!(ip_of(&NeighbourAddress::Other(vec![0; 4])), None);
        assert_eq!(ip_of(&NeighbourAddress::Other(vec![1; 5])), None);
    }

    #[test]
    fn who_made_an_entry_is_in_its_state_and_flags() {
        let master = NeighbourFlags::empty();
        for (state, flags, kind) in [
            (NeighbourState::Permanent, master, FdbKind::Own),
            (NeighbourState::Noarp, master, FdbKind::Static),
            (NeighbourState::Other(0x42), master, FdbKind::Static),
            (NeighbourState::Reachable, master, FdbKind::Learned),
            (
                NeighbourState::Other(0x82),
                NeighbourFlags::Own,
                FdbKind::Static,
            ),
            (
                NeighbourState::Noarp,
                NeighbourFlags::Own | NeighbourFlags::ExtLearned,
                FdbKind::External,
            ),
        ] {
            assert_eq!(of(state, flags, vec![]).kind, kind, "{state:?} {flags:?}");
        }
    }

    #[test]
    fn an_entry_may_point_to_a_nexthop() {
        let id = DefaultNla::new(NDA_NH_ID, 12_u32.to_ne_bytes().to_vec());
        let parts = vec![NeighbourAttribute::Other(id)];

        let entry = of(NeighbourState::Permanent, NeighbourFlags::Own, parts);

        assert_eq!((entry.nexthop, entry.dst), (Some(12), None));
    }

    fn of(state: NeighbourState, flags: NeighbourFlags, more: Vec<NeighbourAttribute>) -> FdbEntry {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = 7;
        message.header.state = state;
        message.header.flags = flags;
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(MAC.to_vec()));
        message.attributes.extend(more);
        FdbEntry::from_message(&message).unwrap()
    }
}
