//! The VNIs, and the segment that each has.

use std::{collections::BTreeMap, ops::Index};

use vtep_common::abi::segment::Segment;

use super::slots::Slots;
use crate::model::Vni;

/// The settings of each VNI, as they stand in the map, by the number of its segment.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Segments {
    slots: Slots<Segment>,
    /// VNI to segment number.
    numbers: BTreeMap<u32, u32>,
}

impl Segments {
    /// How many there are.
    pub(crate) fn len(&self) -> u32 {
        self.slots.len()
    }

    /// The segment with a number.
    pub(crate) fn get(&self, number: u32) -> Option<&Segment> {
        self.slots.get(number)
    }

    /// The number of the segment of a VNI.
    pub(crate) fn number_of(&self, vni: Vni) -> Option<u32> {
        self.numbers.get(&vni.get()).copied()
    }

    /// The numbers of all segments, by VNI.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.numbers.values().copied()
    }

    /// All segments, by number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Segment)> {
        self.slots.iter()
    }

    /// The VNI of a segment that there is.
    pub(crate) fn vni(&self, number: u32) -> Vni {
        vni_of(&self.slots[number])
    }

    /// Makes a segment, and returns its number.
    pub(crate) fn insert(&mut self, segment: Segment) -> u32 {
        let number = self.slots.insert(segment);
        self.numbers.insert(segment.vni, number);
        number
    }

    /// Takes a segment over that has its number.
    pub(crate) fn adopt(&mut self, number: u32, segment: Segment) {
        self.slots.put(number, segment);
        self.numbers.insert(segment.vni, number);
    }

    /// Changes the settings of a segment, though not its VNI.
    pub(crate) fn set(&mut self, number: u32, segment: Segment) {
        debug_assert_eq!(self.slots[number].vni, segment.vni);
        self.slots[number] = segment;
    }

    /// Takes a segment away.
    pub(crate) fn remove(&mut self, number: u32) {
        if let Some(segment) = self.slots.remove(number) {
            self.numbers.remove(&segment.vni);
        }
    }
}

impl Index<u32> for Segments {
    type Output = Segment;

    fn index(&self, number: u32) -> &Segment {
        &self.slots[number]
    }
}

/// The VNI of a segment.
pub(crate) fn vni_of(segment: &Segment) -> Vni {
    Vni::new(segment.vni).expect("made from a VNI")
}
