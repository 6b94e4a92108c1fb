//! What each program takes for a packet, by `BPF_PROG_TEST_RUN`.
//!
//! The hypervisor is that of the wire tests: a tap as uplink, as a network card without segmentation offload, and a tap as
//! port; learning is on, the source of the frame is a learned entry and its destination a static one, so both are looked up.
//!
//! `xdp` and `tc` say how, and what is subtracted; `capture`, what a capture leaves behind.

mod capture;
mod tc;
mod xdp;

use std::path::{Path, PathBuf};
use std::time::Instant;

use vtep_tests::bpf::asm::{Asm, Helper, Reg, Size};
use vtep_tests::bpf::program::Ready;
use vtep_tests::daemon::binary;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::wait;

use crate::measure::{Scale, pin};
use crate::report::Report;

/// Rounds of each comparison.
const ROUNDS: u32 = 25;
/// A VM behind the port that has been learned.
const LEARNED: Mac = Mac::nth(0x1a);
/// A VM behind the far VTEP that has been learned.
const FAR_LEARNED: Mac = Mac::nth(0x1b);
/// Policies of the port, all of which let the frames pass.
const POLICIES: &str = "--ip 10.0.0.1 --guard ip --isolated on --rate-in 1tbit --rate-out 1tbit";

/// Measures.
pub(crate) fn run(scale: &Scale, report: &mut Report) {
    for family in Family::BOTH {
        let bench = Prepared::new(family, binary::vtep());
        let policed = Prepared::with_policies(family);
        let baseline = scale.baseline.as_deref();
        let baseline = baseline.map(|binary| Prepared::new(family, binary));
        let captured = Prepared::new(family, binary::vtep());
        let programs = capture::come_and_gone(&captured);
        for direction in [Direction::Decap, Direction::Encap] {
            let others = (&policed, baseline.as_ref());
            let after = capture::After {
                bench: &captured,
                programs: programs.get(direction.xdp_name()),
            };
            xdp::run(scale, report, direction, &bench, (others, after));
        }
        for direction in [Direction::Decap, Direction::Encap] {
            let after = capture::After {
                bench: &captured,
                programs: programs.get(direction.tc_name()),
            };
            tc::run(scale, report, direction, &bench, (baseline.as_ref(), after));
        }
    }
}

/// What a program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Encap,
    Decap,
}

impl Direction {
    const fn xdp_name(self) -> &'static str {
        match self {
            Self::Encap => "xdp_port",
            Self::Decap => "xdp_uplink",
        }
    }

    const fn tc_name(self) -> &'static str {
        match self {
            Self::Encap => "tc_port",
            Self::Decap => "tc_uplink",
        }
    }

    /// The hooks at which it counts, XDP first, and the reason.
    const fn counted_as(self) -> ([&'static str; 2], &'static str) {
        match self {
            Self::Encap => (["port_xdp", "port"], "encapsulated"),
            Self::Decap => (["uplink_xdp", "uplink"], "decapsulated"),
        }
    }

    const fn device(self) -> &'static str {
        match self {
            Self::Encap => PORT,
            Self::Decap => UPLINK,
        }
    }

    /// Where it sends to.
    const fn other_device(self) -> &'static str {
        match self {
            Self::Encap => UPLINK,
            Self::Decap => PORT,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Encap => "encap",
            Self::Decap => "decap",
        }
    }
}

/// The frame of a VM: 64 bytes.
fn inner(direction: Direction) -> Vec<u8> {
    let (source, destination) = match direction {
        Direction::Encap => (LEARNED, FAR_VM),
        Direction::Decap => (FAR_LEARNED, VM),
    };
    eth(source, destination)
        .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        .udp(1000, 2000)
        .payload(1, 22)
        .build()
}

/// A hypervisor whose FDB knows both VMs.
struct Prepared {
    wire: Wire,
    family: Family,
    ready: Ready,
}

impl Prepared {
    fn new(family: Family, binary: &Path) -> Self {
        let wire = Wire::of_build(binary, family);
        if family == Family::V6 {
            // A checksum over the inner frame is not for XDP, and the kernel is measured without in the other cases too.
            wire.daemon
                .ok(&format!("peer set {} --csum6 off", wire.far_ip));
            wire.resolved();
        }
        let bench = Self {
            wire,
            family,
            ready: Ready::default(),
        };
        let wire = &bench.wire;
        wire.port.send(&inner(Direction::Encap));
        wire.uplink.send(&bench.frame(Direction::Decap));
        for mac in [LEARNED, FAR_LEARNED] {
            wait::until("a MAC to be learned", || wire.daemon.fdb(GREEN, mac));
        }
        bench
    }

