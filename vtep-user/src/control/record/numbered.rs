//! Something that each segment or port has, by its number; where nothing was put there is the default.

use std::marker::PhantomData;

use vtep_common::abi::id::Id;

/// Values by number.
#[derive(Clone, Debug)]
pub(crate) struct Numbered<K, T> {
    values: Vec<T>,
    keys: PhantomData<K>,
}

impl<K, T> Default for Numbered<K, T> {
    fn default() -> Self {
        Self {
            values: Vec::new(),
            keys: PhantomData,
        }
    }
}

impl<K, T: Default + PartialEq> PartialEq for Numbered<K, T> {
    fn eq(&self, other: &Self) -> bool {
        let none = T::default();
        (0..self.values.len().max(other.values.len()))
            .all(|at| self.values.get(at).unwrap_or(&none) == other.values.get(at).unwrap_or(&none))
    }
}

impl<K: Id, T: Default> Numbered<K, T> {
    /// What `number` has, unless that is the default.
    pub(crate) fn get(&self, number: K) -> Option<&T> {
        self.values.get(number.into() as usize)
    }

    /// What `number` has, to be changed.
    pub(crate) fn at(&mut self, number: K) -> &mut T {
        let at = number.into() as usize;
        if self.values.len() <= at {
            self.values.resize_with(at + 1, T::default);
        }
        &mut self.values[at]
    }

    /// Takes what `number` has.
    pub(crate) fn take(&mut self, number: K) -> T {
        let value = self.values.get_mut(number.into() as usize);
        value.map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use vtep_common::abi::id::PortSlot;

    use super::*;

    #[test]
    fn what_was_taken_is_as_if_it_had_never_been() {
        let mut numbered = Numbered::default();
        let slot = PortSlot::new(2);
        *numbered.at(slot) = 'c';

        assert_eq!(numbered.get(slot), Some(&'c'));
        assert_eq!(numbered.take(slot), 'c');
        assert!(numbered == Numbered::default());
        assert_eq!(numbered.take(PortSlot::new(7)), '\0');
    }
}
