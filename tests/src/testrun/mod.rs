//! The programs in the kernel, run over single frames by `BPF_PROG_TEST_RUN`.
//!
//! A [`TestBed`] lives in a network namespace of its own, with a real interface for every number in the tables: a program
//! that is told to redirect or to copy somewhere finds that place.

pub mod compare;
pub mod fixture;
pub mod totals;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, Once, PoisonError};

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::programs::{ProgramError, TestRun, TestRunOptions};
use vtep_common::abi::event::Event;
use vtep_common::abi::id::{Ifindex, PeerId, PortSlot, SegmentId};
use vtep_common::abi::{
    counter::{Counter, Hook},
    event::Guard,
    fdb::{FdbKey, FdbValue},
    map::name,
    policer::Policer,
    port::GuardedKey,
    segment::SourceKey,
    too_big::TooBig,
};
use vtep_common::frame::packet::Meta;
use vtep_common::sim::trace::{Arrived, Hop, trace_reading};
use vtep_common::sim::{HostTables, Side};
use vtep_common::testkit::frames::Interfaces;
use vtep_user::control::{Stamps as _, Write};
use vtep_user::datapath::{BPFFS, Datapath, remove_pins};

use self::totals::Totals;
use crate::bpf::map::MapDump;
use crate::daemon::mount_bpffs;
use crate::lab::ns::{self, Ns};

/// FDB entries for which the bench has room.
const FDB_MAX: u32 = 1024;
/// Room for a frame and all that is put around it.
const ROOM: usize = 8192;
/// The longest frame that a test run takes in one piece, with room for outer headers to spare.
pub const LONGEST: usize = 3_000;
/// The shortest: an Ethernet header.
pub const SHORTEST: usize = 14;

/// The names of the ports of the [`Interfaces`], in their order.
pub const PORTS: [&str; 6] = [
    "access0", "narrow0", "trunk0", "carrier0", "quiet0", "lone0",
];
/// The uplink.
pub const UPLINK: &str = "uplink0";
/// The slow-path device.
pub const DEVICE: &str = "device0";

/// What a program made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// What it returned.
    pub action: i32,
    /// The frame when it returned.
    pub frame: Vec<u8>,
}

/// The programs and maps of an instance, loaded for a test.
///
/// Its fields are dropped in their order: what is pinned goes when the programs have, and the namespaces last.
pub struct TestBed {
    datapath: Datapath,
    guards: HashMap<MapData, u64, Guard>,
    policers: Array<MapData, Policer>,
    pins: Pins,
    /// The namespace that the programs run in.
    pub here: Arc<Ns>,
    /// The namespace of the other end of every port and of the uplink; each has the same name there.
    pub far: Ns,
    numbers: Numbers,
    /// The interfaces that are there.
    pub interfaces: Interfaces,
}

/// What counters are kept for.
#[derive(Clone, Debug, Default)]
struct Numbers {
    segments: Vec<SegmentId>,
    ports: Vec<PortSlot>,
    peers: Vec<PeerId>,
}

/// Removes what an instance has pinned, when dropped.
struct Pins(PathBuf);

impl Drop for Pins {
    fn drop(&mut self) {
        if let Err(error) = remove_pins(&self.0) {
            eprintln!("remove {}: {error}", self.0.display());
        }
    }
}

/// Runs `body` with a bench, on a thread within the bench's namespace: a test run looks for interfaces in the namespace of
/// its caller.
pub fn with_test_bed<T: Send>(body: impl FnOnce(&mut TestBed) -> T + Send) -> T {
    TestBed::new().within(body)
}

/// The bench that tests of this process share, when none of them has it.
static SHARED: Mutex<Option<TestBed>> = Mutex::new(None);