    /// The same, with policies at the port.
    fn with_policies(family: Family) -> Self {
        let bench = Self::new(family, binary::vtep());
        let set = format!("port set {PORT} --mac {VM} --mac {LEARNED} {POLICIES}");
        bench.wire.daemon.ok(&set);
        bench
    }

    /// What a program is given.
    fn frame(&self, direction: Direction) -> Vec<u8> {
        let inner = inner(direction);
        match direction {
            Direction::Encap => inner,
            Direction::Decap => self.wire.tunnelled(GREEN, &inner),
        }
    }

    /// The outer headers of a packet from here, up to IP.
    fn outer(&self) -> Frame {
        let wire = &self.wire;
        let outer = eth(wire.mac, FAR_MAC).ip(wire.ip, wire.far_ip);
        match self.family {
            Family::V4 => outer.df(),
            Family::V6 => outer,
        }
    }

    /// What a program should make of its frame; the source port is its own choice.
    fn wanted(&self, direction: Direction, got: &[u8]) -> Vec<u8> {
        let inner = inner(direction);
        match direction {
            Direction::Decap => inner,
            Direction::Encap => {
                let at = self.family.outer_len() - 16;
                let port = got.get(at..at + 2).map_or(0, |port| {
                    u16::from_be_bytes(port.try_into().unwrap_or_default())
                });
                self.outer()
                    .udp_unchecked(port, 4789)
                    .vxlan(GREEN)
                    .bytes(&inner)
                    .build()
            }
        }
    }

    fn pinned(&self, name: &str) -> PathBuf {
        self.wire.daemon.pins().join("programs").join(name)
    }

    /// How often a program has finished a frame.
    fn counted(&self, hook: &str, reason: &str) -> u64 {
        let rows = self.wire.daemon.rows("stats");
        rows.iter()
            .filter(|row| row["hook"] == hook && row["reason"] == reason)
            .filter_map(|row| row["packets"].as_u64())
            .sum()
    }

    /// Runs `body` where the interfaces are, on one processor.
    fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        self.wire.ns.run(|| {
            pin(0);
            body()
        })
    }

    /// How many bytes the head of a frame has moved by when the program is through with it.
    fn moved(&self, direction: Direction) -> i32 {
        let outer = i32::try_from(self.family.outer_len()).expect("a short header");
        match direction {
            Direction::Encap => -outer,
            Direction::Decap => outer,
        }
    }

    /// What cannot be avoided, without a look-up.
    fn floor(&self, direction: Direction) -> Asm {
        let asm = Asm::new()
            .set(Reg::R2, self.moved(direction))
            .copy(Reg::R6, Reg::R1)
            .call(Helper::XdpAdjustHead);
        let asm = match direction {
            Direction::Decap => asm,
            Direction::Encap => {
                let outer = self.wanted(direction, &[]);
                constant_headers(asm, &outer[..self.family.outer_len()])
            }
        };
        asm.redirect(self.wire.ns.ifindex(direction.other_device()))
    }
}

/// Writes constant headers to the front of the frame, whose context is in R6.
pub(super) fn constant_headers(asm: Asm, headers: &[u8]) -> Asm {
    let stores = Asm::new().store_bytes(Reg::R2, 0, headers);
    let length = i32::try_from(headers.len()).expect("a short header");
    let skip = i16::try_from(stores.words().len()).expect("a short program");
    asm.load(Size::Word, Reg::R2, Reg::R6, 0)
        .load(Size::Word, Reg::R3, Reg::R6, 4)
        .copy(Reg::R1, Reg::R2)
        .add(Reg::R1, length)
        .jump_greater(Reg::R1, Reg::R3, skip)
        .store_bytes(Reg::R2, 0, headers)
}

/// Nanoseconds of each of `count`.
fn each(start: Instant, count: u32) -> f64 {
    start.elapsed().as_secs_f64() * 1e9 / f64::from(count)
}
