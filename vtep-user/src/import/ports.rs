//! What the guests of a VNI are attached to: a bridge whose members become its ports, VLANs of one that tells them apart, or nothing but the
//! host itself.

use vtep_common::abi::id::Ifindex;

use super::facts::Facts;
use super::rows::{LeftOut, Rows};
use super::segments::Segment;
use super::taken::Taken;
use crate::model::{InnerVlan, MacAddr, Parameters as _, PortSpec, VlanId};
use crate::netlink::{FdbKind, Link, LinkKind, Vxlan};

/// Where the frames of a VNI come from and go to.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// The bridge whose members are its ports.
    pub(super) bridge: Option<String>,
    /// Ports of their own.
    pub(super) ports: Vec<PortSpec>,
    /// Whether the bridge has ARP and ND answered.
    pub(super) suppress: bool,
    /// What happens to tags, where that is not the default.
    pub(super) inner_vlan: Option<InnerVlan>,
    /// What is left out.
    pub(super) left_out: Vec<LeftOut>,
}

/// The place of a VNI.
pub(super) fn place(
    facts: &Facts,
    device: &Vxlan,
    segment: &Segment,
    taken: &mut Taken,
    rows: &mut Rows,
) -> Place {
    let mut place = Place {
        suppress: facts.member(device.index).suppress,
        ..Place::default()
    };
    match (facts.master(device.index), segment.vlan) {
        (Some(bridge), Some(vlan)) => by_vlan(facts, bridge, vlan, segment, taken, &mut place),
        (Some(bridge), None) => match bridge.kind {
            LinkKind::Bridge {
                vlan_aware: false, ..
            } => by_bridge(facts, device, bridge, segment, taken, &mut place),
            LinkKind::Bridge { .. } => {}
            LinkKind::Vrf { .. } => by_itself(facts, device, &mut place),
            _ => {
                let what = format!(
                    "belongs to {}, which is no bridge of Linux; name the ports of the VNI",
                    bridge.name
                );
                let instead = format!("vtep port add DEV --vni {}", segment.vni);
                place.left_out.push((what, vec![instead]));
            }
        },
        (None, _) => by_itself(facts, device, &mut place),
    }
    let others = facts.member(device.index).others;
    if !others.is_empty() {
        rows.left_out(
            format!(
                "its bridge treats it in another way than others ({}), and vtep treats all VTEPs alike",
                others.join(", ")
            ),
            [],
        );
    }
    place
}

/// The members of a bridge are the ports.
fn by_bridge(
    facts: &Facts,
    device: &Vxlan,
    bridge: &Link,
    segment: &Segment,
    taken: &mut Taken,
    place: &mut Place,
) {
    let (vni, name) = (segment.vni, &bridge.name);
    if let Some(other) = taken.bridges.get(&bridge.index) {
        let what = format!("bridge {name} is in vni {other}, and a bridge is in one VNI");
        let instead = format!("vtep port add DEV --vni {vni}");
        place.left_out.push((what, vec![instead]));
        return;
    }
    taken.bridges.insert(bridge.index, vni);
    place.bridge = Some(name.clone());
    // It does not look at tags.
    place.inner_vlan = Some(InnerVlan::Pass);
    if matches!(
        bridge.kind,
        LinkKind::Bridge {
            spanning_tree: true,
            ..
        }
    ) {
        place.left_out.push((
            format!("bridge {name} runs a spanning tree, and vtep waits until it does not"),
            vec![format!("ip link set {name} type bridge stp_state 0")],
        ));
    }
    for member in facts.members(bridge.index) {
        if taken.uplinks.contains(&member.index) {
            place.left_out.push((
                format!(
                    "bridge {name} has the uplink {} as a member, and vtep waits until it does not: the guests' frames must not pass beside the VNI",
                    member.name
                ),
                vec![format!("ip link set {} nomaster", member.name)],
            ));
            continue;
        }
        let port = member_port(facts, member, segment, place);
        if !port.macs.is_empty() || port.isolated.is_some() {
            place.ports.push(port);
        }
        if !device.learning {
            learned_by_bridge(facts, member, segment, place);
        }
    }
    if facts.bridges.forward_link_local.contains(&bridge.index) {
        place.left_out.push((
            format!("bridge {name} forwards some link-local groups (group_fwd_mask); vtep forwards none of them, or all"),
            vec![format!("vtep vni set {vni} --l2cp pass")],
        ));
    }
    inherited(facts, device, bridge, place);
}

/// What a bridge has from the vxlan device, and loses with it.
fn inherited(facts: &Facts, device: &Vxlan, bridge: &Link, place: &mut Place) {
    let name = &bridge.name;
    let Some(link) = facts.link(device.index) else {
        return;
    };
    if bridge.mac == link.mac {
        place.left_out.push((
            format!("bridge {name} has its MAC from the device, and another one without it"),
            vec![format!(
                "ip link set {name} address {}",
                MacAddr::from_bytes(bridge.mac)
            )],
        ));
    }
    let larger = facts
        .members(bridge.index)
        .any(|member| member.mtu > link.mtu);
    if bridge.mtu == link.mtu && larger {
        place.left_out.push((
            format!("bridge {name} has its MTU from the device, and a larger one without it"),
            vec![format!("ip link set {name} mtu {}", bridge.mtu)],
        ));
    }
}

