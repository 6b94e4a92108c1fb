//! The flags of ports, peers and segments: 32 bits each, whose meanings stand beside the fields.

use super::{peer::Peer, port::Port, segment::Segment};

macro_rules! flags {
    ($($record:ty),+) => {$(
        impl $record {
            /// True if `flag` is set, or one of several.
            #[must_use]
            #[inline(always)]
            pub const fn has(&self, flag: u32) -> bool {
                self.flags & flag != 0
            }

            /// Sets `flag`, or clears it.
            pub const fn set(&mut self, flag: u32, on: bool) {
                self.flags = if on {
                    self.flags | flag
                } else {
                    self.flags & !flag
                };
            }
        }
    )+};
}
flags!(Peer, Port, Segment);
