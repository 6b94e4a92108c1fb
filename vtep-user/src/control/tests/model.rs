//! The BPF maps as ordinary ones, and what must hold of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use vtep_common::abi::{
    addr::VtepAddr,
    config::Config,
    fdb::{FdbKey, FdbTarget, FdbValue},
    flood::{FloodList, ListedKey},
    id::{Ifindex, ListId, PeerId, PortSlot, SegmentId},
    map::{MAX_FLOOD_LISTS, MAX_SEGMENTS},
    neigh::{NeighKey, NeighOrigin, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::{Policed, Policer},
    port::{GuardedKey, Port, PortKey, PortName},
    segment::{Segment, SourceKey},
    vlans::Vlans,
};

use super::super::{Dump, Write};
use crate::control::record::ports;

/// What the maps hold.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) config: Config,
    pub(super) locals: HashSet<VtepAddr>,
    pub(super) groups: HashSet<VtepAddr>,
    pub(super) vnis: HashMap<u32, SegmentId>,
    pub(super) segments: BTreeMap<SegmentId, Segment>,
    pub(super) port_index: HashMap<PortKey, PortSlot>,
    pub(super) ports: BTreeMap<PortSlot, Port>,
    pub(super) policers: BTreeMap<(PortSlot, Policed), Policer>,
    pub(super) trunks: HashMap<Ifindex, Box<Vlans>>,
    pub(super) port_names: BTreeMap<PortSlot, PortName>,
    pub(super) fdb: HashMap<FdbKey, FdbValue>,
    /// Entries of the FDB that mean nothing.
    pub(super) unknown: HashSet<FdbKey>,
    pub(super) neighs: HashMap<NeighKey, NeighValue>,
    pub(super) nexthops: HashMap<(u32, NexthopKey), NexthopValue>,
    pub(super) sources: HashSet<SourceKey>,
    pub(super) guarded: HashSet<GuardedKey>,
    pub(super) configured: HashSet<ListedKey>,
    pub(super) bridges: HashMap<SegmentId, PortName>,
    pub(super) flood: BTreeMap<ListId, Box<FloodList>>,
    pub(super) peers: BTreeMap<PeerId, Peer>,
    pub(super) peer_index: HashMap<VtepAddr, PeerId>,
    /// Slots whose counters were zeroed since they were last given out.
    pub(super) cleared: HashSet<(char, u32)>,
}

