//! What `vtep top` takes.

use crate::model::argument::{ArgumentList, setting};
use crate::model::limits;

/// What `vtep top` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopOptions {
    /// Seconds between two looks at the counters; not 0.
    pub interval_s: u32,
}

impl Default for TopOptions {
    fn default() -> Self {
        Self { interval_s: 1 }
    }
}

/// The options of `vtep top`.
pub static OPTIONS: ArgumentList<TopOptions> = ArgumentList {
    settings: &[setting!(
        TopOptions,
        interval_s,
        "--interval",
        "Look at the counters so often"
    )
    .value_name("SECONDS")
    .default("1")
    .read_by(
        limits::check_number,
        |to, text| limits::interval(text).map(|it| to.interval_s = it),
        |from| vec![from.interval_s.to_string()],
    )],
    rules: &[],
};
