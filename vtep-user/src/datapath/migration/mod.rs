//! From the layouts of earlier builds to ours (`docs/adr/0018-migration.md`).
//!
//! A [`Step`] leads from one layout to the next: it says which maps it changes, of what sizes they were, and gives their entries
//! another form. It sees them as bytes, touches no map, and may be followed by others. What no step changes, old and new programs
//! share.

mod from_4;
mod from_5;
mod step;
mod tables;

use std::{io, path::Path};

use vtep_common::abi::map::{LAYOUT_VERSION, name};

use self::{
    step::Step,
    tables::{Changed, Source, Tables},
};
use super::raw_map::{Entries, RawMap};

/// The oldest layout that can be migrated.
pub(super) const OLDEST: u32 = 4;

/// One step from each layout.
const STEPS: &[Step] = &[from_4::STEP, from_5::STEP];

const _: () = assert!(OLDEST as usize + STEPS.len() == LAYOUT_VERSION as usize);

/// The steps from `layout` to ours.
fn steps(layout: u32) -> impl Iterator<Item = &'static Step> {
    STEPS.iter().filter(move |step| step.from >= layout)
}

/// True if what is pinned in this layout can be migrated.
pub(super) fn knows(layout: u32) -> bool {
    (OLDEST..LAYOUT_VERSION).contains(&layout)
}

/// Sizes of key and value of a map in an earlier layout, where they were others than ours.
pub(super) fn sizes(layout: u32, map: &str) -> Option<(usize, usize)> {
    let mut changes = steps(layout).flat_map(|step| step.was);
    changes.find(|(name, _)| *name == map).map(|(_, was)| *was)
}

/// The entries of every map that has others in our layout than in `layout`.
pub(super) fn migrate(source: &dyn Source, layout: u32) -> io::Result<Changed> {
    let mut tables = Tables::of(source);
    for step in steps(layout) {
        (step.migrate)(&mut tables)?;
    }
    // Every layout has its number first.
    tables.each_value(name::CONFIG, |config| {
        if let Some(number) = config.first_chunk_mut() {
            *number = LAYOUT_VERSION.to_ne_bytes();
        }
    })?;
    Ok(tables.changed())
}

/// The maps that are pinned in a directory.
pub(super) struct PinnedMaps<'a>(pub(super) &'a Path);

impl Source for PinnedMaps<'_> {
    fn entries(&self, map: &str) -> io::Result<Entries> {
        match RawMap::open(&self.0.join(map)) {
            Ok(map) => map.entries(),
            // A layout gets maps without a new number, which are empty at first.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Entries::new()),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What programs write. Between the copy and the swap the old ones go on, and that would be lost.
    const WRITTEN_BY_PROGRAMS: [&str; 10] = [
        name::FDB,
        name::POLICERS,
        name::EVENTS,
        name::GUARDS,
        name::EVENT_COUNTERS,
        name::REASON_COUNTERS,
        name::SEGMENT_COUNTERS,
        name::PORT_COUNTERS,
        name::PEER_COUNTERS,
        name::DROPS,
    ];

    #[test]
    fn there_is_one_step_from_each_layout() {
        let from: Vec<u32> = STEPS.iter().map(|step| step.from).collect();

        assert_eq!(from, (OLDEST..LAYOUT_VERSION).collect::<Vec<_>>());
        assert!(knows(OLDEST) && !knows(OLDEST - 1));
        assert!(!knows(LAYOUT_VERSION) && !knows(LAYOUT_VERSION + 1));
    }

    #[test]
    fn no_step_copies_what_programs_write() {
        for step in STEPS {
            for (map, _) in step.was {
                let said = "copy it a second time after the swap, for what the old programs wrote (ADR 18)";
                assert!(!WRITTEN_BY_PROGRAMS.contains(map), "{map}: {said}");
            }
        }
    }

    #[test]
    fn a_step_changes_the_maps_that_it_names() {
        for step in STEPS {
            let none = tables::fixed(&[]);
            let mut tables = Tables::of(&none);
            (step.migrate)(&mut tables).unwrap();
            let changed: Vec<&str> = tables.changed().into_keys().collect();
            let mut named: Vec<&str> = step.was.iter().map(|(map, _)| *map).collect();
            named.sort_unstable();
            assert_eq!(changed, named, "from layout {}", step.from);
        }
    }

    #[test]
    fn the_number_of_the_layout_is_the_one_thing_that_changes_of_the_configuration() {
        let mut config = vec![0xab; 16];
        config[..4].copy_from_slice(&OLDEST.to_ne_bytes());
        let mut wanted = config.clone();
        wanted[..4].copy_from_slice(&LAYOUT_VERSION.to_ne_bytes());
        let source = tables::fixed(&[(name::CONFIG, vec![(vec![0; 4], config)])]);

        let changed = migrate(&source, OLDEST).unwrap();

        assert_eq!(changed[name::CONFIG], [(vec![0; 4], wanted)]);
    }

    #[test]
    fn what_cannot_be_read_stops_the_migration() {
        struct Broken;
        impl Source for Broken {
            fn entries(&self, _: &str) -> io::Result<Entries> {
                Err(io::Error::from_raw_os_error(libc::EPERM))
            }
        }

        let refused = migrate(&Broken, OLDEST).unwrap_err();

        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
    }
}
