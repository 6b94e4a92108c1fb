//! An FDB entry: its key and its value.

use super::{
    addr::MacAddr,
    id::{ListId, PeerId, PortSlot, SegmentId},
    map::{MAX_FLOOD_LISTS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS},
    origin::Origin,
};

/// Key of the FDB: 8 bytes, the segment number in the upper 16 bits and the MAC below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdbKey(u64);

const _: () = assert!(MAX_SEGMENTS <= 1 << 16);

impl FdbKey {
    /// The key of `mac` in a segment.
    #[must_use]
    #[inline(always)]
    pub fn new(segment: SegmentId, mac: MacAddr) -> Self {
        Self((u64::from(segment.get()) << 48) | mac.get())
    }

    /// The key of an entry of `FDB`. Zero for the zero MAC in segment 0, which no entry is for.
    #[must_use]
    #[inline(always)]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// From the key of an entry.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// The segment.
    #[must_use]
    pub const fn segment(self) -> SegmentId {
        SegmentId::new((self.0 >> 48) as u32)
    }

    /// The MAC.
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        MacAddr::from_bytes([a, b, c, d, e, f])
    }
}

/// Where an FDB entry points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FdbTarget {
    /// Behind a remote VTEP.
    Peer(PeerId),
    /// Behind a local port.
    Port(PortSlot),
    /// A flood list: a multicast MAC with VTEPs of its own.
    List(ListId),
}

impl FdbTarget {
    /// Code of a peer in the maps.
    const PEER: u8 = 1;
    /// Code of a port in the maps.
    const PORT: u8 = 2;
    /// Code of a flood list in the maps.
    const LIST: u8 = 3;

    /// What it is, as the maps have it. Never zero.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        match self {
            Self::Peer(_) => Self::PEER,
            Self::Port(_) => Self::PORT,
            Self::List(_) => Self::LIST,
        }
    }

    /// Its number, as the maps have it.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        match self {
            Self::Peer(peer) => peer.get(),
            Self::Port(slot) => slot.get(),
            Self::List(list) => list.get(),
        }
    }

    /// From [`code`](Self::code) and [`number`](Self::number); `None` for a code that means nothing.
    #[must_use]
    #[inline(always)]
    pub const fn from_code(code: u8, number: u32) -> Option<Self> {
        match code {
            Self::PEER => Some(Self::Peer(PeerId::new(number))),
            Self::PORT => Some(Self::Port(PortSlot::new(number))),
            Self::LIST => Some(Self::List(ListId::new(number))),
            _ => None,
        }
    }

    /// The peer, if it is one.
    #[must_use]
    #[inline(always)]
    pub const fn peer(self) -> Option<PeerId> {
        match self {
            Self::Peer(peer) => Some(peer),
            Self::Port(_) | Self::List(_) => None,
        }
    }

    /// The port, if it is one.
    #[must_use]
    #[inline(always)]
    pub const fn port(self) -> Option<PortSlot> {
        match self {
            Self::Port(slot) => Some(slot),
            Self::Peer(_) | Self::List(_) => None,
        }
    }

    /// The flood list, if it is one.
    #[must_use]
    #[inline(always)]
    pub const fn list(self) -> Option<ListId> {
        match self {
            Self::List(list) => Some(list),
            Self::Peer(_) | Self::Port(_) => None,
        }
    }
}

/// A target, or none, as the maps have it: a code and a number.
///
/// The kernel side unpacks it where it sends: every variant of an enum the verifier follows on its own from where it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedTarget {
    number: u32,
    code: u8,
}

impl PackedTarget {
    /// No target.
    pub const NONE: Self = Self { number: 0, code: 0 };

    /// As a map has it.
    #[must_use]
    #[inline(always)]
    pub const fn from_parts(code: u8, number: u32) -> Self {
        Self { number, code }
    }

