//! How much fits.

use vtep_common::abi;

use crate::model::Duplicates;

/// Addresses that a MAC may have or claim in a VNI, besides those that the user gives it.
pub(crate) const MAX_HOSTS_OF_MAC: usize = 256;

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
