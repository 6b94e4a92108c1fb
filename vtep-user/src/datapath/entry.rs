//! In which order the parts of a hash table's entry are stored, while programs read them.
//!
//! Every store is a release: whoever sees it and reads on in order sees all that was stored before. A reader loads a key, and then
//! the word beside it ([`find`](vtep_common::abi::hash_table::find)). What it gets where the machine keeps the order of its loads, and
//! what where it does not, the tests here say for every interleaving; what follows for frames: ADR 10.

use std::{io, sync::atomic::Ordering};

use vtep_common::abi::hash_table::WAYS;

/// How every part is stored.
pub(super) const STORE: Ordering = Ordering::Release;

/// A part of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Its key.
    Key,
    /// What that leads to.
    Word,
}

impl Part {
    /// Where it is in a bucket.
    pub(super) const fn at(self, way: usize) -> usize {
        match self {
            Self::Key => way,
            Self::Word => WAYS + way,
        }
    }
}

/// Makes an entry in a free place: its word before the key that leads there.
pub(super) fn fill(
    key: u64,
    word: u64,
    store: impl Fn(Part, u64) -> io::Result<()>,
) -> io::Result<()> {
    store(Part::Word, word)?;
    store(Part::Key, key)
}

/// Clears an entry: its word after the key.
pub(super) fn clear(store: impl Fn(Part, u64) -> io::Result<()>) -> io::Result<()> {
    store(Part::Key, 0)?;
    store(Part::Word, 0)
}

