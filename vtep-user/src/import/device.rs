//! The settings of a vxlan device as those of a VNI, and what differs.

use std::num::NonZeroU8;

use super::entries::Entries;
use super::facts::Facts;
use super::options;
use super::rows::Rows;
use crate::model::{Df, Flood, Mode, OrInherit, PortRange, Sources, Vni, VniSpec};
use crate::netlink::Vxlan;

/// Seconds after which a learned entry goes, of a new device and of a new VNI.
const AGEING_S: u32 = 300;
/// What VXLAN adds to an inner packet over IPv4, in bytes: IP, UDP, VXLAN and inner Ethernet header.
const OVERHEAD_V4: u32 = 50;
/// The same over IPv6.
const OVERHEAD_V6: u32 = 70;

/// How a VNI floods, learns and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Manner {
    mode: Mode,
    learning: bool,
    /// Whether ARP and ND are answered here.
    pub(super) suppress: bool,
}

impl Manner {
    /// That of a device with these entries. Its bridge may have ARP and ND answered too.
    pub(super) fn of(device: &Vxlan, entries: &Entries, suppress: bool) -> Self {
        let (learning, suppress) = (device.learning, device.proxy || suppress);
        let grouped = device.remote.is_some_and(|ip| ip.is_multicast());
        let mode = match (learning, suppress) {
            _ if grouped => Mode::Multicast,
            (true, _) => Mode::Flood,
            (false, true) if !entries.floods => Mode::L3,
            (false, _) => Mode::L2,
        };
        Self {
            mode,
            learning,
            suppress,
        }
    }

    /// Whether the mode alone says that MACs are learned.
    const fn learns_by_mode(self) -> bool {
        matches!(self.mode, Mode::Multicast | Mode::Flood)
    }
}

/// Why a device cannot be taken over at all.
pub(super) fn unfit(device: &Vxlan) -> Option<&'static str> {
    device
        .others
        .contains(&"gpe")
        .then_some("speaks VXLAN-GPE (gpe), which is another protocol, and stays with the kernel on a UDP port of its own")
}

/// The settings of the VNI, but for those of its ports.
pub(super) fn spec(device: &Vxlan, entries: &Entries, manner: Manner) -> VniSpec {
    let Manner {
        mode,
        learning,
        suppress,
    } = manner;
    let ttl = NonZeroU8::new(device.ttl).map(OrInherit::Value);
    // Learned VTEPs that nothing names were welcome, and where nothing names any, all of them.
    let welcome = entries.learned.difference(&entries.named).next().is_some();
    let any = mode != Mode::Multicast && (welcome || entries.named.is_empty());
    VniSpec {
        mode: (mode != Mode::Flood).then_some(mode),
        // The kernel's bridge floods to its members, whatever the device does.
        flood: (mode == Mode::L3).then_some(Flood::Her),
        group: device.remote.filter(|_| mode == Mode::Multicast),
        learning: (learning != manner.learns_by_mode()).then_some(learning),
        suppress: (suppress != (mode == Mode::L3)).then_some(suppress),
        ageing_s: Some(device.ageing_s).filter(|&it| learning && it != AGEING_S),
        max_macs: Some(device.limit).filter(|&most| most != 0),
        ttl: if device.ttl_inherit {
            Some(OrInherit::Inherit)
        } else {
            ttl
        },
        tos: match device.tos {
            0 => None,
            1 => Some(OrInherit::Inherit),
            tos => Some(OrInherit::Value(tos)),
        },
        df: (device.df == Some("inherit")).then_some(Df::Inherit),
        srcport: PortRange::new(device.source_ports.0, device.source_ports.1),
        sources: any.then_some(Sources::Any),
        ..VniSpec::default()
    }
}

/// Says what vtep does in another way than the device.
pub(super) fn differences(
    facts: &Facts,
    device: &Vxlan,
    vni: Vni,
    manner: Manner,
    rows: &mut Rows,
) {
    for word in &device.others {
        if let Some((what, instead)) = other(word, vni) {
            rows.left_out(format!("{word}: {what}"), instead);
        }
    }
    if manner.mode == Mode::Multicast && device.ttl == 0 && !device.ttl_inherit {
        rows.left_out(
            "sends to its group with TTL 1, which no router forwards; vtep sends with TTL 64",
            [format!("vtep vni set {vni} --ttl 1")],
        );
    }
    let uplink = options::uplinks(facts, &[device]).first().copied();
    let uplink = uplink.and_then(|index| facts.link(index));
    if let (Some(link), Some(uplink)) = (facts.link(device.index), uplink) {
        let over_v6 = device
            .local
            .or(device.remote)
            .is_some_and(|ip| ip.is_ipv6());
        let overhead = if over_v6 { OVERHEAD_V6 } else { OVERHEAD_V4 };
        let fits = uplink.mtu.saturating_sub(overhead);
        if link.mtu > fits {
            rows.left_out(
                format!(
                    "packets of {} bytes are fragmented over {}; vtep answers those above {fits} as too big, and guests send smaller ones",
                    link.mtu, uplink.name
                ),
                [format!("ip link set {} mtu {}", uplink.name, link.mtu + overhead)],
            );
        }
    }
}

/// What vtep does where a device has something switched on.
fn other(word: &str, vni: Vni) -> Option<(&'static str, Vec<String>)> {
    let known = match word {
        "l2miss" | "l3miss" => (
            "vtep tells what it misses as events",
            vec![format!("vtep monitor --vni {vni}")],
        ),
        "rsc" => (
            "packets to hosts behind a VTEP go there without their router; the nexthop table does that for what it names",
            vec![format!(
                "vtep nexthop add HOST_IP --vni {vni} --via VTEP_IP"
            )],
        ),
        "gbp" => (
            "vtep neither sends nor honours the group of a packet, and carries it without",
            vec![],
        ),
        "remcsumtx" | "remcsumrx" => (
            "vtep cannot complete a checksum that a VTEP leaves out; have every VTEP send whole ones",
            vec![],
        ),
        "udp6zerocsumtx" => (
            "vtep sends checksums over IPv6; VTEPs that take packets without can be told",
            vec!["vtep peer set IP --csum6 off".to_owned()],
        ),
        "flowlabel" => ("vtep sends flow label 0", vec![]),
        _ => return None,
    };
    Some(known)
}
