//! Two VMs behind two hypervisors that are joined by one veth pair, with nothing else between them.

use std::fmt;
use std::net::{IpAddr, UdpSocket};
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::Duration;

use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::{Mac, pattern};
use vtep_tests::lab::kernel;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::{GREEN, UPLINK, VM_DEV};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::offload::{set_gro, set_offloads, set_segmentation};
use vtep_tests::link::tap::{Pump, Tap};
use vtep_tests::traffic::{inner_v4, ping, tcp_transfer};

use super::choices::without_choices;
use super::ovs::{self, Instance, Programs, UplinkEnds};

/// The MTU of the underlay.
pub(super) const MTU: u32 = 1500;
/// What crosses to see that contents arrive, and in frames of which length; in bytes.
const PROBE: usize = 1 << 20;
/// The port of a hypervisor.
pub(super) const PORT: &str = "port0";

/// What the underlay carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    /// GSO packets too, as between containers of one machine.
    Gso,
    /// Frames of its MTU only, which GRO merges on receipt, as from card to card.
    Mtu,
}

impl fmt::Display for Carries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gso => "GSO crosses",
            Self::Mtu => "wire-like",
        })
    }
}

/// The devices of the VMs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guest {
    /// Veths, which take GSO packets and leave checksums to others.
    Veth,
    /// Veths with every offload off: the VM's stack sends and gets frames of its MTU, with complete checksums.
    Plain,
    /// Taps that carry virtio's offloads.
    Tap,
}

/// What is set up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// The underlay's family.
    pub(crate) family: Family,
    /// What it carries.
    pub(crate) underlay: Carries,
    /// The VMs.
    pub(crate) guest: Guest,
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let guest = match self.guest {
            Guest::Veth => "veth",
            Guest::Plain => "VMs without offloads",
            Guest::Tap => "tap with vnet header",
        };
        write!(f, "{}, {family}, {guest}", self.underlay)
    }
}

/// What encapsulates at both hypervisors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum By<'a> {
    /// The program under test.
    Vtep,
    /// The kernel's `vxlan` device and a bridge, set so that the same bytes cross as with vtep.
    Kernel,
    /// The same as they come, without an option: over IPv4 with UDP checksums, and without DF.
    KernelDefaults,
    /// Open vSwitch.
    Ovs(&'a Programs),
    /// No one: one veth pair joins the VMs, which no VTEP between them can be faster than.
    Nobody,
}

impl By<'_> {
    /// Its name in the report.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Vtep => "vtep",
            Self::Kernel => "kernel",
            Self::KernelDefaults => "kernel's defaults",
            Self::Ovs(_) => ovs::NAME,
            Self::Nobody => "no VTEP",
        }
    }

    /// What a row's name has at its end where vtep is compared with it.
    pub(crate) const fn row(self) -> &'static str {
        match self {
            Self::Vtep | Self::Kernel | Self::Nobody => "",
            Self::KernelDefaults => ", vtep against the kernel's defaults",
            Self::Ovs(_) => ", vtep against ovs",
        }
    }
}

/// What does it at one of them.
enum VmEnd<'a> {
    Vtep(Daemon),
    Kernel,
    Nobody,
    Ovs { _instance: Instance<'a> },
}

/// One half: a hypervisor and its VM. Fields go in this order when it ends.
struct PairEnd<'a> {
    /// Carries between the taps, where there are taps.
    _pump: Option<Pump>,
    vm: Ns,
    endpoint: VmEnd<'a>,
    hypervisor: Ns,
    number: u8,
}

/// The whole.
pub(crate) struct Pair<'a> {
    sides: [PairEnd<'a>; 2],
    /// What encapsulates.
    pub(crate) by: By<'a>,
    /// What is set up.
    pub(crate) setup: Setup,
}

impl<'a> Pair<'a> {
    /// Sets up, passes traffic, and has everybody know everybody.
    pub(crate) fn new(by: By<'a>, setup: Setup) -> Self {
        let hypervisors = [Ns::new("hv0"), Ns::new("hv1")];
        let [near, far] = &hypervisors;
        near.veth(UPLINK, far, UPLINK);
        for (number, ns) in (1..).zip(&hypervisors) {
            underlay_end(by, setup, number, ns);
        }
        let vms = [Ns::new("vm"), Ns::new("vm")];
        if matches!(by, By::Nobody) {
            let [near, far] = &vms;
            near.veth(VM_DEV, far, VM_DEV);
        }
        let ([near, far], [near_vm, far_vm]) = (hypervisors, vms);
        let pair = Self {
            sides: [
                PairEnd::new(by, setup, near, near_vm, 1),
                PairEnd::new(by, setup, far, far_vm, 2),
            ],
            by,
            setup,
        };
        for from in [0, 1] {
            ping(pair.vm(from), pair.address(1 - from));
        }
        pair.carries();
        pair
    }

