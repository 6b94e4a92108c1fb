//! A counter as it is read.

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