/// The same with a bench that later tests of this process get too, as they all load the same tables: programs and maps are made once. One
/// on which a test has failed is not used again. The last one goes when the process ends.
pub fn with_shared_test_bed<T: Send>(body: impl FnOnce(&mut TestBed) -> T + Send) -> T {
    static AT_EXIT: Once = Once::new();
    AT_EXIT.call_once(|| {
        // SAFETY: the function may be called at any time.
        let set = unsafe { libc::atexit(drop_shared) };
        assert_eq!(set, 0, "nobody would remove the bench");
    });
    let shared = take_shared();
    let mut bench = shared.unwrap_or_else(TestBed::new);
    let result = bench.within(body);
    *SHARED.lock().unwrap_or_else(PoisonError::into_inner) = Some(bench);
    result
}

fn take_shared() -> Option<TestBed> {
    SHARED.lock().unwrap_or_else(PoisonError::into_inner).take()
}

extern "C" fn drop_shared() {
    drop(take_shared());
}

impl TestBed {
    /// Sets it all up.
    fn new() -> Self {
        mount_bpffs();
        let (here, far) = (Ns::new("bench"), Ns::new("far"));
        for ns in [&here, &far] {
            // Nothing but the test's own frames is on its way here.
            for area in ["default", "all"] {
                ns.sysctl(&format!("ipv6/conf/{area}/disable_ipv6"), "1");
            }
        }
        for name in PORTS.into_iter().chain([UPLINK]) {
            here.veth(name, &far, name);
            // Room for whatever is made of a frame.
            here.ip(&format!("link set {name} mtu 9000"));
            far.ip(&format!("link set {name} mtu 65535"));
        }
        here.ip(&format!(
            "link add {DEVICE} type vxlan external dstport 4789\nlink set {DEVICE} up"
        ));
        let [access, narrow, trunk, carrier, quiet, lone] = PORTS.map(|name| here.ifindex(name));
        let interfaces = Interfaces {
            access,
            narrow,
            trunk,
            carrier,
            quiet,
            lone,
            uplink: here.ifindex(UPLINK),
            device: here.ifindex(DEVICE),
        };
        let pins = Pins(Path::new(BPFFS).join("vtep").join(ns::unique("test")));
        let datapath = here.run(|| {
            Datapath::open(&pins.0, FDB_MAX)
                .unwrap_or_else(|error| panic!("load the programs: {error}"))
        });
        Self {
            datapath,
            guards: pinned(&pins.0, name::GUARDS, Map::LruHashMap),
            policers: pinned(&pins.0, name::POLICERS, Map::Array),
            pins,
            here: Arc::new(here),
            far,
            numbers: Numbers::default(),
            interfaces,
        }
    }

    /// Runs `body` within the namespace.
    fn within<T: Send>(&mut self, body: impl FnOnce(&mut Self) -> T + Send) -> T {
        let here = Arc::clone(&self.here);
        here.run(|| body(self))
    }

    /// The programs and maps.
    pub fn datapath(&mut self) -> &mut Datapath {
        &mut self.datapath
    }

