//! The daemon's HTTP/JSON API on a Unix socket, and the client that the command line uses.
//!
//! [`server`] turns requests into [`Command`](crate::ask::Command)s and sends them to the core through a
//! [`Handle`](crate::ask::Handle); it holds no state of its own. The core publishes its events through
//! [`event_feed::Events`]. [`client`] is the other end.

mod answer;
mod apply;
mod batch;
mod capture;
pub mod client;
mod connections;
pub mod event_feed;
mod event_stream;
mod live;
mod openapi;
mod routes;
mod scrape;
pub mod server;
mod shared;
pub mod socket;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{ConfigLine, Op, RunLine};

/// The body of every answer that is a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// What was wrong and what to do instead.
    pub error: String,
    /// The line of the batch that was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
}

/// One line of the body of a batch, which is newline-delimited JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchLine {
    /// The line number to name in a refusal; absent for the number of the line in the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// The change.
    pub command: Op,
}

/// One line of the body of an `apply`, which is newline-delimited JSON: the line `run` of a file, or one of its commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ApplyLine {
    /// The line `run`, which comes first.
    Run(RunLine),
    /// A command.
    Line(ConfigLine),
}

/// What a batch did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchDone {
    /// How many changes were made.
    pub applied: u64,
    /// The lines that were refused, or would be, of a batch that goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<u64>,
    /// Why, of the first thousand of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<ErrorBody>,
}
