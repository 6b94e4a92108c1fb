//! Why something was not done.

use std::fmt;

use super::BadValue;

/// Which sort of refusal; decides the HTTP status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalKind {
    /// What is named does not exist: 404.
    NotFound,
    /// What is there is in the way: 409.
    Conflict,
    /// The request makes no sense: 400.
    Invalid,
    /// There is no room: 507.
    Full,
    /// This daemon or kernel cannot do it: 501.
    Unsupported,
    /// The daemon failed: 500.
    Internal,
}

impl RefusalKind {
    /// What any change can be refused for.
    pub const OF_CHANGES: &[Self] = &[
        Self::Invalid,
        Self::NotFound,
        Self::Conflict,
        Self::Full,
        Self::Unsupported,
    ];

    /// One sentence for the API's document.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::NotFound => "What is named does not exist.",
            Self::Conflict => "What is there is in the way.",
            Self::Invalid => "The request makes no sense.",
            Self::Full => "There is no room.",
            Self::Unsupported => "This daemon or kernel cannot do it.",
            Self::Internal => "The daemon failed.",
        }
    }
}

/// Why something was not done: a sentence that says what was wrong and what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", Line(*.line))]
pub struct Refusal {
    /// Which sort.
    pub kind: RefusalKind,
    /// The sentence, lower case, without a full stop.
    pub message: String,
    /// The line of the batch that was refused.
    pub line: Option<u64>,
}

struct Line(Option<u64>);

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, "line {line}: "))
    }
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            line: None,
        }
    }

    /// What is named does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::NotFound, message)
    }

    /// What is there is in the way.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Conflict, message)
    }

    /// The request makes no sense.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    /// There is no room.
    pub fn full(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Full, message)
    }

    /// This daemon or kernel cannot do it.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Unsupported, message)
    }

    /// The daemon failed.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Internal, message)
    }

    /// The same, for this place in a file.
    #[must_use]
    pub fn at_place(self, place: &str) -> Self {
        Self {
            message: format!("{place}: {}", self.message),
            ..self
        }
    }

    /// The same, for this line of a batch.
    #[must_use]
    pub fn at_line(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }
}

impl From<BadValue> for Refusal {
    fn from(bad: BadValue) -> Self {
        Self::invalid(bad.to_string())
    }
}
