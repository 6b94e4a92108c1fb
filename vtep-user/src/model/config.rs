//! The configuration file, and what follows from it, as the API has them.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::argument::{ArgumentList, setting};
use super::column::{Column, Row, column};
use super::{Op, Parameters, PlanAction, RunOption, Source, Vni, write};

/// A line of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigLine {
    /// The file.
    #[schema(value_type = String)]
    pub file: Arc<str>,
    /// The number of the line in the file.
    pub line: u64,
    /// What it asks for.
    pub command: Op,
}

impl ConfigLine {
    /// Its place, for a sentence.
    #[must_use]
    pub fn at(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// The line `run` of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RunLine {
    /// Its place, for a sentence.
    pub at: String,
    /// Its options.
    pub options: Vec<RunOption>,
}

/// A configuration file that was read, with what it includes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFile {
    /// The line `run`, if there is one.
    pub run: Option<RunLine>,
    /// What it asks for.
    pub lines: Vec<ConfigLine>,
    /// The file, and those that it includes.
    pub files: Vec<PathBuf>,
}

/// One step of a plan: what is added, changed or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PlanRow {
    /// What is done.
    pub action: PlanAction,
    /// The VNI that it is done in; `null` for what belongs to none.
    pub vni: Option<Vni>,
    /// What is added, what changes, or what is removed, as a command makes it.
    pub command: String,
}

impl PlanRow {
    /// The row for a command.
    #[must_use]
    pub fn new(action: PlanAction, vni: Option<Vni>, op: &Op) -> Self {
        Self {
            action,
            vni,
            command: write::command(op),
        }
    }

    /// The line of it that people read.
    #[must_use]
    pub fn line(&self) -> String {
        let sign = match self.action {
            PlanAction::Add => '+',
            PlanAction::Change => '~',
            PlanAction::Remove => '-',
        };
        format!("{sign} {}", self.command)
    }
}

impl Row for PlanRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(action, text),
        column!(vni, optional),
        column!(command, text),
    ];
}

/// One line of a dump.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DumpRow {
    /// The command that makes it.
    pub command: String,
    /// Who set it; `null` for the daemon's own options.
    pub source: Option<Source>,
    /// The VNI that it belongs to; `null` for what belongs to none.
    pub vni: Option<Vni>,
}

impl Row for DumpRow {
    const COLUMNS: &'static [Column<Self>] = &[
        column!(command, text),
        column!(source, optional),
        column!(vni, optional),
    ];
}

/// What is dumped.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams,
)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DumpFilter {
    /// Only what belongs to this VNI.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Only what was set from there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
}

/// What to dump.
pub static DUMP: ArgumentList<DumpFilter> = ArgumentList {
    settings: &[
        setting!(DumpFilter, vni, "--vni", "Only what belongs to this VNI"),
        setting!(
            DumpFilter,
            source,
            "--source",
            "Only what was set from there"
        ),
    ],
    rules: &[],
};

impl Parameters for DumpFilter {
    fn blank() -> Self {
        Self::default()
    }
}

/// What `vtep dump` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpOptions {
    /// What is dumped.
    pub filter: DumpFilter,
    /// Without a daemon, what is pinned.
    pub pins: bool,
}

/// The options of `vtep dump`.
pub static DUMP_OPTIONS: ArgumentList<DumpOptions> = ArgumentList {
    settings: &[
        setting!(
            DumpOptions,
            filter.vni,
            "--vni",
            "Only what belongs to this VNI"
        ),
        setting!(
            DumpOptions,
            filter.source,
            "--source",
            "Only what was set from there"
        ),
        setting!(
            DumpOptions,
            pins,
            "--pins",
            "Without a daemon, read what the instance has pinned"
        ),
    ],
    rules: &[],
};

/// How a configuration file is applied.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams,
)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
pub struct ApplyOptions {
    /// Nothing is done; the plan is only shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// What commands have built on what the file no longer has goes too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Nothing is done; the plan is the other way: what has to be added to the file, so that it says what is set.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drift: bool,
    /// The daemon reads the file that it was started with; nothing is sent.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
}

/// How to apply a file.
pub static APPLY: ArgumentList<ApplyOptions> = ArgumentList {
    settings: &[
        setting!(
            ApplyOptions,
            dry_run,
            "--dry-run",
            "Show what would be done, and do nothing; exit status 3 if there is something to do"
        ),
        setting!(
            ApplyOptions,
            force,
            "--force",
            "Also remove what commands have built on what the file no longer has"
        ),
    ],
    rules: &[],
};

impl Parameters for ApplyOptions {
    fn blank() -> Self {
        Self::default()
    }
}
