//! The daemon's HTTP/JSON API.

pub mod command;
pub mod model;
mod value;