    /// The name of the port or uplink with this number, if it is one.
    #[must_use]
    pub fn name_of(&self, ifindex: u32) -> Option<&'static str> {
        let Interfaces {
            access,
            narrow,
            trunk,
            carrier,
            quiet,
            lone,
            uplink,
            device: _,
        } = self.interfaces;
        [access, narrow, trunk, carrier, quiet, lone, uplink]
            .into_iter()
            .zip(PORTS.into_iter().chain([UPLINK]))
            .find_map(|(number, name)| (number == ifindex).then_some(name))
    }

    /// Writes tables into the maps, as they are. Other tables only once: what the maps hold is not cleared before. With the same tables again,
    /// everything is as after the first time but for the counters.
    ///
    /// # Panics
    ///
    /// If the kernel refuses.
    pub fn load(&mut self, tables: &HostTables) {
        self.forget();
        self.datapath
            .write(&writes(tables))
            .unwrap_or_else(|error| panic!("write the tables: {error}"));
        let uplinks = tables.uplinks.iter();
        self.datapath
            .set_uplink_macs(uplinks.map(|(ifindex, mac)| (Ifindex::new(*ifindex), *mac)))
            .unwrap_or_else(|error| panic!("write the uplinks: {error}"));
        self.numbers = Numbers {
            segments: tables.segments.keys().copied().collect(),
            ports: tables.ports.keys().copied().collect(),
            peers: tables.peers.keys().copied().collect(),
        };
    }

    /// Runs the program of `hook` over a frame.
    ///
    /// `meta.tag` cannot be told to a test run and has to be `None`; of `meta.gso_size` only TC programs are told.
    pub fn run(&mut self, hook: Hook, frame: &[u8], meta: &Meta) -> io::Result<Ran> {
        let mut out = vec![0; ROOM];
        let context = context(hook, frame, meta);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let program_name = program(hook);
        let datapath = &mut self.datapath;
        let result = if is_xdp(hook) {
            let program = datapath
                .xdp_program(program_name)
                .map_err(io::Error::other)?;
            program.test_run(options)
        } else {
            let program = datapath
                .tc_program(program_name)
                .map_err(io::Error::other)?;
            program.test_run(options)
        };
        let result = result.map_err(|error| match error {
            ProgramError::SyscallError(error) => error.io_error,
            other => io::Error::other(other),
        })?;
        out.truncate(usize::try_from(result.data_size_out).expect("a length"));
        Ok(Ran {
            action: result.return_value.cast_signed(),
            frame: out,
        })
    }

    /// What a trace says of a frame at its first hook, by what the maps hold now.
    ///
    /// # Panics
    ///
    /// If they cannot be read.
    #[must_use]
    pub fn trace(&self, side: Side, frame: &[u8], meta: &Meta) -> Hop {
        let arrived = Arrived {
            side,
            frame: frame.to_vec(),
            meta: *meta,
        };
        let datapath = &self.datapath;
        let hops = datapath.nothing_read().and_then(|mut tables| {
            trace_reading(&arrived, &mut tables, |asked, tables| {
                datapath.read_asked(asked, tables)
            })
        });
        let mut hops = hops.unwrap_or_else(|error| panic!("read the tables: {error}"));
        hops.swap_remove(0)
    }

    /// The programs' events since last asked, with times zeroed; none of them is held back any more.
    ///
    /// # Panics
    ///
    /// If the maps cannot be read, or an event is of another time.
    pub fn events(&mut self) -> Vec<Event> {
        let mut events = self.datapath.events(usize::MAX);
        for event in &mut events {
            let subject = Event::subject(&event.words());
            self.guards
                .remove(&subject)
                .unwrap_or_else(|error| panic!("the guard of {event:?}: {error}"));
            assert_is_now(event.time, "an event");
            event.time = 0;
        }
        events
    }

    /// The frames that the programs have found to be too big, and had answered, since last asked.
    pub fn too_big(&mut self) -> Vec<TooBig> {
        self.datapath.too_big(usize::MAX)
    }

    /// As much may be answered again at these ports as if nothing had been.
    ///
    /// # Panics
    ///
    /// If the map cannot be written.
    pub fn forget_answers(&mut self, ports: impl IntoIterator<Item = PortSlot>) {
        for port in ports {
            let place = Policer::answers_index(port);
            self.policers
                .set(place, Policer::NONE, 0)
                .unwrap_or_else(|error| panic!("write a policer: {error}"));
        }
    }

    /// Whether the stamp of an entry was set, to what time it is; it is zeroed again.
    ///
    /// # Panics
    ///
    /// If the entry is not there, or its stamp is of another time.
    pub fn was_refreshed(&mut self, key: FdbKey) -> bool {
        let value = self.fdb(key);
        let seen = self.datapath.last_seen(key).expect("an entry");
        let zeroed = FdbValue {
            last_seen: 0,
            ..value
        };
        self.datapath
            .write(&[Write::Fdb(key, Some(zeroed))])
            .expect("write an entry");
        let refreshed = FdbValue::stamp(value.last_seen) != 0;
        if refreshed {
            assert_is_now(seen, "a stamp");
        }
        refreshed
    }

    /// An entry of the FDB.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    pub fn fdb(&self, key: FdbKey) -> FdbValue {
        self.datapath.fdb(key).expect("an entry")
    }

    /// The counters of everything in the tables.
    ///
    /// # Panics
    ///
    /// If they cannot be read.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let Numbers {
            segments,
            ports,
            peers,
        } = &self.numbers;
        self.read(segments, ports, peers)
    }

    /// Every counter that there is.
    ///
    /// # Panics
    ///
    /// If they cannot be read.
    #[must_use]
    pub fn all_totals(&self) -> Totals {
        let mut totals = self.read(&[], &[], &[]);
        for (kind, map) in [
            ("segment", name::SEGMENT_COUNTERS),
            ("port", name::PORT_COUNTERS),
            ("peer", name::PEER_COUNTERS),
        ] {
            for (index, [packets, bytes]) in MapDump::read_counters(&self.pins.0.join(map)) {
                totals.add_index(kind, index, Counter { packets, bytes });
            }
        }
        totals
    }

    /// What the programs have left behind for the daemon and for themselves, other than counters.
    fn forget(&mut self) {
        let events = self.datapath.events(usize::MAX);
        // What is held back for a while only may have come twice.
        let subjects = events.iter().map(|event| Event::subject(&event.words()));
        for subject in subjects.collect::<BTreeSet<_>>() {
            self.guards
                .remove(&subject)
                .unwrap_or_else(|error| panic!("the guard of {subject:#x}: {error}"));
        }
        let answered = self.too_big();
        self.forget_answers(answered.iter().map(|frame| frame.port));
    }

    fn read(&self, segments: &[SegmentId], ports: &[PortSlot], peers: &[PeerId]) -> Totals {
        let snapshot = self
            .datapath
            .counters(segments, ports, peers)
            .unwrap_or_else(|error| panic!("read the counters: {error}"));
        Totals::from(&snapshot)
    }
}

