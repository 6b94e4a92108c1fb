//! What is asked for, and all operations there are, be they changes or queries.

use super::endpoint::Endpoint;
use super::given::{Given, Sender, Sent};
use super::op::{CHANGES, Op};
use super::operation::{Operation, Syntax};
use super::query::{QUERIES, Query};
use super::refusal::Refusal;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// To change something.
    Change(Op),
    /// To show something.
    Show(Query),
}

impl From<Op> for Request {
    fn from(op: Op) -> Self {
        Self::Change(op)
    }
}

impl From<Query> for Request {
    fn from(query: Query) -> Self {
        Self::Show(query)
    }
}

/// An operation, whatever it is asked for by.
pub trait Described: Sync {
    /// What it is called in the API's document.
    fn id(&self) -> &'static str;

    /// How it is typed, if it can be.
    fn command(&self) -> Option<&Syntax>;

    /// How it is asked for over the API.
    fn endpoint(&self) -> &Endpoint;

    /// Makes the request out of what is given.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or makes no sense.
    fn read(&self, given: &mut Given<'_>) -> Result<Request, Refusal>;
}

impl<R: Into<Request>> Described for Operation<R> {
    fn id(&self) -> &'static str {
        self.id
    }

    fn command(&self) -> Option<&Syntax> {
        self.command.as_ref()
    }

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn read(&self, given: &mut Given<'_>) -> Result<Request, Refusal> {
        (self.read)(given).map(Into::into)
    }
}

/// All operations.
pub fn operations() -> impl Iterator<Item = &'static dyn Described> {
    let changes = CHANGES.iter().map(|it| -> &dyn Described { it });
    changes.chain(QUERIES.iter().map(|it| -> &dyn Described { it }))
}

impl Request {
    /// How it is asked for over the API, and what goes with it.
    ///
    /// # Panics
    ///
    /// If a request is of no operation, which a test of each of them excludes.
    #[must_use]
    pub fn sent(&self) -> (&'static Endpoint, Sent) {
        let sent = match self {
            Self::Change(op) => find(CHANGES, op),
            Self::Show(query) => find(QUERIES, query),
        };
        sent.expect("every request is of an operation")
    }
}

fn find<R>(operations: &'static [Operation<R>], request: &R) -> Option<(&'static Endpoint, Sent)> {
    operations.iter().find_map(|operation| {
        let sent = (operation.send)(request, Sender::to(&operation.endpoint))?;
        Some((&operation.endpoint, sent))
    })
}
