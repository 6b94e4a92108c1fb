//! Taking over what an earlier daemon left in the maps, and repairing what it had half done.
//!
//! A VNI without its key in `VNIS`, and a port without its key in `PORT_INDEX`, were half made or half deleted: either way
//! they go, with everything in them. What then points to nothing goes too.

mod fdb;
mod hosts;
mod interface;
mod policy;

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    net::IpAddr,
};

use bytemuck::Zeroable;
use vtep_common::abi::{
    addr::{Vni, VtepAddr},
    fdb::{FdbKey, FdbValue},
    flood::{FloodList, ListedKey},
    id::{Id, Ifindex, ListId, PeerId, PortSlot, SegmentId},
    map::{MAX_PEERS, MAX_PORTS, MAX_SEGMENTS},
    neigh::{NeighKey, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::{Policed, Policer},
    port::{GuardedKey, Port, PortKey, PortName},
    segment::{Segment, SourceKey},
    vlans::Vlans,
};

use self::interface::Known;
use super::{
    effect::{Effect, Write},
    ops::{absent, entry, peer, source},
    record::{
        facts::LinkFacts,
        ignored::Ignored,
        limits::Limits,
        peer::{Path, PeerRecord},
        ports::take_facts,
        settings,
    },
    state::State,
};
use crate::model::PeerState;

/// The policers of ports.
pub type PolicerEntries = Vec<((PortSlot, Policed), Policer)>;

/// What the pinned maps hold. Slots that are not in use may be left out.
#[derive(Clone, Debug, Default)]
pub struct Dump {
    /// `VNIS`.
    pub vnis: Vec<(u32, SegmentId)>,
    /// `SEGMENTS`.
    pub segments: Vec<(SegmentId, Segment)>,
    /// `PORT_INDEX`.
    pub port_index: Vec<(PortKey, PortSlot)>,
    /// `PORTS`.
    pub ports: Vec<(PortSlot, Port)>,
    /// `POLICERS`. Earlier builds have left none.
    pub policers: PolicerEntries,
    /// `TRUNKS`. Earlier builds have left none.
    pub trunks: Vec<(Ifindex, Vlans)>,
    /// `PORT_NAMES`. Earlier builds have left none.
    pub port_names: Vec<(PortSlot, PortName)>,
    /// Of each interface that was a port, whether the one that has its number is the one that it was. Nobody can say so of others.
    pub attached: HashMap<Ifindex, bool>,
    /// `FDB`; `None` for entries that mean nothing.
    pub fdb: Vec<(FdbKey, Option<FdbValue>)>,
    /// `FLOOD`.
    pub flood: Vec<(ListId, FloodList)>,
    /// `PEERS`.
    pub peers: Vec<(PeerId, Peer)>,
    /// `PEER_INDEX`.
    pub peer_index: Vec<(VtepAddr, PeerId)>,
    /// Our own addresses in `LOCALS`.
    pub locals: Vec<VtepAddr>,
    /// Multicast groups in `LOCALS`.
    pub groups: Vec<VtepAddr>,
    /// `NEIGHS`.
    pub neighs: Vec<(NeighKey, NeighValue)>,
    /// `NEXTHOPS`, each with the length of its prefix as in [`Write::Nexthop`].
    pub nexthops: Vec<(u32, NexthopKey, NexthopValue)>,
    /// `SOURCES`.
    pub sources: Vec<SourceKey>,
    /// `GUARDED`.
    pub guarded: Vec<GuardedKey>,
    /// `CONFIGURED`. Earlier builds have left none.
    pub configured: Vec<ListedKey>,
    /// `BRIDGES`. Earlier builds have left none.
    pub bridges: Vec<(SegmentId, PortName)>,
}

/// A state taken over from the maps.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// The state.
    pub state: State,
    /// What is to be written so that the maps hold just that state. Empty where nothing was half done or has changed.
    pub writes: Vec<Write>,
    /// What was taken away, a sentence each, for the log.
    pub notes: Vec<String>,
}

