//! The look-ups that the decisions need.

use crate::{
    addr::VtepAddr,
    learn::Seen,
    maps::{
        Address, Config, FdbKey, FdbValue, FloodList, NeighKey, NeighValue, NexthopValue, Peer,
        Port, PortKey, Segment,
    },
};

/// The tables as a decision sees them: BPF maps in the kernel, ordinary maps in tests.
pub trait Tables {
    /// What holds for the whole instance; all zero while no daemon has set it.
    fn config(&self) -> Config;
    /// What an underlay address is to us.
    fn address(&self, addr: &VtepAddr) -> Address;
    /// Number of the segment with this VNI.
    fn segment_number(&self, vni: u32) -> Option<u32>;
    /// A segment by number, if in use.
    fn segment(&self, number: u32) -> Option<&Segment>;
    /// Slot of the port with this key.
    fn port_slot(&self, key: &PortKey) -> Option<u32>;
    /// A port by slot, if in use.
    fn port(&self, slot: u32) -> Option<&Port>;
    /// An FDB entry.
    fn fdb(&self, key: &FdbKey) -> Option<FdbValue>;
    /// A flood list by number.
    fn flood_list(&self, number: u32) -> Option<&FloodList>;
    /// A peer by number, if in use.
    fn peer(&self, number: u32) -> Option<&Peer>;
    /// The MAC of a host that ARP and ND are answered for.
    fn neigh(&self, key: &NeighKey) -> Option<NeighValue>;
    /// Where a host of a segment is, by the longest prefix of the nexthop table.
    fn nexthop(&self, segment: u32, host: &VtepAddr) -> Option<NexthopValue>;
    /// Nanoseconds of `CLOCK_MONOTONIC`, not to be trusted to more than some milliseconds.
    fn now(&self) -> u64;

    /// What the entry for `key` says of a frame from where an entry of this `kind` and `target` points.
    #[inline(always)]
    fn seen(&self, key: &FdbKey, kind: u8, target: u32) -> Seen {
        Seen::of(self.fdb(key), kind, target, || self.now())
    }

    /// Puts plain numbers down at one of [`place`]'s, and returns where to read them from.
    ///
    /// The kernel side puts them into a map: of a map's values the verifier remembers nothing, so that it walks through the rest
    /// of the program once, and not once for each way in which the numbers can come about.
    #[inline(always)]
    fn put_down<'a, const PLACE: usize, T: Copy>(&'a self, value: &'a T) -> &'a T {
        value
    }
}

/// The places for [`Tables::put_down`]: one for each step of a decision, since what was put down before is still read.
pub mod place {
    /// What was read of the inner frame.
    pub const INNER: usize = 0;
    /// What was made of it.
    pub const ARRIVAL: usize = 1;
    /// The verdict.
    pub const VERDICT: usize = 2;
    /// Whom the frame is counted for.
    pub const END: usize = 3;
    /// The headers to write.
    pub const HEADERS: usize = 4;
    /// The outer headers.
    pub const OUTER: usize = 5;
    /// An event on its way.
    pub const EVENT: usize = 6;
    /// Number of places.
    pub const COUNT: usize = 7;
}
