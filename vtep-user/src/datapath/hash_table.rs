//! Writing the tables of buckets ([`vtep_common::abi::hash_table`]) in the memory of their maps: no system call for an entry.
//!
//! Programs read meanwhile. In which order an entry is written, so that a reader finds a whole one or none: [`entry`]. Where both buckets of a new key are full, an entry makes room by going to its other bucket (cuckoo hashing): it
//! is there twice for a moment, and only a reader between its two looks can miss one that goes from the second to the first.
//!
//! A daemon can be killed between any two stores. What it leaves half done its successor clears: see [`HashTable::adopt`].

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
use vtep_common::abi::hash_table::{Bucket, Geometry, WAYS};

use super::{
    batch::{self, BatchError},
    entry::{self, Part},
};

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

/// A hash table.
pub(super) struct HashTable {
    map: OwnedFd,
    pieces: Box<[OnceLock<MmapRaw>]>,
    geometry: Geometry,
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

impl HashTable {
    /// Opens the empty table in a map with the `BPF_F_MMAPABLE` flag.
    pub(super) fn new(map: OwnedFd, geometry: Geometry) -> Self {
        let pieces = (0..=geometry.mask / PIECE)
            .map(|_| OnceLock::new())
            .collect();
        Self {
            map,
            pieces,
            geometry,
            len: 0,
        }
    }

    /// Opens the table that another daemon has left in such a map, which may have been killed in the middle of a change.
    pub(super) fn adopt(map: OwnedFd, geometry: Geometry) -> Result<Self, BatchError> {
        let read = read(&map)?;
        let mut table = Self::new(map, geometry);
        table.mend(&read).map_err(BatchError::Refused)?;
        Ok(table)
    }

    /// Counts the entries of a table of which this was read, and clears what no reader gets to: an entry that was going to another
    /// bucket and is there twice, and a word that has no key yet or no more. Memory is mapped for what is cleared alone.
    fn mend(&mut self, read: &[(u32, Bucket)]) -> io::Result<()> {
        self.len = 0;
        for &(bucket, found) in read {
            for (way, (key, word)) in found.keys.into_iter().zip(found.words).enumerate() {
                let place = Place { bucket, way };
                if (key, word) == (0, 0) {
                    continue;
                }
                if reached(read, self.geometry, key) == Some(place) {
                    self.len += 1;
                } else {
                    self.clear(place)?;
                }
            }
        }
        Ok(())
    }

