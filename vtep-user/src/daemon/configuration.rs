//! The configuration file that a daemon was started with, and whether what is set is in step with it.

use std::{
    fmt,
    fs::Metadata,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use crate::model::{ConfigFile, ConfigLine};

/// Reads a configuration file; a refusal names the file and the line.
pub type ReadConfig = fn(&Path) -> Result<ConfigFile, String>;

/// The configuration file that a daemon is started with.
#[derive(Clone)]
pub struct ConfigSource {
    /// Where it is.
    pub path: PathBuf,
    /// What reads it.
    pub read: ReadConfig,
    /// What it asks for at the start.
    pub lines: Vec<ConfigLine>,
}

impl fmt::Debug for ConfigSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConfigSource").field(&self.path).finish()
    }
}

/// A file as it was when it was looked at: which one, how long, and when it was written.
type Stamp = (PathBuf, Option<(u64, u64, i64, i64)>);

fn stamp(path: &Path) -> Stamp {
    let of = |meta: Metadata| (meta.ino(), meta.len(), meta.mtime(), meta.mtime_nsec());
    let meta = std::fs::metadata(path).ok();
    (path.to_owned(), meta.map(of))
}

/// How the files of a configuration were when they were read.
#[derive(Clone, Debug)]
pub(super) struct Stamps(Vec<Stamp>);

impl Stamps {
    /// Those of the files that a configuration is made of, the first of which is `path`.
    fn of(path: &Path, files: &[PathBuf]) -> Self {
        // A file that comes or goes changes its directory.
        let mut watched: Vec<PathBuf> = files
            .iter()
            .filter_map(|file| Some(file.parent()?.to_owned()))
            .chain(files.iter().cloned())
            .collect();
        watched.extend(path.parent().map(|beside| beside.join("conf.d")));
        watched.sort();
        watched.dedup();
        Self(watched.iter().map(|path| stamp(path)).collect())
    }

    /// Whether the files are as they were.
    fn hold(&self) -> bool {
        let same = |(path, was): &Stamp| stamp(path).1 == *was;
        self.0.iter().all(same)
    }
}

/// What was found out of the file, as long as neither it nor what is set changes.
#[derive(Clone, Debug)]
struct Found {
    stamps: Stamps,
    /// How many changes there had been.
    changes: u64,
    in_step: bool,
}

/// The file of a running daemon.
#[derive(Debug)]
pub(super) struct Configuration {
    path: PathBuf,
    read: ReadConfig,
    found: Option<Found>,
}

impl Configuration {
    pub(super) fn new(source: &ConfigSource) -> Self {
        Self {
            path: source.path.clone(),
            read: source.read,
            found: None,
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What reads it, and says how its files were then.
    pub(super) fn reader(
        &self,
    ) -> impl FnOnce() -> Result<(ConfigFile, Stamps), String> + Send + 'static {
        let (path, read) = (self.path.clone(), self.read);
        move || {
            let file = read(&path)?;
            let stamps = Stamps::of(&path, &file.files);
            Ok((file, stamps))
        }
    }

    /// Whether what is set was found to be in step, if nothing has changed since.
    pub(super) fn known(&self, changes: u64) -> Option<bool> {
        let found = self.found.as_ref()?;
        let holds = found.changes == changes && found.stamps.hold();
        holds.then_some(found.in_step)
    }

    /// Notes what was found.
    pub(super) fn note(&mut self, stamps: Stamps, changes: u64, in_step: bool) {
        self.found = Some(Found {
            stamps,
            changes,
            in_step,
        });
    }
}