impl Model {
    /// Makes the writes one by one, and checks after each that nothing points to what is not there.
    pub(super) fn replay(&mut self, writes: &[Write]) {
        for write in writes {
            self.write(write);
            self.check_references(write);
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::Config(config) => self.config = *config,
            Write::Local(addr, true) => drop(self.locals.insert(*addr)),
            Write::Local(addr, false) => assert!(self.locals.remove(addr)),
            Write::Group(addr, true) => assert!(self.groups.insert(*addr)),
            Write::Group(addr, false) => assert!(self.groups.remove(addr)),
            Write::Neigh(key, value) => set(&mut self.neighs, *key, *value),
            Write::Nexthop(bits, key, value) => set(&mut self.nexthops, (*bits, *key), *value),
            Write::Configured(key, true) => assert!(self.configured.insert(*key)),
            Write::Configured(key, false) => assert!(self.configured.remove(key)),
            Write::Bridge(number, bridge) => set(&mut self.bridges, *number, *bridge),
            Write::Source(key, true) => assert!(self.sources.insert(*key)),
            Write::Source(key, false) => assert!(self.sources.remove(key)),
            Write::Guarded(key, true) => assert!(self.guarded.insert(*key)),
            Write::Guarded(key, false) => assert!(self.guarded.remove(key)),
            Write::Vni(vni, number) => set(&mut self.vnis, *vni, *number),
            Write::Segment(number, segment) => {
                let used = segment.has(Segment::IN_USE).then_some(**segment);
                self.give_out(
                    's',
                    number.get(),
                    used.is_some(),
                    self.segments.contains_key(number),
                );
                slot(&mut self.segments, *number, used);
            }
            Write::PortIndex(key, slot) => set(&mut self.port_index, *key, *slot),
            Write::Port(number, port) => {
                let used = port.has(Port::IN_USE).then_some(*port);
                self.give_out(
                    'p',
                    number.get(),
                    used.is_some(),
                    self.ports.contains_key(number),
                );
                slot(&mut self.ports, *number, used);
            }
            Write::Policer(number, what, policer) => {
                let policer = (policer.rate != 0).then_some(*policer);
                slot(&mut self.policers, (*number, *what), policer);
            }
            Write::Trunk(ifindex, vlans) => set(&mut self.trunks, *ifindex, vlans.clone()),
            Write::PortName(number, name) => {
                let name = (!name.is_none()).then_some(*name);
                slot(&mut self.port_names, *number, name);
            }
            Write::Fdb(key, None) if self.unknown.remove(key) => {}
            Write::Fdb(key, value) => set(&mut self.fdb, *key, *value),
            Write::Flood(number, list) => {
                assert!(number.get() < MAX_FLOOD_LISTS);
                slot(&mut self.flood, *number, list.clone());
            }
            Write::Peer(number, peer) => {
                let used = peer.has(Peer::IN_USE).then_some(**peer);
                self.give_out(
                    'r',
                    number.get(),
                    used.is_some(),
                    self.peers.contains_key(number),
                );
                slot(&mut self.peers, *number, used);
            }
            Write::PeerIndex(addr, number) => set(&mut self.peer_index, *addr, *number),
            Write::ClearSegmentCounters(number) => drop(self.cleared.insert(('s', number.get()))),
            Write::ClearPortCounters(slot) => drop(self.cleared.insert(('p', slot.get()))),
            Write::ClearPeerCounters(number) => drop(self.cleared.insert(('r', number.get()))),
        }
    }

    /// A slot that is given out counts from zero.
    fn give_out(&mut self, kind: char, number: u32, used: bool, was_used: bool) {
        if used && !was_used {
            assert!(self.cleared.remove(&(kind, number)), "{kind}{number}");
        }
    }

    fn check_references(&self, after: &Write) {
        let has =
            |ok: bool, what: &dyn std::fmt::Debug| assert!(ok, "{what:?} dangles after {after:?}");
        for (vni, number) in &self.vnis {
            let segment = self.segments.get(number);
            has(segment.is_some_and(|segment| segment.vni == *vni), vni);
        }
        for (key, slot) in &self.port_index {
            let port = self.ports.get(slot);
            // On the way to where a port waits, and back, there are two keys; no frame comes with one of them, or none gets there.
            let waits =
                |port: &Port| Ifindex::new(key.ifindex).is_absent() || port.has(Port::ABSENT);
            has(
                port.is_some_and(|port| {
                    (port.ifindex, port.vlan) == (key.ifindex, key.vlan) || waits(port)
                }),
                key,
            );
        }
        for key in self.port_index.keys().filter(|key| key.vlan != 0) {
            let trunk = self.trunks.get(&Ifindex::new(key.ifindex));
            has(trunk.is_some_and(|vlans| vlans.has(key.vlan)), key);
            let untagged = PortKey::new(key.ifindex, 0);
            if let Some(slot) = self.port_index.get(&untagged) {
                has(self.ports[slot].has(Port::TRUNK), key);
            }
        }
        for port in self.ports.values() {
            has(self.segments.contains_key(&port.segment), port);
        }
        for (key, value) in &self.fdb {
            let number = key.segment();
            has(self.segments.contains_key(&number), key);
            has(
                match value.target {
                    FdbTarget::Peer(peer) => self.is_vtep(peer),
                    FdbTarget::Port(slot) => self.in_segment(slot, number),
                    FdbTarget::List(list) => {
                        list.get() >= MAX_SEGMENTS && self.flood.contains_key(&list)
                    }
                },
                value,
            );
        }
        for (number, list) in &self.flood {
            for slot in list.ports() {
                let group = number.get() >= MAX_SEGMENTS;
                let own = SegmentId::new(number.get());
                has(
                    self.ports.contains_key(&slot) && (group || self.in_segment(slot, own)),
                    &slot,
                );
            }
            for peer in list.peers() {
                has(self.peers.contains_key(&peer), &peer);
            }
        }
        for key in self.neighs.keys() {
            has(self.segments.contains_key(&key.segment), key);
        }
        for ((_, key), value) in &self.nexthops {
            has(self.segments.contains_key(&key.segment), key);
            has(
                match value.target().get() {
                    Some(FdbTarget::Peer(peer)) => self.is_vtep(peer),
                    Some(FdbTarget::Port(slot)) => self.in_segment(slot, key.segment),
                    Some(FdbTarget::List(_)) => false,
                    None => true,
                },
                value,
            );
        }
        for (addr, number) in &self.peer_index {
            has(
                self.peers
                    .get(number)
                    .is_some_and(|peer| peer.addr == *addr),
                addr,
            );
        }
    }

