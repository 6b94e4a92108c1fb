//! Removing an instance: what `vtep teardown` takes.
//!
//! What it does without a daemon is decided in `daemon/teardown.rs`.

use crate::model::argument::{ArgumentList, setting};

/// How an instance is removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TeardownOptions {
    /// Also what another network namespace has left.
    pub force: bool,
}

/// The options of `vtep teardown`.
pub static OPTIONS: ArgumentList<TeardownOptions> = ArgumentList {
    settings: &[setting!(
        TeardownOptions,
        force,
        "--force",
        "Without a daemon, also remove what belongs to another network namespace"
    )],
    rules: &[],
};
