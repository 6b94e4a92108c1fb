//! Something that each segment or port has, by its number; where nothing was put there is the default.

/// Values by number.
#[derive(Clone, Debug)]
pub(crate) struct Numbered<T> {
    values: Vec<T>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { values: Vec::new() }
    }
}

impl<T: Default + PartialEq> PartialEq for Numbered<T> {
    fn eq(&self, other: &Self) -> bool {
        let none = T::default();
        (0..self.values.len().max(other.values.len()))
            .all(|at| self.values.get(at).unwrap_or(&none) == other.values.get(at).unwrap_or(&none))
    }
}

impl<T: Default> Numbered<T> {
    /// What `number` has, unless that is the default.
    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        self.values.get(number as usize)
    }

    /// What `number` has, to be changed.
    pub(crate) fn at(&mut self, number: u32) -> &mut T {
        let at = number as usize;
        if self.values.len() <= at {
            self.values.resize_with(at + 1, T::default);
        }
        &mut self.values[at]
    }

    /// Takes what `number` has.
    pub(crate) fn take(&mut self, number: u32) -> T {
        let value = self.values.get_mut(number as usize);
        value.map(std::mem::take).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_is_as_if_it_had_never_been() {
        let mut numbered = Numbered::default();
        *numbered.at(2) = 'c';

        assert_eq!(numbered.get(2), Some(&'c'));
        assert_eq!(numbered.take(2), 'c');
        assert!(numbered == Numbered::default());
        assert_eq!(numbered.take(7), '\0');
    }
}