    fn is_vtep(&self, peer: PeerId) -> bool {
        let peer = self.peers.get(&peer);
        peer.is_some_and(|peer| !peer.has(Peer::MULTICAST))
    }

    fn in_segment(&self, slot: PortSlot, number: SegmentId) -> bool {
        self.ports
            .get(&slot)
            .is_some_and(|port| port.segment == number)
    }

    /// A port or VNI says that it is full when it has as many MACs as it may, and drops others for that.
    fn check_limits(&self) {
        for (number, segment) in &self.segments {
            let count = self.fdb.keys().filter(|key| key.segment() == *number);
            let full = segment.max_macs != 0 && count.count() >= segment.max_macs as usize;
            assert_eq!(
                segment.has(Segment::FULL),
                full && segment.has(Segment::OVER_LIMIT_DROP)
            );
        }
        for (slot, port) in &self.ports {
            let here = FdbTarget::Port(*slot);
            let count = self.fdb.values().filter(|value| value.target == here);
            let full = port.max_macs != 0 && count.count() >= port.max_macs as usize;
            assert_eq!(
                port.has(Port::FULL),
                full && !port.has(Port::OVER_LIMIT_FLOOD)
            );
        }
    }

    /// Listed are the VTEPs that entries of a VNI name which no frame made, in VNIs that ask for it; and nothing is learned elsewhere.
    fn check_sources(&self) {
        for key in &self.configured {
            let (list, peer) = key.parts();
            let list = self.flood.get(&list);
            assert!(
                list.is_some_and(|list| list.peers().any(|other| other == peer)),
                "{key:?}"
            );
        }
        let mut named = HashSet::new();
        for (key, value) in &self.fdb {
            match value.target {
                FdbTarget::Peer(peer) if !value.origin.ages() => {
                    named.insert(SourceKey::new(key.segment(), peer));
                }
                FdbTarget::List(list) => {
                    let peers = self.flood[&list].peers();
                    named.extend(peers.map(|peer| SourceKey::new(key.segment(), peer)));
                }
                _ => {}
            }
        }
        for number in self.segments.keys() {
            if let Some(list) = self.flood.get(&ListId::from(*number)) {
                let vteps = list.peers().filter(|&peer| self.is_vtep(peer));
                named.extend(vteps.map(|peer| SourceKey::new(*number, peer)));
            }
        }
        for ((_, key), value) in &self.nexthops {
            if let Some(FdbTarget::Peer(peer)) = value.target().get()
                && value.flags & NexthopValue::TRACKS == 0
            {
                named.insert(SourceKey::new(key.segment, peer));
            }
        }
        let listed = |number: SegmentId| self.segments[&number].has(Segment::LISTED);
        named.retain(|key| listed(key.parts().0));
        assert_eq!(self.sources, named);
        for (key, value) in &self.fdb {
            if let (FdbTarget::Peer(peer), true) = (value.target, value.origin.ages()) {
                let key = SourceKey::new(key.segment(), peer);
                assert!(!listed(key.parts().0) || named.contains(&key), "{key:?}");
            }
        }
    }