    /// The target, if there is one.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> Option<FdbTarget> {
        FdbTarget::from_code(self.code, self.number)
    }

    /// True if there is none.
    #[must_use]
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.code == 0
    }

    /// True for a peer or a port: one copy of a frame goes there.
    #[must_use]
    #[inline(always)]
    pub const fn is_unicast(self) -> bool {
        const { assert!(FdbTarget::PEER == 1 && FdbTarget::PORT == 2) };
        self.code.wrapping_sub(1) < 2
    }

    /// The peer, if it is one.
    #[must_use]
    #[inline(always)]
    pub fn peer(self) -> Option<PeerId> {
        (self.code == FdbTarget::PEER).then_some(PeerId::new(self.number))
    }

    /// The port, if it is one.
    #[must_use]
    #[inline(always)]
    pub fn port(self) -> Option<PortSlot> {
        (self.code == FdbTarget::PORT).then_some(PortSlot::new(self.number))
    }

    /// The flood list, if it is one.
    #[must_use]
    #[inline(always)]
    pub fn list(self) -> Option<ListId> {
        (self.code == FdbTarget::LIST).then_some(ListId::new(self.number))
    }

    /// Its code, zero if there is none.
    #[must_use]
    #[inline(always)]
    pub const fn code(self) -> u8 {
        self.code
    }

    /// Its number.
    #[must_use]
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.number
    }
}

impl From<Option<FdbTarget>> for PackedTarget {
    #[inline(always)]
    fn from(target: Option<FdbTarget>) -> Self {
        target.map_or(Self::NONE, Self::from)
    }
}

impl From<FdbTarget> for PackedTarget {
    #[inline(always)]
    fn from(target: FdbTarget) -> Self {
        Self::from_parts(target.code(), target.number())
    }
}

/// An FDB entry as it stands in the map, zero where there is none: from the lowest bit on 16 bits of the target's number, 8 of its
/// code, 4 of the origin, 4 of flags, and the stamp in the upper half.
///
/// The kernel side asks it for no more than it needs, without decoding the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbWord(u64);

impl FdbWord {
    /// The entry is frozen.
    const FROZEN: u64 = 1 << 28;
    /// The configuration file made the entry.
    const CONFIGURED: u64 = 1 << 29;

    /// From the word of the map.
    #[must_use]
    #[inline(always)]
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// The word of the map.
    #[must_use]
    #[inline(always)]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// True where there is no entry.
    #[must_use]
    #[inline(always)]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Where it points, if there is an entry.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn target(self) -> PackedTarget {
        PackedTarget {
            number: self.0 as u32 & 0xffff,
            code: (self.0 >> 16) as u8,
        }
    }

    /// True if it points to `target`. Without a branch.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn points_to(self, target: FdbTarget) -> bool {
        // That of nothing has more than 24 bits, and so is no entry's.
        self.0 as u32 & 0x00ff_ffff == target.number() | (target.code() as u32) << 16
    }

    /// The code of its origin.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    const fn origin_code(self) -> u8 {
        (self.0 >> 24) as u8 & 0xf
    }

    /// True if it [ages](Origin::ages). Without a branch, as what follows.
    #[must_use]
    #[inline(always)]
    pub const fn ages(self) -> bool {
        const MASK: u16 = Origin::mask_of_ageing();
        MASK >> self.origin_code() & 1 != 0
    }

    /// True if the user made it.
    #[must_use]
    #[inline(always)]
    pub const fn is_static(self) -> bool {
        self.origin_code() == Origin::Static.code()
    }

    /// True if a frame from elsewhere, from a local port or from a VTEP, moves it there, or makes it where there is none.
    #[must_use]
    #[inline(always)]
    pub const fn yields_to_frame(self, at_port: bool) -> bool {
        const AT_PORT: u16 = Origin::Learned.mask_of_kept(true);
        const AT_VTEP: u16 = Origin::Learned.mask_of_kept(false);
        let kept = if at_port { AT_PORT } else { AT_VTEP };
        (kept >> self.origin_code() & 1 == 0) & !self.is_frozen()
    }

    /// Who made it; `None` for a code that means nothing.
    #[must_use]
    pub const fn origin(self) -> Option<Origin> {
        Origin::from_code(self.origin_code())
    }

    /// True if it points to a port.
    #[must_use]
    #[inline(always)]
    pub const fn is_at_port(self) -> bool {
        self.0 >> 16 & 0xff == FdbTarget::PORT as u64
    }

    /// True if it is [frozen](FdbValue::frozen).
    #[must_use]
    #[inline(always)]
    pub const fn is_frozen(self) -> bool {
        self.0 & Self::FROZEN != 0
    }

    /// True if the configuration file made it. For the daemon alone.
    #[must_use]
    pub const fn is_configured(self) -> bool {
        self.0 & Self::CONFIGURED != 0
    }

    /// True if traffic at the time `now` is to refresh the stamp. One of the future was made on another CPU just now.
    #[must_use]
    #[inline(always)]
    pub const fn is_stale(self, now: u64) -> bool {
        const AGE: i32 = FdbValue::stamp(FdbValue::REFRESH_NS).cast_signed();
        let age = FdbValue::stamp(now).wrapping_sub((self.0 >> 32) as u32);
        age.cast_signed() > AGE
    }

    /// The entry in parts; `None` where there is none, or one that means nothing.
    #[must_use]
    pub const fn value(self) -> Option<FdbValue> {
        match (self.target().get(), self.origin()) {
            (Some(target), Some(origin)) => Some(FdbValue {
                target,
                origin,
                frozen: self.is_frozen(),
                configured: self.is_configured(),
                last_seen: (self.0 >> 32) << FdbValue::STAMP_SHIFT,
            }),
            _ => None,
        }
    }
}

