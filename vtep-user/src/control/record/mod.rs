//! What is kept.

pub(crate) mod hash;
pub(crate) mod moves;
pub(crate) mod queue;
pub(crate) mod run;
pub(crate) mod settings;
pub(crate) mod slots;
