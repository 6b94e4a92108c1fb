//! The FDB of every VNI: the entries, how many there are, and which of them are behind each port.

use std::collections::BTreeSet;

use vtep_common::abi::{
    addr::MacAddr,
    id::{PortSlot, SegmentId},
};

use super::{entry::Entry, hash::Map, ignored::Ignored, numbered::Numbered};

/// The entries behind a port.
#[derive(Clone, Debug, Default, PartialEq)]
struct Behind {
    /// The MACs that the user put there.
    statics: BTreeSet<MacAddr>,
    /// How many were learned there besides.
    learned: u32,
}

/// The entries of all VNIs, by the numbers of their segments.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fdb {
    segments: Numbered<SegmentId, Map<MacAddr, Entry>>,
    /// How many entries of each segment were learned.
    learned: Numbered<SegmentId, u32>,
    ports: Numbered<PortSlot, Behind>,
    len: u32,
}

impl Fdb {
    /// Entries of all VNIs.
    pub(crate) const fn len(&self) -> u32 {
        self.len
    }

    /// Entries of a segment.
    pub(crate) fn len_in(&self, number: SegmentId) -> usize {
        self.segments.get(number).map_or(0, Map::len)
    }

    /// Entries of a segment that were learned.
    pub(crate) fn learned_in(&self, number: SegmentId) -> u32 {
        self.learned.get(number).copied().unwrap_or(0)
    }

    /// Entries that were learned behind a port.
    pub(crate) fn learned_at(&self, slot: PortSlot) -> u32 {
        self.ports.get(slot).map_or(0, |behind| behind.learned)
    }

    /// The entry of a MAC.
    pub(crate) fn get(&self, number: SegmentId, mac: MacAddr) -> Option<Entry> {
        self.segments.get(number)?.get(&mac).copied()
    }

    /// The entries of a segment.
    pub(crate) fn entries(&self, number: SegmentId) -> impl Iterator<Item = (MacAddr, Entry)> {
        let entries = self.segments.get(number).into_iter().flatten();
        entries.map(|(&mac, &entry)| (mac, entry))
    }

    /// Puts an entry in place of the one that the MAC has, which is returned.
    pub(crate) fn insert(
        &mut self,
        number: SegmentId,
        mac: MacAddr,
        entry: Entry,
    ) -> Option<Entry> {
        let old = self.segments.at(number).insert(mac, entry);
        match old {
            Some(old) => self.unlink(number, mac, old),
            None => self.len += 1,
        }
        *self.learned.at(number) += u32::from(entry.ages());
        if let Some(slot) = entry.port() {
            let behind = self.ports.at(slot);
            if entry.is_static() {
                behind.statics.insert(mac);
            } else {
                behind.learned += 1;
            }
        }
        old
    }

    /// True if the user made the entry of a MAC.
    pub(crate) fn is_static(&self, number: SegmentId, mac: MacAddr) -> bool {
        self.get(number, mac).is_some_and(Entry::is_static)
    }

    /// Takes the entry of a MAC away.
    pub(crate) fn remove(&mut self, number: SegmentId, mac: MacAddr) -> Option<Entry> {
        let old = self.segments.at(number).remove(&mac)?;
        self.len -= 1;
        self.unlink(number, mac, old);
        Some(old)
    }

    /// Takes all entries of a segment away, and returns them.
    pub(crate) fn remove_segment(&mut self, number: SegmentId) -> Vec<(MacAddr, Entry)> {
        let mut gone = Vec::new();
        for (mac, entry) in self.segments.take(number) {
            self.len -= 1;
            self.unlink(number, mac, entry);
            gone.push((mac, entry));
        }
        gone
    }

    /// Takes an entry off the count of its segment, and off the port that it pointed to.
    fn unlink(&mut self, number: SegmentId, mac: MacAddr, old: Entry) {
        *self.learned.at(number) -= u32::from(old.ages());
        if let Some(slot) = old.port() {
            let behind = self.ports.at(slot);
            if old.is_static() {
                behind.statics.remove(&mac);
            } else {
                behind.learned -= 1;
            }
        }
    }