    /// Checks what must hold between changes: nothing is left over, and everything is where it belongs.
    pub(super) fn check_whole(&self, locals: &[IpAddr]) {
        assert_eq!(
            self.locals,
            locals.iter().copied().map(VtepAddr::from).collect()
        );
        assert_eq!(self.vnis.len(), self.segments.len());
        assert_eq!(self.port_index.len(), self.ports.len());
        assert_eq!(self.peer_index.len(), self.peers.len());

        let mut lists = BTreeSet::new();
        let mut referred = BTreeSet::new();
        for (key, value) in &self.fdb {
            match value.target {
                FdbTarget::Peer(peer) => drop(referred.insert(peer)),
                FdbTarget::List(list) => {
                    assert!(lists.insert(list), "one entry for each list");
                    self.check_ports(list, key.segment());
                    assert_ne!(self.flood[&list].peers().count(), 0);
                }
                FdbTarget::Port(_) => {}
            }
        }
        for number in self.segments.keys() {
            let list = ListId::from(*number);
            self.check_ports(list, *number);
            lists.insert(list);
        }
        for (number, list) in &self.flood {
            assert!(lists.contains(number), "list {number} is nobody's");
            let distinct: BTreeSet<_> = list.peers().collect();
            assert_eq!(distinct.len(), list.peers().count(), "each peer once");
            referred.extend(distinct);
        }
        for ((bits, key), value) in &self.nexthops {
            assert!((NexthopKey::SEGMENT_BITS..=NexthopKey::BITS).contains(bits));
            if let Some(FdbTarget::Peer(peer)) = value.target().get()
                && value.flags & NexthopValue::TRACKS == 0
            {
                referred.insert(peer);
            }
            assert!(self.segments[&key.segment].has(Segment::NEXTHOPS));
        }
        for (number, segment) in &self.segments {
            let mut keys = self.nexthops.keys();
            let has = keys.any(|(_, key)| key.segment == *number);
            assert_eq!(segment.has(Segment::NEXTHOPS), has);
        }
        self.check_limits();
        self.check_sources();
        let mut bridges = HashSet::new();
        for (number, bridge) in &self.bridges {
            assert!(self.segments.contains_key(number), "{bridge:?} is nobody's");
            assert!(bridges.insert(bridge.as_str()), "{bridge:?} is in two VNIs");
        }
        for (key, value) in &self.neighs {
            let fdb = FdbKey::new(key.segment, value.mac());
            let snooped = value.origin() == Some(NeighOrigin::Snooped);
            assert!(!snooped || self.fdb.contains_key(&fdb), "{value:?}");
        }
        assert_eq!(referred, self.peers.keys().copied().collect());
        let groups = self.peers.values();
        let groups = groups.filter(|peer| peer.has(Peer::MULTICAST));
        assert_eq!(self.groups, groups.map(|peer| peer.addr).collect());

        for port in self.ports.values() {
            let key = PortKey::new(port.ifindex, port.vlan);
            assert!(self.port_index.contains_key(&key), "{port:?}");
            let absent = Ifindex::new(port.ifindex).is_absent();
            assert_eq!(port.has(Port::ABSENT), absent, "{port:?}");
        }
        self.check_trunks();
        let mut hooks = HashMap::new();
        for port in self.ports.values() {
            let hook = *hooks.entry(port.ifindex).or_insert(ports::hook(port.flags));
            assert_eq!(ports::hook(port.flags), hook, "an interface has one hook");
        }
        for peer in self.peers.values() {
            let v6 = peer.addr.is_v6();
            let is_group = IpAddr::from(peer.addr).is_multicast();
            assert_eq!(peer.has(Peer::MULTICAST), is_group);
            if is_group {
                assert!(!peer.has(Peer::RESOLVED | Peer::UNREACHABLE) && peer.mtu == 0);
            }
            assert_eq!(peer.has(Peer::IPV6), v6);
            assert_eq!(peer.has(Peer::CHECKSUM), v6 && !peer.has(Peer::CSUM6_OFF));
            if peer.has(Peer::RESOLVED) {
                assert!(self.locals.contains(&peer.local));
                assert_eq!(peer.local.is_v6(), v6);
            }
        }
    }

