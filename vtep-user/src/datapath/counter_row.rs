//! A counter as it is read.

use vtep_common::abi::counter::Counter;

/// A counter that is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CounterRow<K> {
    /// What it counts.
    pub key: K,
    /// Frames; a GSO or GRO packet counts once.
    pub packets: u64,
    /// Bytes of those frames.
    pub bytes: u64,
}

/// The sum over all CPUs.
pub(super) fn sum(values: &[Counter]) -> Counter {
    Counter {
        packets: values.iter().map(|value| value.packets).sum(),
        bytes: values.iter().map(|value| value.bytes).sum(),
    }
}
