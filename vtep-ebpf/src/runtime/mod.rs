//! What the verifier needs, and nothing else does.
//!
//! The verifier walks through a program along every path, with all that it knows of each value on the way. Where two paths meet with
//! different knowledge it walks through the rest twice, and a program may take it a million steps in all; this project allows 5,400 at TC.
//! Three means keep it short:
//!
//! - **Scratch slots** ([`scratch`]): of a value in a map the verifier remembers nothing. What was worked out on many paths is
//!   spilled to a slot and read back, and the paths are one again.
//! - **Opaque values** ([`opaque`]): a small number of which it remembers only that it is a byte, for the same end.
//! - **Global functions** ([`lookup`] and others): a function that is not inlined and visible from outside (`#[unsafe(no_mangle)]
//!   #[inline(never)] extern "C"`) is checked once, by itself, with any arguments. It takes and returns plain numbers alone, so
//!   what else it needs and makes stands in scratch slots. Each is private, and is called by the one safe function in front of it,
//!   which asks for the [`Spilled`](scratch::Spilled) values that it reads.
//!
//! Two more rules are kept all over: zeros are written word by word or not at all, since a run of them becomes a loop or a call; and
//! the pointers to a frame are read anew from its context for each window.
//!
//! At XDP, where a packet takes so little time that it would feel the first and the third, there is neither: see ADR 8.

pub mod arrival;
pub mod lookup;
pub mod opaque;
pub mod scratch;