impl State {
    /// Takes over what the maps hold. `links` are the interfaces that exist now, by number: ports of others go, and those whose
    /// number another interface has.
    ///
    /// Peers that were resolved stay so, until [`State::resolved`] says otherwise.
    #[must_use]
    pub fn adopt(
        dump: &Dump,
        locals: Vec<IpAddr>,
        udp_port: u16,
        limits: Limits,
        links: &HashMap<Ifindex, LinkFacts>,
    ) -> Adopted {
        let mut adoption = Adoption {
            state: Self::new(limits, locals, udp_port),
            early: Vec::new(),
            late: Vec::new(),
            notes: Vec::new(),
        };
        adoption.locals(dump);
        adoption.segments(dump);
        adoption.bridges(dump);
        adoption.ports(dump, links);
        adoption.rates(dump);
        adoption.peers(dump, links);
        adoption.groups(dump);
        let lists = adoption.lists(dump);
        adoption.fdb(dump, lists);
        adoption.configured(dump);
        adoption.hosts(dump);
        adoption.flood(dump);
        adoption.unused_peers(dump);
        adoption.limits(dump);
        adoption.sources(dump);
        adoption.guarded(dump);
        adoption.late.reverse();
        adoption.early.append(&mut adoption.late);
        let mut writes = adoption.early;
        // A daemon that was killed may have left what was learned from VTEPs that nothing names any more.
        let mut out = Effect::default();
        let numbers: Vec<_> = adoption.state.segments.numbers().collect();
        for number in numbers {
            if adoption.state.segments[number].has(Segment::LISTED) {
                source::unlist_unnamed(&mut adoption.state, number);
            }
        }
        entry::forget_unlisted(&mut adoption.state, &mut out);
        writes.append(&mut out.writes);
        Adopted {
            state: adoption.state,
            writes,
            notes: adoption.notes,
        }
    }
}

pub(crate) struct Adoption {
    pub(crate) state: State,
    /// Writes that take references away or bring records up to date.
    pub(crate) early: Vec<Write>,
    /// Writes that take targets away, those that are referred to last coming first.
    late: Vec<Write>,
    notes: Vec<String>,
}

impl Adoption {
    fn locals(&mut self, dump: &Dump) {
        let wanted: Vec<_> = self
            .state
            .locals()
            .iter()
            .copied()
            .map(VtepAddr::from)
            .collect();
        let came = wanted.iter().filter(|addr| !dump.locals.contains(addr));
        let went = dump.locals.iter().filter(|addr| !wanted.contains(addr));
        self.early
            .extend(came.map(|&addr| Write::Local(addr, true)));
        self.late
            .extend(went.map(|&addr| Write::Local(addr, false)));
    }

    fn segments(&mut self, dump: &Dump) {
        let pods: HashMap<SegmentId, &Segment> = in_use(&dump.segments, MAX_SEGMENTS, |segment| {
            segment.has(Segment::IN_USE)
        });
        let state = &mut self.state;
        for &(vni, number) in &dump.vnis {
            match pods.get(&number) {
                Some(&&pod) if pod.vni == vni && Vni::new(vni).is_some() => {
                    state.segments.adopt(number, pod);
                }
                _ => self.early.push(Write::Vni(vni, None)),
            }
        }
        for (&number, pod) in &pods {
            if state.segments.get(number).is_none() {
                self.notes.push(format!(
                    "vni {}: removed, because it was half made or half deleted",
                    pod.vni
                ));
                self.late.push(Write::Segment(number, Box::default()));
            }
        }
    }

    fn bridges(&mut self, dump: &Dump) {
        let state = &mut self.state;
        for &(number, name) in &dump.bridges {
            let is_free = state.bridges.segment_of(name).is_none();
            if state.segments.get(number).is_some() && is_free && !name.is_none() {
                state.bridges.set(number, Some(name));
            } else {
                self.early.push(Write::Bridge(number, None));
            }
        }
    }

