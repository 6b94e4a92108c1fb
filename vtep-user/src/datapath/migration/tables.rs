//! The tables of a layout as a step sees them: bytes.

use std::{collections::BTreeMap, io};

use super::super::raw_map::Entries;

/// Where the tables of the earlier layout are read.
pub(in super::super) trait Source {
    /// The entries of a map; none where there is no such map.
    fn entries(&self, map: &str) -> io::Result<Entries>;
}

/// The entries of the maps that are changed, by name.
pub(in super::super) type Changed = BTreeMap<&'static str, Entries>;

/// The tables while they are given another form. Each is read when a step changes it first.
pub(super) struct Tables<'a> {
    source: &'a dyn Source,
    changed: Changed,
}

impl<'a> Tables<'a> {
    /// The tables as they are.
    pub(super) fn of(source: &'a dyn Source) -> Self {
        Self {
            source,
            changed: Changed::new(),
        }
    }

    /// The entries of a map, to be changed.
    pub(super) fn table(&mut self, map: &'static str) -> io::Result<&mut Entries> {
        if !self.changed.contains_key(map) {
            let entries = self.source.entries(map)?;
            self.changed.insert(map, entries);
        }
        Ok(self.changed.entry(map).or_default())
    }

    /// Changes every value of a map.
    pub(super) fn each_value(
        &mut self,
        map: &'static str,
        mut change: impl FnMut(&mut Vec<u8>),
    ) -> io::Result<()> {
        for (_, value) in self.table(map)? {
            change(value);
        }
        Ok(())
    }

    /// What was changed.
    pub(super) fn changed(self) -> Changed {
        self.changed
    }
}

/// Tables that a test has at hand.
#[cfg(test)]
pub(super) fn fixed(tables: &[(&'static str, Entries)]) -> impl Source + use<> {
    struct Fixed(Changed);
    impl Source for Fixed {
        fn entries(&self, map: &str) -> io::Result<Entries> {
            Ok(self.0.get(map).cloned().unwrap_or_default())
        }
    }
    Fixed(tables.iter().cloned().collect())
}
