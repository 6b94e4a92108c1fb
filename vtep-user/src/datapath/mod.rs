//! The kernel side as the daemon sees it: maps, programs and links, pinned on bpffs. The only place that uses aya.
//!
//! Below `/sys/fs/bpf/vtep/INSTANCE/` lie the maps by their names, `links/` and `programs/`. Everything there outlives the
//! daemon; [`Datapath::open`] takes over what it finds.

mod addresses;
mod asked;
mod attach;
mod attached;
mod batch;
mod bpf;
mod capture;
mod clock;
mod clsact;
mod counter_row;
mod counters;
mod drops;
mod entry;
mod error;
mod event_ring;
mod guards;
mod hash_table;
mod link;
mod migration;
mod namespace;
mod object;
mod open;
mod pins;
mod port_programs;
mod promiscuous;
mod raw_map;
mod staging;
mod tables;
mod transaction;

use std::{
    collections::HashSet,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use aya::{
    Ebpf, include_bytes_aligned,
    maps::{Array, HashMap, LpmTrie, MapData, PerCpuArray, ProgramArray, RingBuf},
    programs::{SchedClassifier, Xdp},
};
use vtep_common::abi::{
    addr::VtepAddr,
    config::Config,
    counter::Counter,
    flags::ConfigFlags,
    flood::{FloodList, ListedKey},
    id::{Ifindex, ListId, PeerId, SegmentId},
    map::{LAYOUT_VERSION, name},
    neigh::{NeighKey, NeighValue},
    nexthop::{NexthopKey, NexthopValue},
    peer::Peer,
    policer::Policer,
    port::{GuardedKey, Port, PortName},
    segment::{Segment, SourceKey},
    tail_call::TailCall,
    uplink::UplinkWord,
    vlans::Vlans,
};

use self::{drops::Drops, hash_table::HashTable, staging::Staging};

pub use self::{
    attach::detach_all_without_links,
    attached::XdpOutcome,
    capture::{CaptureGround, Recorder},
    counter_row::CounterRow,
    counters::Snapshot,
    drops::DroppedFor,
    error::DatapathError,
    link::TcxPrograms,
    namespace::check as check_namespace,
    pins::{BPFFS, check_bpffs, instance_dir},
    port_programs::{OwnAtPorts, PortPrograms},
    tables::monotonic_ns,
    transaction::Transaction,
};

/// The compiled kernel side.
static OBJECT: &[u8] = include_bytes_aligned!(env!("VTEP_EBPF_OBJECT"));

/// TC programs that are attached, by name.
const TC_PROGRAMS: [&str; 3] = ["tc_uplink", "tc_tunnel", "tc_port"];
/// XDP programs by name.
const XDP_PROGRAMS: [&str; 2] = ["xdp_uplink", "xdp_port"];

/// Maps, programs and links of one instance.
pub struct Datapath {
    ebpf: Ebpf,
    dir: PathBuf,
    maps: Maps,
    /// The maps were there before.
    adopted: bool,
    /// What `UPLINKS` has.
    uplink_words: HashSet<UplinkWord>,
    /// Where all that is, while the last daemon's pins of an earlier layout are still in place.
    staging: Option<Staging>,
}

/// Typed handles of the maps.
struct Maps {
    config: Array<MapData, Config>,
    locals: HashMap<MapData, VtepAddr, u32>,
    addresses: HashTable,
    vnis: HashTable,
    segments: Array<MapData, Segment>,
    port_index: HashTable,
    ports: Array<MapData, Port>,
    policers: Array<MapData, Policer>,
    trunks: HashMap<MapData, Ifindex, Vlans>,
    port_names: Array<MapData, PortName>,
    namespace: Array<MapData, u64>,
    fdb: HashTable,
    flood: HashMap<MapData, ListId, FloodList>,
    peers: Array<MapData, Peer>,
    peer_index: HashMap<MapData, VtepAddr, PeerId>,
    neighs: HashMap<MapData, NeighKey, NeighValue>,
    nexthops: LpmTrie<MapData, NexthopKey, NexthopValue>,
    sources: HashMap<MapData, SourceKey, u32>,
    guarded: HashMap<MapData, GuardedKey, u32>,
    uplinks: Array<MapData, UplinkWord>,
    configured: HashMap<MapData, ListedKey, u32>,
    bridges: HashMap<MapData, SegmentId, PortName>,
    events: RingBuf<MapData>,
    too_big: RingBuf<MapData>,
    parts: ProgramArray<MapData>,
    event_counters: PerCpuArray<MapData, Counter>,
    reason_counters: PerCpuArray<MapData, Counter>,
    /// That map once more, for what aya does not do.
    reason_counters_fd: OwnedFd,
    segment_counters: PerCpuArray<MapData, Counter>,
    port_counters: PerCpuArray<MapData, Counter>,
    peer_counters: PerCpuArray<MapData, Counter>,
    drops: Drops,
    /// The table of hosts once more, for what aya does not do.
    neighs_fd: OwnedFd,
    guards: HashMap<MapData, u64, [u64; 2]>,
    /// Those once more too.
    guards_fd: OwnedFd,
}

/// Every program, in the order in which they are loaded: what others go on to first.
fn programs() -> impl Iterator<Item = &'static str> {
    tc_programs().chain(XDP_PROGRAMS)
}