    fn ports(&mut self, dump: &Dump, links: &HashMap<Ifindex, LinkFacts>) {
        let pods: HashMap<PortSlot, &Port> =
            in_use(&dump.ports, MAX_PORTS, |port| port.has(Port::IN_USE));
        let names: HashMap<PortSlot, PortName> = dump.port_names.iter().copied().collect();
        let mut index: Vec<_> = dump.port_index.clone();
        // Those that wait come first, so that others join them.
        index.sort_unstable_by_key(|(key, _)| {
            let present = !Ifindex::new(key.ifindex).is_absent();
            (present, key.ifindex, key.vlan)
        });
        let segments = &self.state.segments;
        let pod_at = |(key, slot): &(PortKey, PortSlot)| {
            let pod = **pods.get(slot)?;
            let is_it = PortKey::new(pod.ifindex, pod.vlan) == *key;
            let is_it = is_it && segments.get(pod.segment).is_some();
            is_it.then_some(pod)
        };
        let index: Vec<_> = index.iter().map(|at| (*at, pod_at(at))).collect();
        let known = index.iter().filter(|(_, pod)| pod.is_some());
        let known: HashSet<PortKey> = known.map(|((key, _), _)| *key).collect();
        let mut new_keys = HashSet::new();
        let mut rebound = Vec::new();
        for ((key, slot), pod) in index {
            let Some(mut pod) = pod else {
                if !new_keys.contains(&key) {
                    self.early.push(Write::PortIndex(key, None));
                }
                continue;
            };
            let ifindex = Ifindex::new(key.ifindex);
            let name = names.get(&slot);
            let was = Known {
                ifindex,
                name: name.map(PortName::as_str),
                attached: dump.attached.get(&ifindex).copied(),
            };
            // Of two by one name, the one with the number is it.
            let is_taken = |facts: &LinkFacts| {
                let at = PortKey::new(facts.ifindex.get(), key.vlan);
                at != key && (known.contains(&at) || new_keys.contains(&at))
            };
            let found = was.find(links).and_then(|facts| {
                if is_taken(facts) {
                    return Err(format!("{} is a port by another number", facts.name));
                }
                Ok(facts)
            });
            let facts = match found {
                // One that is there for a bridge is made anew where its interface was.
                found if pod.has(Port::BRIDGED) => {
                    found.ok().filter(|facts| facts.ifindex == ifindex).cloned()
                }
                Ok(facts) => Some(facts.clone()),
                Err(why) => self.waits(&was, &pod, &why),
            };
            let Some(facts) = facts else {
                self.early.push(Write::PortIndex(key, None));
                continue;
            };
            if facts.ifindex != ifindex {
                pod.ifindex = facts.ifindex.get();
                take_facts(&mut pod, &facts);
                new_keys.insert(PortKey::new(pod.ifindex, pod.vlan));
                rebound.extend(rebind(key, slot, pod, &facts));
            }
            self.state.ports.adopt(slot, pod, &facts);
            let text = PortName::new(&facts.name);
            if name != Some(&text) {
                self.early.push(Write::PortName(slot, text));
            }
        }
        self.trunks(dump);
        self.early.append(&mut rebound);
        // All ports of an interface have its one hook; a daemon that was killed may have changed only some.
        let devices: Vec<Ifindex> = self.state.ports.devices().map(|(at, _)| at).collect();
        for ifindex in devices {
            let name = self.state.ports.device(ifindex).map(|device| &device.name);
            let facts = match (links.get(&ifindex), name) {
                (Some(facts), _) => facts.clone(),
                (None, Some(name)) => LinkFacts::absent(ifindex, name),
                (None, None) => continue,
            };
            let changed = self.state.ports.take_facts(&facts);
            let writes = changed
                .into_iter()
                .map(|(slot, pod)| Write::Port(slot, pod));
            self.early.extend(writes);
        }
        for &slot in pods.keys() {
            if self.state.ports.get(slot).is_none() {
                self.late.push(Write::Port(slot, Port::default()));
            }
        }
        for &slot in names.keys() {
            if self.state.ports.get(slot).is_none() {
                self.late.push(Write::PortName(slot, PortName::default()));
            }
        }
    }

    /// The interface that a port waits for, whose own is gone: one by its name, unless another port has that already.
    fn waits(&mut self, was: &Known<'_>, pod: &Port, why: &str) -> Option<LinkFacts> {
        let ports = &self.state.ports;
        let name = was.name.filter(|name| !name.is_empty());
        let facts = name.and_then(|name| match ports.device_named(name) {
            Some((ifindex, device)) => {
                let joins = ifindex.is_absent() && device.port(pod.vlan).is_none();
                joins.then(|| LinkFacts::absent(ifindex, name))
            }
            None if was.ifindex.is_absent() => Some(LinkFacts::absent(was.ifindex, name)),
            None => Some(LinkFacts::absent(ports.absent_number(), name)),
        });
        let vni = self.state.segments.vni(pod.segment);
        match facts {
            Some(_) if was.ifindex.is_absent() => {}
            Some(_) => {
                let note = format!("a port of vni {vni} waits, because {why}");
                self.notes.push(note);
            }
            None => {
                let note = format!("removed a port of vni {vni}, because {why}");
                self.notes.push(note);
            }
        }
        facts
    }

    /// Brings in line which VLANs of each interface have a port. The flag of the untagged port follows from that.
    fn trunks(&mut self, dump: &Dump) {
        let devices = self.state.ports.devices();
        let trunks = devices.filter(|(_, device)| device.is_trunk());
        let mut wanted: HashMap<Ifindex, Vlans> = trunks
            .map(|(ifindex, device)| (ifindex, device.trunk()))
            .collect();
        for &(ifindex, found) in &dump.trunks {
            match wanted.remove(&ifindex) {
                Some(vlans) if vlans == found => {}
                Some(vlans) => self
                    .early
                    .push(Write::Trunk(ifindex, Some(Box::new(vlans)))),
                None => self.late.push(Write::Trunk(ifindex, None)),
            }
        }
        let missing = wanted.into_iter();
        self.early
            .extend(missing.map(|(ifindex, vlans)| Write::Trunk(ifindex, Some(Box::new(vlans)))));
    }

