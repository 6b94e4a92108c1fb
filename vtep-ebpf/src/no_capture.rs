//! In the programs that capture nothing, frames at their end are handed to nobody, and nothing is compiled for it.

use vtep_common::{abi::counter::Hook, runtime::verdict::End};

/// A frame that is not handed over.
pub trait Capturable {
    /// Does nothing.
    #[inline(always)]
    fn arrives(&self) {}

    /// Does nothing.
    #[inline(always)]
    fn capture(&self, _: Hook, _: &End) {}
}

impl<T> Capturable for T {}