    /// Starts a thread that is called after what encapsulates here, so that profiles tell contenders apart.
    ///
    /// # Panics
    ///
    /// If there can be no more threads.
    pub(crate) fn spawn<'scope, T: Send + 'scope>(
        &self,
        scope: &'scope Scope<'scope, '_>,
        body: impl FnOnce() -> T + Send + 'scope,
    ) -> ScopedJoinHandle<'scope, T> {
        thread::Builder::new()
            .name(format!("bench-{}", self.by.name()))
            .spawn_scoped(scope, body)
            .expect("start a thread")
    }

    /// The namespace of a VM.
    pub(crate) fn vm(&self, side: usize) -> &Ns {
        &self.sides[side].vm
    }

    /// The address of a VM.
    pub(crate) fn address(&self, side: usize) -> IpAddr {
        inner_v4(self.sides[side].number).into()
    }

    /// What takes frames from the underlay, and why not XDP, as the daemon says.
    pub(crate) fn hook(&self) -> String {
        let VmEnd::Vtep(daemon) = &self.sides[0].endpoint else {
            panic!("a side without vtep");
        };
        let uplink = &daemon.status()["uplinks"][0];
        let said = |what: &str| uplink[what].as_str().unwrap_or("-").to_owned();
        format!(
            "uplink hook by the daemon's choice {} ({})",
            said("hook"),
            said("why")
        )
    }

    /// Contents arrive whole, and the underlay carries what it is to carry: from Open vSwitch, frames of its MTU only.
    fn carries(&self) {
        for from in [0, 1] {
            let wire = match self.by {
                By::Nobody => Capture::all(self.vm(from), VM_DEV),
                _ => Capture::all(&self.sides[from].hypervisor, UPLINK),
            };
            tcp_transfer(
                self.vm(from),
                self.vm(1 - from),
                self.address(1 - from),
                PROBE,
            );
            let seen = wire.collect(Duration::from_millis(50), |_| false);
            let longest = seen.iter().map(Vec::len).max().unwrap_or(0);
            let single = longest <= usize::try_from(MTU).expect("a small constant") + 14;
            assert_eq!(
                single,
                self.setup.underlay == Carries::Mtu
                    || self.setup.guest == Guest::Plain
                    || matches!(self.by, By::Ovs(_)),
                "{}, {}: the longest frame on the underlay has {longest} bytes",
                self.by.name(),
                self.setup,
            );
        }
    }

    /// The underlay frame of one datagram from a VM to the other.
    fn sample(&self, from: usize) -> Vec<u8> {
        let open = |side: usize| {
            let at = (self.address(side), 40_000);
            self.vm(side)
                .run(|| UdpSocket::bind(at).expect("a UDP socket"))
        };
        let (sender, receiver) = (open(from), open(1 - from));
        let payload = pattern(41, 200);
        let uplink = Capture::arriving(&self.sides[1 - from].hypervisor, UPLINK);
        sender
            .send_to(&payload, (self.address(1 - from), 40_000))
            .expect("send a datagram");
        let frame = uplink.wait_for("frame with the datagram", |frame| frame.ends_with(&payload));
        let mut got = [0; 500];
        receiver
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a read timeout");
        let len = receiver.recv(&mut got).expect("the datagram");
        assert_eq!(&got[..len], payload, "{}: datagram", self.setup);
        frame
    }

    /// In both directions a frame looks on the underlay as the rival's, but for what is free to choose.
    pub(crate) fn looks_as(&self, rival: &Pair<'_>) {
        for from in [0, 1] {
            let [ours, theirs] = [self, rival].map(|pair| {
                let frame = pair.sample(from);
                without_choices(&frame, self.setup.family)
                    .unwrap_or_else(|what| panic!("{}: {what}: {frame:02x?}", self.setup))
            });
            assert!(
                ours == theirs,
                "{}: not the kernel's frame:\n{ours:02x?}\n{theirs:02x?}",
                self.setup
            );
        }
    }
}

