//! Whose a frame was that was dropped: the rows of the map `DROPS`.

use bytemuck::{Pod, Zeroable};

use super::{
    counter::Hook,
    id::{PeerId, PortSlot, SegmentId},
    reason::Reason,
};

/// What a frame that is dropped is counted for. Each frame has one row for each kind. The codes are ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum OwnerKind {
    /// Its VNI.
    Segment = 0,
    /// The port that it came from, or else the one that it was for.
    Port = 1,
    /// The VTEP that it came from, or else the one that it was for.
    Peer = 2,
}

impl OwnerKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Segment, Self::Port, Self::Peer];
}

/// Whom a frame that is dropped is counted for. `NONE` where nobody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owners {
    /// Its VNI.
    pub segment: SegmentId,
    /// Its port.
    pub port: PortSlot,
    /// Its VTEP.
    pub peer: PeerId,
}

impl Owners {
    /// Nobody.
    pub const NONE: Self = Self {
        segment: SegmentId::NONE,
        port: PortSlot::NONE,
        peer: PeerId::NONE,
    };

    /// The number of the owner of this kind, `u32::MAX` for nobody.
    #[must_use]
    pub const fn number(&self, kind: OwnerKind) -> u32 {
        match kind {
            OwnerKind::Segment => self.segment.get(),
            OwnerKind::Port => self.port.get(),
            OwnerKind::Peer => self.peer.get(),
        }
    }
}

/// A key of `DROPS`: 8 bytes, no padding, host byte order.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Pod, Zeroable)]
pub struct DropKey {
    /// The number of the owner, or [`DropKey::NOBODY`].
    pub number: u32,
    /// [`OwnerKind`], [`Hook`] and [`Reason`], a byte each: [`DropKey::what`].
    pub what: u32,
}

const _: () = assert!(size_of::<DropKey>() == 8 && align_of::<DropKey>() == 4);

impl DropKey {
    /// In place of a number: frames of nobody that is known. It is what `NONE` is for each kind.
    pub const NOBODY: u32 = u32::MAX;

    /// The row of an owner.
    #[must_use]
    pub const fn new(kind: OwnerKind, number: u32, hook: Hook, reason: Reason) -> Self {
        Self {
            number,
            what: Self::what(kind, hook, reason),
        }
    }

    /// The word that says what a row counts.
    #[must_use]
    #[inline(always)]
    pub const fn what(kind: OwnerKind, hook: Hook, reason: Reason) -> u32 {
        (kind as u32) << 16 | hook.index() << 8 | reason.code()
    }

    /// What the word says; `None` for one that this build does not know.
    #[must_use]
    pub fn parts(self) -> Option<(OwnerKind, Hook, Reason)> {
        let [reason, hook, kind, _] = self.what.to_le_bytes();
        let kind = OwnerKind::ALL.into_iter().find(|it| *it as u8 == kind)?;
        let hook = Hook::ALL
            .into_iter()
            .find(|it| it.index() == u32::from(hook))?;
        Some((kind, hook, Reason::from_code(reason.into())?))
    }

    /// The rows of nobody. The daemon makes them, so that they are there whatever else is.
    pub fn of_nobody() -> impl Iterator<Item = Self> {
        OwnerKind::ALL
            .into_iter()
            .flat_map(|kind| Self::of(kind, Self::NOBODY))
    }

    /// All rows that an owner may have: one for each hook and reason.
    pub fn of(kind: OwnerKind, number: u32) -> impl Iterator<Item = Self> {
        Hook::ALL.into_iter().flat_map(move |hook| {
            let lost = Reason::ALL.iter().filter(|reason| reason.is_lost());
            lost.map(move |reason| Self::new(kind, number, hook, *reason))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_key_says_what_it_was_made_of() {
        let keys: HashSet<DropKey> = DropKey::of_nobody().collect();
        let lost = Reason::ALL.iter().filter(|reason| reason.is_lost()).count();
        assert_eq!(keys.len(), 3 * 5 * lost);
        for key in keys {
            let (kind, hook, reason) = key.parts().unwrap();
            assert_eq!(DropKey::new(kind, key.number, hook, reason), key);
        }
    }

    #[test]
    fn a_word_of_a_later_build_says_nothing() {
        let what = DropKey::what(OwnerKind::Peer, Hook::Port, Reason::Rate);
        for unknown in [what | 3 << 16, what | 0xff << 8, what | 0xff] {
            let key = DropKey {
                number: 1,
                what: unknown,
            };
            assert_eq!(key.parts(), None);
        }
    }

    #[test]
    fn nobody_is_none_of_each_kind() {
        for kind in OwnerKind::ALL {
            assert_eq!(Owners::NONE.number(kind), DropKey::NOBODY);
        }
    }
}
