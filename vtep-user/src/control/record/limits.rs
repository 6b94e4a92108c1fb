//! How much fits.

use vtep_common::abi;

/// How much fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// FDB entries.
    pub fdb: u32,
    /// VNIs.
    pub segments: u32,
    /// Ports, each VLAN of an interface counting as one.
    pub ports: u32,
    /// VTEPs.
    pub peers: u32,
    /// Targets of one flood list, local ports and VTEPs together; at most [`abi::map::MAX_FLOOD_TARGETS`].
    pub flood_targets: usize,
    /// Multicast MACs with VTEPs of their own.
    pub groups: u32,
    /// Hosts that ARP and ND are answered for.
    pub neighs: u32,
    /// Entries of the nexthop table.
    pub nexthops: u32,
    /// When a MAC moves too often.
    pub duplicates: Duplicates,
}

/// When a MAC that moves counts as a duplicate, and is frozen where it is (RFC 7432 section 15.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duplicates {
    /// So many moves, 0 for never.
    pub moves: u32,
    /// Within so many seconds.
    pub window_s: u32,
    /// Frozen for so many seconds, 0 until it is cleared by hand.
    pub freeze_s: u32,
}

impl Default for Duplicates {
    fn default() -> Self {
        Self {
            moves: 5,
            window_s: 180,
            freeze_s: 180,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            fdb: abi::map::DEFAULT_FDB_ENTRIES,
            segments: abi::map::MAX_SEGMENTS,
            ports: abi::map::MAX_PORTS,
            peers: abi::map::MAX_PEERS,
            flood_targets: abi::map::MAX_FLOOD_TARGETS,
            groups: abi::map::MAX_FLOOD_LISTS - abi::map::MAX_SEGMENTS,
            neighs: abi::map::MAX_NEIGHS,
            nexthops: abi::map::MAX_NEXTHOPS,
            duplicates: Duplicates::default(),
        }
    }
}
