//! An FDB entry.

use vtep_common::abi::{
    addr::MacAddr,
    fdb::{FdbKey, FdbValue},
    map::MAX_FLOOD_LISTS,
};

use super::{ignored::Ignored, queue::NEVER};
use crate::model::EntryState;

/// What an entry points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A peer.
    Peer,
    /// A port.
    Port,
    /// The flood list of a multicast MAC.
    List,
}

/// Who made an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The user.
    Static,
    /// A frame.
    Learned,
    /// A frame, and it moved too often.
    Frozen,
}

/// An FDB entry. There can be millions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// When a learned entry is to be looked at, in seconds.
    pub(crate) due: Ignored<u32>,
    /// Number of the peer, slot of the port, or number of the list.
    target: u16,
    /// Which of these.
    pub(crate) kind: Kind,
    /// Who made it.
    pub(crate) origin: Origin,
}

const _: () = assert!(size_of::<Entry>() == 8 && MAX_FLOOD_LISTS <= 1 << 16);

impl Entry {
    /// An entry of this kind; `None` if there is no target of that number.
    fn new(kind: Kind, target: u32, origin: Origin) -> Option<Self> {
        Some(Self {
            due: Ignored(NEVER),
            target: u16::try_from(target).ok()?,
            kind,
            origin,
        })
    }

    /// An entry of the user's.
    pub(crate) fn static_to(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Static).expect("a number that the state gave out")
    }

    /// An entry made by a frame.
    pub(crate) fn learned(kind: Kind, target: u32) -> Self {
        Self::new(kind, target, Origin::Learned).expect("a number that the state gave out")
    }

    /// Lets a frozen entry move again; false if it is not frozen.
    pub(crate) fn thaw(&mut self) -> bool {
        let frozen = self.origin == Origin::Frozen;
        if frozen {
            self.origin = Origin::Learned;
        }
        frozen
    }

    /// True unless the user made it.
    pub(crate) fn is_learned(self) -> bool {
        self.origin != Origin::Static
    }

    /// The state in rows.
    pub(crate) fn state(self) -> EntryState {
        match self.origin {
            Origin::Static => EntryState::Static,
            Origin::Learned | Origin::Frozen => EntryState::Learned,
        }
    }

    /// Number of the peer, slot of the port, or number of the list.
    pub(crate) fn target(self) -> u32 {
        self.target.into()
    }

    /// Number of the peer that it points to.
    pub(crate) fn peer(self) -> Option<u32> {
        (self.kind == Kind::Peer).then_some(self.target())
    }

    /// Slot of the port that it points to.
    pub(crate) fn port(self) -> Option<u32> {
        (self.kind == Kind::Port).then_some(self.target())
    }

    /// As it stands in the map. `seen` is when a frame from the MAC was last seen, of a learned entry.
    pub(crate) fn pod(self, seen: u64) -> FdbValue {
        let learned = self.is_learned();
        FdbValue {
            target: self.target(),
            kind: match self.kind {
                Kind::Peer => FdbValue::PEER,
                Kind::Port => FdbValue::PORT,
                Kind::List => FdbValue::LIST,
            },
            origin: if learned {
                FdbValue::LEARNED
            } else {
                FdbValue::STATIC
            },
            flags: if self.origin == Origin::Frozen {
                FdbValue::FROZEN
            } else {
                0
            },
            last_seen: if learned { seen } else { 0 },
        }
    }

    /// From the map; `None` for what this version does not know.
    pub(crate) fn from_pod(pod: &FdbValue) -> Option<Self> {
        let kind = match pod.kind {
            FdbValue::PEER => Kind::Peer,
            FdbValue::PORT => Kind::Port,
            FdbValue::LIST => Kind::List,
            _ => return None,
        };
        let origin = match pod.origin {
            FdbValue::STATIC => Origin::Static,
            FdbValue::LEARNED if kind == Kind::List => return None,
            FdbValue::LEARNED if pod.flags & FdbValue::FROZEN != 0 => Origin::Frozen,
            FdbValue::LEARNED => Origin::Learned,
            _ => return None,
        };
        Self::new(kind, pod.target, origin)
    }
}

/// Key of `mac` in segment `number`.
pub(crate) fn key(number: u32, mac: MacAddr) -> FdbKey {
    FdbKey::new(number, mac)
}