/// An FDB entry in parts, as the daemon handles it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdbValue {
    /// Where it points.
    pub target: FdbTarget,
    /// Who made it.
    pub origin: Origin,
    /// Moved too often (RFC 7432 section 15.1): it stays where it is, and no frame from elsewhere is an event.
    pub frozen: bool,
    /// The configuration file made it. For the daemon alone.
    pub configured: bool,
    /// When a frame from the MAC was last seen, in nanoseconds of `CLOCK_MONOTONIC`, a second too early at most; zero for
    /// entries that do not age. In the map as 32 bits of [`FdbValue::STAMP_SHIFT`], which start anew after 834 days.
    pub last_seen: u64,
}

impl FdbValue {
    /// How long a stamp is left as it is before traffic refreshes it, in nanoseconds.
    pub const REFRESH_NS: u64 = 1_000_000_000;
    /// Stamps count units of 2 to this power nanoseconds: some 17 ms.
    pub const STAMP_SHIFT: u32 = 24;

    /// The stamp of a time.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "stamps start anew")]
    pub const fn stamp(time: u64) -> u32 {
        (time >> Self::STAMP_SHIFT) as u32
    }

    /// An entry of the user's, which points to `target`.
    #[must_use]
    pub const fn static_to(target: FdbTarget) -> Self {
        Self {
            target,
            origin: Origin::Static,
            frozen: false,
            configured: false,
            last_seen: 0,
        }
    }

    /// An entry that a frame seen at `last_seen` made.
    #[must_use]
    pub const fn learned(target: FdbTarget, last_seen: u64) -> Self {
        Self {
            target,
            origin: Origin::Learned,
            frozen: false,
            configured: false,
            last_seen,
        }
    }

    /// The time that the stamp stands for, of all that it can stand for the last one that is not after `now` by more than
    /// half of them.
    #[must_use]
    pub const fn seen_before(&self, now: u64) -> u64 {
        let age = Self::stamp(now).wrapping_sub(Self::stamp(self.last_seen));
        (now >> Self::STAMP_SHIFT).wrapping_add_signed((age.cast_signed() as i64).wrapping_neg())
            << Self::STAMP_SHIFT
    }

    /// As it stands in the map. Of the target's number 16 bits are kept: there are no more.
    #[must_use]
    #[inline(always)]
    pub fn word(&self) -> FdbWord {
        let frozen = if self.frozen { FdbWord::FROZEN } else { 0 };
        let configured = if self.configured {
            FdbWord::CONFIGURED
        } else {
            0
        };
        FdbWord(
            u64::from(self.target.number() & 0xffff)
                | u64::from(self.target.code()) << 16
                | u64::from(self.origin.code()) << 24
                | frozen
                | configured
                | u64::from(Self::stamp(self.last_seen)) << 32,
        )
    }
}