    /// The words of a bucket: keys, then what they lead to.
    fn bucket(&self, number: u32) -> io::Result<&[AtomicU64; WORDS]> {
        let number = number & self.geometry.mask;
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
        let buckets = (self.geometry.mask + 1).min(PIECE) as usize;
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

    fn store(&self, bucket: u32, at: usize, value: u64) -> io::Result<()> {
        #[cfg(test)]
        tests::may_store()?;
        self.bucket(bucket)?[at].store(value, entry::STORE);
        Ok(())
    }

    /// Makes a store in the place of an entry.
    fn store_part(&self, place: Place, part: Part, value: u64) -> io::Result<()> {
        self.store(place.bucket, part.at(place.way), value)
    }

    /// Where `key` is.
    fn find(&self, key: u64) -> io::Result<Option<Place>> {
        if key == 0 {
            return Ok(None);
        }
        for bucket in self.geometry.places(key) {
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

    /// A way of a bucket that is not in use: one without a key. A word it can have, where a program has refreshed the stamp of an
    /// entry that was being deleted.
    fn free_way(&self, bucket: u32) -> io::Result<Option<Place>> {
        let keys = &self.bucket(bucket)?[..WAYS];
        let way = keys.iter().position(|k| k.load(Ordering::Relaxed) == 0);
        Ok(way.map(|way| Place { bucket, way }))
    }

    /// How keys are spread.
    pub(super) const fn geometry(&self) -> Geometry {
        self.geometry
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
            (Some(place), word) => self.store_part(place, Part::Word, word)?,
            (None, 0) => {}
            (None, word) => {
                if self.len >= self.geometry.room {
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
        entry::fill(key, word, |part, value| self.store_part(place, part, value))
    }

    fn clear(&self, place: Place) -> io::Result<()> {
        entry::clear(|part, value| self.store_part(place, part, value))
    }

    /// A free place for `key`: in its first bucket, else in its second, else one that others make room in.
    fn make_place(&self, key: u64) -> io::Result<Option<Place>> {
        let places = self.geometry.places(key);
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
                let [first, second] = self.geometry.places(key);
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
            entry::shift(
                key,
                word,
                |part, value| self.store_part(free, part, value),
                |part, value| self.store_part(place, part, value),
            )?;
            free = place;
            next = steps[step].from;
        }
        Ok(free)
    }

    /// Every entry, read by the kernel: no memory is mapped for it.
    pub(super) fn entries(&self) -> Result<Vec<(u64, u64)>, BatchError> {
        let read = read(&self.map)?;
        let places = read
            .iter()
            .flat_map(|(_, bucket)| bucket.keys.into_iter().zip(bucket.words));
        Ok(places.filter(|(key, _)| *key != 0).collect())
    }
}

/// Every bucket of the table in a map, by its number and in their order.
fn read(map: &OwnedFd) -> Result<Vec<(u32, Bucket)>, BatchError> {
    batch::entries(map.as_fd())
}

/// Where a reader gets to with `key` in a table of which this was read.
fn reached(read: &[(u32, Bucket)], geometry: Geometry, key: u64) -> Option<Place> {
    if key == 0 {
        return None;
    }
    geometry.places(key).into_iter().find_map(|bucket| {
        let (_, found) = read.get(bucket as usize)?;
        let way = found.keys.iter().position(|is| *is == key)?;
        Some(Place { bucket, way })
    })
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, collections::BTreeMap, fs::File, os::fd::FromRawFd as _};

    use proptest::prelude::*;

    use super::*;

    const SEED: u64 = 0x0123_4567_89ab_cdef;

    thread_local! {
        /// Stores that the writer makes before it is stopped.
        static STORES_LEFT: Cell<u32> = const { Cell::new(u32::MAX) };
    }

    /// What every store asks.
    pub(super) fn may_store() -> io::Result<()> {
        let left = STORES_LEFT.get().checked_sub(1);
        STORES_LEFT.set(left.ok_or_else(|| io::Error::from(io::ErrorKind::Interrupted))?);
        Ok(())
    }

    /// Sets the word of a key, but stops after so many stores. True if they were enough.
    fn set_in(table: &mut HashTable, stores: u32, key: u64, word: u64) -> bool {
        STORES_LEFT.set(stores);
        let done = table.set(key, word);
        STORES_LEFT.set(u32::MAX);
        !matches!(done, Err(Unset::Io(_)))
    }

    /// A table in ordinary memory.
    fn table(room: u32) -> HashTable {
        with_geometry(Geometry::new(room, SEED))
    }

    fn with_geometry(geometry: Geometry) -> HashTable {
        // SAFETY: the name ends in a zero byte.
        let fd = unsafe { libc::memfd_create(c"table".as_ptr(), libc::MFD_CLOEXEC) };
        assert!(fd >= 0, "{}", io::Error::last_os_error());
        // SAFETY: the descriptor was made just now, and nobody else has it.
        let memory = unsafe { File::from_raw_fd(fd) };
        let bytes = size_of::<Bucket>() * (geometry.mask as usize + 1);
        memory.set_len(bytes as u64).unwrap();
        HashTable::new(memory.into(), geometry)
    }

    /// Each bucket of a table.
    fn read(table: &HashTable) -> Vec<(u32, Bucket)> {
        (0..=table.geometry.mask)
            .map(|number| (number, bucket(table, number)))
            .collect()
    }

    fn bucket(table: &HashTable, number: u32) -> Bucket {
        let words = table.bucket(number).unwrap();
        Bucket {
            keys: std::array::from_fn(|way| words[way].load(Ordering::Relaxed)),
            words: std::array::from_fn(|way| words[WAYS + way].load(Ordering::Relaxed)),
        }
    }

    /// The table as the next daemon opens it.
    fn adopted(table: HashTable) -> HashTable {
        let read = read(&table);
        let mut next = HashTable::new(table.map, table.geometry);
        next.mend(&read).unwrap();
        next
    }

    /// Another table that has the same memory.
    fn copy(table: &HashTable) -> HashTable {
        let mut copy = with_geometry(table.geometry);
        copy.len = table.len;
        for (bucket, found) in read(table) {
            for (at, value) in found.keys.into_iter().chain(found.words).enumerate() {
                copy.store(bucket, at, value).unwrap();
            }
        }
        copy
    }

    /// As a program looks up.
    fn found(table: &HashTable, key: u64) -> u64 {
        let places = table.geometry.places(key);
        let [first, second] = places.map(|place| bucket(table, place).find(key));
        if first == 0 { second } else { first }
    }

    /// Every entry, read from the memory.
    fn all(table: &HashTable) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        for (bucket, found) in read(table) {
            for (key, word) in found.keys.into_iter().zip(found.words) {
                match (key, word) {
                    (0, 0) => {}
                    (0, _) | (_, 0) => panic!("half an entry in bucket {bucket}: {key} {word}"),
                    entry => all.push(entry),
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
            .filter(|key| {
                table.find(*key).unwrap().unwrap().bucket == table.geometry.places(*key)[0]
            })
            .count();

        // At 46 % full.
        assert!(first * 100 > room as usize * 95, "{first}");
    }

    #[test]
    fn an_entry_goes_back_to_its_first_bucket_to_make_room() {
        let mut table = table(100);
        let of = |wanted: &dyn Fn([u32; 2]) -> bool| -> Vec<u64> {
            let all = (1..).filter(|key| wanted(table.geometry.places(*key)));
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
        let mut again = adopted(first);

        assert!(!is_full(again.set(2, 5)));
        assert!(!is_full(again.set(3, 3)));
        assert!(is_full(again.set(4, 4)));
        assert_eq!(all(&again), [(1, 1), (2, 5), (3, 3)]);
    }

    /// A key that two buckets can have, and those.
    fn of_two(table: &HashTable) -> (u64, [u32; 2]) {
        let of = |key| (key, table.geometry.places(key));
        (1..1_000)
            .map(of)
            .find(|(_, [first, second])| first != second)
            .unwrap()
    }

    #[test]
    fn of_an_entry_that_is_there_twice_the_one_that_programs_refresh_stays() {
        let mut table = table(100);
        let (key, [first, second]) = of_two(&table);
        for (bucket, way, word) in [(second, 0, 1), (first, 3, 3), (first, 2, 2)] {
            table.fill(Place { bucket, way }, key, word).unwrap();
        }
        assert_eq!(found(&table, key), 2);

        table = adopted(table);

        assert_eq!((table.len, all(&table)), (1, vec![(key, 2)]));
        table.set(key, 0).unwrap();
        assert_eq!((table.len, found(&table, key)), (0, 0));
    }

    #[test]
    fn memory_is_mapped_for_what_is_cleared_alone() {
        let mut table = table(60_000);
        for key in 1..=60_000 {
            table.set(key, key).unwrap();
        }
        let mapped = |table: &HashTable| -> Vec<usize> {
            let pieces = table.pieces.iter().enumerate();
            let mapped = pieces.filter(|(_, piece)| piece.get().is_some());
            mapped.map(|(number, _)| number).collect()
        };

        table = adopted(table);
        assert_eq!((table.len, mapped(&table)), (60_000, Vec::new()));

        let place = table.free_way(5 * PIECE + 7).unwrap().unwrap();
        table.store_part(place, Part::Word, 1).unwrap();
        table = adopted(table);
        assert_eq!((table.len, mapped(&table)), (60_000, vec![5]));
    }

    #[test]
    fn a_place_whose_stamp_was_refreshed_when_it_was_cleared_is_free() {
        let mut table = table(100);
        // In a bucket where key zero would be looked for.
        let bucket = table.geometry.places(0)[0];
        let key = (1..10_000).find(|key| table.geometry.places(*key)[0] == bucket);
        let key = key.unwrap();
        table.set(key, 7).unwrap();
        let place = table.find(key).unwrap().unwrap();
        table.set(key, 0).unwrap();
        table.store_part(place, Part::Word, 1 << 32).unwrap();

        assert_eq!(table.get(0).unwrap(), None);
        table.set(0, 0).unwrap();
        assert_eq!(table.len, 0);

        table.set(key, 8).unwrap();
        assert_eq!(table.find(key).unwrap(), Some(place));
        assert_eq!((table.len, all(&table)), (1, vec![(key, 8)]));
    }

    proptest! {
        #[test]
        fn a_writer_can_be_killed_after_any_store(
            before in prop::collection::vec((1..300_u64, 0..4_u64), 0..1_000),
            changes in prop::collection::vec((1..300_u64, 0..4_u64), 1..8),
        ) {
            // Fuller than tables ever are, so that many entries make room for others.
            let mut table = with_geometry(Geometry { seed: SEED, mask: 63, room: 250 });
            for (key, word) in before {
                let _full = table.set(key, word);
            }
            for (key, word) in changes {
                let old = BTreeMap::from_iter(all(&table));
                for stores in 0.. {
                    let mut killed = copy(&table);
                    let whole = set_in(&mut killed, stores, key, word);
                    let mut next = adopted(killed);

                    let is = found(&next, key);
                    let was = old.get(&key).copied().unwrap_or(0);
                    prop_assert!(is == was || is == word, "{} after {} stores", is, stores);
                    let mut model = old.clone();
                    if is == 0 {
                        model.remove(&key);
                    } else {
                        model.insert(key, is);
                    }
                    prop_assert_eq!(all(&next), Vec::from_iter(model.clone()), "{} stores", stores);
                    prop_assert_eq!(next.len as usize, model.len());
                    for key in 1..300 {
                        let word = model.get(&key).copied();
                        prop_assert_eq!(next.get(key).unwrap(), word);
                        prop_assert_eq!(found(&next, key), word.unwrap_or(0));
                        next.set(key, 0).unwrap();
                        prop_assert_eq!(found(&next, key), 0);
                    }
                    prop_assert_eq!((next.len, all(&next)), (0, Vec::new()));
                    if whole {
                        break;
                    }
                }
                let _full = table.set(key, word);
            }
        }

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
