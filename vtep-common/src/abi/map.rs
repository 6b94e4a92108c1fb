//! The maps: their names as they are pinned, and their sizes.

/// Version of everything in this file. A daemon migrates pinned maps of the versions that it has steps from, and refuses others
/// (ADR 18).
pub const LAYOUT_VERSION: u32 = 6;

/// VNIs that one instance can carry; segment numbers are below this.
pub const MAX_SEGMENTS: u32 = 16_384;

/// Port mappings (interface and VLAN) of one instance.
pub const MAX_PORTS: u32 = 4_096;

/// VTEPs that one instance can send to.
pub const MAX_PEERS: u32 = 8_192;

/// Local VTEP addresses, and the multicast groups that we are a member of: each is a peer as well.
pub const MAX_LOCALS: u32 = 256 + MAX_PEERS;

/// Peers that the entries of segments name, counted for each segment.
pub const MAX_SOURCES: u32 = 262_144;

/// Places for the MACs of uplinks, a power of two.
pub const UPLINK_PLACES: u32 = 256;

/// Peers that the configuration file puts on flood lists, counted for each list.
pub const MAX_CONFIGURED: u32 = 1_048_576;

/// Flood lists: one per VNI and one per multicast MAC with VTEPs of its own.
pub const MAX_FLOOD_LISTS: u32 = 65_536;

/// FDB entries, unless the daemon is told otherwise.
pub const DEFAULT_FDB_ENTRIES: u32 = 262_144;

/// Addresses that ARP and ND are answered for, in all VNIs together.
pub const MAX_NEIGHS: u32 = 262_144;

/// Hosts and prefixes of the nexthop table, in all VNIs together.
pub const MAX_NEXTHOPS: u32 = 262_144;

/// Bytes of the ring buffer that carries [`Event`](crate::abi::event::Event)s: some 29,000 of them.
pub const EVENTS_BYTES: u32 = 2 << 20;

/// Bytes of the ring buffer that carries frames that are [`TooBig`](crate::abi::too_big::TooBig): some 50 of them.
pub const TOO_BIG_BYTES: u32 = 64 << 10;

/// Bytes of the ring buffer that carries [`Captured`](crate::abi::capture::Captured) frames: some 2,000 of them.
pub const CAPTURED_BYTES: u32 = 4 << 20;

/// Events that are held back while an earlier one of the same kind is on its way.
pub const MAX_GUARDS: u32 = 65_536;

/// Rows of `DROPS`: what was dropped for an owner under a reason. What is beyond that is counted for nobody. The rows of nobody are
/// among them.
pub const MAX_DROPS: u32 = 32_768;

/// Targets of one flood list, local ports and VTEPs together.
pub const MAX_FLOOD_TARGETS: usize = 510;

