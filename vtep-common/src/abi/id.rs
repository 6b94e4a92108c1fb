//! Numbers that name things in the maps.

/// The number of nothing: no segment, no port, no peer.
pub const NONE: u32 = u32::MAX;