/// Moves an entry into a free place: for a moment it is in both.
pub(super) fn shift(
    key: u64,
    word: u64,
    to: impl Fn(Part, u64) -> io::Result<()>,
    from: impl Fn(Part, u64) -> io::Result<()>,
) -> io::Result<()> {
    fill(key, word, to)?;
    clear(from)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Arc as StdArc, Mutex},
    };

    use loom::{
        sync::{Arc, atomic::AtomicU64},
        thread,
    };
    use vtep_common::abi::hash_table::find;

    use super::*;

    /// Two keys and their words; the words of an entry that changes.
    const KEY: u64 = 7;
    const WORD: u64 = 70;
    const OTHER: u64 = 8;
    const OTHER_WORD: u64 = 80;
    const CHANGED: u64 = 71;

    /// A bucket as loom has it.
    #[derive(Default)]
    struct Bucket {
        keys: [AtomicU64; WAYS],
        words: [AtomicU64; WAYS],
    }

    /// The two buckets of the key, which has the first way of each.
    type Memory = [Bucket; 2];

    fn put(memory: &Memory, bucket: usize) -> impl Fn(Part, u64) -> io::Result<()> {
        move |part, value| {
            let Bucket { keys, words } = &memory[bucket];
            match part {
                Part::Key => keys[0].store(value, STORE),
                Part::Word => words[0].store(value, STORE),
            }
            Ok(())
        }
    }

    /// Looks for a key in one bucket as a program does. Where `loads` are acquires, they are made in order.
    fn look(memory: &Memory, bucket: usize, key: u64, loads: Ordering) -> u64 {
        let Bucket { keys, words } = &memory[bucket];
        find(key, keys, words, |value| value.load(loads))
    }

    /// What a reader can get, in every interleaving with the writer and by every value that a load may return.
    fn outcomes(
        before: fn(&Memory),
        writer: fn(&Memory) -> io::Result<()>,
        reader: impl Fn(&Memory) -> u64 + Send + Sync + 'static,
    ) -> Vec<u64> {
        let got = StdArc::new(Mutex::new(BTreeSet::new()));
        let (all, reader) = (got.clone(), StdArc::new(reader));
        loom::model(move || {
            let memory = Memory::default();
            before(&memory);
            let memory = Arc::new(memory);
            let reads = {
                let (memory, reader) = (memory.clone(), reader.clone());
                thread::spawn(move || reader(&memory))
            };
            writer(&memory).unwrap();
            all.lock().unwrap().insert(reads.join().unwrap());
        });
        let got = got.lock().unwrap();
        got.iter().copied().collect()
    }

    fn one_entry(memory: &Memory) {
        fill(KEY, WORD, put(memory, 0)).unwrap();
    }

    fn replace(memory: &Memory) -> io::Result<()> {
        clear(put(memory, 0))?;
        fill(OTHER, OTHER_WORD, put(memory, 0))
    }

    #[test]
    fn a_new_entry_is_whole_or_not_there() {
        for loads in [Ordering::Acquire, Ordering::Relaxed] {
            let got = outcomes(
                |_| (),
                |memory| fill(KEY, WORD, put(memory, 0)),
                move |memory| look(memory, 0, KEY, loads),
            );
            assert_eq!(got, [0, WORD], "{loads:?}");
        }
    }

    /// A program can refresh the stamp of an entry that is being deleted. Then the place is free, and has a word.
    #[test]
    fn a_word_that_was_left_is_got_only_where_loads_overtake() {
        const LEFT: u64 = 1 << 32;
        let got = |loads| {
            outcomes(
                |memory| put(memory, 0)(Part::Word, LEFT).unwrap(),
                |memory| fill(KEY, WORD, put(memory, 0)),
                move |memory| look(memory, 0, KEY, loads),
            )
        };

        assert_eq!(got(Ordering::Acquire), [0, WORD]);
        assert_eq!(got(Ordering::Relaxed), [0, WORD, LEFT]);
    }

    #[test]
    fn an_entry_that_is_deleted_is_whole_or_not_there() {
        for loads in [Ordering::Acquire, Ordering::Relaxed] {
            let got = outcomes(
                one_entry,
                |memory| clear(put(memory, 0)),
                move |memory| look(memory, 0, KEY, loads),
            );
            assert_eq!(got, [0, WORD], "{loads:?}");
        }
    }

    #[test]
    fn an_entry_that_changes_has_one_word_or_the_other() {
        let got = outcomes(
            one_entry,
            |memory| put(memory, 0)(Part::Word, CHANGED),
            |memory| look(memory, 0, KEY, Ordering::Relaxed),
        );
        assert_eq!(got, [WORD, CHANGED]);
    }

    /// The key that was there can lead to the word of the one that came in its place, on every machine.
    #[test]
    fn a_key_that_was_replaced_can_lead_to_the_new_word() {
        for loads in [Ordering::Acquire, Ordering::Relaxed] {
            let got = outcomes(one_entry, replace, move |memory| {
                look(memory, 0, KEY, loads)
            });
            assert_eq!(got, [0, WORD, OTHER_WORD], "{loads:?}");
        }
    }

    /// The key that came can lead to the word that was there only where loads are not kept in order.
    #[test]
    fn a_key_that_came_leads_to_the_old_word_only_where_loads_overtake() {
        let got = |loads| {
            outcomes(one_entry, replace, move |memory| {
                look(memory, 0, OTHER, loads)
            })
        };

        assert_eq!(got(Ordering::Acquire), [0, OTHER_WORD]);
        assert_eq!(got(Ordering::Relaxed), [0, WORD, OTHER_WORD]);
    }

    /// Of its two buckets, a reader looks in the first first.
    fn look_in_both(memory: &Memory, loads: Ordering) -> u64 {
        match look(memory, 0, KEY, loads) {
            0 => look(memory, 1, KEY, loads),
            word => word,
        }
    }

    #[test]
    fn an_entry_that_goes_to_its_second_bucket_is_missed_only_where_loads_overtake() {
        let got = |loads| {
            outcomes(
                one_entry,
                |memory| shift(KEY, WORD, put(memory, 1), put(memory, 0)),
                move |memory| look_in_both(memory, loads),
            )
        };

        assert_eq!(got(Ordering::Acquire), [WORD]);
        assert_eq!(got(Ordering::Relaxed), [0, WORD]);
    }

    #[test]
    fn an_entry_that_goes_back_to_its_first_bucket_can_be_missed() {
        let got = outcomes(
            |memory| fill(KEY, WORD, put(memory, 1)).unwrap(),
            |memory| shift(KEY, WORD, put(memory, 0), put(memory, 1)),
            |memory| look_in_both(memory, Ordering::Acquire),
        );
        assert_eq!(got, [0, WORD]);
    }
}
