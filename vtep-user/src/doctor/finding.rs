//! What a check finds.

use std::fmt::Display;

use crate::model::{CheckRow, CheckState, printable};

/// One thing that a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) state: CheckState,
    about: Option<String>,
    text: String,
    mend: Option<String>,
}

impl Finding {
    pub(super) fn new(state: CheckState, text: impl Into<String>) -> Self {
        Self {
            state,
            about: None,
            text: text.into(),
            mend: None,
        }
    }

    /// Frames are lost, or will be.
    pub(super) fn fail(text: impl Into<String>) -> Self {
        Self::new(CheckState::Fail, text)
    }

    /// Something may be wrong, or cannot be seen.
    pub(super) fn warn(text: impl Into<String>) -> Self {
        Self::new(CheckState::Warn, text)
    }

    /// What it is about.
    pub(super) fn about(self, about: &(impl Display + ?Sized)) -> Self {
        Self {
            about: Some(printable(about)),
            ..self
        }
    }

    /// The command that mends it.
    pub(super) fn mend(self, command: impl Into<String>) -> Self {
        Self {
            mend: Some(command.into()),
            ..self
        }
    }

    pub(super) fn row(self, check: &str) -> CheckRow {
        CheckRow {
            check: check.to_owned(),
            state: self.state,
            about: self.about,
            finding: printable(&self.text),
            mend: self.mend.map(|mend| printable(&mend)),
        }
    }

    /// What it says, for tests: its state, what it is about, and the command that mends it.
    #[cfg(test)]
    pub(super) fn told(&self) -> (&'static str, &str, &str) {
        (
            self.state.as_str(),
            self.about.as_deref().unwrap_or("-"),
            self.mend.as_deref().unwrap_or("-"),
        )
    }
}