/// One end of the underlay.
fn underlay_end(by: By<'_>, setup: Setup, number: u8, ns: &Ns) {
    let family = setup.family;
    let (prefix, nodad) = (family.prefix(), family.nodad());
    let (here, there) = (family.address(0, number), family.address(0, other(number)));
    let (mac, far_mac) = (underlay_mac(number), underlay_mac(other(number)));
    if matches!(by, By::Ovs(_)) {
        // Its bridge has the address, and the MAC.
        ns.ip(&format!("link set {UPLINK} addrgenmode none mtu {MTU}"));
        return;
    }
    ns.ip(&format!(
        "link set {UPLINK} address {mac} mtu {MTU}
         addr add {here}/{prefix} dev {UPLINK} {nodad}
         neigh replace {there} lladdr {far_mac} dev {UPLINK} nud permanent"
    ));
    if setup.underlay == Carries::Mtu {
        segment_as_wire(ns, UPLINK);
    }
}

const fn other(number: u8) -> u8 {
    3 - number
}

const fn underlay_mac(number: u8) -> Mac {
    Mac::nth(0xa0 + number)
}

impl<'a> PairEnd<'a> {
    fn new(by: By<'a>, setup: Setup, hypervisor: Ns, vm: Ns, number: u8) -> Self {
        let (here, there) = (
            setup.family.address(0, number),
            setup.family.address(0, other(number)),
        );
        let mtu = kernel::inner_mtu(setup.family, MTU);
        let pump = attach(by, setup.guest, &hypervisor, &vm, mtu);
        vm_end(by, setup, number, &vm, mtu);
        let endpoint = match by {
            By::Vtep => {
                let daemon = Daemon::start(&hypervisor, &["--iface", UPLINK]);
                daemon.ok(&format!("vni add {GREEN}"));
                daemon.ok(&format!("port add {PORT} --vni {GREEN}"));
                daemon.ok(&format!(
                    "fdb append {} --vni {GREEN} --dst {there}",
                    Mac::ZERO
                ));
                VmEnd::Vtep(daemon)
            }
            By::Kernel | By::KernelDefaults => {
                // Like vtep's defaults: with DF, and over IPv4 without a checksum.
                let like = match (by, setup.family) {
                    (By::Kernel, Family::V4) => "df set noudpcsum",
                    _ => "",
                };
                kernel::add_vni_with(&hypervisor, GREEN, here, mtu, like);
                kernel::add_port(&hypervisor, GREEN, PORT);
                kernel::flood_to(&hypervisor, GREEN, there);
                VmEnd::Kernel
            }
            By::Nobody => VmEnd::Nobody,
            By::Ovs(programs) => {
                let ends = UplinkEnds {
                    family: setup.family,
                    here: (here, underlay_mac(number)),
                    there: (there, underlay_mac(other(number))),
                };
                VmEnd::Ovs {
                    _instance: Instance::start(programs, &hypervisor, &ends),
                }
            }
        };
        Self {
            _pump: pump,
            vm,
            endpoint,
            hypervisor,
            number,
        }
    }
}

/// Gives the VM its device, whose other end is the hypervisor's port, if there is to be one.
fn attach(by: By<'_>, guest: Guest, hypervisor: &Ns, vm: &Ns, mtu: u32) -> Option<Pump> {
    if matches!(by, By::Nobody) {
        return None;
    }
    let pump = match guest {
        Guest::Veth | Guest::Plain => {
            hypervisor.veth(PORT, vm, VM_DEV);
            None
        }
        Guest::Tap => {
            let [port, device] =
                [(hypervisor, PORT), (vm, VM_DEV)].map(|(ns, dev)| Tap::with_vnet_header(ns, dev));
            Some(Pump::start(port, device))
        }
    };
    hypervisor.ip(&format!("link set {PORT} addrgenmode none mtu {mtu}"));
    pump
}

/// Addresses and offloads of a VM.
fn vm_end(by: By<'_>, setup: Setup, number: u8, vm: &Ns, mtu: u32) {
    vm.ip(&format!(
        "link set {VM_DEV} addrgenmode none address {} mtu {mtu}
         addr add {}/24 dev {VM_DEV}
         neigh replace {} lladdr {} dev {VM_DEV} nud permanent",
        Mac::nth(number),
        inner_v4(number),
        inner_v4(other(number)),
        Mac::nth(other(number)),
    ));
    if setup.guest == Guest::Plain || matches!(by, By::Ovs(_)) {
        set_offloads(vm, VM_DEV, false);
    } else if setup.underlay == Carries::Mtu && matches!(by, By::Nobody) {
        segment_as_wire(vm, VM_DEV);
    }
}

/// Has GSO packets segmented before a veth gets them, and what arrives merged by GRO, as for a card.
fn segment_as_wire(ns: &Ns, dev: &str) {
    set_segmentation(ns, dev, false);
    set_gro(ns, dev, true);
}
