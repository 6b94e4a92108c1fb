//! The look-ups in the hash tables, all at once for a frame.
//!
//! A decision does not look one key up after the other: the kernel side does it all in one function, so that a packet pays for
//! one call and one return, and the cache lines come side by side.

use bytemuck::{Pod, Zeroable};

use crate::{
    abi::{
        addr::MacAddr,
        address::Address,
        fdb::{FdbKey, FdbTarget, FdbWord, PackedTarget},
        hash_table::{number, numbered},
        id::{PortSlot, SegmentId},
        peer::Peer,
        port::PortKey,
    },
    frame::{inner::Received, outer::OuterAddresses},
    runtime::tables::Tables,
};

/// What the tables say: plain words, 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Lookup {
    from: u64,
    to: u64,
    place: u64,
    seen: u64,
    destination: u64,
}

impl Lookup {
    /// In place of what an address is: neither ours nor a peer's. Not zero: see
    /// [`Outer::unread`](crate::frame::outer::Outer::unread).
    const NOT_ASKED: u64 = 1;

    /// Looks up a packet from a VTEP. Where its VNI is not known, what is said of its MACs means nothing.
    ///
    /// Mostly the source MAC is where the FDB has it, and the packet is for the address that we send from to that VTEP: then both
    /// outer addresses are known without being looked up.
    #[must_use]
    #[inline(always)]
    pub fn of_tunnel<T: Tables>(addresses: &OuterAddresses, read: &Received, tables: &T) -> Self {
        let place = tables.vni_word(addresses.vni);
        let segment = SegmentId::new(any_number(place));
        let word = |mac| tables.fdb_word(&FdbKey::new(segment, mac));
        let (source, destination) = (word(read.source), word(read.destination));
        let (from, to) = match usual_peer(source, tables) {
            Some((from, peer))
                if peer.addr == addresses.source && peer.local == addresses.destination =>
            {
                (from, Address::default().with(Address::OWN, true))
            }
            Some(_) | None => (
                tables.address(&addresses.source),
                tables.address(&addresses.destination),
            ),
        };
        let here = FdbTarget::Peer(from.peer_or_none());
        Self {
            from: from.word(),
            to: to.word(),
            place,
            seen: seen(source, here, tables),
            destination: destination.get(),
        }
    }

    /// Looks up a frame from a port. Where the port is not known, what is said of its MACs means nothing.
    #[must_use]
    #[inline(always)]
    pub fn of_port<T: Tables>(
        key: PortKey,
        source: MacAddr,
        destination: MacAddr,
        tables: &T,
    ) -> Self {
        let place = tables.port_word(&key);
        let slot = PortSlot::new(any_number(place));
        let segment = tables.segment_of_port(slot);
        let word = |mac| tables.fdb_word(&FdbKey::new(segment, mac));
        let (source, destination) = (word(source), word(destination));
        Self {
            from: Self::NOT_ASKED,
            to: Self::NOT_ASKED,
            place,
            seen: seen(source, FdbTarget::Port(slot), tables),
            destination: destination.get(),
        }
    }

    /// What the VTEP that a packet came from is to us.
    #[must_use]
    #[inline(always)]
    pub const fn from(&self) -> Address {
        Address::from_word(self.from)
    }

    /// What the address that a packet came to is to us.
    #[must_use]
    #[inline(always)]
    pub const fn to(&self) -> Address {
        Address::from_word(self.to)
    }

    /// The segment of a packet from a VTEP.
    #[must_use]
    #[inline(always)]
    pub fn segment(&self) -> Option<SegmentId> {
        number(self.place).map(SegmentId::new)
    }

    /// The port that a frame came from.
    #[must_use]
    #[inline(always)]
    pub fn slot(&self) -> Option<PortSlot> {
        number(self.place).map(PortSlot::new)
    }

    /// 1 if there is such a segment or port, else 0. Without a branch.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "one bit is left")]
    pub fn has_place(&self) -> u8 {
        const { assert!(numbered(0) == 1 << 32) };
        (self.place >> 32) as u8 & 1
    }

    /// What the FDB says of the source MAC.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it was made of a byte")]
    pub const fn seen(&self) -> Seen {
        Seen::from_code(self.seen as u8)
    }

    /// Where the FDB has the destination MAC, if it has it.
    #[must_use]
    #[inline(always)]
    pub const fn destination(&self) -> PackedTarget {
        FdbWord::new(self.destination).target()
    }
}

