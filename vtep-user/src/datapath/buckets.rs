//! Writing the tables of buckets ([`vtep_common::buckets`]) in the memory of their maps: no system call for an entry.
//!
//! Programs read meanwhile. A word is written before the key that leads to it and cleared after it, so that a reader finds a whole
//! entry or none. Where both buckets of a new key are full, an entry makes room by going to its other bucket (cuckoo hashing): it
//! is there twice for a moment, and only a reader between its two looks can miss one that goes from the second to the first.

use std::{
    collections::VecDeque,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use memmap2::{MmapOptions, MmapRaw};
use vtep_common::buckets::{Bucket, Shape, WAYS};

use super::batch;

/// Buckets that are looked at for a place before the table counts as full. At three quarters full a few are enough.
const LONGEST_SEARCH: usize = 2_000;

/// Words of a bucket.
const WORDS: usize = size_of::<Bucket>() / size_of::<u64>();

/// Buckets of a piece of memory, 64 KiB. What is mapped counts as the daemon's memory, so that only pieces are that hold what was
/// asked for.
const PIECE: u32 = 1_024;

/// Why an entry could not be set.
#[derive(Debug)]
pub(super) enum Unset {
    /// The table has no place for it.
    Full,
    /// The memory of the map cannot be had.
    Io(io::Error),
}

impl From<io::Error> for Unset {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A table of buckets.
pub(super) struct Buckets {
    map: OwnedFd,
    pieces: Box<[OnceLock<MmapRaw>]>,
    shape: Shape,
    len: u32,
}

/// Where an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    bucket: u32,
    way: usize,
}

/// A bucket on the way of a search, and by which entry of an earlier one it was reached.
struct Step {
    bucket: u32,
    from: Option<(usize, usize)>,
}

impl Buckets {
    /// Opens the table in a map with the `BPF_F_MMAPABLE` flag, with so many entries in it.
    pub(super) fn new(map: OwnedFd, shape: Shape, len: u32) -> Self {
        let pieces = (0..=shape.mask / PIECE).map(|_| OnceLock::new()).collect();
        Self {
            map,
            pieces,
            shape,
            len,
        }
    }

    /// The words of a bucket: keys, then what they lead to.
    fn bucket(&self, number: u32) -> io::Result<&[AtomicU64; WORDS]> {
        let number = number & self.shape.mask;
        let memory = self.piece(number / PIECE)?;
        let at = (number % PIECE) as usize * size_of::<Bucket>();
        // SAFETY: the memory is as long as the buckets of a piece, which are aligned in it, and lives as long as `self`;
        // whoever else writes it does so in whole words or halves.
        Ok(unsafe { &*memory.as_mut_ptr().add(at).cast() })
    }

    fn piece(&self, number: u32) -> io::Result<&MmapRaw> {
        let cell = &self.pieces[number as usize];
        if let Some(memory) = cell.get() {
            return Ok(memory);
        }
        let buckets = (self.shape.mask + 1).min(PIECE) as usize;
        let size = size_of::<Bucket>();
        let memory = MmapOptions::new()
            .offset(u64::from(number) * u64::from(PIECE) * size as u64)
            .len(buckets * size)
            .map_raw(self.map.as_raw_fd())?;
        Ok(cell.get_or_init(|| memory))
    }

    fn key(&self, place: Place) -> io::Result<&AtomicU64> {
        Ok(&self.bucket(place.bucket)?[place.way])
    }

    fn word(&self, place: Place) -> io::Result<&AtomicU64> {
        Ok(&self.bucket(place.bucket)?[WAYS + place.way])
    }

    /// Where `key` is.
    fn find(&self, key: u64) -> io::Result<Option<Place>> {
        for bucket in self.shape.places(key) {
            let words = self.bucket(bucket)?;
            let is = |way: &usize| {
                words[*way].load(Ordering::Relaxed) == key
                    && words[WAYS + way].load(Ordering::Relaxed) != 0
            };
            if let Some(way) = (0..WAYS).find(is) {
                return Ok(Some(Place { bucket, way }));
            }
        }
        Ok(None)
    }

    /// A way of a bucket that is not in use.
    fn free_way(&self, bucket: u32) -> io::Result<Option<Place>> {
        let words = &self.bucket(bucket)?[WAYS..];
        let way = words.iter().position(|w| w.load(Ordering::Relaxed) == 0);
        Ok(way.map(|way| Place { bucket, way }))
    }

    /// How keys are spread.
    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// The word of a key.
    pub(super) fn get(&self, key: u64) -> io::Result<Option<u64>> {
        let Some(place) = self.find(key)? else {
            return Ok(None);
        };
        let word = self.word(place)?.load(Ordering::Acquire);
        Ok((word != 0).then_some(word))
    }

    /// Sets the word of a key; zero deletes it.
    pub(super) fn set(&mut self, key: u64, word: u64) -> Result<(), Unset> {
        match (self.find(key)?, word) {
            (Some(place), 0) => {
                self.clear(place)?;
                self.len -= 1;
            }
            (Some(place), word) => self.word(place)?.store(word, Ordering::Release),
            (None, 0) => {}
            (None, word) => {
                if self.len >= self.shape.room {
                    return Err(Unset::Full);
                }
                let place = self.make_place(key)?.ok_or(Unset::Full)?;
                self.fill(place, key, word)?;
                self.len += 1;
            }
        }
        Ok(())
    }

    fn fill(&self, place: Place, key: u64, word: u64) -> io::Result<()> {
        self.word(place)?.store(word, Ordering::Release);
        self.key(place)?.store(key, Ordering::Release);
        Ok(())
    }

    fn clear(&self, place: Place) -> io::Result<()> {
        self.key(place)?.store(0, Ordering::Release);
        self.word(place)?.store(0, Ordering::Release);
        Ok(())
    }

    /// A free place for `key`: in its first bucket, else in its second, else one that others make room in.
    fn make_place(&self, key: u64) -> io::Result<Option<Place>> {
        let places = self.shape.places(key);
        for bucket in places {
            if let Some(place) = self.free_way(bucket)? {
                return Ok(Some(place));
            }
        }
        self.displace(places)
    }

    /// Frees a place in one of these buckets, with the fewest moves (breadth first).
    fn displace(&self, from: [u32; 2]) -> io::Result<Option<Place>> {
        let mut steps: Vec<Step> = from.map(|bucket| Step { bucket, from: None }).into();
        let mut queue: VecDeque<usize> = (0..steps.len()).collect();
        while let Some(at) = queue.pop_front() {
            let bucket = steps[at].bucket;
            for way in 0..WAYS {
                let key = self.key(Place { bucket, way })?.load(Ordering::Relaxed);
                let [first, second] = self.shape.places(key);
                let other = if first == bucket { second } else { first };
                if let Some(free) = self.free_way(other)? {
                    return self.shift(&steps, (at, way), free).map(Some);
                }
                if steps.len() < LONGEST_SEARCH {
                    queue.push_back(steps.len());
                    steps.push(Step {
                        bucket: other,
                        from: Some((at, way)),
                    });
                }
            }
        }
        Ok(None)
    }

    /// Moves each entry on the way one bucket on, the last one into `free`; returns the place that is free then.
    fn shift(&self, steps: &[Step], last: (usize, usize), mut free: Place) -> io::Result<Place> {
        let mut next = Some(last);
        while let Some((step, way)) = next {
            let bucket = steps[step].bucket;
            let place = Place { bucket, way };
            let key = self.key(place)?.load(Ordering::Relaxed);
            let word = self.word(place)?.load(Ordering::Acquire);
            self.fill(free, key, word)?;
            self.clear(place)?;
            free = place;
            next = steps[step].from;
        }
        Ok(free)
    }

    /// Every entry, read by the kernel: no memory is mapped for it.
    pub(super) fn entries(&self) -> Result<Vec<(u64, u64)>, batch::BatchError> {
        entries(&self.map)
    }
}

/// Every entry of the table in a map.
pub(super) fn entries(map: &OwnedFd) -> Result<Vec<(u64, u64)>, batch::BatchError> {
    let buckets: Vec<(u32, Bucket)> = batch::entries(map.as_fd())?;
    let in_use = buckets
        .iter()
        .flat_map(|(_, bucket)| bucket.keys.into_iter().zip(bucket.words))
        .filter(|(_, word)| *word != 0);
    Ok(in_use.collect())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, fs::File, os::fd::FromRawFd as _};

    use proptest::prelude::*;

    use super::*;

    /// A table in ordinary memory.
    fn table(room: u32) -> Buckets {
        let shape = Shape::new(room, 0x0123_4567_89ab_cdef);
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe { libc::memfd_create(c"table".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor was made just now, and nobody else has it.
        let memory = unsafe { File::from_raw_fd(fd) };
        let bytes = size_of::<Bucket>() * (shape.mask as usize + 1);
        memory.set_len(bytes as u64).unwrap();
        Buckets::new(memory.into(), shape, 0)
    }

    /// As a program looks up.
    fn found(table: &Buckets, key: u64) -> u64 {
        let of = |bucket: u32| {
            let words = table.bucket(bucket).unwrap();
            Bucket {
                keys: std::array::from_fn(|way| words[way].load(Ordering::Relaxed)),
                words: std::array::from_fn(|way| words[WAYS + way].load(Ordering::Relaxed)),
            }
        };
        let [first, second] = table.shape.places(key).map(|bucket| of(bucket).find(key));
        if first == 0 { second } else { first }
    }

    /// Every entry, read from the memory.
    fn all(table: &Buckets) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for bucket in 0..=table.shape.mask {
            let words = table.bucket(bucket).unwrap();
            let load = |at: usize| words[at].load(Ordering::Relaxed);
            for (key, word) in (0..WAYS).map(|way| (load(way), load(WAYS + way))) {
                match word {
                    0 => assert_eq!(key, 0, "the key of a place that is not in use"),
                    _ => all.push((key, word)),
                }
            }
        }
        all.sort_unstable();
        all
    }

    fn is_full(done: Result<(), Unset>) -> bool {
        match done {
            Ok(()) => false,
            Err(Unset::Full) => true,
            Err(Unset::Io(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn all_entries_that_there_is_room_for_are_found() {
        // Three quarters of the places, the most that there can be.
        let room = 49_152;
        let mut table = table(room);
        for key in 1..=u64::from(room) {
            assert!(!is_full(table.set(key << 7, key)), "{key}");
        }

        for key in 1..=u64::from(room) {
            assert_eq!(found(&table, key << 7), key);
        }
        assert_eq!(all(&table).len(), room as usize);
        assert!(is_full(table.set(7, 7)));
        assert!(
            !is_full(table.set(1 << 7, 9)),
            "one that is there may change"
        );
    }

    #[test]
    fn most_entries_are_in_their_first_bucket() {
        let room = 60_000;
        let mut table = table(room);
        for key in 1..=u64::from(room) {
            table.set(key, key).unwrap();
        }

        let first = (1..=u64::from(room))
            .filter(|key| table.find(*key).unwrap().unwrap().bucket == table.shape.places(*key)[0])
            .count();

        // At 46 % full.
        assert!(first * 100 > room as usize * 95, "{first}");
    }

    #[test]
    fn an_entry_goes_back_to_its_first_bucket_to_make_room() {
        let mut table = table(100);
        let of = |wanted: &dyn Fn([u32; 2]) -> bool| -> Vec<u64> {
            let all = (1..).filter(|key| wanted(table.shape.places(*key)));
            all.take(WAYS).collect()
        };
        // One bucket is full of entries that have no other, the second one of entries that could be in their first.
        let [here, full] = [7, 8];
        let back = of(&|[first, second]| second == here && ![here, full].contains(&first));
        let stuck = of(&|places| places == [full, full]);
        let new = of(&|places| places == [full, here])[0];
        for (bucket, keys) in [(here, &back), (full, &stuck)] {
            for (way, key) in keys.iter().enumerate() {
                table.fill(Place { bucket, way }, *key, *key).unwrap();
                table.len += 1;
            }
        }

        assert!(!is_full(table.set(new, new)));

        for key in back.into_iter().chain(stuck).chain([new]) {
            assert_eq!(found(&table, key), key);
        }
    }

    #[test]
    fn a_free_place_is_no_entry() {
        let mut table = table(100);

        assert_eq!(table.get(0).unwrap(), None);
        assert!(!is_full(table.set(0, 0)));

        assert_eq!((table.len, all(&table)), (0, Vec::new()));
    }

    #[test]
    fn a_table_that_is_opened_again_knows_how_many_it_has() {
        let mut first = table(3);
        first.set(1, 1).unwrap();
        first.set(2, 2).unwrap();
        let mut again = Buckets::new(first.map, first.shape, 2);

        assert!(!is_full(again.set(2, 5)));
        assert!(!is_full(again.set(3, 3)));
        assert!(is_full(again.set(4, 4)));
        assert_eq!(all(&again), [(1, 1), (2, 5), (3, 3)]);
    }

    proptest! {
        #[test]
        fn a_table_is_an_ordinary_map(changes in prop::collection::vec((1..400_u64, 0..3_u64), 0..1_500)) {
            let mut table = table(190);
            let mut map = BTreeMap::new();
            for (key, word) in changes {
                let done = table.set(key, word);
                if word == 0 {
                    map.remove(&key);
                } else if map.len() < 190 || map.contains_key(&key) {
                    map.insert(key, word);
                    prop_assert!(!is_full(done));
                } else {
                    prop_assert!(is_full(done));
                }
            }
            prop_assert_eq!(all(&table), map.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
            for key in 1..400 {
                let word = map.get(&key).copied();
                prop_assert_eq!(table.get(key).unwrap(), word);
                prop_assert_eq!(found(&table, key), word.unwrap_or(0));
            }
        }
    }
}
