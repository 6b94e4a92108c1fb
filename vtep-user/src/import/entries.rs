//! The FDB of a VNI, its flood list, and the hosts that are answered for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use vtep_common::abi::id::Ifindex;

use super::facts::Facts;
use super::rows::{LeftOut, Rows};
use super::segments::Segment;
use crate::control;
use crate::model::{FdbSpec, MacAddr, NeighSpec, Op, Vni};
use crate::netlink::{FdbEntry, FdbKind, Neighbour, NeighbourState, Vxlan};

/// What a VNI has of entries.
#[derive(Debug, Default)]
pub(super) struct Entries {
    /// The commands that make them.
    pub(super) ops: Vec<Op>,
    /// The VTEPs that a command names.
    pub(super) named: BTreeSet<IpAddr>,
    /// Whether the flood list has VTEPs.
    pub(super) floods: bool,
    /// VTEPs that were learned.
    pub(super) learned: BTreeSet<IpAddr>,
    /// What is left out.
    pub(super) left_out: Vec<LeftOut>,
}

/// The entries of a VNI. Learned ones are left out: they are learned again.
pub(super) fn of(facts: &Facts, device: &Vxlan, segment: &Segment) -> Entries {
    let vni = segment.vni;
    let mut entries = Entries::default();
    let mut nexthops = BTreeMap::<u32, Vec<MacAddr>>::new();
    let mut external = 0_usize;
    let mut written = HashSet::new();
    for entry in facts
        .fdb
        .iter()
        .filter(|entry| is_of(entry, device, segment))
    {
        let mac = MacAddr::from_bytes(entry.mac);
        if let Some(id) = entry.nexthop {
            nexthops.entry(id).or_default().push(mac);
            continue;
        }
        let Some(dst) = entry.dst else { continue };
        if entry.kind == FdbKind::Learned {
            entries.learned.insert(dst);
            continue;
        }
        if mac.is_zero() && dst.is_multicast() {
            if device.remote != Some(dst) {
                let what = format!("floods to {dst} too, and a VNI has one group");
                entries.left_out.push((what, vec![]));
            }
            continue;
        }
        if let Some(left_out) = elsewhere(entry, device, vni, dst) {
            entries.left_out.push(left_out);
            continue;
        }
        external += usize::from(entry.kind == FdbKind::External);
        entries.floods |= mac.is_zero();
        entries.named.insert(dst);
        let spec = FdbSpec {
            mac,
            vni,
            dst: Some(dst),
            dev: None,
        };
        let op = if mac.is_zero() || mac.is_group() {
            Op::FdbAppend(spec)
        } else {
            Op::FdbAdd(spec)
        };
        if written.insert((entry.mac, dst)) {
            entries.ops.push(op);
        }
    }
    for (id, macs) in nexthops {
        let what = format!(
            "{} point to nexthop {id} (ip nexthop), and a MAC is behind one VTEP",
            count(macs.len(), "MAC", "MACs")
        );
        let instead = macs
            .iter()
            .map(|mac| format!("vtep fdb add {mac} --vni {vni} --dst VTEP"));
        entries.left_out.push((what, instead.collect()));
    }
    if external > 0 {
        let what = format!(
            "{} kept by a routing daemon or another controller (extern_learn); they are here as they are now, and vtep does not follow it",
            match external {
                1 => "1 entry is".to_owned(),
                many => format!("{many} entries are"),
            }
        );
        entries.left_out.push((what, vec![]));
    }
    entries
}

/// How many there are of something.
fn count(number: usize, one: &str, many: &str) -> String {
    let word = if number == 1 { one } else { many };
    format!("{number} {word}")
}

/// Whether an entry is the device's own, and of the VNI.
fn is_of(entry: &FdbEntry, device: &Vxlan, segment: &Segment) -> bool {
    let of_vni = !segment.named || entry.source_vni == Some(segment.vni.get());
    entry.ifindex == device.index && !entry.of_bridge && of_vni
}

/// Why an entry cannot be one of ours, if it cannot.
fn elsewhere(entry: &FdbEntry, device: &Vxlan, vni: Vni, dst: IpAddr) -> Option<LeftOut> {
    let mac = MacAddr::from_bytes(entry.mac);
    if let Some(port) = entry.port.filter(|port| *port != device.port) {
        let what =
            format!("{mac} is behind {dst} at UDP port {port}, and a daemon sends to one port");
        return Some((what, vec![]));
    }
    if let Some(other) = entry.vni.filter(|other| *other != vni.get()) {
        let what = format!("{mac} is behind {dst} in vni {other}, and packets keep their VNI");
        return Some((what, vec![]));
    }
    let unfit = control::unfit(dst)?;
    Some((format!("{mac} is behind {dst}, which is {unfit}"), vec![]))
}

/// The hosts that ARP and ND are answered for: of the device itself where that answers (`proxy`), of its bridge where that does.
pub(super) fn neighbours(facts: &Facts, device: &Vxlan, segment: &Segment, rows: &mut Rows) {
    let own = device.proxy.then_some(device.index);
    let bridge = facts.master(device.index).map(|bridge| bridge.index);
    let bridge = bridge.filter(|_| facts.member(device.index).suppress);
    if let (Some(bridge), Some(vlan)) = (bridge, segment.vlan) {
        let name = facts.name(bridge);
        rows.left_out(
            format!("{name} answers ARP and ND of VLAN {vlan} from the neighbours of an interface on top of it"),
            [
                "ip neigh show".to_owned(),
                format!("vtep neigh add IP --vni {} --lladdr MAC", segment.vni),
            ],
        );
    }
    let bridge = bridge.filter(|_| segment.vlan.is_none());
    let mut told = BTreeSet::new();
    for index in [own, bridge].into_iter().flatten() {
        for host in facts.neighbours.iter().filter(|host| is_host(host, index)) {
            let Some(mac) = host.mac else { continue };
            if told.insert(host.ip) {
                rows.command(&Op::NeighAdd(NeighSpec {
                    ip: host.ip,
                    vni: segment.vni,
                    lladdr: Some(MacAddr::from_bytes(mac)),
                    router: host.router,
                }));
            }
        }
    }
}

/// Whether a neighbour is a host that somebody has set, at this interface.
fn is_host(host: &Neighbour, index: Ifindex) -> bool {
    let set = matches!(
        host.state,
        NeighbourState::Permanent | NeighbourState::NoArp
    );
    let mac = host.mac.map(MacAddr::from_bytes);
    let unicast = mac.is_some_and(|mac| !mac.is_zero() && !mac.is_group());
    host.ifindex == index
        && (set || host.external)
        && unicast
        && control::unfit_host(host.ip).is_none()
}
