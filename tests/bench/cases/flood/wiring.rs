//! What broadcasts, what copies, and what takes the copies.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::program::{self, FrameCounter, Program, Ready, TC_SHOT};
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::kernel;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::{GREEN, Kind, UPLINK, VM_DEV};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::offload::set_gro;

use crate::measure::pin;

/// Longer than any measurement takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// The hypervisor's device to the VM.
const PORT: &str = "vm0";
/// The sink's device.
const SINK: &str = "down0";
/// The hypervisor's number on the underlay, and that of the first of the VTEPs.
const HERE: u8 = 1;
const FIRST: u8 = 10;
/// Length of a VM's frame, its frame check sequence left out.
const FRAME: usize = 64;

/// A VM, its hypervisor, and the sink that stands for the VTEPs.
pub(super) struct Wiring {
    vtep: Option<Daemon>,
    counter: FrameCounter,
    _sink_link: OwnedFd,
    _held: OwnedFd,
    _ready: Ready,
    generator: Program,
    broadcast: Vec<u8>,
    family: Family,
    remotes: u8,
    vm: Ns,
    hypervisor: Ns,
    sink: Ns,
}

impl Wiring {
    /// A lab with no VTEP to copy to.
    pub(super) fn new(kind: Kind, family: Family) -> Self {
        let (vm, hypervisor, sink) = (Ns::new("vm"), Ns::new("hv"), Ns::new("sink"));
        for ns in [&vm, &hypervisor, &sink] {
            // Nothing is to be said on the links but what is measured.
            ns.sysctl("ipv6/conf/default/addr_gen_mode", "1");
        }
        hypervisor.veth(PORT, &vm, VM_DEV);
        hypervisor.veth(UPLINK, &sink, SINK);
        let mtu = kernel::inner_mtu(family, 1500);
        let here = family.address(0, HERE);
        hypervisor.ip(&format!(
            "link set {PORT} mtu {mtu}
             link set {UPLINK} address {}
             addr add {here}/{} dev {UPLINK} {}",
            Mac::nth(0xf1),
            family.prefix(),
            family.nodad()
        ));
        vm.ip(&format!(
            "link set {VM_DEV} mtu {mtu} address {}",
            Mac::nth(1)
        ));
        sink.ip(&format!("link set {SINK} address {}", Mac::nth(0xf2)));
        // Frames reach a veth device in batches only where it has NAPI.
        set_gro(&hypervisor, PORT, true);
        set_gro(&sink, SINK, true);
        let vtep = match kind {
            Kind::Vtep => {
                let vtep = Daemon::start(&hypervisor, &["--iface", UPLINK]);
                vtep.ok(&format!("vni add {GREEN}"));
                vtep.ok(&format!("port add {PORT} --vni {GREEN} --bum-rate off"));
                Some(vtep)
            }
            Kind::Kernel => {
                kernel::add_vni_with(&hypervisor, GREEN, here, mtu, as_vtep(family));
                kernel::add_port(&hypervisor, GREEN, PORT);
                None
            }
        };
        let redirect = Asm::new().redirect(vm.ifindex(VM_DEV));
        let counter = FrameCounter::default();
        let length = family.outer_len() + FRAME;
        let drop_all = counter.returning(program::ProgramType::Tc, length, TC_SHOT);
        let sink_link = Program::load(program::ProgramType::Tc, &drop_all).attach(&sink, SINK);
        let generator = Program::load(program::ProgramType::Xdp, &redirect);
        let ready = Ready::default();
        Self {
            vtep,
            counter,
            _sink_link: sink_link,
            _held: ready.hold(&generator),
            _ready: ready,
            generator,
            broadcast: eth(Mac::nth(1), Mac::BROADCAST)
                .ipv4([10, 100, 0, 1].into(), [255; 4].into())
                .udp(4000, 4001)
                .payload(1, FRAME - 14 - 20 - 8)
                .build(),
            family,
            remotes: 0,
            vm,
            hypervisor,
            sink,
        }
    }

    /// How many VTEPs there are.
    pub(super) fn remotes(&self) -> u32 {
        self.remotes.into()
    }

    /// The addresses of the VTEPs.
    fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        (FIRST..FIRST + self.remotes).map(|host| self.family.address(0, host))
    }

    /// Adds VTEPs until there are as many.
    pub(super) fn flood_to(&mut self, remotes: u32) {
        let old = usize::from(self.remotes);
        self.remotes = u8::try_from(remotes).expect("a few VTEPs");
        let new: Vec<IpAddr> = self.addresses().skip(old).collect();
        let lines = |line: &dyn Fn(&IpAddr) -> String| -> String { new.iter().map(line).collect() };
        self.hypervisor.ip(&lines(&|ip| {
            let mac = Mac::nth(0xf2);
            format!("neigh add {ip} lladdr {mac} dev {UPLINK} nud permanent\n")
        }));
        let zero = Mac::ZERO;
        match &self.vtep {
            Some(vtep) => {
                let append = lines(&|ip| format!("fdb append {zero} --vni {GREEN} --dst {ip}\n"));
                let out = vtep.vtep_input("batch", &append);
                assert!(out.status.success(), "{out:?}");
            }
            None => self.hypervisor.bridge(&lines(&|ip| {
                format!("fdb append {zero} dev vx{GREEN} dst {ip}\n")
            })),
        }
    }

    /// Has the VM broadcast, `batch` frames at once.
    pub(super) fn broadcast(&self, frames: u32, batch: u32) {
        self.vm.run(|| {
            // Where a frame is sent it is copied, and the copies are taken: all on one processor.
            pin(0);
            self.generator
                .run_live_by(batch, &self.broadcast, &[], frames)
                .unwrap_or_else(|error| panic!("broadcast: {error}"));
        });
    }

    /// How many copies have come to the sink so far.
    pub(super) fn arrived(&self) -> u64 {
        self.counter.read()
    }

    /// What comes to the sink of one broadcast, by the VTEP that it is for.
    pub(super) fn one_of_each(&self) -> BTreeMap<IpAddr, Vec<u8>> {
        let tap = Capture::arriving(&self.sink, SINK);
        self.broadcast(1, 1);
        let whole = self.family.outer_len() + FRAME;
        let mut copies = tap.collect(PATIENCE, |seen| {
            let copies = seen.iter().filter(|frame| frame.len() == whole);
            copies.count() >= usize::from(self.remotes)
        });
        copies.retain(|frame| frame.len() == whole);
        assert!(
            copies.iter().all(|copy| copy.ends_with(&self.broadcast)),
            "a copy carries another frame"
        );
        let count = copies.len();
        let of_each: BTreeMap<IpAddr, Vec<u8>> = copies
            .into_iter()
            .map(|copy| (self.family.destination(&copy).1, copy))
            .collect();
        assert_eq!(count, usize::from(self.remotes), "copies");
        assert!(of_each.keys().copied().eq(self.addresses()), "{of_each:?}");
        of_each
    }
}

/// Options of the kernel's device for the outer headers that vtep writes by itself: DF, and over IPv4 no checksum.
const fn as_vtep(family: Family) -> &'static str {
    match family {
        Family::V4 => "df set noudpcsum",
        Family::V6 => "",
    }
}
