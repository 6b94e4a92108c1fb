//! The maps.

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC},
    macros::map,
    maps::{
        Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf,
    },
};
use vtep_common::abi::{
    addr::VtepAddr,
    clock::Clock,
    config::Config,
    counter::{Counter, Hook},
    drops::DropKey,
    event::{EventEnd, Guard},
    flood::{FloodList, ListedKey},
    hash_table::{Bucket, Geometry, Table},
    id::{Ifindex, ListId, PeerId, SegmentId},
    map::{
        DEFAULT_FDB_ENTRIES, EVENTS_BYTES, MAX_CONFIGURED, MAX_DROPS, MAX_FLOOD_LISTS, MAX_GUARDS,
        MAX_LOCALS, MAX_NEIGHS, MAX_NEXTHOPS, MAX_PEERS, MAX_PORTS, MAX_SEGMENTS, MAX_SOURCES,
        TOO_BIG_BYTES, UPLINK_PLACES,
    },
    neigh::{NeighKey, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::{Policed, Policer},
    port::{GuardedKey, Port, PortName},
    reason::Reason,
    segment::{Segment, SourceKey},
    tail_call::TailCall,
    uplink::UplinkWord,
    vlans::Vlans,
};

#[map]
pub static CONFIG: Array<Config> = Array::pinned(1, 0);
// What the daemon alone reads.
#[map]
static LOCALS: HashMap<VtepAddr, u32> = HashMap::pinned(MAX_LOCALS, 0);
#[map]
static PEER_INDEX: HashMap<VtepAddr, PeerId> = HashMap::pinned(MAX_PEERS, 0);
#[map]
static NAMESPACE: Array<u64> = Array::pinned(1, 0);
#[map]
static PORT_NAMES: Array<PortName> = Array::pinned(MAX_PORTS, 0);
#[map]
pub static SEGMENTS: Array<Segment> = Array::pinned(MAX_SEGMENTS, 0);
// Half a kilobyte an entry, and most instances have few.
#[map]
pub static TRUNKS: HashMap<Ifindex, Vlans> = HashMap::pinned(MAX_PORTS, BPF_F_NO_PREALLOC);
#[map]
pub static PORTS: Array<Port> = Array::pinned(MAX_PORTS, 0);
#[map]
pub static POLICERS: Array<Policer> = Array::pinned(MAX_PORTS * Policed::PLACES, 0);
// Two kilobytes an entry, and most instances have few: made as they are needed.
#[map]
pub static FLOOD: HashMap<ListId, FloodList> = HashMap::pinned(MAX_FLOOD_LISTS, BPF_F_NO_PREALLOC);
#[map]
pub static PEERS: Array<Peer> = Array::pinned(MAX_PEERS, 0);
#[map]
pub static NEIGHS: HashMap<NeighKey, NeighValue> = HashMap::pinned(MAX_NEIGHS, BPF_F_NO_PREALLOC);
#[map]
pub static NEXTHOPS: LpmTrie<NexthopKey, NexthopValue> =
    LpmTrie::pinned(MAX_NEXTHOPS, BPF_F_NO_PREALLOC);
// Which VTEPs a segment takes packets from, where it does not take them from any.
#[map]
pub static SOURCES: HashMap<SourceKey, u32> = HashMap::pinned(MAX_SOURCES, BPF_F_NO_PREALLOC);
// Each daemon's programs have their own.
#[map]
pub static UPLINKS: Array<UplinkWord> = Array::with_max_entries(UPLINK_PLACES, 0);
#[map]
pub static GUARDED: HashMap<GuardedKey, u32> = HashMap::pinned(MAX_NEIGHS, BPF_F_NO_PREALLOC);
#[map]
static CONFIGURED: HashMap<ListedKey, u32> = HashMap::pinned(MAX_CONFIGURED, BPF_F_NO_PREALLOC);
#[map]
static BRIDGES: HashMap<SegmentId, PortName> = HashMap::pinned(MAX_SEGMENTS, BPF_F_NO_PREALLOC);
#[map]
pub static EVENTS: RingBuf = RingBuf::pinned(EVENTS_BYTES, 0);
#[map]
pub static GUARDS: LruHashMap<u64, Guard> = LruHashMap::pinned(MAX_GUARDS, 0);
#[map]
pub static PARTS: ProgramArray = ProgramArray::pinned(TailCall::PLACES, 0);
#[map]
pub static EVENT_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::pinned(EventEnd::ALL.len() as u32, 0);
#[map]
pub static REASON_COUNTERS: PerCpuArray<Counter> =
    PerCpuArray::pinned(Hook::ALL.len() as u32 * Reason::SLOTS, 0);
#[map]
pub static SEGMENT_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_SEGMENTS * 2, 0);
#[map]
pub static PORT_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_PORTS * 2, 0);
#[map]
pub static PEER_COUNTERS: PerCpuArray<Counter> = PerCpuArray::pinned(MAX_PEERS * 2, 0);
// Rows are made where a frame is dropped, so all of the memory is there beforehand: what is asked for then may not be had.
#[map]
pub static DROPS: PerCpuHashMap<DropKey, Counter> = PerCpuHashMap::pinned(MAX_DROPS, 0);

#[map]
pub static HANDOVER: PerCpuArray<NexthopValue> = PerCpuArray::pinned(1, 0);

#[map]
pub static SHAPES: Array<Geometry> = Array::pinned(Table::COUNT, 0);

/// Makes a hash table. The daemon writes into its memory.
macro_rules! buckets {
    ($name:ident, $room:expr) => {
        #[map]
        pub static $name: Array<Bucket> = Array::pinned(Geometry::buckets($room), BPF_F_MMAPABLE);
    };
}
buckets!(ADDRESSES, MAX_LOCALS + MAX_PEERS);
buckets!(VNIS, MAX_SEGMENTS);
buckets!(PORT_INDEX, MAX_PORTS);
// The daemon says how many there are to be.
buckets!(FDB, DEFAULT_FDB_ENTRIES);

// Not pinned, since each daemon's programs have their own. Two more stand beside what lies in them: scratch memory and deferred copies.
#[map]
pub static TOO_BIG: RingBuf = RingBuf::with_byte_size(TOO_BIG_BYTES, 0);
#[map]
pub static CLOCK: Array<Clock> = Array::with_max_entries(1, 0);