/// A map of the instance below `pins`, opened once more.
fn pinned<T>(pins: &Path, name: &str, kind: impl Fn(MapData) -> Map) -> T
where
    T: TryFrom<Map, Error = MapError>,
{
    MapData::from_pin(pins.join(name))
        .and_then(|data| T::try_from(kind(data)))
        .unwrap_or_else(|error| panic!("open {name}: {error}"))
}

/// The name of the program of a hook.
#[must_use]
pub const fn program(hook: Hook) -> &'static str {
    match hook {
        Hook::UplinkXdp => "xdp_uplink",
        Hook::Uplink => "tc_uplink",
        Hook::Tunnel => "tc_tunnel",
        Hook::Port => "tc_port",
        Hook::PortXdp => "xdp_port",
    }
}

/// Whether it is an XDP program.
#[must_use]
pub const fn is_xdp(hook: Hook) -> bool {
    matches!(hook, Hook::UplinkXdp | Hook::PortXdp)
}

/// An `xdp_md` or `__sk_buff` (kernel `include/uapi/linux/bpf.h`), which are made of 32-bit words.
fn context(hook: Hook, frame: &[u8], meta: &Meta) -> Vec<u8> {
    const XDP_WORDS: usize = 6;
    const XDP_DATA_END: usize = 1;
    const XDP_INGRESS_IFINDEX: usize = 3;
    const SKB_WORDS: usize = 48;
    const SKB_IFINDEX: usize = 10;
    const SKB_GSO_SEGS: usize = 41;
    const SKB_GSO_SIZE: usize = 44;
    let len = u32::try_from(frame.len()).expect("a length");
    let words = if is_xdp(hook) {
        let mut words = vec![0; XDP_WORDS];
        words[XDP_DATA_END] = len;
        words[XDP_INGRESS_IFINDEX] = meta.ifindex;
        words
    } else {
        let mut words = vec![0; SKB_WORDS];
        words[SKB_IFINDEX] = meta.ifindex;
        if meta.gso_size != 0 {
            words[SKB_GSO_SIZE] = meta.gso_size;
            words[SKB_GSO_SEGS] = len.div_ceil(meta.gso_size);
        }
        words
    };
    words.into_iter().flat_map(u32::to_ne_bytes).collect()
}