    /// What is said of trunks is what the ports say.
    fn check_trunks(&self) {
        let mut vlans: HashMap<Ifindex, Vec<u16>> = HashMap::new();
        for port in self.ports.values().filter(|port| port.vlan != 0) {
            let ifindex = Ifindex::new(port.ifindex);
            vlans.entry(ifindex).or_default().push(port.vlan);
        }
        for port in self.ports.values() {
            let is_trunk = port.vlan == 0 && vlans.contains_key(&Ifindex::new(port.ifindex));
            assert_eq!(port.has(Port::TRUNK), is_trunk, "{port:?}");
        }
        let want = vlans.into_iter();
        let want: HashMap<_, _> = want
            .map(|(ifindex, vlans)| (ifindex, Box::new(Vlans::of(vlans))))
            .collect();
        assert_eq!(self.trunks, want);
    }

    /// The ports on a list are those of its VNI, all of them, each once.
    fn check_ports(&self, list: ListId, segment: SegmentId) {
        let wanted: Vec<_> = self
            .ports
            .iter()
            .filter(|(_, port)| port.segment == segment && !port.has(Port::ABSENT))
            .map(|(slot, _)| *slot)
            .collect();
        let found = self.flood.get(&list);
        let found: Vec<_> = found.into_iter().flat_map(|list| list.ports()).collect();
        assert_eq!(found, wanted, "ports on list {list}");
    }

    /// What a new daemon reads.
    pub(super) fn dump(&self) -> Dump {
        Dump {
            vnis: pairs(&self.vnis),
            segments: pairs(&self.segments),
            port_index: pairs(&self.port_index),
            ports: pairs(&self.ports),
            policers: pairs(&self.policers),
            trunks: self
                .trunks
                .iter()
                .map(|(at, vlans)| (*at, **vlans))
                .collect(),
            port_names: pairs(&self.port_names),
            attached: HashMap::new(),
            fdb: self
                .fdb
                .iter()
                .map(|(key, value)| (*key, Some(*value)))
                .chain(self.unknown.iter().map(|key| (*key, None)))
                .collect(),
            flood: self.flood.iter().map(|(at, list)| (*at, **list)).collect(),
            peers: pairs(&self.peers),
            peer_index: pairs(&self.peer_index),
            locals: self.locals.iter().copied().collect(),
            groups: self.groups.iter().copied().collect(),
            neighs: pairs(&self.neighs),
            sources: self.sources.iter().copied().collect(),
            guarded: self.guarded.iter().copied().collect(),
            configured: self.configured.iter().copied().collect(),
            bridges: pairs(&self.bridges),
            nexthops: self
                .nexthops
                .iter()
                .map(|(&(bits, key), &value)| (bits, key, value))
                .collect(),
        }
    }
}

/// The numbers of the ports and of the peers on a list.
pub(super) fn split(list: &FloodList) -> (Vec<u32>, Vec<u32>) {
    let ports = list.ports().map(PortSlot::get).collect();
    (ports, list.peers().map(PeerId::get).collect())
}

fn pairs<'a, K: Copy + 'a, V: Copy + 'a>(
    map: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> Vec<(K, V)> {
    map.into_iter().map(|(key, value)| (*key, *value)).collect()
}

/// Writes or deletes a key; only one that is there is deleted.
fn set<K: std::hash::Hash + Eq, V>(map: &mut HashMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => assert!(map.remove(&key).is_some()),
    }
}

/// Writes or frees a slot; only one that is in use is freed.
fn slot<K: Ord, V>(map: &mut BTreeMap<K, V>, number: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(number, value)),
        None => assert!(map.remove(&number).is_some()),
    }
}
