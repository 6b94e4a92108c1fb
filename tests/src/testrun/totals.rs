//! All counters at one time, each under a name for people.

use std::collections::BTreeMap;
use std::fmt;

use vtep_common::abi::counter::Direction;
use vtep_common::abi::counter::{Counter, Hook};
use vtep_common::abi::drops::{DropKey, OwnerKind};
use vtep_common::abi::id::Id;
use vtep_common::abi::reason::Reason;
use vtep_common::sim::HostCounters;
use vtep_user::datapath::{CounterRow, DroppedFor, Snapshot};

/// Packets and bytes by the name of the counter. A counter that is zero is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals(BTreeMap<String, Counter>);

/// The name of a counter of the frames that ended at a hook with a reason.
#[must_use]
pub fn reason_name(hook: Hook, reason: Reason) -> String {
    format!("{} {}", hook.name(), reason.name())
}

/// The name of a counter of a `kind` (segment, port, peer).
#[must_use]
pub fn number_name(kind: &str, number: impl Into<u32>, direction: Direction) -> String {
    let number = number.into();
    format!("{kind} {number} {direction:?}").to_lowercase()
}

/// The name of a counter of the frames that were dropped at a hook for an owner.
#[must_use]
pub fn owner_name(hook: Hook, reason: Reason, kind: OwnerKind, number: u32) -> String {
    let owner = match number {
        DropKey::NOBODY => "none".to_owned(),
        number => number.to_string(),
    };
    let kind = format!("{kind:?}").to_lowercase();
    format!("{} of {kind} {owner}", reason_name(hook, reason))
}

impl Totals {
    /// Adds to a counter.
    pub fn add(&mut self, name: String, packets: u64, bytes: u64) {
        if packets != 0 {
            let counter = self.0.entry(name).or_default();
            counter.packets += packets;
            counter.bytes += bytes;
        }
    }

    /// Adds counters of things of one `kind`.
    fn add_rows<K: Id>(&mut self, kind: &str, rows: &[CounterRow<(K, Direction)>]) {
        for row in rows {
            let (number, direction) = row.key;
            let name = number_name(kind, number, direction);
            self.add(name, row.packets, row.bytes);
        }
    }

    /// Adds what the host counted at `hook`.
    pub fn add_host(&mut self, hook: Hook, counters: &HostCounters) {
        for (code, counter) in counters.reasons.borrow().iter() {
            let reason = Reason::from_code(*code).expect("the code of a reason");
            self.add(reason_name(hook, reason), counter.packets, counter.bytes);
        }
        for ((kind, number, code), counter) in counters.drops.borrow().iter() {
            let reason = Reason::from_code(*code).expect("the code of a reason");
            let name = owner_name(hook, reason, *kind, *number);
            self.add(name, counter.packets, counter.bytes);
        }
        for (kind, map) in [
            ("segment", &counters.segments),
            ("port", &counters.ports),
            ("peer", &counters.peers),
        ] {
            for (index, counter) in map.borrow().iter() {
                self.add_index(kind, *index, *counter);
            }
        }
    }

    /// Adds a counter by its place among those of a `kind` ([`Direction::index`]).
    pub(super) fn add_index(&mut self, kind: &str, index: u32, counter: Counter) {
        let direction = Direction::ALL[usize::from(index % 2 == 1)];
        let name = number_name(kind, index / 2, direction);
        self.add(name, counter.packets, counter.bytes);
    }

    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut since = Self::default();
        for (name, now) in &self.0 {
            let then = earlier.0.get(name).copied().unwrap_or_default();
            since.add(
                name.clone(),
                now.packets - then.packets,
                now.bytes - then.bytes,
            );
        }
        since
    }

    /// The counters that differ, a line each.
    #[must_use]
    pub fn differences(&self, want: &Self) -> Vec<String> {
        let mut names: Vec<&String> = self.0.keys().chain(want.0.keys()).collect();
        names.sort_unstable();
        names.dedup();
        let get = |totals: &Self, name| totals.0.get(name).copied().unwrap_or_default();
        names
            .into_iter()
            .map(|name| (name, get(self, name), get(want, name)))
            .filter(|(_, got, want)| got != want)
            .map(|(name, got, want)| {
                format!(
                    "  {name}: got {} packets, {} bytes; want {} packets, {} bytes",
                    got.packets, got.bytes, want.packets, want.bytes
                )
            })
            .collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, counter) in &self.0 {
            writeln!(
                f,
                "  {name}: {} packets, {} bytes",
                counter.packets, counter.bytes
            )?;
        }
        Ok(())
    }
}

impl From<&Snapshot> for Totals {
    fn from(snapshot: &Snapshot) -> Self {
        let Snapshot {
            reasons,
            segments,
            ports,
            peers,
            drops,
            events: _,
        } = snapshot;
        let mut totals = Self::default();
        for row in reasons {
            let (hook, reason) = row.key;
            totals.add(reason_name(hook, reason), row.packets, row.bytes);
        }
        for row in drops {
            let DroppedFor {
                kind,
                number,
                hook,
                reason,
            } = row.key;
            let name = owner_name(hook, reason, kind, number);
            totals.add(name, row.packets, row.bytes);
        }
        totals.add_rows("segment", segments);
        totals.add_rows("port", ports);
        totals.add_rows("peer", peers);
        totals
    }
}
