//! The look-ups that the decisions need.

use crate::{
    abi::{
        addr::VtepAddr,
        address::Address,
        config::Config,
        fdb::{FdbKey, FdbWord},
        flood::FloodList,
        id::{ListId, PeerId, PortSlot, SegmentId},
        neigh::{NeighKey, NeighValue},
        nexthop::NexthopValue,
        peer::Peer,
        port::{Port, PortKey},
        segment::Segment,
    },
    decide::lookup::Lookup,
    frame::{
        inner::{Inner, Received},
        outer::OuterAddresses,
    },
};

/// The tables of buckets, which [`Lookup`] is asked of: looked up in for every frame.
pub trait Keyed {
    /// What an underlay address is to us.
    fn address(&self, addr: &VtepAddr) -> Address;
    /// Number of the segment with this VNI, as [`numbered`](crate::abi::hash_table::numbered); zero where there is none.
    fn vni_word(&self, vni: u32) -> u64;
    /// Slot of the port with this key, likewise.
    fn port_word(&self, key: &PortKey) -> u64;
    /// The segment of a port, any one where there is no such port.
    fn segment_of_port(&self, slot: PortSlot) -> SegmentId;
    /// An FDB entry, or the word that says that there is none.
    fn fdb_word(&self, key: &FdbKey) -> FdbWord;
    /// A peer, if in use.
    fn peer(&self, peer: PeerId) -> Option<&Peer>;
    /// Nanoseconds of `CLOCK_MONOTONIC`, not to be trusted to more than some milliseconds.
    fn now(&self) -> u64;
}

/// The tables as a decision sees them: BPF maps in the kernel, ordinary maps in tests.
pub trait Tables: Keyed {
    /// What holds for the whole instance; all zero while no daemon has set it.
    fn config(&self) -> Config;
    /// A segment, if in use.
    fn segment(&self, segment: SegmentId) -> Option<&Segment>;
    /// A port, if in use.
    fn port(&self, slot: PortSlot) -> Option<&Port>;
    /// A flood list.
    fn flood_list(&self, list: ListId) -> Option<&FloodList>;
    /// The MAC of a host that ARP and ND are answered for.
    fn neigh(&self, key: &NeighKey) -> Option<NeighValue>;
    /// Where a host of a segment is, by the longest prefix of the nexthop table.
    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue>;

    /// All that the tables of buckets know of a packet from a VTEP. The two were put down at [`place::OUTER`] and
    /// [`place::INNER`].
    #[inline(always)]
    fn of_tunnel(&self, addresses: &OuterAddresses, read: &Received) -> Lookup
    where
        Self: Sized,
    {
        Lookup::of_tunnel(addresses, read, self)
    }

    /// All that the tables of buckets know of a frame from a port. `inner` was put down at [`place::INNER`].
    #[inline(always)]
    fn of_port(&self, key: PortKey, inner: &Inner) -> Lookup
    where
        Self: Sized,
    {
        Lookup::of_port(key, inner, self)
    }

    /// Puts plain numbers down at one of [`place`]'s, and returns where to read them from.
    ///
    /// The kernel side puts them into a map: of a map's values the verifier remembers nothing, so that it walks through the rest
    /// of the program once, and not once for each way in which the numbers can come about.
    #[inline(always)]
    fn spill<'a, const PLACE: usize, T: Copy>(&'a self, value: &'a T) -> &'a T {
        value
    }
}

/// The places for [`Tables::spill`]: one for each step of a decision, since what was put down before is still read.
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
    /// The outer headers, or the ends of the tunnel alone.
    pub const OUTER: usize = 5;
    /// An event on its way.
    pub const EVENT: usize = 6;
    /// What the tables know of a frame.
    pub const KNOWN: usize = 7;
    /// Number of places.
    pub const COUNT: usize = 8;
}
