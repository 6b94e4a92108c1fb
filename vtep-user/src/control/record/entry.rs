//! An FDB entry.

use vtep_common::abi::{
    addr::MacAddr,
    fdb::{FdbKey, FdbTarget, FdbValue, FdbWord},
    id::{PeerId, PortSlot, SegmentId},
    origin::Origin,
};

use super::{author, ignored::Ignored, queue::NEVER};
use crate::model::{EntryState, Source};

/// An FDB entry. There can be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When an entry that ages is to be looked at, in seconds.
    pub(crate) due: Ignored<u32>,
    /// Since when it points there, as [`FdbValue::stamp`] has it; zero for before this daemon's time.
    since: Ignored<u32>,
    /// The lower half of its word in the map: all but the stamp.
    word: u32,
}

const _: () = assert!(size_of::<Entry>() == 12);

impl Entry {
    /// An entry that the user made.
    pub(crate) fn static_to(target: FdbTarget) -> Self {
        Self::of(FdbValue::static_to(target))
    }

    /// An entry made by a frame.
    pub(crate) fn learned(target: FdbTarget) -> Self {
        Self::of(FdbValue::learned(target, 0))
    }

    /// The same, of this source.
    pub(crate) fn set_by(self, source: Source) -> Self {
        let configured = author::is_configured(source);
        let value = FdbValue {
            configured,
            ..self.pod(0)
        };
        Self {
            word: lower_half(value.word()),
            ..self
        }
    }

    /// Who set it, of an entry that was set.
    pub(crate) fn source(self) -> Source {
        author::source(self.in_map().is_configured())
    }

    fn of(pod: FdbValue) -> Self {
        Self {
            due: Ignored(NEVER),
            since: Ignored(0),
            word: lower_half(pod.word()),
        }
    }

    /// From the map; `None` for a list that was learned, which nobody makes. What does not move is not frozen.
    pub(crate) fn from_pod(pod: &FdbValue) -> Option<Self> {
        let ages = pod.origin.ages();
        if ages && pod.target.list().is_some() {
            return None;
        }
        let frozen = pod.frozen && ages;
        let configured = pod.configured && pod.origin.is_static();
        Some(Self::of(FdbValue {
            frozen,
            configured,
            ..*pod
        }))
    }

    /// Its word in the map, without the stamp.
    const fn in_map(self) -> FdbWord {
        FdbWord::new(self.word as u64)
    }

    /// As it stands in the map. `seen` is when a frame from the MAC was last seen, of an entry that ages.
    pub(crate) fn pod(self, seen: u64) -> FdbValue {
        let value = self.in_map().value().expect("made of a value");
        let last_seen = if self.ages() { seen } else { 0 };
        FdbValue { last_seen, ..value }
    }

    /// Says that it points there since `time`.
    pub(crate) fn came(&mut self, time: u64) {
        self.since = Ignored(FdbValue::stamp(time));
    }

    /// Since when it points there, for all that is known at `now`.
    pub(crate) fn since(self, now: u64) -> u64 {
        let since = u64::from(self.since.0) << FdbValue::STAMP_SHIFT;
        let stamp = FdbValue {
            last_seen: since,
            ..self.pod(0)
        };
        stamp.seen_before(now)
    }

    /// Freezes it where it is.
    pub(crate) fn freeze(&mut self) {
        self.set_frozen(true);
    }

    /// Lets a frozen entry move again; false if it is not frozen.
    pub(crate) fn thaw(&mut self) -> bool {
        let frozen = self.is_frozen();
        self.set_frozen(false);
        frozen
    }

    fn set_frozen(&mut self, frozen: bool) {
        let value = self.pod(0);
        self.word = lower_half(FdbValue { frozen, ..value }.word());
    }

    /// True if it is not to move, for it moved too often.
    pub(crate) fn is_frozen(self) -> bool {
        self.in_map().is_frozen()
    }

    /// Who made it.
    fn origin(self) -> Origin {
        self.in_map().origin().expect("made of a value")
    }

    /// True if the user made it.
    pub(crate) fn is_static(self) -> bool {
        self.origin().is_static()
    }

    /// True if it goes when no frame from its MAC was seen for long.
    pub(crate) fn ages(self) -> bool {
        self.origin().ages()
    }

    /// True if a frame from elsewhere, from a local port or from a VTEP, moves it there.
    pub(crate) fn yields_to_frame(self, at_port: bool) -> bool {
        self.in_map().yields_to_frame(at_port)
    }

    /// The state in rows.
    pub(crate) fn state(self) -> EntryState {
        match self.origin() {
            Origin::Learned => EntryState::Learned,
            Origin::External => EntryState::Evpn,
            Origin::Static => EntryState::Static,
        }
    }

    /// Where it points.
    pub(crate) fn target(self) -> FdbTarget {
        self.in_map().target().get().expect("made of a value")
    }

    /// The peer that it points to.
    pub(crate) fn peer(self) -> Option<PeerId> {
        self.target().peer()
    }

    /// The port that it points to.
    pub(crate) fn port(self) -> Option<PortSlot> {
        self.target().port()
    }

    /// True if it points to the list of a multicast MAC.
    pub(crate) fn is_list(self) -> bool {
        self.target().list().is_some()
    }
}

/// All of a word but the stamp.
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn lower_half(word: FdbWord) -> u32 {
    word.get() as u32
}

/// Key of `mac` in segment `number`.
pub(crate) fn key(number: SegmentId, mac: MacAddr) -> FdbKey {
    FdbKey::new(number, mac)
}
