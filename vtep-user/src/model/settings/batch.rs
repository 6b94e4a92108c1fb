//! How a batch is done.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::model::Parameters;
use crate::model::argument::{ArgumentList, setting};

/// How a batch is done.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, IntoParams,
)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BatchOptions {
    /// Lines that are refused are left out, and the others are done.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub force: bool,
    /// Nothing is done; the lines that would be refused are named.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// How to do a batch.
pub static OPTIONS: ArgumentList<BatchOptions> = ArgumentList {
    settings: &[
        setting!(
            BatchOptions,
            force,
            "--force",
            "Go on after a line that is refused; exit status 1 at the end if there was one"
        ),
        setting!(
            BatchOptions,
            dry_run,
            "--dry-run",
            "Change nothing, and name all lines that would be refused"
        ),
    ],
    rules: &[],
};

impl Parameters for BatchOptions {
    fn blank() -> Self {
        Self::default()
    }
}
