//! Which VTEPs packets are taken from: those that entries of the VNI name, where it says so.

use std::collections::BTreeMap;

use vtep_common::abi::id::{PeerId, SegmentId};

use super::numbered::Numbered;

/// What points to a VTEP in a VNI.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Count {
    /// Entries and places on flood lists that a frame did not make.
    named: u32,
    /// Learned MACs.
    learned: u32,
}

/// How often each VTEP is named in each VNI, by the numbers of its segment and peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SourceTable {
    segments: Numbered<SegmentId, BTreeMap<PeerId, Count>>,
    /// Pairs that stand in the map: those of VNIs that ask for it.
    listed: u32,
    /// Pairs that packets were taken from, and are no more; what was learned there is still to go.
    unlisted: Vec<(SegmentId, PeerId)>,
}

impl SourceTable {
    /// Pairs in the map.
    pub(crate) const fn listed(&self) -> u32 {
        self.listed
    }

    /// Takes note that one more pair, or one less, is in the map.
    pub(crate) const fn set_listed(&mut self, more: bool) {
        self.listed = if more {
            self.listed + 1
        } else {
            self.listed - 1
        };
    }

    /// True if something names a VTEP in a VNI.
    pub(crate) fn is_named(&self, number: SegmentId, peer: PeerId) -> bool {
        self.count(number, peer).named != 0
    }

    /// Takes note that what was learned from a VTEP is to go, if there is anything.
    pub(crate) fn unlist(&mut self, number: SegmentId, peer: PeerId) {
        if self.count(number, peer).learned != 0 {
            self.unlisted.push((number, peer));
        }
    }

    /// The VTEPs of which that was noted since the last call.
    pub(crate) fn take_unlisted(&mut self) -> Vec<(SegmentId, PeerId)> {
        std::mem::take(&mut self.unlisted)
    }

    fn count(&self, number: SegmentId, peer: PeerId) -> Count {
        let segment = self.segments.get(number);
        let count = segment.and_then(|peers| peers.get(&peer));
        count.copied().unwrap_or_default()
    }

    /// The VTEPs that a VNI has to do with, and whether something names them.
    pub(crate) fn of(&self, number: SegmentId) -> Vec<(PeerId, bool)> {
        let peers = self.segments.get(number).into_iter().flatten();
        peers
            .map(|(&peer, count)| (peer, count.named != 0))
            .collect()
    }

    /// One thing more that names a VTEP; true if it is the first.
    pub(crate) fn name(&mut self, number: SegmentId, peer: PeerId) -> bool {
        let count = self.segments.at(number).entry(peer).or_default();
        count.named += 1;
        count.named == 1
    }

    /// One thing less; true if it was the last.
    pub(crate) fn unname(&mut self, number: SegmentId, peer: PeerId) -> bool {
        self.less(number, peer, |count| {
            count.named -= 1;
            count.named == 0
        })
    }

    /// One learned MAC more.
    pub(crate) fn learn(&mut self, number: SegmentId, peer: PeerId) {
        self.segments.at(number).entry(peer).or_default().learned += 1;
    }

    /// One learned MAC less.
    pub(crate) fn unlearn(&mut self, number: SegmentId, peer: PeerId) {
        self.less(number, peer, |count| {
            count.learned -= 1;
            false
        });
    }

    fn less(
        &mut self,
        number: SegmentId,
        peer: PeerId,
        change: impl FnOnce(&mut Count) -> bool,
    ) -> bool {
        let peers = self.segments.at(number);
        let count = peers.get_mut(&peer).expect("counted when it came");
        let flipped = change(count);
        if *count == Count::default() {
            peers.remove(&peer);
        }
        flipped
    }

    /// Forgets a VNI.
    pub(crate) fn remove_segment(&mut self, number: SegmentId) {
        drop(self.segments.take(number));
    }
}
