//! Taking over the FDB and the flood lists.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use vtep_common::abi::{
    addr::MacAddr,
    fdb::FdbTarget,
    flood::{FloodList, ListedKey},
    id::{ListId, PeerId, SegmentId},
};

use super::{Adoption, Dump};
use crate::{
    control::{
        effect::Write,
        learn::age,
        ops::entry,
        record::{entry::Entry, ignored::Ignored},
        state::State,
    },
    model::Source,
};

impl Adoption {
    /// The peers of every flood list, those that are there, each once.
    pub(crate) fn lists(&self, dump: &Dump) -> HashMap<ListId, Vec<PeerId>> {
        let remotes = |list: &FloodList| {
            let mut seen = HashSet::new();
            list.peers()
                .filter(|&peer| self.state.peers.is_vtep(peer) && seen.insert(peer))
                .collect()
        };
        dump.flood
            .iter()
            .map(|(number, list)| (*number, remotes(list)))
            .collect()
    }

    pub(crate) fn fdb(&mut self, dump: &Dump, mut lists: HashMap<ListId, Vec<PeerId>>) {
        let state = &mut self.state;
        let numbers: Vec<_> = state.segments.numbers().collect();
        for number in numbers {
            for peer in lists.remove(&number.into()).unwrap_or_default() {
                state.peers.refer(peer);
                state.flood.push(number, MacAddr::ZERO, peer);
            }
        }
        let mut frozen = Vec::new();
        for (key, pod) in &dump.fdb {
            let (number, mac) = (key.segment(), key.mac());
            let entry = pod.as_ref().and_then(Entry::from_pod);
            let entry = entry
                .filter(|_| state.segments.get(number).is_some())
                .filter(|entry| adopt_entry(state, &mut lists, number, mac, *entry));
            match entry {
                Some(mut entry) => {
                    if entry.ages() {
                        let last_seen = pod.map_or(0, |pod| pod.last_seen);
                        state.run.now = state.run.now.max(last_seen);
                        entry.due = Ignored(age::due(&state.segments, number, last_seen));
                    }
                    entry::insert(state, number, mac, entry);
                    if entry.ages() {
                        age::queue_key(&mut state.run.0, &state.fdb, *key, entry.due.0);
                    }
                    if entry.is_frozen() {
                        frozen.push(*key);
                    }
                }
                None => self.early.push(Write::Fdb(*key, None)),
            }
        }
        // Nobody knows when they were frozen; no stamp is newer than now.
        let (now, rule) = (state.run.now, state.limits.duplicates);
        for key in frozen {
            state.run.moves.freeze(key, None, now, rule);
        }
    }

    /// Takes over whom the configuration file put on flood lists.
    pub(crate) fn configured(&mut self, dump: &Dump) {
        let mut found: BTreeSet<ListedKey> = dump.configured.iter().copied().collect();
        let flood = &mut self.state.flood;
        let numbers: Vec<_> = self.state.segments.numbers().collect();
        for number in numbers {
            for mac in flood.macs(number).into_iter().chain([MacAddr::ZERO]) {
                let list = flood.list_of(number, mac);
                for peer in flood.remotes(number, mac).to_vec() {
                    if found.remove(&ListedKey::new(list, peer)) {
                        flood.set_source(number, mac, peer, Source::Config);
                    }
                }
            }
        }
        let rest = found.into_iter();
        self.early
            .extend(rest.map(|key| Write::Configured(key, false)));
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
    lists: &mut HashMap<ListId, Vec<PeerId>>,
    number: SegmentId,
    mac: MacAddr,
    entry: Entry,
) -> bool {
    match entry.target() {
        _ if mac.is_zero() || mac.is_group() != entry.is_list() => false,
        FdbTarget::Peer(peer) if state.peers.is_vtep(peer) => {
            state.peers.refer(peer);
            true
        }
        FdbTarget::Peer(_) => false,
        FdbTarget::Port(slot) => {
            let port = state.ports.get(slot);
            port.is_some_and(|port| port.segment == number)
        }
        FdbTarget::List(list) => {
            let remotes = lists.remove(&list).unwrap_or_default();
            if remotes.is_empty() || !state.flood.adopt(number, mac, list, &remotes) {
                return false;
            }
            for peer in remotes {
                state.peers.refer(peer);
            }
            true
        }
    }
}
