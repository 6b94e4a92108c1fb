//! How much fits.

use vtep_common::abi;

use crate::model::Duplicates;

/// Addresses that a MAC may have or claim in a VNI, besides those that the user gives it.
pub(crate) const MAX_HOSTS_OF_MAC: u32 = 256;

/// VTEPs that are learned from, and that nobody has named. Each costs the host an entry in its neighbour table, of which Linux
/// has 1,024 by default.
pub(crate) const MAX_FOUND_PEERS: u32 = 512;
/// One place of the FDB in so many is kept for what the user says.
const KEPT_ONE_IN: u32 = 32;
/// A VNI or port without a limit of its own learns at most so many times as many MACs as there are places left: 31/32 of all, where
/// it is the only one. So it is with the snooped hosts of a VNI.
const SHARE: u32 = 31;

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
    /// VTEPs that are learned from, and that nobody has named.
    pub found_peers: u32,
    /// Targets of one flood list, local ports and VTEPs together; at most [`abi::map::MAX_FLOOD_TARGETS`].
    pub flood_targets: usize,
    /// Multicast MACs with VTEPs of their own.
    pub groups: u32,
    /// Hosts that ARP and ND are answered for.
    pub neighs: u32,
    /// Entries of the nexthop table.
    pub nexthops: u32,
    /// VTEPs that packets are taken from, each counted once for each VNI.
    pub sources: u32,
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
            found_peers: MAX_FOUND_PEERS,
            flood_targets: abi::map::MAX_FLOOD_TARGETS,
            groups: abi::map::MAX_FLOOD_LISTS - abi::map::MAX_SEGMENTS,
            neighs: abi::map::MAX_NEIGHS,
            nexthops: abi::map::MAX_NEXTHOPS,
            sources: abi::map::MAX_SOURCES,
            duplicates: Duplicates::default(),
        }
    }
}

impl Limits {
    /// Places of the FDB that are kept for what the user says.
    pub(crate) const fn fdb_kept(&self) -> u32 {
        self.fdb / KEPT_ONE_IN
    }

    /// Places of the FDB that are left for what is learned, where `used` are taken.
    pub(crate) const fn fdb_left(&self, used: u32) -> u32 {
        self.fdb
            .saturating_sub(self.fdb_kept())
            .saturating_sub(used)
    }

    /// Entries that a VNI or port without a limit of its own may have learned to learn one more, where `used` are taken.
    pub(crate) const fn fdb_share(&self, used: u32) -> u32 {
        self.fdb_left(used).saturating_mul(SHARE)
    }

    /// Hosts that may be snooped: the other half is the user's.
    pub(crate) const fn snooped(&self) -> u32 {
        self.neighs / 2
    }

    /// Hosts of a VNI that may have been snooped to snoop one more, where `used` of all VNIs are.
    pub(crate) const fn snooped_share(&self, used: u32) -> u32 {
        self.snooped().saturating_sub(used).saturating_mul(SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many entries each of so many VNIs learns, where all do.
    fn learned(limits: Limits, vnis: u32) -> u32 {
        let mut each = 0;
        while each < limits.fdb_share(each * vnis) && limits.fdb_left(each * vnis) >= vnis {
            each += 1;
        }
        each
    }

    #[test]
    fn one_vni_leaves_places_for_others_and_many_share_them() {
        let limits = Limits::default();
        assert_eq!(limits.fdb_kept(), 8_192);
        assert_eq!(learned(limits, 1), 246_016);
        assert_eq!(learned(limits, 2), 124_961);
        // A VNI that comes late gets some even then.
        assert_eq!(limits.fdb_left(246_016), 7_936);
    }

    #[test]
    fn a_small_fdb_is_used_up_by_one_vni() {
        let limits = Limits {
            fdb: 8,
            ..Limits::default()
        };
        assert_eq!(learned(limits, 1), 8);
    }
}
