//! A table of numbered slots that hands out the lowest free number.

use std::{
    collections::BTreeSet,
    ops::{Index, IndexMut},
};

/// Values by number.
#[derive(Clone, Debug)]
pub(crate) struct Slots<T> {
    items: Vec<Option<T>>,
    /// The numbers below `items.len()` that are not in use.
    free: BTreeSet<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: BTreeSet::new(),
        }
    }
}

impl<T: PartialEq> PartialEq for Slots<T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T> Slots<T> {
    /// Slots in use.
    pub(crate) fn len(&self) -> u32 {
        number(self.items.len() - self.free.len())
    }

    /// The value of slot `at`, if in use.
    pub(crate) fn get(&self, at: u32) -> Option<&T> {
        self.items.get(at as usize)?.as_ref()
    }

    /// The value of slot `at`, if in use.
    pub(crate) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.items.get_mut(at as usize)?.as_mut()
    }

    /// Every slot in use, lowest number first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..)
            .zip(&self.items)
            .filter_map(|(at, item)| Some((at, item.as_ref()?)))
    }

    /// Puts `value` into the lowest free slot and returns its number.
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let at = self
            .free
            .first()
            .copied()
            .unwrap_or_else(|| number(self.items.len()));
        self.put(at, value);
        at
    }

    /// Puts `value` into slot `at`.
    pub(crate) fn put(&mut self, at: u32, value: T) {
        while self.items.len() <= at as usize {
            self.free.insert(number(self.items.len()));
            self.items.push(None);
        }
        self.free.remove(&at);
        self.items[at as usize] = Some(value);
    }

    /// Frees slot `at`.
    pub(crate) fn remove(&mut self, at: u32) -> Option<T> {
        let value = self.items.get_mut(at as usize)?.take()?;
        self.free.insert(at);
        Some(value)
    }
}

/// An index as a slot number; the tables are far smaller than 2^32.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 slots")
}

impl<T> Index<u32> for Slots<T> {
    type Output = T;

    fn index(&self, at: u32) -> &T {
        self.get(at).expect("a number that the state gave out")
    }
}

impl<T> IndexMut<u32> for Slots<T> {
    fn index_mut(&mut self, at: u32) -> &mut T {
        self.get_mut(at).expect("a number that the state gave out")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_free_number_is_given_out_first() {
        let mut slots = Slots::default();
        assert_eq!([0, 1, 2].map(|value| slots.insert(value)), [0, 1, 2]);
        slots.remove(2);
        slots.remove(0);
        assert_eq!((slots.len(), slots.insert(7), slots.insert(8)), (1, 0, 2));
    }

    #[test]
    fn a_slot_put_by_number_leaves_those_below_free() {
        let mut slots = Slots::default();
        slots.put(2, 'c');
        assert_eq!([slots.insert('a'), slots.insert('b')], [0, 1]);
        assert_eq!(slots.insert('d'), 3);
    }
}
