//! What vtep is about, before anybody asks for it: values, rows, settings, operations, refusals.
//!
//! The ground floor of this crate. Nothing here knows of the command line, of HTTP or of the kernel; `api`, `cli`,
//! `control` and `daemon` all speak in these types.

mod op;
mod refusal;
mod rows;
mod value;

pub use op::Op;
pub use refusal::{Kind, Refusal};
pub use rows::*;
pub use value::*;