const _: () = assert!(MAX_PEERS <= 1 << 16 && MAX_PORTS <= 1 << 16 && MAX_FLOOD_LISTS <= 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: FdbTarget = FdbTarget::Port(PortSlot::new(7));

    #[test]
    fn an_fdb_value_survives_the_round_trip() {
        let targets = [
            FdbTarget::Peer(PeerId::new(0)),
            TARGET,
            FdbTarget::List(ListId::new(0xffff)),
        ];
        for target in targets {
            for origin in Origin::ALL {
                for (frozen, configured) in [(false, false), (true, false), (false, true)] {
                    let value = FdbValue {
                        target,
                        origin,
                        frozen,
                        configured,
                        last_seen: 0xffff_ffff << FdbValue::STAMP_SHIFT,
                    };
                    let word = value.word();
                    assert_eq!(word.value(), Some(value));
                    assert!(word.points_to(target) && !word.is_empty());
                    assert!(!word.points_to(FdbTarget::Peer(PeerId::NONE)));
                }
            }
        }
        assert_eq!(FdbWord::default().value(), None);
    }

    #[test]
    fn the_word_is_laid_out_as_it_is_pinned() {
        let value = FdbValue {
            target: FdbTarget::List(ListId::new(0x1234)),
            origin: Origin::Learned,
            frozen: true,
            configured: false,
            last_seen: 0x89ab_cdef << FdbValue::STAMP_SHIFT,
        };
        assert_eq!(value.word().get(), 0x89ab_cdef_1203_1234);
        let value = FdbValue::static_to(FdbTarget::Peer(PeerId::new(5)));
        assert_eq!(value.word().get(), 0x0101_0005);
        let configured = FdbValue {
            configured: true,
            ..value
        };
        assert_eq!(configured.word().get(), 0x2101_0005);
        let value = FdbValue::learned(TARGET, 0);
        assert_eq!(value.word().get(), 0x0202_0007);
    }

    #[test]
    fn a_word_that_means_nothing_is_no_value() {
        for word in [0x0100_0005, 0x0104_0005, 0x0001_0005, 0x0401_0005] {
            assert_eq!(FdbWord::new(word).value(), None, "{word:x}");
        }
    }

    #[test]
    fn a_stamp_is_stale_after_a_second_also_where_stamps_start_anew() {
        let unit = 1 << FdbValue::STAMP_SHIFT;
        for seen in [0, 1_000 * unit, 0xffff_fff0 * unit] {
            let word = FdbValue::learned(TARGET, seen).word();
            assert!(!word.is_stale(seen + FdbValue::REFRESH_NS / 2));
            assert!(!word.is_stale(seen + FdbValue::REFRESH_NS));
            assert!(word.is_stale(seen + FdbValue::REFRESH_NS + unit));
            // Made on another CPU just now.
            let earlier = seen.saturating_sub(unit);
            assert!(!word.is_stale(earlier));
            let kept = word.value().unwrap();
            assert_eq!(kept.seen_before(earlier), seen);
            let now = seen + 5 * FdbValue::REFRESH_NS;
            assert_eq!(kept.seen_before(now), seen);
        }
        // A round and a half of all stamps later.
        let late = FdbValue::learned(TARGET, (1 << 32) * unit + 7 * unit);
        let kept = late.word().value().unwrap();
        assert_eq!(kept.seen_before(late.last_seen + unit), late.last_seen);
    }

    #[test]
    fn an_fdb_key_keeps_its_parts() {
        let mac = MacAddr::from_bytes([0x02, 1, 2, 3, 4, 5]);
        let segment = SegmentId::new(MAX_SEGMENTS - 1);
        let key = FdbKey::new(segment, mac);
        assert_eq!((key.segment(), key.mac()), (segment, mac));
    }
}
