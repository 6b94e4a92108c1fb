//! Taking over the FDB and the flood lists.

use std::collections::{BTreeMap, HashMap, HashSet};

use vtep_common::abi::{
    addr::MacAddr,
    flood::FloodList,
    map::{MAX_FLOOD_LISTS, MAX_SEGMENTS},
};

use super::{Adoption, Dump};
use crate::control::{
    effect::Write,
    record::{
        entry::{Entry, Kind, Origin},
        ignored::Ignored,
        queue::{self, NEVER},
    },
    state::State,
};

impl Adoption {
    /// The peers of every flood list, those that are there, each once.
    pub(crate) fn lists(&self, dump: &Dump) -> HashMap<u32, Vec<u32>> {
        let remotes = |list: &FloodList| {
            let len = (list.len as usize).min(list.targets.len());
            let ports = (list.ports as usize).min(len);
            let mut seen = HashSet::new();
            list.targets[ports..len]
                .iter()
                .copied()
                .filter(|&peer| self.state.peers.is_vtep(peer) && seen.insert(peer))
                .collect()
        };
        dump.flood
            .iter()
            .map(|(number, list)| (*number, remotes(list)))
            .collect()
    }

    pub(crate) fn fdb(&mut self, dump: &Dump, mut lists: HashMap<u32, Vec<u32>>) {
        let state = &mut self.state;
        let numbers: Vec<_> = state.segments.numbers().collect();
        for number in numbers {
            for peer in lists.remove(&number).unwrap_or_default() {
                state.peers.refer(peer);
                state.flood.push(number, MacAddr::ZERO, peer);
            }
        }
        let mut frozen = Vec::new();
        for (key, pod) in &dump.fdb {
            let (number, mac) = (key.segment(), key.mac());
            let entry = Entry::from_pod(pod)
                .filter(|_| state.segments.get(number).is_some())
                .filter(|entry| adopt_entry(state, &mut lists, number, mac, *entry));
            match entry {
                Some(mut entry) => {
                    if entry.is_learned() {
                        state.run.now = state.run.now.max(pod.last_seen);
                        entry.due = Ignored(state.due(number, pod.last_seen));
                    }
                    state.fdb.insert(number, mac, entry);
                    if entry.is_learned() {
                        state.queue_key(*key, entry.due.0);
                    }
                    if entry.origin == Origin::Frozen {
                        frozen.push(*key);
                    }
                }
                None => self.early.push(Write::Fdb(*key, None)),
            }
        }
        // Nobody knows when they were frozen; no stamp is newer than now.
        let until = match state.limits.duplicates.freeze_s {
            0 => NEVER,
            seconds => queue::after(state.run.now, seconds),
        };
        for key in frozen {
            state.run.moves.freeze(key, until);
        }
    }

    /// Brings the flood lists in line with the state.
    pub(crate) fn flood(&mut self, dump: &Dump) {
        let mut wanted = BTreeMap::new();
        let State { flood, ports, .. } = &self.state;
        for (number, _) in self.state.segments.iter() {
            for mac in flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
                let list = flood.pod(number, mac, ports.flooded(number));
                wanted.extend(list.map(|list| (flood.list_of(number, mac), list)));
            }
        }
        for (number, found) in &dump.flood {
            match wanted.remove(number) {
                Some(list) if *list == *found => {}
                list => self.early.push(Write::Flood(*number, list)),
            }
        }
        let missing = wanted.into_iter();
        self.early
            .extend(missing.map(|(number, list)| Write::Flood(number, Some(list))));
    }
}

/// True if an entry points to something, to which it refers from then on.
fn adopt_entry(
    state: &mut State,
    lists: &mut HashMap<u32, Vec<u32>>,
    number: u32,
    mac: MacAddr,
    entry: Entry,
) -> bool {
    match entry.kind {
        _ if mac.is_zero() || mac.is_group() != (entry.kind == Kind::List) => false,
        Kind::Peer if state.peers.is_vtep(entry.target()) => {
            state.peers.refer(entry.target());
            true
        }
        Kind::Peer => false,
        Kind::Port => {
            let port = state.ports.get(entry.target());
            port.is_some_and(|port| port.segment == number)
        }
        Kind::List => {
            let own = entry
                .target()
                .checked_sub(MAX_SEGMENTS)
                .filter(|_| entry.target() < MAX_FLOOD_LISTS);
            let remotes = own.and_then(|_| lists.remove(&entry.target()));
            let (Some(own), Some(remotes)) = (own, remotes.filter(|list| !list.is_empty())) else {
                return false;
            };
            for &peer in &remotes {
                state.peers.refer(peer);
            }
            state.flood.adopt(number, mac, own, remotes);
            true
        }
    }
}
