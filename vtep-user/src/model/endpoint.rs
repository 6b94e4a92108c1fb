//! How an operation is asked for over the API: method, path, what it is given, and what it answers.

use serde::de::DeserializeOwned;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::{Ref, RefOr, schema::Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::{RefusalKind, Row};

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
    /// What it can be refused for, besides a failure of the daemon.
    pub refusals: &'static [RefusalKind],
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
    /// How many of the columns, from the first, stand in a table. The others are details.
    pub columns: usize,
    /// The rows, a cell for each heading, with numbers for lists.
    pub rows: Vec<Vec<String>>,
    /// The same with the lists in full.
    pub whole: Vec<Vec<String>>,
}

impl Cells {
    /// Prints rows.
    pub fn of<R: Row>(rows: &[R]) -> Self {
        let all = || R::COLUMNS.iter().chain(R::DETAILS);
        let cells = |row: &R| all().map(|column| (column.cell)(row)).collect();
        let whole = |row: &R| all().map(|column| (column.whole)(row)).collect();
        Self {
            heading: all().map(|column| column.name).collect(),
            columns: R::COLUMNS.len(),
            rows: rows.iter().map(cells).collect(),
            whole: rows.iter().map(whole).collect(),
        }
    }
}

fn table<R: Row + DeserializeOwned>(json: &[u8]) -> Result<Cells, serde_json::Error> {
    Ok(Cells::of(&serde_json::from_slice::<Vec<R>>(json)?))
}
