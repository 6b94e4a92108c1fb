//! What the kernel has, as the import goes by it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vtep_common::abi::id::Ifindex;

use crate::netlink::{
    BridgeMember, BridgeSettings, FdbEntry, InterfaceAddress, Link, LinkKind, MemberVlans,
    Neighbour, OWNER, Vxlan,
};

/// What the kernel has of links, bridges, entries and addresses in a network namespace.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The interfaces.
    pub links: Vec<Link>,
    /// The vxlan devices among them.
    pub vxlans: Vec<Vxlan>,
    /// What is set of bridges and their members.
    pub bridges: BridgeSettings,
    /// The FDBs of bridges and vxlan devices.
    pub fdb: Vec<FdbEntry>,
    /// The neighbour table.
    pub neighbours: Vec<Neighbour>,
    /// The addresses.
    pub addresses: Vec<InterfaceAddress>,
    /// The interface by which packets to each VTEP leave.
    pub ways: BTreeMap<IpAddr, Ifindex>,
}

impl Facts {
    /// The interface of a number.
    pub(super) fn link(&self, index: Ifindex) -> Option<&Link> {
        self.links.iter().find(|link| link.index == index)
    }

    /// The name of an interface.
    pub(super) fn name(&self, index: Ifindex) -> String {
        let link = self.link(index);
        link.map_or_else(|| format!("interface {index}"), |link| link.name.clone())
    }

    /// The vxlan devices that are not ours.
    pub(super) fn devices(&self) -> Vec<&Vxlan> {
        let ours = |device: &Vxlan| {
            let alias = self.link(device.index).and_then(|link| link.alias.as_ref());
            alias.is_some_and(|alias| alias.starts_with(OWNER))
        };
        self.vxlans.iter().filter(|device| !ours(device)).collect()
    }

    /// Whether an interface is a vxlan device.
    pub(super) fn is_vxlan(&self, index: Ifindex) -> bool {
        self.vxlans.iter().any(|device| device.index == index)
    }

    /// The interface that another belongs to: a bridge, a VRF or something else.
    pub(super) fn master(&self, index: Ifindex) -> Option<&Link> {
        self.link(self.link(index)?.master?)
    }

    /// The bridge that an interface is a member of, if it tells VLANs apart.
    pub(super) fn vlan_aware_bridge(&self, index: Ifindex) -> Option<&Link> {
        let aware = |link: &&Link| {
            matches!(
                link.kind,
                LinkKind::Bridge {
                    vlan_aware: true,
                    ..
                }
            )
        };
        self.master(index).filter(aware)
    }

    /// The members of a bridge, other than vxlan devices.
    pub(super) fn members(&self, bridge: Ifindex) -> impl Iterator<Item = &Link> {
        let members = self.links.iter();
        members.filter(move |link| link.master == Some(bridge) && !self.is_vxlan(link.index))
    }

    /// What a bridge is told of a member.
    pub(super) fn member(&self, index: Ifindex) -> BridgeMember {
        let mut members = self.bridges.members.iter();
        let found = members.find(|(member, _)| *member == index);
        found.map(|(_, member)| member.clone()).unwrap_or_default()
    }

    /// The VLANs of a member.
    pub(super) fn vlans(&self, index: Ifindex) -> MemberVlans {
        let mut all = self.bridges.vlans.iter();
        let found = all.find(|(member, _)| *member == index);
        found.map(|(_, vlans)| vlans.clone()).unwrap_or_default()
    }
}
