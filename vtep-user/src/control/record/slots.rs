//! A table of numbered slots. A number that was given up is given out again as late as can be: frames and events that are on their way may
//! still say it.

use std::{
    collections::VecDeque,
    marker::PhantomData,
    ops::{Index, IndexMut},
};

use vtep_common::abi::{
    id::{Id, PeerId, PortSlot, SegmentId},
    map::{MAX_PEERS, MAX_PORTS, MAX_SEGMENTS},
};

/// A number of which there are so many.
pub(crate) trait SlotId: Id {
    /// How many slots the map has.
    const ROOM: u32;
}

impl SlotId for SegmentId {
    const ROOM: u32 = MAX_SEGMENTS;
}

impl SlotId for PortSlot {
    const ROOM: u32 = MAX_PORTS;
}

impl SlotId for PeerId {
    const ROOM: u32 = MAX_PEERS;
}

/// Values by number.
#[derive(Clone, Debug)]
pub(crate) struct Slots<K, T> {
    items: Vec<Option<T>>,
    /// Numbers below `items.len()` that are not in use, those that were given up last at the end. One that was put in use by its number
    /// is still among them.
    free: VecDeque<u32>,
    used: u32,
    keys: PhantomData<K>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: VecDeque::new(),
            used: 0,
            keys: PhantomData,
        }
    }
}

impl<K: SlotId, T: PartialEq> PartialEq for Slots<K, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: SlotId, T> Slots<K, T> {
    /// Slots in use.
    pub(crate) const fn len(&self) -> u32 {
        self.used
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

    /// Puts `value` into a slot that was never in use, or else into that which was given up first, and returns its number. The caller has
    /// seen to it that there is one.
    pub(crate) fn insert(&mut self, value: T) -> K {
        let fresh = number(self.items.len());
        let at = if fresh < K::ROOM {
            fresh
        } else {
            self.first_given_up()
        };
        let at = K::from_number(at);
        self.put(at, value);
        at
    }

    fn first_given_up(&mut self) -> u32 {
        loop {
            let at = self.free.pop_front().expect("the caller has seen to room");
            if self.items[at as usize].is_none() {
                return at;
            }
        }
    }

    /// Puts `value` into slot `at`, which is not in use.
    pub(crate) fn put(&mut self, at: K, value: T) {
        while self.items.len() <= index(at) {
            if self.items.len() != index(at) {
                self.free.push_back(number(self.items.len()));
            }
            self.items.push(None);
        }
        self.used += u32::from(self.items[index(at)].replace(value).is_none());
    }

    /// Frees slot `at`.
    pub(crate) fn remove(&mut self, at: K) -> Option<T> {
        let value = self.items.get_mut(index(at))?.take()?;
        self.used -= 1;
        self.free.push_back(at.into());
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

impl<K: SlotId, T> Index<K> for Slots<K, T> {
    type Output = T;

    fn index(&self, at: K) -> &T {
        self.get(at).expect("a number that the state gave out")
    }
}

impl<K: SlotId, T> IndexMut<K> for Slots<K, T> {
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
    fn a_number_that_was_given_up_is_given_out_when_all_others_were() {
        let mut slots: Slots<PortSlot, u32> = Slots::default();
        for value in 0..PortSlot::ROOM {
            assert_eq!(slots.insert(value), slot(value));
            if [7, 3].contains(&value) {
                slots.remove(slot(value));
            }
        }
        assert_eq!(slots.len(), PortSlot::ROOM - 2);

        slots.remove(slot(9));
        let next = [(); 3].map(|()| slots.insert(0));
        assert_eq!(next, [3, 7, 9].map(slot), "in the order of going");
        assert_eq!(slots.len(), PortSlot::ROOM);
    }

    #[test]
    fn slots_put_by_number_leave_the_others_for_later() {
        let mut slots = Slots::default();
        for at in [2, 0] {
            slots.put(slot(at), at);
        }
        assert_eq!((slots.len(), slots.insert(7)), (2, slot(3)));
        for value in 4..PortSlot::ROOM {
            assert_eq!(slots.insert(value), slot(value));
        }
        assert_eq!(slots.insert(1), slot(1), "that is the only one");
        assert_eq!(slots.len(), PortSlot::ROOM);
    }

    #[test]
    fn a_value_put_in_place_of_another_counts_once() {
        let mut slots = Slots::default();
        slots.put(slot(0), 'a');
        slots.put(slot(0), 'b');
        assert_eq!((slots.len(), slots[slot(0)]), (1, 'b'));
    }
}
