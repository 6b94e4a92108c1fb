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
    fn new(state: CheckState, text: impl Into<String>, mend: Option<String>) -> Self {
        Self {
            state,
            about: None,
            text: text.into(),
            mend,
        }
    }

    /// Nothing was found.
    pub(super) fn ok(text: &str) -> Self {
        Self::new(CheckState::Ok, text, None)
    }

    /// Frames are lost, or will be. `mend` is the command that mends it, or that shows what is to be mended where nobody but the operator knows
    /// how; it can be typed as it stands.
    pub(super) fn fail(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(CheckState::Fail, text, Some(mend.into()))
    }

    /// Something may be wrong, or cannot be seen. `mend` as above.
    pub(super) fn warn(text: impl Into<String>, mend: impl Into<String>) -> Self {
        Self::new(CheckState::Warn, text, Some(mend.into()))
    }

    /// What it is about.
    pub(super) fn about(self, about: &(impl Display + ?Sized)) -> Self {
        Self {
            about: Some(printable(about)),
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

    /// What it says, for tests: its state, what it is about, and the command that mends it, which can be typed as it stands.
    #[cfg(test)]
    #[track_caller]
    pub(super) fn told(&self) -> (&'static str, &str, &str) {
        let mend = self.mend.as_deref().expect("a command that mends it");
        assert!(can_be_typed(mend), "{mend}");
        (
            self.state.as_str(),
            self.about.as_deref().unwrap_or("-"),
            mend,
        )
    }
}

/// Whether nothing is to be filled in: no word in capitals, such as GATEWAY, and nothing in brackets.
#[cfg(test)]
pub(super) fn can_be_typed(command: &str) -> bool {
    let is_blank = |word: &str| {
        word.len() > 1
            && word
                .chars()
                .all(|char| char.is_ascii_uppercase() || char == '_')
    };
    let mut words =
        command.split(|char: char| !char.is_alphanumeric() && char != '_' && char != '-');
    !command.contains(['{', '}', '<', '>']) && !words.any(is_blank)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_with_something_to_fill_in_is_told_from_others() {
        for command in [
            "ip route add 192.0.2.2 via GATEWAY",
            "ip a add ADDRESS/LENGTH dev up0",
            "vtep port show vm0{option}",
            "ip link set <dev> up",
        ] {
            assert!(!can_be_typed(command), "{command}");
        }
        for command in [
            "ethtool -G eth0 rx 2048",
            "iptables -S",
            "nft insert rule ip filter input udp dport 4789 accept",
        ] {
            assert!(can_be_typed(command), "{command}");
        }
    }
}
