//! What an earlier build had pinned, and what it said of that.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::bpf::map::MapDump;
use crate::daemon::Daemon;

/// The tables of what was set and learned.
pub const STATE: [&str; 6] = ["vni", "port", "fdb", "peer", "neigh", "nexthop"];
/// What was counted.
pub const COUNTED: [&str; 1] = ["stats"];

/// What each daemon counts anew.
const OF_THE_DAEMON: &str = "learning";
/// Fields that time changes.
const FLEETING: [&str; 1] = ["age_s"];

/// Pins in a file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fixture {
    /// The layout version.
    pub layout: u32,
    /// The maps by name.
    pub maps: BTreeMap<String, MapDump>,
    /// What the daemon showed, by table.
    pub rows: BTreeMap<String, Vec<Value>>,
}

impl Fixture {
    /// What a daemon that runs has pinned.
    ///
    /// # Panics
    ///
    /// If it has nothing pinned.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        let entries = fs::read_dir(daemon.pins()).expect("the pins");
        let files = entries.map(|entry| entry.expect("a pin").path());
        let mut maps: BTreeMap<String, MapDump> = files
            .filter(|path| path.is_file())
            .map(|path| {
                let name = path.file_name().expect("a name").to_string_lossy();
                (name.into_owned(), MapDump::read(&path))
            })
            .collect();
        // The namespace is another one where they are pinned again.
        if let Some(namespace) = maps.get_mut("NAMESPACE") {
            namespace.entries.clear();
        }
        let config = maps["CONFIG"].entries.values().next().expect("a version");
        Self {
            layout: u32::from_str_radix(&config[..2], 16).expect("a version"),
            maps,
            rows: STATE
                .into_iter()
                .chain(COUNTED)
                .map(|table| (table.to_owned(), rows(daemon, table)))
                .collect(),
        }
    }

    /// Reads one.
    ///
    /// # Panics
    ///
    /// If there is none at `path`.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// Writes it as text.
    ///
    /// # Panics
    ///
    /// If it cannot.
    pub fn write(&self, path: &Path) {
        let text = serde_json::to_string_pretty(self).expect("JSON") + "\n";
        fs::write(path, text).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }

    /// Makes the maps again, pinned for an instance that does not run.
    ///
    /// # Panics
    ///
    /// If that has pins.
    pub fn pin(&self, daemon: &Daemon) {
        let dir = daemon.pins();
        for part in ["links", "programs"] {
            fs::create_dir_all(dir.join(part)).expect("a directory");
        }
        for (name, map) in &self.maps {
            map.pin(&dir.join(name));
        }
    }

    /// Compares what a daemon shows of these tables with what the earlier one did: rows may have come to have more to say.
    ///
    /// # Panics
    ///
    /// If a row or a field of it is not there, or says something else.
    #[track_caller]
    pub fn assert_shown_by(&self, daemon: &Daemon, tables: &[&str]) {
        let same = |old: &Value, new: &Value| {
            let fields = old.as_object().expect("a row");
            fields.iter().all(|(name, value)| new[name] == *value)
        };
        for table in tables {
            let (old, now) = (&self.rows[*table], rows(daemon, table));
            for row in old {
                assert!(
                    now.iter().any(|new| same(row, new)),
                    "{table}: {row} is not among {now:#?}"
                );
            }
            assert_eq!(now.len(), old.len(), "{table}: {now:#?}");
        }
    }
}

/// What a daemon shows of a table, without what time changes.
fn rows(daemon: &Daemon, table: &str) -> Vec<Value> {
    let verb = if COUNTED.contains(&table) {
        ""
    } else {
        " show"
    };
    let mut rows = daemon.rows(&format!("{table}{verb}"));
    rows.retain(|row| row["hook"] != OF_THE_DAEMON);
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        row.retain(|name, _| !FLEETING.contains(&name.as_str()));
    }
    rows
}
