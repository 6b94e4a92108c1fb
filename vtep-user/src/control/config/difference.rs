//! What differs between two states, of what was set.

use std::collections::BTreeMap;

use super::thing::{Thing, ThingKey, Things};
use crate::control::state::State;

/// A thing that differs: it is in one of two states alone, or is another one in each.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Difference {
    pub(crate) key: ThingKey,
    pub(crate) from: Option<Thing>,
    pub(crate) to: Option<Thing>,
}

impl State {
    /// What leads from what is set here to what is set there, by the keys in their order.
    pub(crate) fn differences(&self, to: &Self) -> Vec<Difference> {
        let mut all = but_entries(self.things_but_entries(), to.things_but_entries());
        entries(self, to, &mut all);
        all.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        all
    }
}

fn but_entries(mut from: Things, to: Things) -> Vec<Difference> {
    let mut all = Vec::new();
    for (key, to) in to {
        let from = from.remove(&key);
        if from.as_ref() != Some(&to) {
            let to = Some(to);
            all.push(Difference { key, from, to });
        }
    }
    all.extend(from.into_iter().map(|(key, from)| Difference {
        key,
        from: Some(from),
        to: None,
    }));
    all
}

/// Things are made of those entries alone that differ: there can be millions.
fn entries(from: &State, to: &State, all: &mut Vec<Difference>) {
    // How many entries of each VNI both have, whatever they are.
    let mut shared = BTreeMap::new();
    for (number, vni) in to.segment_names() {
        let before = from.segments.number_of(vni);
        let mut both = 0;
        for (mac, entry) in to.fdb.entries(number) {
            let Some(is) = to.placed(mac, entry) else {
                continue;
            };
            let was = before.and_then(|number| {
                let entry = from.fdb.get(number, mac)?;
                from.placed(mac, entry)
            });
            both += usize::from(was.is_some());
            if was != Some(is) {
                all.push(Difference {
                    key: ThingKey::Entry(vni, mac),
                    from: was.map(|was| was.thing(vni, mac)),
                    to: Some(is.thing(vni, mac)),
                });
            }
        }
        shared.insert(vni, both);
    }
    for (number, vni) in from.segment_names() {
        let placed = || {
            let entries = from.fdb.entries(number);
            entries.filter_map(|(mac, entry)| Some((mac, from.placed(mac, entry)?)))
        };
        // Counting is cheaper than looking each of them up.
        if placed().count() == shared.get(&vni).copied().unwrap_or(0) {
            continue;
        }
        for (mac, was) in placed().filter(|(mac, _)| !to.sets_entry(vni, *mac)) {
            all.push(Difference {
                key: ThingKey::Entry(vni, mac),
                from: Some(was.thing(vni, mac)),
                to: None,
            });
        }
    }
}
