//! What `vtep doctor` finds.

use serde::{Deserialize, Serialize};

use super::CheckState;

/// What one check found about one thing, or that it found nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckRow {
    /// The check.
    pub check: String,
    /// How it ended.
    pub state: CheckState,
    /// What it is about: an interface, a VTEP, a VNI; `null` where it is about all of them.
    pub about: Option<String>,
    /// What was found, as a sentence.
    pub finding: String,
    /// The command that mends it; `null` where nothing is to be mended, or no single command does.
    pub mend: Option<String>,
}
