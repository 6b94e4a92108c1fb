//! What was set: each thing once, as the command that makes it, whatever commands made it what it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vtep_common::abi::addr::MacAddr;
use vtep_common::abi::fdb::FdbTarget;
use vtep_common::abi::id::SegmentId;
use vtep_common::abi::neigh::NeighOrigin;
use vtep_common::abi::port::Port;

use crate::control::ops::{peer, port_row};
use crate::control::record::entry::Entry;
use crate::control::record::settings;
use crate::control::state::State;
use crate::model::{
    DumpRow, FdbSpec, NeighSpec, NexthopSpec, Op, PeerSpec, Prefix, Source, VlanId, Vni, VniSpec,
    write,
};

/// Which thing, in the order in which things are made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ThingKey {
    /// A VNI.
    Vni(Vni),
    /// A port.
    Port(String, Option<VlanId>),
    /// An entry of the FDB.
    Entry(Vni, MacAddr),
    /// A VTEP on a list: that of the zero MAC, or of a multicast MAC.
    Listed(Vni, MacAddr, IpAddr),
    /// A host.
    Neigh(Vni, IpAddr),
    /// An entry of the nexthop table.
    Nexthop(Vni, IpAddr, u8),
    /// How a VTEP is sent to.
    Peer(IpAddr),
}

impl ThingKey {
    /// The thing that a command makes, or changes.
    pub(crate) fn of(op: &Op) -> Option<Self> {
        let of_entry = |spec: &FdbSpec| match spec.dst {
            Some(dst) if spec.mac.is_zero() || spec.mac.is_group() => {
                Self::Listed(spec.vni, spec.mac, dst)
            }
            _ => Self::Entry(spec.vni, spec.mac),
        };
        let of_nexthop = |vni, prefix: Prefix| Self::Nexthop(vni, prefix.addr(), prefix.len());
        Some(match op {
            Op::VniAdd { vni, .. } | Op::VniReplace { vni, .. } | Op::VniSet { vni, .. } => {
                Self::Vni(*vni)
            }
            Op::PortAdd(spec) | Op::PortReplace(spec) => Self::Port(spec.dev.clone(), spec.vlan),
            Op::PortSet { dev, change } => Self::Port(dev.clone(), change.vlan),
            Op::FdbAdd(spec) | Op::FdbAppend(spec) | Op::FdbReplace(spec) => of_entry(spec),
            Op::NeighAdd(spec) | Op::NeighReplace(spec) => Self::Neigh(spec.vni, spec.ip),
            Op::NexthopAdd(spec) | Op::NexthopReplace(spec) => of_nexthop(spec.vni, spec.ip),
            Op::PeerSet { ip, .. } => Self::Peer(*ip),
            Op::VniDel { .. }
            | Op::PortDel { .. }
            | Op::FdbDel(_)
            | Op::FdbFlush(_)
            | Op::NeighDel(_)
            | Op::NexthopDel(_) => return None,
        })
    }
}

/// A thing that was set.
#[derive(Clone, Debug, PartialEq)]
pub struct Thing {
    /// The command that makes it, without what is the default.
    pub make: Op,
    /// Who set it.
    pub source: Source,
    /// The VNI that it belongs to.
    pub vni: Option<Vni>,
}

/// Things by their keys.
pub type Things = BTreeMap<ThingKey, Thing>;

/// Where an FDB entry that was set leads, and who set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed<'a> {
    at: Place<'a>,
    source: Source,
}

/// The VTEP or the interface that an FDB entry names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place<'a> {
    Vtep(IpAddr),
    Device(&'a str),
}

impl Placed<'_> {
    /// The entry of a MAC as a thing.
    pub(super) fn thing(self, vni: Vni, mac: MacAddr) -> Thing {
        let (dst, dev) = match self.at {
            Place::Vtep(ip) => (Some(ip), None),
            Place::Device(name) => (None, Some(name.to_owned())),
        };
        Thing {
            make: Op::FdbAdd(FdbSpec { mac, vni, dst, dev }),
            source: self.source,
            vni: Some(vni),
        }
    }
}

impl State {
    /// Everything that was set.
    #[must_use]
    pub fn things(&self) -> Things {
        let mut things = self.things_but_entries();
        for (number, vni) in self.segment_names() {
            for (mac, entry) in self.fdb.entries(number) {
                if let Some(placed) = self.placed(mac, entry) {
                    things.insert(ThingKey::Entry(vni, mac), placed.thing(vni, mac));
                }
            }
        }
        things
    }

