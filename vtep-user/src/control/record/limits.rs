//! How much fits.

use vtep_common::maps;

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
    /// Targets of one flood list, local ports and VTEPs together; at most [`maps::MAX_FLOOD_TARGETS`].
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
            fdb: maps::DEFAULT_FDB_ENTRIES,
            segments: maps::MAX_SEGMENTS,
            ports: maps::MAX_PORTS,
            peers: maps::MAX_PEERS,
            flood_targets: maps::MAX_FLOOD_TARGETS,
            groups: maps::MAX_FLOOD_LISTS - maps::MAX_SEGMENTS,
            neighs: maps::MAX_NEIGHS,
            nexthops: maps::MAX_NEXTHOPS,
            duplicates: Duplicates::default(),
        }
    }
}
