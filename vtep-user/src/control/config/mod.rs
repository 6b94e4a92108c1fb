//! The configuration file: what was set, in whose name, and what has to be done so that it becomes what the file says.
//!
//! Everything that can be set is a thing with a key. A file is read by carrying its commands out on an empty state; the difference
//! of two sets of things is a plan.

mod difference;
mod plan;
mod rehearsal;
mod thing;
mod wanted;

#[cfg(test)]
pub(crate) use difference::Difference;
pub use plan::{BuiltOn, NoPlan, Plan, Step};
pub use thing::{Thing, ThingKey, Things};
pub use wanted::{Ground, Wanted};
