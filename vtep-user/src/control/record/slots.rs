//! A table of numbered slots that hands out the lowest free number.

use std::{
    collections::BTreeSet,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use vtep_common::abi::id::Id;

/// Values by number.
#[derive(Clone, Debug)]
pub(crate) struct Slots<K, T> {
    items: Vec<Option<T>>,
    /// The numbers below `items.len()` that are not in use.
    free: BTreeSet<u32>,
    keys: PhantomData<K>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: BTreeSet::new(),
            keys: PhantomData,
        }
    }
}

impl<K: Id, T: PartialEq> PartialEq for Slots<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Id, T> Slots<K, T> {
    /// Slots in use.
    pub(crate) fn len(&self) -> u32 {
        number(self.items.len() - self.free.len())
    }

    /// The value of slot `at`, if in use.
    pub(crate) fn get(&self, at: K) -> Option<&T> {
        self.items.get(index(at))?.as_ref()
    }

    /// The value of slot `at`, if in use.
    pub(crate) fn get_mut(&mut self, at: K) -> Option<&mut T> {
        self.items.get_mut(index(at))?.as_mut()
    }

    /// Every slot in use, lowest number first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        (0..)
            .zip(&self.items)
            .filter_map(|(at, item)| Some((K::from_number(at), item.as_ref()?)))
    }

    /// Puts `value` into the lowest free slot and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> K {
        let free = self.free.first().copied();
        let at = K::from_number(free.unwrap_or_else(|| number(self.items.len())));
        self.put(at, value);
        at
    }

    /// Puts `value` into slot `at`.
    pub(crate) fn put(&mut self, at: K, value: T) {
        while self.items.len() <= index(at) {
            self.free.insert(number(self.items.len()));
            self.items.push(None);
        }
        self.free.remove(&at.into());
        self.items[index(at)] = Some(value);
    }

    /// Frees slot `at`.
    pub(crate) fn remove(&mut self, at: K) -> Option<T> {
        let value = self.items.get_mut(index(at))?.take()?;
        self.free.insert(at.into());
        Some(value)
    }
}

/// A slot number as an index.
fn index(at: impl Into<u32>) -> usize {
    at.into() as usize
}

/// An index as a slot number; the tables are far smaller than 2^32.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 slots")
}

impl<K: Id, T> Index<K> for Slots<K, T> {
    type Output = T;

    fn index(&self, at: K) -> &T {
        self.get(at).expect("a number that the state gave out")
    }
}

impl<K: Id, T> IndexMut<K> for Slots<K, T> {
    fn index_mut(&mut self, at: K) -> &mut T {
        self.get_mut(at).expect("a number that the state gave out")
    }
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::id::PortSlot;

    use super::*;

    const fn slot(number: u32) -> PortSlot {
        PortSlot::new(number)
    }

    #[test]
    fn the_lowest_free_number_is_given_out_first() {
        let mut slots = Slots::default();
        assert_eq!(
            [0, 1, 2].map(|value| slots.insert(value)),
            [0, 1, 2].map(slot)
        );
        slots.remove(slot(2));
        slots.remove(slot(0));
        assert_eq!((slots.len(), slots.insert(7)), (1, slot(0)));
        assert_eq!(slots.insert(8), slot(2));
    }

    #[test]
    fn a_slot_put_by_number_leaves_those_below_free() {
        let mut slots = Slots::default();
        slots.put(slot(2), 'c');
        assert_eq!(
            ['a', 'b', 'd'].map(|value| slots.insert(value)),
            [0, 1, 3].map(slot)
        );
    }
}