/// The writes that make the maps what the tables are.
fn writes(tables: &HostTables) -> Vec<Write> {
    let HostTables {
        config,
        locals,
        vnis,
        segments,
        port_index,
        ports,
        fdb,
        flood,
        peers,
        peer_index,
        groups,
        neighs,
        nexthops,
        sources,
        uplinks: _,
        policers,
        trunks,
        guarded,
        answered: _,
        now: _,
        tick: _,
    } = tables;
    let mut writes = vec![Write::Config(*config)];
    writes.extend(locals.iter().map(|addr| Write::Local(*addr, true)));
    writes.extend(groups.iter().map(|addr| Write::Group(*addr, true)));
    writes.extend(
        neighs
            .iter()
            .map(|(key, value)| Write::Neigh(*key, Some(*value))),
    );
    writes.extend(
        nexthops
            .iter()
            .map(|(bits, key, value)| Write::Nexthop(*bits, *key, Some(*value))),
    );
    writes.extend(
        sources
            .iter()
            .map(|(segment, peer)| Write::Source(SourceKey::new(*segment, *peer), true)),
    );
    writes.extend(
        vnis.iter()
            .map(|(vni, number)| Write::Vni(*vni, Some(*number))),
    );
    writes.extend(
        segments
            .iter()
            .map(|(number, segment)| Write::Segment(*number, Box::new(*segment))),
    );
    writes.extend(
        port_index
            .iter()
            .map(|(key, slot)| Write::PortIndex(*key, Some(*slot))),
    );
    writes.extend(
        policers
            .iter()
            .map(|((slot, what), policer)| Write::Policer(*slot, *what, *policer)),
    );
    writes.extend(guarded.iter().map(|(port, host)| {
        let key = GuardedKey {
            port: *port,
            host: *host,
        };
        Write::Guarded(key, true)
    }));
    writes.extend(
        trunks
            .iter()
            .map(|(ifindex, vlans)| Write::Trunk(*ifindex, Some(Box::new(*vlans)))),
    );
    writes.extend(ports.iter().map(|(slot, port)| Write::Port(*slot, *port)));
    writes.extend(
        fdb.iter()
            .map(|(key, value)| Write::Fdb(*key, Some(*value))),
    );
    writes.extend(
        flood
            .iter()
            .map(|(number, list)| Write::Flood(*number, Some(Box::new(*list)))),
    );
    writes.extend(
        peers
            .iter()
            .map(|(number, peer)| Write::Peer(*number, Box::new(*peer))),
    );
    writes.extend(
        peer_index
            .iter()
            .map(|(addr, number)| Write::PeerIndex(*addr, Some(*number))),
    );
    writes
}

/// True for what the host itself says of its multicast groups (RFC 3810), when it likes.
#[must_use]
pub fn is_of_the_host(frame: &[u8]) -> bool {
    const MLD_ROUTERS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 0x16];
    frame.starts_with(&MLD_ROUTERS)
}

/// Writes frames to a capture file below the temporary directory, and says where.
#[must_use]
pub fn save(name: &str, frames: &[Vec<u8>]) -> String {
    let directory = std::env::temp_dir().join(format!("vtep-tests-{}", std::process::id()));
    let path = directory.join(format!("{name}.pcap"));
    let saved = fs::create_dir_all(&directory).and_then(|()| crate::dump::pcap(&path, frames));
    match saved {
        Ok(()) => path.display().to_string(),
        Err(error) => format!("not saved: {error}"),
    }
}

/// A line for scapy that makes the frame again.
#[must_use]
pub fn scapy(frame: &[u8]) -> String {
    let hex: Vec<String> = frame.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("Ether(bytes.fromhex(\"{}\")).show()", hex.concat())
}

/// That a time which a program has set, in nanoseconds of `CLOCK_MONOTONIC`, is the present one, as exactly as stamps are.
fn assert_is_now(time: u64, what: &str) {
    let off = monotonic_ns().abs_diff(time);
    assert!(off < FdbValue::REFRESH_NS, "{what} that is {off} ns off");
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
fn monotonic_ns() -> u64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call fills in the time that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    let part = |number: i64| u64::try_from(number).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}
