//! The look-ups that the decisions need.

use crate::{
    addr::VtepAddr,
    inner::Inner,
    maps::{Config, FdbKey, FdbValue, FloodList, Peer, Port, PortKey, Segment},
};

/// The tables as a decision sees them: BPF maps in the kernel, ordinary maps in tests.
pub trait Tables {
    /// What holds for the whole instance; all zero while no daemon has set it.
    fn config(&self) -> Config;
    /// True if `addr` is one of our VTEP addresses.
    fn is_local(&self, addr: &VtepAddr) -> bool;
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
    /// Number of the peer with this address.
    fn peer_number(&self, addr: &VtepAddr) -> Option<u32>;

    /// Puts what was read of a frame down where the decision reads it from.
    ///
    /// The kernel side puts it into a map: of a map's values the verifier remembers nothing, so that it walks through the rest of
    /// the program once, and not once for each way in which a frame can be read. `None` is a failure of ours.
    #[inline(always)]
    fn put_down<'a>(&'a self, inner: &'a Inner) -> Option<&'a Inner> {
        Some(inner)
    }
}
