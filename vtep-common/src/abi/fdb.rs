//! An FDB entry: its key and its value.

use super::{
    addr::MacAddr,
    map::{MAX_FLOOD_LISTS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS},
};

/// Key of the FDB: 8 bytes, the segment number in the upper 16 bits and the MAC below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FdbKey(u64);

const _: () = assert!(MAX_SEGMENTS <= 1 << 16);

impl FdbKey {
    /// The key of `mac` in the segment with number `segment`.
    #[must_use]
    #[inline(always)]
    pub fn new(segment: u32, mac: MacAddr) -> Self {
        Self((u64::from(segment) << 48) | mac.get())
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

    /// Number of the segment.
    #[must_use]
    pub const fn segment(self) -> u32 {
        (self.0 >> 48) as u32
    }

    /// The MAC.
    #[must_use]
    pub const fn mac(self) -> MacAddr {
        let [_, _, a, b, c, d, e, f] = self.0.to_be_bytes();
        MacAddr::from_bytes([a, b, c, d, e, f])
    }
}

/// Where an FDB entry points: in the map a word of 8 bytes, the stamp in its upper half.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FdbValue {
    /// Number of the peer, port or flood list.
    pub target: u32,
    /// [`FdbValue::PEER`], [`FdbValue::PORT`] or [`FdbValue::LIST`].
    pub kind: u8,
    /// Who made the entry: [`FdbValue::STATIC`] or [`FdbValue::LEARNED`].
    pub origin: u8,
    /// [`FdbValue::FROZEN`].
    pub flags: u16,
    /// When a frame from the MAC was last seen, in nanoseconds of `CLOCK_MONOTONIC`, a second too early at most; zero for
    /// static entries. In the map as 32 bits of [`FdbValue::STAMP_SHIFT`], which start anew after 834 days.
    pub last_seen: u64,
}

impl FdbValue {
    /// `target` is a peer number.
    pub const PEER: u8 = 1;
    /// `target` is a slot of `PORTS`.
    pub const PORT: u8 = 2;
    /// `target` is a flood list: a multicast MAC with VTEPs of its own.
    pub const LIST: u8 = 3;
    /// Made by the user; never ages, and frames from elsewhere with this source are dropped.
    pub const STATIC: u8 = 1;
    /// Learned from frames; ages, and moves.
    pub const LEARNED: u8 = 2;
    /// Moved too often (RFC 7432 section 15.1): it stays where it is, and no frame from elsewhere is an event.
    pub const FROZEN: u16 = 1;
    /// How long a stamp is left as it is before traffic renews it, in nanoseconds.
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

    /// True if traffic at the time `now` is to renew the stamp. One of the future was made on another CPU just now.
    #[must_use]
    #[inline(always)]
    pub const fn is_stale(&self, now: u64) -> bool {
        const AGE: i32 = FdbValue::stamp(FdbValue::REFRESH_NS).cast_signed();
        let age = Self::stamp(now).wrapping_sub(Self::stamp(self.last_seen));
        age.cast_signed() > AGE
    }

    /// The time that the stamp stands for, of all that it can stand for the last one that is not after `now` by more than
    /// half of them.
    #[must_use]
    pub const fn seen_before(&self, now: u64) -> u64 {
        let age = Self::stamp(now).wrapping_sub(Self::stamp(self.last_seen));
        (now >> Self::STAMP_SHIFT).wrapping_add_signed((age.cast_signed() as i64).wrapping_neg())
            << Self::STAMP_SHIFT
    }

    /// The word of an entry of `FDB`. Of the target 16 bits are kept, of the flags 4: there are no more.
    #[must_use]
    #[inline(always)]
    pub fn word(&self) -> u64 {
        u64::from(self.target & 0xffff)
            | u64::from(self.kind) << 16
            | u64::from(self.origin & 0xf) << 24
            | u64::from(self.flags & 0xf) << 28
            | u64::from(Self::stamp(self.last_seen)) << 32
    }

    /// From the word of an entry; `None` where that is not in use.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the parts are meant")]
    pub const fn from_word(word: u64) -> Option<Self> {
        if word == 0 {
            return None;
        }
        Some(Self {
            target: word as u32 & 0xffff,
            kind: (word >> 16) as u8,
            origin: (word >> 24) as u8 & 0xf,
            flags: (word >> 28) as u16 & 0xf,
            last_seen: (word >> 32) << Self::STAMP_SHIFT,
        })
    }
}

const _: () = assert!(MAX_PEERS <= 1 << 16 && MAX_PORTS <= 1 << 16 && MAX_FLOOD_LISTS <= 1 << 16);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_fdb_value_survives_the_round_trip() {
        let value = FdbValue {
            target: 0xffff,
            kind: FdbValue::LIST,
            origin: FdbValue::LEARNED,
            flags: FdbValue::FROZEN,
            last_seen: 0xffff_ffff << FdbValue::STAMP_SHIFT,
        };
        assert_eq!(FdbValue::from_word(value.word()), Some(value));
        assert_eq!(FdbValue::from_word(0), None);
    }

    #[test]
    fn a_stamp_is_stale_after_a_second_also_where_stamps_start_anew() {
        let unit = 1 << FdbValue::STAMP_SHIFT;
        for seen in [0, 1_000 * unit, 0xffff_fff0 * unit] {
            let value = FdbValue {
                last_seen: seen,
                ..FdbValue::default()
            };
            let kept = FdbValue::from_word(value.word() | 1).unwrap();
            assert!(!kept.is_stale(seen + FdbValue::REFRESH_NS / 2));
            assert!(!kept.is_stale(seen + FdbValue::REFRESH_NS));
            assert!(kept.is_stale(seen + FdbValue::REFRESH_NS + unit));
            // Made on another CPU just now.
            let earlier = seen.saturating_sub(unit);
            assert!(!kept.is_stale(earlier));
            assert_eq!(kept.seen_before(earlier), seen);
            let now = seen + 5 * FdbValue::REFRESH_NS;
            assert_eq!(kept.seen_before(now), seen);
        }
        // A round and a half of all stamps later.
        let late = FdbValue {
            last_seen: (1 << 32) * unit + 7 * unit,
            ..FdbValue::default()
        };
        let kept = FdbValue::from_word(late.word() | 1).unwrap();
        assert_eq!(kept.seen_before(late.last_seen + unit), late.last_seen);
    }

    #[test]
    fn an_fdb_key_keeps_its_parts() {
        let mac = MacAddr::from_bytes([0x02, 1, 2, 3, 4, 5]);
        let key = FdbKey::new(MAX_SEGMENTS - 1, mac);
        assert_eq!((key.segment(), key.mac()), (MAX_SEGMENTS - 1, mac));
    }
}