    fn peers(&mut self, dump: &Dump, links: &HashMap<Ifindex, LinkFacts>) {
        for &(number, pod) in &dump.peers {
            let ip = IpAddr::from(pod.addr);
            if !pod.has(Peer::IN_USE) || number.get() >= MAX_PEERS {
                continue;
            }
            let state = &mut self.state;
            let group = pod.has(Peer::MULTICAST);
            if state.peers.number_of(ip).is_some() || group != ip.is_multicast() {
                self.late
                    .push(Write::Peer(number, Box::new(Peer::zeroed())));
                continue;
            }
            let resolved = pod.has(Peer::RESOLVED);
            let peer = PeerRecord {
                ip,
                pod,
                dev: links
                    .get(&Ifindex::new(pod.ifindex))
                    .filter(|_| resolved)
                    .map(|facts| facts.name.clone()),
                via: None,
                state: if resolved {
                    PeerState::Resolved
                } else {
                    PeerState::Resolving
                },
                // What was learned of the path is forgotten as soon as the route is known.
                path: Ignored(Path {
                    route_mtu: pod.mtu,
                    learned: None,
                }),
                heard: Ignored::default(),
            };
            state.peers.adopt(number, peer);
            let writes = peer::rewrite(state, number, |_| ());
            self.early.extend(writes);
        }
    }

    /// Takes over the multicast groups of VNIs.
    fn groups(&mut self, dump: &Dump) {
        let state = &mut self.state;
        let numbers: Vec<_> = state.segments.numbers().collect();
        let mut out = Effect::default();
        for number in numbers {
            if let Some(ip) = settings::group(&state.segments[number]) {
                let peer = peer::acquire(state, ip, &mut out);
                // It may have got a slot in which there was something that nobody understands.
                self.late
                    .retain(|write| !matches!(write, Write::Peer(at, _) if *at == peer));
                state.flood.set_multicast(number, Some(peer));
            }
        }
        // A daemon that was killed may not have come to that: what `LOCALS` has says which groups it had joined.
        let is_group = |write: &Write| matches!(write, Write::Group(..));
        self.early
            .extend(out.writes.into_iter().filter(|write| !is_group(write)));
        let wanted: HashSet<_> = state
            .peers
            .used_groups()
            .map(|peer| peer.pod.addr)
            .collect();
        let came = wanted.iter().filter(|addr| !dump.groups.contains(addr));
        let went = dump.groups.iter().filter(|addr| !wanted.contains(addr));
        self.early
            .extend(came.map(|&addr| Write::Group(addr, true)));
        self.late
            .extend(went.map(|&addr| Write::Group(addr, false)));
    }

    /// Takes away the peers that nothing points to, and puts the index right.
    fn unused_peers(&mut self, dump: &Dump) {
        for number in self.state.peers.remove_unused() {
            self.late
                .push(Write::Peer(number, Box::new(Peer::zeroed())));
        }
        let mut wanted: HashMap<_, _> = self
            .state
            .peers
            .iter()
            .map(|(number, peer)| (VtepAddr::from(peer.ip), number))
            .collect();
        for (addr, number) in &dump.peer_index {
            match wanted.remove(addr) {
                Some(wanted) if wanted == *number => {}
                wanted => self.early.push(Write::PeerIndex(*addr, wanted)),
            }
        }
        let missing = wanted.into_iter();
        self.early
            .extend(missing.map(|(addr, number)| Write::PeerIndex(addr, Some(number))));
    }
}

/// The writes that bring a port from a key to another, which `pod` has: it was made anew meanwhile, or is gone.
fn rebind(key: PortKey, slot: PortSlot, pod: Port, facts: &LinkFacts) -> Vec<Write> {
    let mut from = key;
    let mut writes = Vec::new();
    if !Ifindex::new(key.ifindex).is_absent() && !facts.ifindex.is_absent() {
        // By way of a number that no interface has.
        let between = LinkFacts::absent(Ifindex::absent(slot.get()), &facts.name);
        let mut waiting = pod;
        waiting.ifindex = between.ifindex.get();
        take_facts(&mut waiting, &between);
        writes.extend(absent::rebound(slot, from, waiting));
        from = PortKey::new(waiting.ifindex, waiting.vlan);
    }
    writes.extend(absent::rebound(slot, from, pod));
    writes
}

/// The slots that are in use, of those that there can be.
fn in_use<K: Id + Hash, T>(
    slots: &[(K, T)],
    limit: u32,
    used: impl Fn(&T) -> bool,
) -> HashMap<K, &T> {
    slots
        .iter()
        .filter(|(number, value)| (*number).into() < limit && used(value))
        .map(|(number, value)| (*number, value))
        .collect()
}
