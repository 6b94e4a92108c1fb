//! In whose name changes are made.

use crate::model::Source;

/// In whose name a change is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author {
    /// The source of what is new.
    pub source: Source,
    /// What is there already gets this source too, where the change names it.
    pub claims: bool,
}

impl Author {
    /// A command, or the API.
    pub const CLI: Self = Self {
        source: Source::Cli,
        claims: false,
    };
    /// The configuration file.
    pub const CONFIG: Self = Self {
        source: Source::Config,
        claims: true,
    };
    /// The daemon, for the bridge of a VNI.
    pub const BRIDGE: Self = Self {
        source: Source::Bridge,
        claims: false,
    };

    /// The source of something that had one.
    pub(crate) fn source_of(self, old: Source) -> Source {
        if self.claims { self.source } else { old }
    }
}

impl Default for Author {
    fn default() -> Self {
        Self::CLI
    }
}

/// The source that a flag of a record says.
pub(crate) const fn source(configured: bool) -> Source {
    if configured {
        Source::Config
    } else {
        Source::Cli
    }
}

/// Whether a record has the flag.
pub(crate) const fn is_configured(source: Source) -> bool {
    matches!(source, Source::Config)
}
