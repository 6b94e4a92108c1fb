//! The tables: BPF maps in the kernel, ordinary maps on the host.

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
        policer::{Policed, Policer},
        port::{Port, PortKey},
        segment::Segment,
        uplink::UplinkWord,
    },
    frame::{outer::Local, vlan::ShownVlan},
};

/// The tables as a decision and its look-ups see them.
pub trait Tables {
    /// What holds for the whole instance; all zero while no daemon has set it.
    fn config(&self) -> Config;
    /// A segment, if in use.
    fn segment(&self, segment: SegmentId) -> Option<&Segment>;
    /// A port, if in use.
    fn port(&self, slot: PortSlot) -> Option<&Port>;
    /// The rate that a port is held to; all zero where there is none.
    fn policer(&self, slot: PortSlot, what: Policed) -> Policer;
    /// What may be answered at a port: [`Policer::ANSWERS`], and how much of it is used up.
    fn answers(&self, slot: PortSlot) -> Policer;
    /// True if frames that show this VLAN are another port's than that of the untagged frames of an interface that `TRUNKS` has.
    fn is_mapped(&self, ifindex: u32, vlan: ShownVlan) -> bool;
    /// True if a port with a guard has this address.
    fn owns(&self, slot: PortSlot, addr: &VtepAddr) -> bool;
    /// A peer, if in use.
    fn peer(&self, peer: PeerId) -> Option<&Peer>;
    /// A flood list.
    fn flood_list(&self, list: ListId) -> Option<&FloodList>;
    /// The MAC of a host that ARP and ND are answered for.
    fn neigh(&self, key: &NeighKey) -> Option<NeighValue>;
    /// Where a host of a segment is, by the longest prefix of the nexthop table.
    fn nexthop(&self, segment: SegmentId, host: &VtepAddr) -> Option<NexthopValue>;

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
    /// True if an entry of the segment, one of the user's or of a control plane's, names this peer.
    fn is_listed(&self, segment: SegmentId, peer: PeerId) -> bool;
    /// True if the host takes frames to this MAC at an uplink. False where that is not known.
    fn is_uplink(&self, word: UplinkWord) -> bool;
    /// Nanoseconds of `CLOCK_MONOTONIC`, not to be trusted to more than some milliseconds.
    fn now(&self) -> u64;
    /// How long that time stands still, in nanoseconds.
    fn tick(&self) -> u64;
}

impl<T: Tables> Local for T {
    #[inline(always)]
    fn udp_port(&self) -> u16 {
        self.config().udp_port
    }

    #[inline(always)]
    fn is_local(&self, addr: &VtepAddr) -> bool {
        self.address(addr).is_local()
    }
}
