//! What an operation is given, be it by the words of a command or by a request to the API, and the way back.

use super::argument::{ArgumentList, Parameters};
use super::endpoint::{Endpoint, Input};
use super::{Refusal, Value, objects};

/// What an operation is given.
pub enum Given<'a> {
    /// By the words of a command.
    Words(Words<'a>),
    /// By a request to the API.
    Call(Call<'a>),
}

/// The arguments of a command.
#[derive(Debug, Default)]
pub struct Words<'a> {
    /// The key.
    pub key: Option<&'a str>,
    /// The others, each with its place in the command's table.
    pub arguments: Vec<(usize, &'a str)>,
}

/// A request to the API.
#[derive(Debug)]
pub struct Call<'a> {
    /// The keys in its path, those that were not taken yet.
    pub keys: &'a [String],
    /// Its query.
    pub query: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

impl Given<'_> {
    /// The key.
    ///
    /// # Errors
    ///
    /// If it is no such value.
    pub fn key<V: Value>(&mut self) -> Result<V, Refusal> {
        self.optional_key()?
            .ok_or_else(|| Refusal::invalid("it is not said to what"))
    }

    /// The key, if there is one.
    ///
    /// # Errors
    ///
    /// If it is no such value.
    pub fn optional_key<V: Value>(&mut self) -> Result<Option<V>, Refusal> {
        let key = match self {
            Self::Words(words) => words.key.map(V::read),
            Self::Call(call) => call.keys.split_first().map(|(key, rest)| {
                call.keys = rest;
                V::read_in_path(key)
            }),
        };
        Ok(key.transpose()?)
    }

    /// The record that the arguments of `table` fill, or that is in the body of a call.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or makes no sense.
    pub fn body<T: Parameters>(&self, table: &ArgumentList<T>) -> Result<T, Refusal> {
        match self {
            Self::Words(words) => words.record(table),
            Self::Call(call) => objects::from_slice(call.body).map_err(|error| {
                Refusal::invalid(format!("the request body is not valid: {error}"))
            }),
        }
    }

    /// The record that the arguments of `table` fill, or that is in the query of a call.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or makes no sense.
    pub fn query<T: Parameters>(&self, table: &ArgumentList<T>) -> Result<T, Refusal> {
        match self {
            Self::Words(words) => words.record(table),
            Self::Call(call) => {
                let pairs = form_urlencoded::parse(call.query.as_bytes());
                let pairs = serde_urlencoded::Deserializer::new(pairs);
                serde_path_to_error::deserialize(pairs).map_err(|error| {
                    Refusal::invalid(format!("Failed to deserialize query string: {error}"))
                })
            }
        }
    }
}

impl Words<'_> {
    fn record<T: Parameters>(&self, table: &ArgumentList<T>) -> Result<T, Refusal> {
        self.fill(table, T::blank())
    }

    /// `record`, with what the arguments of `table` set.
    ///
    /// # Errors
    ///
    /// If a value makes no sense.
    pub fn fill<T>(&self, table: &ArgumentList<T>, mut record: T) -> Result<T, Refusal> {
        for (at, text) in &self.arguments {
            (table.settings[*at].set)(&mut record, text)?;
        }
        Ok(record)
    }
}

/// A request on its way to the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// The keys, in the order of the path.
    pub keys: Vec<String>,
    /// The query.
    pub query: String,
    /// The JSON body.
    pub body: Vec<u8>,
}

/// Puts a request together as its endpoint wants it.
pub struct Sender {
    input: Input,
    sent: Sent,
}

impl Sender {
    pub(super) fn to(endpoint: &Endpoint) -> Self {
        Self {
            input: endpoint.input,
            sent: Sent::default(),
        }
    }

    /// A key.
    pub(super) fn key(mut self, key: &impl ToString) -> Self {
        self.sent.keys.push(key.to_string());
        self
    }

    /// All else.
    pub(super) fn with<T: Parameters>(mut self, record: &T) -> Option<Sent> {
        match self.input {
            Input::Nothing => {}
            Input::Query(_) => {
                self.sent.query = serde_urlencoded::to_string(record).expect("filters are flat");
            }
            Input::Body(_) => {
                self.sent.body = serde_json::to_vec(record).expect("requests are always JSON");
            }
        }
        self.end()
    }

    /// Nothing else.
    #[expect(
        clippy::unnecessary_wraps,
        reason = "its callers are asked for an option"
    )]
    pub(super) fn end(self) -> Option<Sent> {
        Some(self.sent)
    }
}