/// TC programs: those that others go on to, and those that are attached.
fn tc_programs() -> impl Iterator<Item = &'static str> {
    TailCall::ALL
        .into_iter()
        .map(|(_, name)| name)
        .chain(TC_PROGRAMS)
}

/// Detaches every link of an instance, and removes everything that it has pinned.
pub fn remove_pins(dir: &Path) -> Result<(), DatapathError> {
    let _lock = staging::lock(dir)?;
    staging::clear(dir)?;
    pins::remove_pins(dir)
}

impl Datapath {
    /// Says which program each tail call leads to. A program of the last daemon gives way to its successor at once.
    pub fn set_tail_calls(&mut self) -> Result<(), DatapathError> {
        for (stage, name) in TailCall::ALL {
            let program = self
                .tc_program(name)?
                .fd()
                .and_then(|fd| Ok(fd.try_clone()?))
                .map_err(|source| DatapathError::program("open", name, source))?;
            self.maps
                .parts
                .set(stage as u32, &program, 0)
                .map_err(|source| DatapathError::map("write", name::PARTS, source))?;
        }
        Ok(())
    }

    /// True if the maps were there before.
    #[must_use]
    pub const fn adopted(&self) -> bool {
        self.adopted
    }

    /// FDB entries for which there is room.
    #[must_use]
    pub const fn fdb_max(&self) -> u32 {
        self.maps.fdb.geometry().room
    }

    /// Writes what holds for the whole instance.
    pub fn configure(
        &mut self,
        device: Ifindex,
        udp_port: u16,
        flags: ConfigFlags,
    ) -> Result<(), DatapathError> {
        let config = Config {
            layout: LAYOUT_VERSION,
            device: device.get(),
            udp_port,
            flags,
            pad: 0,
        };
        self.maps
            .config
            .set(0, config, 0)
            .map_err(|source| DatapathError::map("write", name::CONFIG, source))
    }

    /// What the maps say of the whole instance.
    pub fn config(&self) -> Result<Config, DatapathError> {
        self.maps
            .config
            .get(&0, 0)
            .map_err(|source| DatapathError::map("read", name::CONFIG, source))
    }

    /// Verified instructions of each program: what the verifier walked through.
    #[must_use]
    pub fn verified_instructions(&self) -> Vec<(&'static str, Option<u32>)> {
        programs()
            .map(|name| {
                let info = self
                    .ebpf
                    .program(name)
                    .and_then(|program| program.info().ok());
                (
                    name,
                    info.and_then(|info| info.verified_instruction_count()),
                )
            })
            .collect()
    }

    /// One of the TC programs, for `BPF_PROG_TEST_RUN` in tests.
    pub fn tc_program(
        &mut self,
        name: &'static str,
    ) -> Result<&mut SchedClassifier, DatapathError> {
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(DatapathError::Missing(name))?;
        program
            .try_into()
            .map_err(|source| DatapathError::program("open", name, source))
    }

    /// One of the XDP programs, for `BPF_PROG_TEST_RUN` in tests.
    pub fn xdp_program(&mut self, name: &'static str) -> Result<&mut Xdp, DatapathError> {
        let program = self
            .ebpf
            .program_mut(name)
            .ok_or(DatapathError::Missing(name))?;
        program
            .try_into()
            .map_err(|source| DatapathError::program("open", name, source))
    }
}
