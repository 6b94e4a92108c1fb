//! What can be asked of a daemon, each operation described once: as a command and as a route of the API.
//!
//! [`operations`] lists them. The command line and its help, the lines of a batch, the routes, the `OpenAPI` document and
//! the client all go by it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Ref, RefOr, schema::Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::given::{Given, Sender, Sent};
use super::{Argument, Arguments, Kind, Op, Query, Refusal, Row};

pub use super::op::CHANGES;
pub use super::query::QUERIES;

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

/// An operation.
pub struct Operation {
    /// What it is called in the API's document.
    pub id: &'static str,
    /// The words of its command, if it has one: `vni add`.
    pub command: Option<Syntax>,
    /// How it is asked for over the API.
    pub endpoint: Endpoint,
    /// Makes the request out of what is given.
    pub read: fn(&mut Given<'_>) -> Result<Request, Refusal>,
    /// Takes a request apart again; `None` if it asks for another operation.
    pub send: fn(&Request, Sender) -> Option<Sent>,
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

/// How an operation is asked for over the API.
pub struct Endpoint {
    /// The method.
    pub method: Method,
    /// The path, with `{NAME}` for a key.
    pub path: &'static str,
    /// What the API's document says that it does.
    pub summary: &'static str,
    /// What else it is given.
    pub input: Input,
    /// What it answers.
    pub answers: Answers,
    /// What it can be refused for, as far as the document tells.
    pub refusals: &'static [Kind],
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Makes.
    Post,
    /// Writes, whatever was there.
    Put,
    /// Changes a part.
    Patch,
    /// Removes.
    Delete,
}

/// What an endpoint is given besides the keys in its path.
#[derive(Clone, Copy)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// Parameters in the query.
    Query(fn() -> Vec<Parameter>),
    /// A JSON body.
    Body(Type),
}

/// What an endpoint answers if it does not refuse.
#[derive(Clone, Copy)]
pub enum Answers {
    /// That it is done.
    Done,
    /// An object.
    One(Type),
    /// An array of rows.
    Rows(Type, TableOf),
    /// Text.
    Text,
}

/// A type, as the API's document has it.
#[derive(Clone, Copy)]
pub struct Type {
    /// A reference to its schema.
    pub reference: fn() -> RefOr<Schema>,
    /// Adds its schema, and those that it refers to.
    pub collect: fn(&mut Vec<(String, RefOr<Schema>)>),
}

impl Type {
    const fn of<T: ToSchema>() -> Self {
        Self {
            reference: || RefOr::Ref(Ref::from_schema_name(T::name())),
            collect: |schemas| {
                schemas.push((T::name().into(), <T as PartialSchema>::schema()));
                T::schemas(schemas);
            },
        }
    }
}

impl Input {
    /// The record `T` as parameters of the query.
    #[must_use]
    pub const fn query<T: IntoParams>() -> Self {
        Self::Query(|| T::into_params(|| Some(ParameterIn::Query)))
    }

    /// The record `T` as a JSON body.
    #[must_use]
    pub const fn body<T: ToSchema>() -> Self {
        Self::Body(Type::of::<T>())
    }
}

impl Answers {
    /// The object `T`.
    #[must_use]
    pub const fn one<T: ToSchema>() -> Self {
        Self::One(Type::of::<T>())
    }

    /// An array of rows `R`.
    #[must_use]
    pub const fn rows<R: Row + ToSchema + DeserializeOwned>() -> Self {
        Self::Rows(Type::of::<R>(), table::<R>)
    }
}

/// Reads the rows of an answer as a table.
pub type TableOf = fn(&[u8]) -> Result<Cells, serde_json::Error>;

/// A table as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// The headings.
    pub heading: Vec<&'static str>,
    /// The rows.
    pub rows: Vec<Vec<String>>,
    /// What there is to say of each row besides.
    pub details: Vec<Vec<(&'static str, String)>>,
}

impl Cells {
    /// Prints rows.
    pub fn of<R: Row>(rows: &[R]) -> Self {
        let cells = |row: &R| R::COLUMNS.iter().map(|column| (column.cell)(row)).collect();
        let details = |row: &R| {
            let details = R::DETAILS.iter();
            details
                .map(|column| (column.name, (column.cell)(row)))
                .collect()
        };
        Self {
            heading: R::COLUMNS.iter().map(|column| column.name).collect(),
            rows: rows.iter().map(cells).collect(),
            details: rows.iter().map(details).collect(),
        }
    }
}

fn table<R: Row + DeserializeOwned>(json: &[u8]) -> Result<Cells, serde_json::Error> {
    Ok(Cells::of(&serde_json::from_slice::<Vec<R>>(json)?))
}

/// All operations.
pub fn operations() -> impl Iterator<Item = &'static Operation> {
    CHANGES.iter().chain(QUERIES)
}

impl Request {
    /// Which operation it asks for, and what goes with it.
    ///
    /// # Panics
    ///
    /// If a request is of no operation, which a test of each of them excludes.
    #[must_use]
    pub fn sent(&self) -> (&'static Operation, Sent) {
        let sent = |operation: &'static Operation| {
            let sent = (operation.send)(self, Sender::to(&operation.endpoint))?;
            Some((operation, sent))
        };
        operations()
            .find_map(sent)
            .expect("every request is of an operation")
    }
}

/// A record that arguments fill, and that travels in the body or the query of a request.
pub trait Parameters: Serialize + DeserializeOwned + 'static {
    /// One to which nothing was given yet.
    fn blank() -> Self;
}
