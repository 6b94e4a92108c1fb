//! Opening an instance: its pins are made, taken over, or migrated from an earlier layout.

use std::{collections::HashSet, path::Path};

use aya::{Ebpf, EbpfLoader};
use vtep_common::abi::{
    hash_table::Geometry,
    map::{DEFAULT_FDB_ENTRIES, LAYOUT_VERSION, name},
};

use super::{
    Datapath, Maps, OBJECT, XDP_PROGRAMS, capture, clock,
    error::DatapathError,
    migration::{self, PinnedMaps},
    namespace,
    pins::{self, Pinned},
    raw_map::RawMap,
    staging::{self, Lock, Staging},
    tc_programs,
};

/// Loads the object, and makes the maps that are not pinned in `dir`.
fn load_object(dir: &Path, fdb_max: u32) -> Result<Ebpf, DatapathError> {
    EbpfLoader::new()
        .default_map_pin_directory(dir)
        .map_max_entries(name::FDB, Geometry::buckets(fdb_max))
        .load(OBJECT)
        .map_err(DatapathError::load)
}

impl Datapath {
    /// Loads the programs and opens the maps below `dir`, making those that are not there with room for `fdb_max` FDB
    /// entries. Maps that are there keep their size; those of a first start that was killed are made anew.
    ///
    /// Maps of an earlier layout are migrated: what has another form in ours is made anew beside them, until [`Datapath::put_in_place`].
    ///
    /// What runs is not touched: the last daemon's programs go on until [`Datapath::set_tail_calls`] and attaching replace them.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Layout`] where the maps are of another version, [`DatapathError::OtherNamespace`] where they belong to
    /// another network namespace; they are left as they are.
    pub fn open(dir: &Path, fdb_max: u32) -> Result<Self, DatapathError> {
        let lock = staging::lock(dir)?;
        let pinned = pins::check_layout(dir)?;
        namespace::check(dir)?;
        staging::clear(dir)?;
        capture::clear(dir)?;
        match pinned {
            Pinned::State => {
                pins::make_dirs(dir)?;
                let ebpf = load_object(dir, fdb_max)?;
                Self::take(ebpf, dir, fdb_max, None)
            }
            Pinned::Earlier(layout) => {
                let migrated = Self::open_earlier(dir, layout, lock);
                migrated.map_err(|source| DatapathError::Migration {
                    dir: dir.to_owned(),
                    from: layout,
                    source: Box::new(source),
                })
            }
            Pinned::Unfinished => {
                tracing::warn!("removed the remains of a start that was killed");
                pins::remove_pins(dir)?;
                Self::make(dir, fdb_max)
            }
            Pinned::Nothing => Self::make(dir, fdb_max),
        }
    }

    /// Makes everything anew.
    fn make(dir: &Path, fdb_max: u32) -> Result<Self, DatapathError> {
        pins::make_dirs(dir)?;
        let made = load_object(dir, fdb_max).and_then(|ebpf| {
            let mut datapath = Self::take(ebpf, dir, fdb_max, None)?;
            datapath.adopted = false;
            // Nothing runs that they could disturb.
            datapath.set_tail_calls()?;
            Ok(datapath)
        });
        if made.is_err() {
            // What was not there before is not left behind half made.
            pins::remove_pins(dir)?;
        }
        made
    }

    /// Makes what has another form in our layout beside what is pinned in `home`, and shares the rest.
    fn open_earlier(home: &Path, layout: u32, lock: Lock) -> Result<Self, DatapathError> {
        let changed = migration::migrate(&PinnedMaps(home), layout)
            .map_err(|source| DatapathError::file("read the maps in", home, source))?;
        let staging = Staging::begin(home, lock)?;
        // The earlier programs go on to parts of their own.
        let shared = |map: &&str| !changed.contains_key(map) && *map != name::PARTS;
        for map in name::ALL.into_iter().filter(shared) {
            staging.share(map)?;
        }
        let dir = staging.dir().to_owned();
        let ebpf = load_object(&dir, DEFAULT_FDB_ENTRIES)?;
        for (map, entries) in &changed {
            let path = dir.join(map);
            let filled = RawMap::open(&path).and_then(|map| {
                let mut entries = entries.iter();
                entries.try_for_each(|(key, value)| map.set(key, value))
            });
            filled.map_err(|source| DatapathError::file("fill", &path, source))?;
        }
        let mut datapath = Self::take(ebpf, &dir, DEFAULT_FDB_ENTRIES, Some(staging))?;
        datapath.set_tail_calls()?;
        tracing::info!(
            from = layout,
            to = LAYOUT_VERSION,
            "migrates the pinned state"
        );
        Ok(datapath)
    }

    /// Opens the maps and loads the programs.
    fn take(
        mut ebpf: Ebpf,
        dir: &Path,
        fdb_max: u32,
        staging: Option<Staging>,
    ) -> Result<Self, DatapathError> {
        let maps = Maps::take(&mut ebpf, fdb_max)?;
        let mut datapath = Self {
            ebpf,
            dir: dir.to_owned(),
            maps,
            adopted: true,
            uplink_words: HashSet::new(),
            staging,
        };
        for program in tc_programs() {
            let classifier = datapath.tc_program(program)?;
            classifier
                .load()
                .map_err(|source| DatapathError::program("load", program, source))?;
        }
        for program in XDP_PROGRAMS {
            let xdp = datapath.xdp_program(program)?;
            xdp.load()
                .map_err(|source| DatapathError::program("load", program, source))?;
        }
        clock::set(&mut datapath.ebpf)?;
        if !datapath.is_beside() {
            datapath.claim()?;
        }
        Ok(datapath)
    }

    /// True while the pins of an earlier layout are in place, and ours beside them.
    #[must_use]
    pub fn is_beside(&self) -> bool {
        let staging = self.staging.as_ref();
        staging.is_some_and(|staging| !staging.is_in_place())
    }

    /// Puts the pins in place of those of the earlier layout, which are removed at [`Datapath::forget_earlier`].
    pub fn put_in_place(&mut self) -> Result<(), DatapathError> {
        if let Some(staging) = &mut self.staging {
            staging.put_in_place()?;
            self.dir = staging.home().to_owned();
        }
        self.claim()
    }

    /// Removes the pins of the earlier layout, for good.
    pub fn forget_earlier(&mut self) {
        self.staging = None;
    }

    /// Where the last daemon's pins are.
    pub(super) fn home(&self) -> &Path {
        let beside = self.staging.as_ref().filter(|_| self.is_beside());
        beside.map_or(&self.dir, |staging| staging.home())
    }

    /// Notes that links may run our programs from here on.
    pub(super) fn touch_links(&mut self) {
        if let Some(staging) = &mut self.staging {
            staging.touch();
        }
    }

    /// Notes that the pins belong to this network namespace.
    fn claim(&mut self) -> Result<(), DatapathError> {
        let written = self.maps.namespace.set(0, namespace::cookie()?, 0);
        written.map_err(|source| DatapathError::map("write", name::NAMESPACE, source))
    }
}