/// The peer behind which an FDB entry has its MAC, if its next hop is known.
#[inline(always)]
fn usual_peer<T: Tables>(word: FdbWord, tables: &T) -> Option<(Address, &Peer)> {
    let id = word.target().peer()?;
    let peer = tables.peer(id)?;
    // An address that has become our own has no next hop.
    if !peer.has(Peer::RESOLVED) {
        return None;
    }
    Some((Address::default().with_peer(Some(id)), peer))
}

/// The code of what an FDB entry says of a frame that came from `here`.
#[inline(always)]
fn seen<T: Tables>(word: FdbWord, here: FdbTarget, tables: &T) -> u64 {
    Seen::of(word, here, || tables.now()).code().into()
}

/// The number of a word, zero if there is none. Without a branch.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn any_number(word: u64) -> u32 {
    word as u32
}

/// What the FDB says of a frame's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(u8);

impl Source {
    /// It is where the frame came from; or nobody wants to know.
    pub const HERE: Self = Self(0);
    /// It is not known, or known to be elsewhere: to be learned.
    pub const NEW: Self = Self(1);
    /// A static entry says that it is elsewhere.
    pub const ELSEWHERE: Self = Self(2);
    /// It has moved too often, and is elsewhere.
    pub const DUPLICATE: Self = Self(3);
}

/// What an FDB entry says of a frame whose source it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u8);

impl Seen {
    /// As [`Source::HERE`], and the stamp of the entry is to be refreshed.
    pub const STALE: Self = Self(Source::HERE.0 | Self::KNOWN.0 | 1 << 2);
    /// An entry says that it is where the frame came from.
    const KNOWN: Self = Self(1 << 4);
    /// As [`Source::HERE`], by a static entry.
    pub const STATIC: Self = Self(Source::HERE.0 | Self::KNOWN.0 | 1 << 3);
    /// There is no entry.
    const ABSENT: Self = Self(1 << 5);
    /// There is room for no more, and the frame is not to be carried.
    const OVER_LIMIT: Self = Self(1 << 6);

    /// What `found` says of a frame that came from `here`. The time is asked for of entries that age alone.
    #[must_use]
    #[inline(always)]
    pub fn of(found: FdbWord, here: FdbTarget, now: impl FnOnce() -> u64) -> Self {
        const { assert!(Source::NEW.0 == 1 && Source::ELSEWHERE.0 == 2 && Source::DUPLICATE.0 == 3) };
        if found.points_to(here) {
            if found.ages() && found.is_stale(now()) {
                return Self::STALE;
            }
            return Self(Self::KNOWN.0 | u8::from(found.is_static()) << 3);
        }
        let at_port = here.port().is_some();
        let moves = found.yields_to_frame(at_port);
        // From a VTEP, a MAC of the user's at a port of ours too: an anycast gateway has one everywhere.
        let elsewhere = found.is_static() & (at_port | !found.is_at_port());
        let absent = u8::from(found.is_empty()) << 5;
        let frozen = u8::from(found.is_frozen());
        Self(u8::from(elsewhere) << 1 | u8::from(moves) | frozen | frozen << 1 | absent)
    }

    /// With what the limits say: `port_full` where the frame came from may have no more MACs, `vni_full` the whole VNI. A MAC that moves is no
    /// more to its VNI.
    #[must_use]
    #[inline(always)]
    pub const fn limited(self, port_full: bool, vni_full: bool) -> Self {
        let new = self.0 & 3 == Source::NEW.0;
        let absent = self.0 & Self::ABSENT.0 != 0;
        if new && (port_full || vni_full && absent) {
            Self(self.0 | Self::OVER_LIMIT.0)
        } else {
            self
        }
    }

    /// The frame is from a MAC that is new, where there is room for no more.
    #[must_use]
    #[inline(always)]
    pub const fn is_over_limit(self) -> bool {
        self.0 & Self::OVER_LIMIT.0 != 0
    }

    /// The FDB has the source MAC where the frame came from.
    #[must_use]
    #[inline(always)]
    pub const fn is_here(self) -> bool {
        self.0 & 3 == Source::HERE.0 && self.0 & Self::KNOWN.0 != 0
    }

    /// As the number that [`Seen::from_code`] takes.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// From a number, of which the lowest seven bits count.
    #[must_use]
    #[inline(always)]
    pub const fn from_code(code: u8) -> Self {
        Self(code & 0x7f)
    }

    /// Without the stamp.
    #[must_use]
    #[inline(always)]
    pub const fn source(self) -> Source {
        Source(self.0 & 3)
    }
}
