//! What the kernel's bridges are told of their members: settings, VLANs, and the VNIs of those.

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    link::{
        AfSpecBridge, BridgeVlanInfoFlags, BridgeVlanTunnelInfo, InfoBridge, InfoBridgePort,
        InfoData, InfoPortData, LinkAttribute, LinkExtentMask, LinkInfo, LinkMessage,
    },
};
use vtep_common::abi::id::Ifindex;

use super::{Error, Netlink};

/// A member of a bridge as `bridge -d link show` has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeMember {
    /// Whether ARP and ND for known hosts are answered instead of flooded to it (`neigh_suppress`).
    pub suppress: bool,
    /// Whether it exchanges no frames with other isolated members.
    pub isolated: bool,
    /// Whether the VNI of a packet comes from its VLAN (`vlan_tunnel`).
    pub vlan_tunnel: bool,
    /// What else is not as in a new member, by the words of `bridge link set`.
    pub others: Vec<&'static str>,
}

/// A VLAN of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberVlan {
    /// The VLAN, 1 to 4094.
    pub vlan: u16,
    /// Whether frames without a tag belong to it (`PVID`).
    pub pvid: bool,
    /// Whether its frames leave without a tag.
    pub untagged: bool,
}

/// The VLANs of a member as `bridge vlan show` and `bridge vlan tunnelshow` have them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberVlans {
    /// The VLANs.
    pub vlans: Vec<MemberVlan>,
    /// VLANs, each with its VNI.
    pub tunnels: Vec<(u16, u32)>,
}

impl MemberVlans {
    fn from_parts(parts: &[AfSpecBridge]) -> Self {
        let mut found = Self::default();
        let mut tunnel_begin = None;
        let mut vlan_begin = None;
        for part in parts {
            match part {
                AfSpecBridge::VlanInfo(info) => {
                    let begin = info.flags.contains(BridgeVlanInfoFlags::RangeBegin);
                    if begin {
                        vlan_begin = Some(info.vid);
                        continue;
                    }
                    let from = vlan_begin.take().unwrap_or(info.vid);
                    let vlans = (from..=info.vid).map(|vlan| MemberVlan {
                        vlan,
                        pvid: info.flags.contains(BridgeVlanInfoFlags::Pvid),
                        untagged: info.flags.contains(BridgeVlanInfoFlags::Untagged),
                    });
                    found.vlans.extend(vlans);
                }
                AfSpecBridge::VlanTunnelInfo(parts) => {
                    let Some((vlan, vni, flags)) = tunnel_of(parts) else {
                        continue;
                    };
                    if flags.contains(BridgeVlanInfoFlags::RangeBegin) {
                        tunnel_begin = Some((vlan, vni));
                        continue;
                    }
                    let (from, first) = tunnel_begin.take().unwrap_or((vlan, vni));
                    found.tunnels.extend((from..=vlan).zip(first..));
                }
                _ => {}
            }
        }
        found
    }
}

/// A VLAN, its VNI, and whether a range begins or ends with them.
fn tunnel_of(parts: &[BridgeVlanTunnelInfo]) -> Option<(u16, u32, BridgeVlanInfoFlags)> {
    let (mut vlan, mut vni, mut flags) = (None, None, BridgeVlanInfoFlags::empty());
    for part in parts {
        match part {
            BridgeVlanTunnelInfo::Vid(value) => vlan = Some(*value),
            BridgeVlanTunnelInfo::Id(value) => vni = Some(*value),
            BridgeVlanTunnelInfo::Flags(value) => flags = *value,
            _ => {}
        }
    }
    Some((vlan?, vni?, flags))
}

impl BridgeMember {
    fn from_parts(parts: &[InfoBridgePort]) -> Self {
        let mut member = Self::default();
        for part in parts {
            match part {
                InfoBridgePort::NeighSupress(on) => member.suppress = *on,
                InfoBridgePort::Isolated(on) => member.isolated = *on,
                InfoBridgePort::VlanTunnel(on) => member.vlan_tunnel = *on,
                InfoBridgePort::HairpinMode(true) => member.others.push("hairpin on"),
                InfoBridgePort::Learning(false) => member.others.push("learning off"),
                InfoBridgePort::UnicastFlood(false) => member.others.push("flood off"),
                InfoBridgePort::MulticastFlood(false) => member.others.push("mcast_flood off"),
                InfoBridgePort::BroadcastFlood(false) => member.others.push("bcast_flood off"),
                InfoBridgePort::Guard(true) => member.others.push("guard on"),
                InfoBridgePort::Locked(true) => member.others.push("locked on"),
                _ => {}
            }
        }
        member
    }
}