/// A member as a port, with the MACs that somebody has set behind it.
fn member_port(facts: &Facts, member: &Link, segment: &Segment, place: &mut Place) -> PortSpec {
    let settings = facts.member(member.index);
    if !settings.others.is_empty() {
        place.left_out.push((
            format!(
                "{} is set to {} in its bridge, which does not hold for a port",
                member.name,
                settings.others.join(", ")
            ),
            vec![format!(
                "vtep port set {} --guard mac --mac MAC",
                member.name
            )],
        ));
    }
    PortSpec {
        dev: member.name.clone(),
        vni: segment.vni,
        macs: macs(facts, member.index, segment, FdbKind::Static),
        isolated: settings.isolated.then_some(true),
        ..PortSpec::blank()
    }
}

/// Names the MACs that the bridge has learned where vtep learns none.
fn learned_by_bridge(facts: &Facts, member: &Link, segment: &Segment, place: &mut Place) {
    let learned = macs(facts, member.index, segment, FdbKind::Learned);
    if learned.is_empty() {
        return;
    }
    let named: Vec<_> = learned.iter().map(|mac| format!("--mac {mac}")).collect();
    let named = named.join(" ");
    place.left_out.push((
        format!(
            "the bridge has learned who is behind {}; vtep learns nothing in this VNI, and floods frames for it to all ports, unless it is told",
            member.name
        ),
        vec![format!(
            "vtep port add {} --vni {} {named}",
            member.name, segment.vni
        )],
    ));
}

/// The MACs behind a member.
fn macs(facts: &Facts, member: Ifindex, segment: &Segment, kind: FdbKind) -> Vec<MacAddr> {
    let entries = facts.fdb.iter().filter(|entry| {
        let here = entry.ifindex == member && entry.of_bridge && entry.kind == kind;
        here && (segment.vlan.is_none() || entry.vlan == segment.vlan)
    });
    let mut macs: Vec<MacAddr> = Vec::new();
    for mac in entries.map(|entry| MacAddr::from_bytes(entry.mac)) {
        if !mac.is_group() && !mac.is_zero() && !macs.contains(&mac) {
            macs.push(mac);
        }
    }
    macs
}

/// The members that have a VLAN are the ports, each with its tag or without.
fn by_vlan(
    facts: &Facts,
    bridge: &Link,
    vlan: u16,
    segment: &Segment,
    taken: &mut Taken,
    place: &mut Place,
) {
    let vni = segment.vni;
    for member in facts.members(bridge.index) {
        let vlans = facts.vlans(member.index);
        let Some(of_member) = vlans.vlans.iter().find(|it| it.vlan == vlan) else {
            continue;
        };
        if of_member.pvid != of_member.untagged {
            place.left_out.push((
                format!(
                    "{} has VLAN {vlan} with a tag in one direction and without one in the other",
                    member.name
                ),
                vec![format!(
                    "vtep port add {} --vni {vni} --vlan {vlan}",
                    member.name
                )],
            ));
            continue;
        }
        let tag = (!of_member.pvid).then_some(vlan);
        if !taken.vlans.insert((member.index, tag)) {
            continue;
        }
        let port = member_port(facts, member, segment, place);
        place.ports.push(PortSpec {
            vlan: tag.and_then(VlanId::new),
            ..port
        });
        place.left_out.push((
            format!(
                "{} is a member of {}, which goes on to send it frames of its own, and loses those that it sends: vtep has them, and drops tags that have no VNI",
                member.name, bridge.name
            ),
            vec![format!("ip link set {} nomaster", member.name)],
        ));
    }
    let own = facts.vlans(bridge.index);
    if own.vlans.iter().any(|it| it.vlan == vlan) {
        place.left_out.push((
            format!(
                "the host itself is in VLAN {vlan} of {}; in the VNI it needs an interface of its own, which gets the addresses",
                bridge.name
            ),
            vec![
                format!("ip link add host{vlan} type veth peer name host{vlan}p"),
                format!("ip link set host{vlan} up"),
                format!("ip link set host{vlan}p up"),
                format!("vtep port add host{vlan}p --vni {vni}"),
            ],
        ));
    }
}

/// The host itself is in the VNI, by the device. A bridge of its name takes its place.
fn by_itself(facts: &Facts, device: &Vxlan, place: &mut Place) {
    let Some(link) = facts.link(device.index) else {
        return;
    };
    let name = &link.name;
    place.bridge = Some(name.clone());
    place.inner_vlan = Some(InnerVlan::Pass);
    let mut instead = vec![format!(
        "ip link add {name} address {} mtu {} type bridge stp_state 0",
        MacAddr::from_bytes(link.mac),
        link.mtu
    )];
    if let Some(master) = facts.master(device.index) {
        instead.push(format!("ip link set {name} master {}", master.name));
    }
    instead.push(format!("ip link set {name} up"));
    let addresses = facts.addresses.iter();
    let addresses = addresses.filter(|address| address.ifindex == device.index && address.global);
    instead.extend(addresses.map(|address| {
        format!(
            "ip addr add {}/{} dev {name}",
            address.ip, address.prefix_len
        )
    }));
    place.left_out.push((
        "the host itself is in the VNI by the device, and its addresses and routes go with that; a bridge of the same name takes its place: make it when the device is deleted, and add routes again (ip route show dev) that are not of the addresses"
            .to_owned(),
        instead,
    ));
}