    /// Says when a learned entry is to be looked at.
    pub(crate) fn set_due(&mut self, number: SegmentId, mac: MacAddr, due: u32) {
        if let Some(entry) = self.segments.at(number).get_mut(&mac) {
            entry.due = Ignored(due);
        }
    }

    /// Says when all learned entries of a segment are to be looked at; returns their MACs.
    pub(crate) fn set_due_all(&mut self, number: SegmentId, due: u32) -> Vec<MacAddr> {
        let entries = self.segments.at(number).iter_mut();
        let ageing = entries.filter(|(_, entry)| entry.ages());
        ageing
            .map(|(&mac, entry)| {
                entry.due = Ignored(due);
                mac
            })
            .collect()
    }

    /// Freezes the entry of a MAC where it is, and returns it as it is then.
    pub(crate) fn freeze(&mut self, number: SegmentId, mac: MacAddr) -> Option<Entry> {
        let entry = self.segments.at(number).get_mut(&mac)?;
        entry.freeze();
        Some(*entry)
    }

    /// Lets the MAC of a frozen entry move again, and returns the entry as it is then.
    pub(crate) fn thaw(&mut self, number: SegmentId, mac: MacAddr) -> Option<Entry> {
        let entry = self.segments.at(number).get_mut(&mac)?;
        entry.thaw().then_some(*entry)
    }

    /// The MACs that the user put behind a port.
    pub(crate) fn static_behind(&self, slot: PortSlot) -> impl ExactSizeIterator<Item = MacAddr> {
        const NONE: &BTreeSet<MacAddr> = &BTreeSet::new();
        let statics = self.ports.get(slot).map_or(NONE, |behind| &behind.statics);
        statics.iter().copied()
    }

    /// The MACs that were learned behind a port, in this segment.
    pub(crate) fn learned_behind(&self, number: SegmentId, slot: PortSlot) -> Vec<MacAddr> {
        if self
            .ports
            .get(slot)
            .is_none_or(|behind| behind.learned == 0)
        {
            return Vec::new();
        }
        self.entries(number)
            .filter(|(_, entry)| !entry.is_static() && entry.port() == Some(slot))
            .map(|(mac, _)| mac)
            .collect()
    }

    /// How many MACs are behind a port, learned ones included.
    pub(crate) fn count_behind(&self, slot: PortSlot) -> usize {
        self.ports
            .get(slot)
            .map_or(0, |behind| behind.statics.len() + behind.learned as usize)
    }

    /// The MAC of a port, if the user put just one behind it.
    pub(crate) fn one_mac(&self, slot: PortSlot) -> Option<MacAddr> {
        let mut macs = self.static_behind(slot);
        macs.next().filter(|_| macs.next().is_none())
    }
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::fdb::FdbTarget;

    use super::*;

    const MAC: MacAddr = MacAddr::from_bytes([2, 0, 0, 0, 0, 1]);
    const SEGMENT: SegmentId = SegmentId::new(3);
    const OTHER: SegmentId = SegmentId::new(4);
    const SLOTS: [PortSlot; 2] = [PortSlot::new(7), PortSlot::new(9)];

    /// Something learned at the first port, and something that the user put behind the second.
    fn entries() -> [Entry; 2] {
        let [one, two] = SLOTS.map(FdbTarget::Port);
        [Entry::learned(one), Entry::static_to(two)]
    }

    #[test]
    fn an_entry_that_is_replaced_is_counted_once_and_behind_its_new_port_alone() {
        let mut fdb = Fdb::default();
        for entry in entries() {
            fdb.insert(SEGMENT, MAC, entry);
        }

        assert_eq!((fdb.len(), fdb.len_in(SEGMENT)), (1, 1));
        assert_eq!(SLOTS.map(|slot| fdb.count_behind(slot)), [0, 1]);
        assert_eq!(SLOTS.map(|slot| fdb.one_mac(slot)), [None, Some(MAC)]);
    }

    #[test]
    fn what_is_removed_leaves_nothing_behind() {
        let mut fdb = Fdb::default();
        let [one, two] = entries();
        fdb.insert(SEGMENT, MAC, one);
        fdb.insert(OTHER, MAC, two);
        fdb.remove(SEGMENT, MAC);

        assert_eq!(fdb.remove_segment(OTHER).len(), 1);
        assert!(fdb == Fdb::default());
    }
}