/// Names of the maps as they are pinned.
pub mod name {
    /// One [`Config`](crate::abi::config::Config).
    pub const CONFIG: &str = "CONFIG";
    /// The [`Geometry`](crate::abi::hash_table::Geometry) of each [`Table`](crate::abi::hash_table::Table).
    pub const SHAPES: &str = "SHAPES";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: underlay address, as [`VtepAddr::key`](crate::abi::addr::VtepAddr::key), to
    /// [`Address`](crate::abi::address::Address). All that is in `LOCALS` and `PEER_INDEX`, for the programs.
    pub const ADDRESSES: &str = "ADDRESSES";
    /// Address that VXLAN packets are taken at to [`LOCAL_OWN`](crate::abi::address::LOCAL_OWN) or [`LOCAL_GROUP`](crate::abi::address::LOCAL_GROUP).
    /// For the daemon alone.
    pub const LOCALS: &str = "LOCALS";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: VNI, as [`vni_key`](crate::abi::segment::vni_key), to segment number.
    pub const VNIS: &str = "VNIS";
    /// Segment number to [`Segment`](crate::abi::segment::Segment).
    pub const SEGMENTS: &str = "SEGMENTS";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: [`PortKey`](crate::abi::port::PortKey) to slot in `PORTS`.
    pub const PORT_INDEX: &str = "PORT_INDEX";
    /// Slot to [`Port`](crate::abi::port::Port).
    pub const PORTS: &str = "PORTS";
    /// [`Policed::index`](crate::abi::policer::Policed::index) or [`Policer::answers_index`](crate::abi::policer::Policer::answers_index) to
    /// [`Policer`](crate::abi::policer::Policer). Earlier builds have left none.
    pub const POLICERS: &str = "POLICERS";
    /// [`Ifindex`](crate::abi::id::Ifindex) to [`Vlans`](crate::abi::vlans::Vlans): those of an interface that have a port. Interfaces
    /// without any are not there.
    pub const TRUNKS: &str = "TRUNKS";
    /// Slot to the name of the port's interface, a [`PortName`](crate::abi::port::PortName). For the daemon alone.
    pub const PORT_NAMES: &str = "PORT_NAMES";
    /// The cookie of the network namespace that the pins belong to; zero where an earlier build has made them. For the daemon alone.
    pub const NAMESPACE: &str = "NAMESPACE";
    /// [`Bucket`](crate::abi::hash_table::Bucket)s: [`FdbKey`](crate::abi::fdb::FdbKey) to [`FdbValue`](crate::abi::fdb::FdbValue).
    pub const FDB: &str = "FDB";
    /// Flood list number to [`FloodList`](crate::abi::flood::FloodList).
    pub const FLOOD: &str = "FLOOD";
    /// Peer number to [`Peer`](crate::abi::peer::Peer).
    pub const PEERS: &str = "PEERS";
    /// VTEP address to peer number. For the daemon alone.
    pub const PEER_INDEX: &str = "PEER_INDEX";
    /// [`NeighKey`](crate::abi::neigh::NeighKey) to [`NeighValue`](crate::abi::neigh::NeighValue).
    pub const NEIGHS: &str = "NEIGHS";
    /// Prefixes of [`NexthopKey`](crate::abi::nexthop::NexthopKey) to [`NexthopValue`](crate::abi::nexthop::NexthopValue): a trie.
    pub const NEXTHOPS: &str = "NEXTHOPS";
    /// [`SourceKey`](crate::abi::segment::SourceKey) to a number that says nothing.
    pub const SOURCES: &str = "SOURCES";
    /// [`GuardedKey`](crate::abi::port::GuardedKey) to a number that says nothing.
    pub const GUARDED: &str = "GUARDED";
    /// [`ListedKey`](crate::abi::flood::ListedKey) to a number that says nothing. For the daemon alone; earlier builds have left none.
    pub const CONFIGURED: &str = "CONFIGURED";
    /// Segment number to the name of its bridge, a [`PortName`](crate::abi::port::PortName). For the daemon alone; earlier builds have left
    /// none.
    pub const BRIDGES: &str = "BRIDGES";
    /// The ring buffer of [`Event`](crate::abi::event::Event)s.
    pub const EVENTS: &str = "EVENTS";
    /// What an event is about to [`Guard`](crate::abi::event::Guard), least recently used out first.
    pub const GUARDS: &str = "GUARDS";
    /// Programs that others go on to, by [`TailCall`](crate::abi::tail_call::TailCall).
    pub const PARTS: &str = "PARTS";
    /// What one part of a decision hands to the next, per CPU: one [`NexthopValue`](crate::abi::nexthop::NexthopValue). Pinned, since parts of
    /// two daemons' programs can meet while one takes over from the other.
    pub const HANDOVER: &str = "HANDOVER";
    /// Events by [`EventEnd`](crate::abi::event::EventEnd), per CPU: [`Counter`](crate::abi::counter::Counter), without bytes.
    pub const EVENT_COUNTERS: &str = "EVENT_COUNTERS";
    /// Frames per hook and reason, per CPU: [`Counter`](crate::abi::counter::Counter).
    pub const REASON_COUNTERS: &str = "REASON_COUNTERS";
    /// Frames per segment and direction, per CPU.
    pub const SEGMENT_COUNTERS: &str = "SEGMENT_COUNTERS";
    /// Frames per port and direction, per CPU.
    pub const PORT_COUNTERS: &str = "PORT_COUNTERS";
    /// Frames per peer and direction, per CPU.
    pub const PEER_COUNTERS: &str = "PEER_COUNTERS";
    /// [`DropKey`](crate::abi::drops::DropKey) to the frames that were dropped, per CPU: [`Counter`](crate::abi::counter::Counter). Programs
    /// make the rows of owners, the daemon makes those of nobody; earlier builds have left none.
    pub const DROPS: &str = "DROPS";

    /// The [`Clock`](crate::abi::clock::Clock) of one daemon's programs. Not pinned.
    pub const CLOCK: &str = "CLOCK";
    /// [`UplinkWord::place`](crate::abi::uplink::UplinkWord::place) of an interface to its [`UplinkWord`](crate::abi::uplink::UplinkWord). Not
    /// pinned.
    pub const UPLINKS: &str = "UPLINKS";

    /// The ring buffer of frames that are [`TooBig`](crate::abi::too_big::TooBig). Not pinned.
    pub const TOO_BIG: &str = "TOO_BIG";

    /// The ring buffer of [`Captured`](crate::abi::capture::Captured) frames. Of one capture, and not pinned; so are the next two.
    pub const CAPTURED: &str = "CAPTURED";
    /// Which frames are wanted: one [`CaptureOrder`](crate::abi::capture::CaptureOrder).
    pub const CAPTURE_ORDER: &str = "CAPTURE_ORDER";
    /// How many were taken, and how many left out, by [`CaptureCount`](crate::abi::capture::CaptureCount).
    pub const CAPTURE_COUNTS: &str = "CAPTURE_COUNTS";

    /// All that are pinned.
    pub const ALL: [&str; 32] = [
        CONFIG,
        NAMESPACE,
        SHAPES,
        ADDRESSES,
        LOCALS,
        VNIS,
        SEGMENTS,
        PORT_INDEX,
        PORTS,
        POLICERS,
        TRUNKS,
        PORT_NAMES,
        FDB,
        FLOOD,
        PEERS,
        PEER_INDEX,
        NEIGHS,
        NEXTHOPS,
        SOURCES,
        GUARDED,
        CONFIGURED,
        BRIDGES,
        EVENTS,
        GUARDS,
        PARTS,
        HANDOVER,
        EVENT_COUNTERS,
        REASON_COUNTERS,
        SEGMENT_COUNTERS,
        PORT_COUNTERS,
        PEER_COUNTERS,
        DROPS,
    ];
}
