//! What `vtep import` takes, and what it makes of what it finds.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::model::argument::{ArgumentList, setting};
use crate::model::{BadValue, Value, Vni};

/// What can be imported from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImportFrom;

impl Value for ImportFrom {
    const WORDS: &'static [(&'static str, &'static str)] = &[(
        "kernel",
        "The kernel's vxlan devices and bridges in this network namespace",
    )];

    fn read(text: &str) -> Result<Self, BadValue> {
        let known = Self::WORDS.iter().any(|(word, _)| *word == text);
        let refused = || BadValue::new(format!("`{text}` is nothing to import from; try: kernel"));
        known.then_some(Self).ok_or_else(refused)
    }

    fn write(&self) -> String {
        "kernel".into()
    }
}

/// What `vtep import kernel` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The UDP port whose devices are taken over; that of most of them if it is not given.
    pub udp_port: Option<NonZeroU16>,
}

/// The options of `vtep import kernel`.
pub static OPTIONS: ArgumentList<ImportOptions> = ArgumentList {
    settings: &[setting!(
        ImportOptions,
        udp_port,
        "--udp-port",
        "Only devices on this UDP port; without it, that of most of them"
    )],
    rules: &[],
};

/// A line of the configuration, or something that cannot be taken over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportRow {
    /// The vxlan device that it comes from; `null` for what belongs to none.
    pub device: Option<String>,
    /// The VNI; `null` for what belongs to none.
    pub vni: Option<Vni>,
    /// The command; `null` in a row about what is left out.
    pub command: Option<String>,
    /// What is left out, or done in another way, as a sentence; `null` in a row with a command.
    pub left_out: Option<String>,
    /// What to type for what is left out; empty where there is nothing.
    pub instead: Vec<String>,
}
