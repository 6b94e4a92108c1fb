//! What time it is, and when frames were seen.

use vtep_common::abi;

/// The clock, and the stamps that traffic refreshes, as they stand in the map. Times are nanoseconds of `CLOCK_MONOTONIC`.
pub trait Stamps {
    /// Now.
    fn now(&self) -> u64;
    /// When a frame from a learned MAC was last seen; `None` if the map does not have the entry.
    fn last_seen(&self, key: abi::fdb::FdbKey) -> Option<u64>;
}
