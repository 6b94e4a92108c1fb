//! What the verifier asks for.

pub mod lookup;
pub mod opaque;
pub mod scratch;