    /// Everything that was set but for the entries of MACs, of which there can be millions.
    ///
    /// # Panics
    ///
    /// If a command that makes a thing makes none, which a test excludes.
    pub(super) fn things_but_entries(&self) -> Things {
        let mut things = Things::new();
        let mut add = |make: Op, source, vni| {
            let key = ThingKey::of(&make).expect("it makes something");
            things.insert(key, Thing { make, source, vni });
        };
        let numbers: Vec<SegmentId> = self.segments.numbers().collect();
        for &number in &numbers {
            let pod = &self.segments[number];
            let vni = self.segments.vni(number);
            let bridge = self.bridges.of(number);
            let spec = Box::new(VniSpec {
                bridge: bridge.map(|name| name.as_str().to_owned()),
                ..settings::minimal(pod)
            });
            add(Op::VniAdd { vni, spec }, settings::source(pod), Some(vni));
        }
        let ports = self.ports.iter();
        for (slot, _) in ports.filter(|(_, port)| !port.has(Port::BRIDGED)) {
            let (spec, source) = port_row::spec(self, slot);
            let vni = Some(spec.vni);
            add(Op::PortAdd(Box::new(spec)), source, vni);
        }
        for &number in &numbers {
            self.things_in(number, &mut add);
        }
        for (_, record) in self.peers.iter() {
            if let Some(source) = peer::source(record) {
                let (ip, csum6) = (record.ip, Some(false));
                let spec = PeerSpec { csum6 };
                add(Op::PeerSet { ip, spec }, source, None);
            }
        }
        things
    }

    /// What an entry of the FDB is as a thing: nothing if it was learned, if it is a list, whose VTEPs are things, or if it is one of
    /// its port's settings.
    pub(super) fn placed(&self, mac: MacAddr, entry: Entry) -> Option<Placed<'_>> {
        if !entry.is_static() {
            return None;
        }
        let at = match entry.target() {
            FdbTarget::Peer(peer) => Place::Vtep(self.peers.ip(peer)),
            FdbTarget::Port(slot) if !port_row::has_as_its_own(self, slot, mac) => {
                Place::Device(self.ports.device_name(slot))
            }
            FdbTarget::Port(_) | FdbTarget::List(_) => return None,
        };
        let source = entry.source();
        Some(Placed { at, source })
    }

    /// Whether the entry of a MAC was set.
    pub(super) fn sets_entry(&self, vni: Vni, mac: MacAddr) -> bool {
        let number = self.segments.number_of(vni);
        let entry = number.and_then(|number| self.fdb.get(number, mac));
        entry.is_some_and(|entry| self.placed(mac, entry).is_some())
    }

    /// What was set, as the commands that make it.
    #[must_use]
    pub fn dump(&self, vni: Option<Vni>, source: Option<Source>) -> Vec<DumpRow> {
        let things = self.things().into_values();
        things
            .filter(|thing| vni.is_none_or(|vni| thing.vni == Some(vni)))
            .filter(|thing| source.is_none_or(|source| thing.source == source))
            .map(|thing| DumpRow {
                command: write::command(&thing.make),
                source: Some(thing.source),
                vni: thing.vni,
            })
            .collect()
    }

    /// What was set in a VNI, besides itself, its ports and the entries of MACs.
    fn things_in(&self, number: SegmentId, add: &mut impl FnMut(Op, Source, Option<Vni>)) {
        let vni = self.segments.vni(number);
        for mac in self.flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
            for &peer in self.flood.remotes(number, mac) {
                let source = self.flood.source(number, mac, peer);
                let (dst, dev) = (Some(self.peers.ip(peer)), None);
                let spec = FdbSpec { mac, vni, dst, dev };
                add(Op::FdbAppend(spec), source, Some(vni));
            }
        }
        for (ip, neigh) in self.hosts.entries(number) {
            if neigh.origin == NeighOrigin::Static {
                let spec = NeighSpec {
                    ip,
                    vni,
                    lladdr: Some(neigh.mac),
                    router: neigh.router == Some(true),
                };
                add(Op::NeighAdd(spec), neigh.source, Some(vni));
            }
        }
        for (prefix, _) in self.nexthops.routes(number) {
            if let Some(nexthop) = self.nexthops.get(number, prefix) {
                let spec = NexthopSpec {
                    ip: prefix,
                    vni,
                    via: nexthop.via.map(|peer| self.peers.ip(peer)),
                    lladdr: nexthop.mac,
                };
                add(Op::NexthopAdd(spec), nexthop.source, Some(vni));
            }
        }
    }
}