/// What is set of bridges and their members in a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BridgeSettings {
    /// The members.
    pub members: Vec<(Ifindex, BridgeMember)>,
    /// Their VLANs, and those of bridges themselves.
    pub vlans: Vec<(Ifindex, MemberVlans)>,
    /// Bridges that forward frames to some of the link-local groups (`group_fwd_mask`).
    pub forward_link_local: Vec<Ifindex>,
}

impl Netlink {
    /// What is set of bridges and their members: `bridge -d link show`, `bridge vlan show` and `bridge vlan tunnelshow`.
    pub async fn bridge_settings(&self) -> Result<BridgeSettings, Error> {
        let mut found = BridgeSettings::default();
        let links = self.link_messages(AddressFamily::Unspec, LinkExtentMask::SkipStats);
        for message in links.await? {
            let index = Ifindex::new(message.header.index);
            let info = message.attributes.iter().find_map(|part| match part {
                LinkAttribute::LinkInfo(info) => Some(info),
                _ => None,
            });
            for part in info.into_iter().flatten() {
                match part {
                    LinkInfo::PortData(InfoPortData::BridgePort(parts)) => {
                        found.members.push((index, BridgeMember::from_parts(parts)));
                    }
                    LinkInfo::Data(InfoData::Bridge(parts)) => {
                        let forwards = |part: &InfoBridge| matches!(part, InfoBridge::GroupFwdMask(mask) if *mask != 0);
                        if parts.iter().any(forwards) {
                            found.forward_link_local.push(index);
                        }
                    }
                    _ => {}
                }
            }
        }
        let vlans = self.link_messages(AddressFamily::Bridge, LinkExtentMask::Brvlan);
        for message in vlans.await? {
            let parts = message.attributes.iter().find_map(|part| match part {
                LinkAttribute::AfSpecBridge(parts) => Some(parts),
                _ => None,
            });
            if let Some(parts) = parts {
                let index = Ifindex::new(message.header.index);
                found.vlans.push((index, MemberVlans::from_parts(parts)));
            }
        }
        Ok(found)
    }

    async fn link_messages(
        &self,
        family: AddressFamily,
        mask: LinkExtentMask,
    ) -> Result<Vec<LinkMessage>, Error> {
        let mut message = LinkMessage::default();
        message.header.interface_family = family;
        message.attributes.push(LinkAttribute::ExtMask(vec![mask]));
        let question = RouteNetlinkMessage::GetLink(message);
        let messages = self.dump("list", "bridges and members", question).await?;
        let links = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some(link),
            _ => None,
        });
        Ok(links.collect())
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::link::BridgeVlanInfo;

    use super::*;

    #[test]
    fn a_range_of_vlans_has_all_that_are_in_it() {
        let found = MemberVlans::from_parts(&[
            vlan(1, BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged),
            vlan(10, BridgeVlanInfoFlags::RangeBegin),
            vlan(12, BridgeVlanInfoFlags::RangeEnd),
        ]);

        let vlans: Vec<_> = found.vlans.iter().map(|vlan| vlan.vlan).collect();
        assert_eq!(vlans, [1, 10, 11, 12]);
        assert!(found.vlans[0].pvid && found.vlans[0].untagged);
        assert!(!found.vlans[3].pvid && !found.vlans[3].untagged);
    }

    #[test]
    fn a_range_of_tunnels_counts_vlans_and_vnis_together() {
        let found = MemberVlans::from_parts(&[
            tunnel(5, 500, BridgeVlanInfoFlags::empty()),
            tunnel(10, 1010, BridgeVlanInfoFlags::RangeBegin),
            tunnel(12, 1012, BridgeVlanInfoFlags::RangeEnd),
        ]);

        let want = [(5, 500), (10, 1010), (11, 1011), (12, 1012)];
        assert_eq!(found.tunnels, want);
    }

    #[test]
    fn a_member_says_what_is_not_as_in_a_new_one() {
        let member = BridgeMember::from_parts(&[
            InfoBridgePort::NeighSupress(true),
            InfoBridgePort::Isolated(false),
            InfoBridgePort::Learning(true),
            InfoBridgePort::UnicastFlood(false),
        ]);

        assert!(member.suppress && !member.isolated);
        assert_eq!(member.others, ["flood off"]);
    }

    fn vlan(vid: u16, flags: BridgeVlanInfoFlags) -> AfSpecBridge {
        AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid })
    }

    fn tunnel(vid: u16, vni: u32, flags: BridgeVlanInfoFlags) -> AfSpecBridge {
        AfSpecBridge::VlanTunnelInfo(vec![
            BridgeVlanTunnelInfo::Id(vni),
            BridgeVlanTunnelInfo::Vid(vid),
            BridgeVlanTunnelInfo::Flags(flags),
        ])
    }
}
