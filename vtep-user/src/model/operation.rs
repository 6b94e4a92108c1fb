//! An operation: what can be asked of a daemon, described once, as a command and as an endpoint of the API.
//!
//! What there is to change is listed in `op.rs`, what there is to show in `query.rs`. The command line and its help, the
//! lines of a batch, the routes, the `OpenAPI` document and the client all go by these lists.

use super::endpoint::Endpoint;
use super::given::{Given, Sender, Sent};
use super::{Argument, Arguments, Refusal};

/// An operation that is asked for by an `R`.
pub struct Operation<R> {
    /// What it is called in the API's document.
    pub id: &'static str,
    /// How it is typed, if it can be.
    pub command: Option<Syntax>,
    /// How it is asked for over the API.
    pub endpoint: Endpoint,
    /// Makes the request out of what is given.
    pub read: fn(&mut Given<'_>) -> Result<R, Refusal>,
    /// Takes a request apart again; `None` if it asks for another operation.
    pub send: fn(&R, Sender) -> Option<Sent>,
}

/// How an operation is typed.
pub struct Syntax {
    /// Its words: `vni`, `add`.
    pub words: &'static [&'static str],
    /// What the help says that it does.
    pub help: &'static str,
    /// What it is done to.
    pub key: Option<Argument>,
    /// What else is given.
    pub takes: &'static dyn Arguments,
}

impl Syntax {
    /// Its arguments: the key, then the others in their order.
    pub fn arguments(&self) -> impl Iterator<Item = &Argument> {
        let others = (0..self.takes.len()).map(|at| self.takes.get(at));
        self.key.iter().chain(others)
    }
}
