//! Tables that programs look things up in for every packet: from one 64-bit key to one 64-bit word, in buckets of one cache
//! line.
//!
//! A key is in one of two buckets, mostly in its first, so that a look-up takes one cache line, and two where the key is not
//! there. The daemon alone adds and deletes, straight in the memory of the map; programs read, and refresh stamps.

use bytemuck::{Pod, Zeroable};

/// A 64-bit mixer after Murmur3's finalizer: one multiplication a step, every input bit reaches every output bit.
#[derive(Clone, Copy, Debug)]
pub struct Hasher(u64);

impl Hasher {
    /// Starts with one number.
    #[must_use]
    #[inline(always)]
    pub const fn new(word: u64) -> Self {
        Self(word)
    }

    /// Mixes in another.
    #[must_use]
    #[expect(clippy::should_implement_trait, reason = "it is no sum")]
    #[inline(always)]
    pub fn add(self, word: u64) -> Self {
        let mixed = (self.0 ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Self(mixed ^ (mixed >> 32))
    }

    /// The hash.
    #[must_use]
    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the upper half is folded into the lower before"
    )]
    pub fn finish(self) -> u32 {
        self.finish_wide() as u32
    }

    /// The hash in 64 bits; each half can stand for itself.
    #[must_use]
    #[inline(always)]
    pub fn finish_wide(self) -> u64 {
        let mixed = self.0.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        mixed ^ (mixed >> 32)
    }
}

/// Entries of a bucket.
pub const WAYS: usize = 4;

/// Four entries: one cache line of 64 bytes. An entry that is not in use is all zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Bucket {
    /// The keys.
    pub keys: [u64; WAYS],
    /// What they lead to, never zero for an entry in use.
    pub words: [u64; WAYS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

impl Bucket {
    /// The word of `key`, or zero. The daemon may be writing the bucket meanwhile: each value is read once, and a word after its key.
    #[must_use]
    #[inline(always)]
    pub fn find(&self, key: u64) -> u64 {
        find(key, &self.keys, &self.words, |value| {
            // SAFETY: a reference can be read through; any bit pattern is a value.
            unsafe { (&raw const *value).read_volatile() }
        })
    }
}

/// How a reader finds the word of `key` in a bucket, or zero: each value is read by `read`, and a word after its key.
#[inline(always)]
pub fn find<T>(key: u64, keys: &[T; WAYS], words: &[T; WAYS], read: impl Fn(&T) -> u64) -> u64 {
    let [a, b, c, d] = keys;
    let [one, two, three, four] = words;
    if read(a) == key {
        read(one)
    } else if read(b) == key {
        read(two)
    } else if read(c) == key {
        read(three)
    } else if read(d) == key {
        read(four)
    } else {
        0
    }
}

/// How keys are spread over the buckets of a table: 16 bytes.
///
/// The seed is secret and differs from instance to instance, so that nobody can send frames whose MACs all belong into the same
/// buckets.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Geometry {
    /// What keys are mixed with.
    pub seed: u64,
    /// Number of buckets, a power of two, less one.
    pub mask: u32,
    /// Entries that the daemon puts in, at most.
    pub room: u32,
}

const _: () = assert!(size_of::<Geometry>() == 16);

impl Geometry {
    /// A shape with room for `room` entries: at most three quarters of the places are then in use.
    #[must_use]
    pub const fn new(room: u32, seed: u64) -> Self {
        Self {
            seed,
            mask: Self::buckets(room).wrapping_sub(1),
            room,
        }
    }

    /// Buckets for `room` entries, at least one page of them.
    #[must_use]
    pub const fn buckets(room: u32) -> u32 {
        let least = (room as u64)
            .saturating_mul(4)
            .div_ceil(3)
            .div_ceil(WAYS as u64);
        let least = if least < 64 { 64 } else { least };
        let buckets = least.next_power_of_two();
        if buckets > 1 << 30 {
            1 << 30
        } else {
            #[expect(clippy::cast_possible_truncation, reason = "compared just now")]
            {
                buckets as u32
            }
        }
    }

    /// The two buckets that `key` belongs into; they may be the same.
    #[must_use]
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "each half is meant")]
    pub fn places(&self, key: u64) -> [u32; 2] {
        let mixed = Hasher::new(self.seed).add(key).finish_wide();
        [(mixed >> 32) as u32 & self.mask, mixed as u32 & self.mask]
    }
}

/// The tables that are laid out so. The numbers index `SHAPES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Table {
    /// `FDB`: [`FdbKey`](crate::abi::fdb::FdbKey) to [`FdbValue`](crate::abi::fdb::FdbValue) as a word.
    Fdb = 0,
    /// `VNIS`: VNI to segment number.
    Vnis = 1,
    /// `PORT_INDEX`: [`PortKey`](crate::abi::port::PortKey) to slot.
    PortIndex = 2,
    /// `ADDRESSES`: underlay address to [`Address`](crate::abi::address::Address).
    Addresses = 3,
}

impl Table {
    /// Number of tables.
    pub const COUNT: u32 = 4;
}

/// A number as a word of a table: never zero.
#[must_use]
#[inline(always)]
pub const fn numbered(number: u32) -> u64 {
    number as u64 | 1 << 32
}

/// The number of a word, if there is one.
#[must_use]
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
pub const fn number(word: u64) -> Option<u32> {
    if word == 0 { None } else { Some(word as u32) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_key_is_found_wherever_it_stands() {
        let bucket = Bucket {
            keys: [7, 8, 0, 9],
            words: [70, 80, 0, 90],
        };

        assert_eq!(
            [7, 8, 9, 10, 0].map(|key| bucket.find(key)),
            [70, 80, 90, 0, 0]
        );
    }

    #[test]
    fn a_table_is_at_most_three_quarters_full() {
        assert_eq!(Geometry::buckets(1), 64);
        assert_eq!(Geometry::buckets(262_144), 131_072);
        assert_eq!(Geometry::buckets(1_000_000), 524_288);
        for room in [1, 300, 393_216, 1 << 24] {
            let places = u64::from(Geometry::buckets(room)) * WAYS as u64;
            assert!(u64::from(room) * 4 <= places * 3, "{room}");
        }
    }

    #[test]
    fn keys_in_a_row_spread_over_all_buckets() {
        let geometry = Geometry::new(30_000, 0x1234_5678_9abc_def0);
        let buckets = geometry.mask + 1;
        for place in [0, 1] {
            let mut full: HashMap<u32, u32> = HashMap::new();
            for key in 0..u64::from(buckets) {
                *full.entry(geometry.places(key)[place]).or_default() += 1;
            }
            // As many keys as buckets: about one in e stays empty.
            let empty = buckets - u32::try_from(full.len()).unwrap();
            assert!((buckets / 3..buckets * 2 / 5).contains(&empty), "{empty}");
            assert!(full.values().all(|count| *count < 12));
        }
    }

    #[test]
    fn another_seed_is_another_order() {
        let [one, other] = [1, 2].map(|seed| Geometry::new(100_000, seed));

        let same = (0..1_000).filter(|key| one.places(*key) == other.places(*key));

        assert!(same.count() < 5);
    }

    #[test]
    fn number_zero_is_a_number() {
        assert_eq!(number(numbered(0)), Some(0));
        assert_eq!(number(numbered(u32::MAX)), Some(u32::MAX));
        assert_eq!(number(0), None);
    }
}
