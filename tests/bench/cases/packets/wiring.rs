//! VMs, VTEPs and the veths between them.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;

use vtep_tests::bpf::asm::{Asm, Helper, Reg};
use vtep_tests::bpf::program::{self, Program, Ready};
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::{Frame, Mac, eth};
use vtep_tests::lab::kernel;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::{GREEN, UPLINK, VM_DEV};
use vtep_tests::link::offload::{set_gro, set_vlan_offload};
use vtep_tests::wait;

use super::lane::{Lane, Sink, VethEnd};
use crate::cases::program::constant_headers;

/// The port of every VTEP.
const PORT: &str = "vm0";
/// MTU of the underlay.
const MTU: u32 = 1500;

/// What encapsulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contestant<'a> {
    /// This build of vtep, or another.
    Vtep(&'a Path),
    Kernel,
    Floor,
}

/// The frame that VM `number`, 0 or 1, sends to the other.
fn inner(number: u8, length: usize) -> Vec<u8> {
    eth(source(number), destination(1 - number))
        .ipv4([10, 0, 0, 1].into(), [10, 0, 0, 2].into())
        .udp(1000, 2000)
        .payload(1, length - 42)
        .build()
}

/// Whom the frames of VM `number` come from: a MAC that is learned.
const fn source(number: u8) -> Mac {
    Mac::nth(0x1a + number)
}

/// Whom frames to VM `number` go to: a MAC with a static entry.
const fn destination(number: u8) -> Mac {
    Mac::nth(0x0a + number)
}

fn address(family: Family, number: u8) -> IpAddr {
    family.address(0, number + 1)
}

/// A VTEP with a port and an uplink.
struct Vtep {
    // In the order in which they have to go.
    daemon: Option<Daemon>,
    floor: Vec<OwnedFd>,
    ns: Ns,
    number: u8,
    is_floor: bool,
    family: Family,
    far_mac: Mac,
}

impl Vtep {
    fn new(ns: Ns, number: u8, contestant: Contestant<'_>, family: Family, far_mac: Mac) -> Self {
        let (own, far) = (address(family, number), address(family, 1 - number));
        if family == Family::V6 {
            ns.sysctl(&format!("ipv6/conf/{UPLINK}/disable_ipv6"), "0");
        }
        ns.ip(&format!(
            "addr add {own}/{} dev {UPLINK} {}
             neigh replace {far} lladdr {far_mac} dev {UPLINK} nud permanent
             link set {PORT} mtu {}",
            family.prefix(),
            family.nodad(),
            kernel::inner_mtu(family, MTU)
        ));
        let mut vtep = Self {
            daemon: None,
            floor: Vec::new(),
            ns,
            number,
            is_floor: contestant == Contestant::Floor,
            family,
            far_mac,
        };
        match contestant {
            Contestant::Vtep(binary) => vtep.daemon = Some(vtep.start_daemon(binary)),
            Contestant::Kernel => vtep.make_devices(),
            Contestant::Floor => {}
        }
        vtep
    }

    fn start_daemon(&self, binary: &Path) -> Daemon {
        let far = address(self.family, 1 - self.number);
        let args = [
            "--iface",
            UPLINK,
            "--uplink-hook",
            "xdp",
            "--xdp-mode",
            "native",
        ];
        let daemon = Daemon::start_build(binary, &self.ns, &args);
        for line in [
            format!("vni add {GREEN}"),
            format!("port add {PORT} --vni {GREEN} --hook xdp"),
            format!(
                "fdb add {} --vni {GREEN} --dev {PORT}",
                destination(self.number)
            ),
            format!(
                "fdb add {} --vni {GREEN} --dst {far}",
                destination(1 - self.number)
            ),
        ] {
            daemon.ok(&line);
        }
        if self.family == Family::V6 {
            daemon.ok(&format!("peer set {far} --csum6 off"));
        }
        wait::until_true("the far VTEP to be resolved", || {
            let rows = daemon.rows(&format!("peer show {far}"));
            rows.first().is_some_and(|row| !row["mac"].is_null())
        });
        daemon
    }

    fn make_devices(&self) {
        let Self { ns, family, .. } = self;
        let far = address(*family, 1 - self.number);
        let args = match family {
            Family::V4 => "df set noudpcsum",
            Family::V6 => "udp6zerocsumtx udp6zerocsumrx",
        };
        let mtu = kernel::inner_mtu(*family, MTU);
        kernel::add_vni_with(ns, GREEN, address(*family, self.number), mtu, args);
        kernel::add_port(ns, GREEN, PORT);
        let (here, there) = (destination(self.number), destination(1 - self.number));
        ns.bridge(&format!(
            "fdb replace {here} dev {PORT} master static
             fdb replace {there} dev vx{GREEN} master static
             fdb replace {there} dev vx{GREEN} self static dst {far}"
        ));
    }

    /// The outer headers of a packet to the far VTEP, up to VXLAN.
    fn headers(&self) -> Frame {
        let (own, far) = (
            address(self.family, self.number),
            address(self.family, 1 - self.number),
        );
        outer(self.family, (self.ns.mac(UPLINK), own), (self.far_mac, far))
    }

    /// Attaches the floor's programs for inner frames of a length, if it is the floor: the headers are constant, lengths
    /// and checksums too.
    fn fit(&mut self, length: usize) {
        if !self.is_floor {
            return;
        }
        let outer_len = self.family.outer_len();
        let head = i32::try_from(outer_len).expect("a short header");
        let moved = |by| {
            Asm::new()
                .copy(Reg::R6, Reg::R1)
                .set(Reg::R2, by)
                .call(Helper::XdpAdjustHead)
        };
        let sent = |asm: Asm, device| asm.redirect(self.ns.ifindex(device));
        let packet = self.headers().bytes(&vec![0; length]).build();
        let encap = sent(constant_headers(moved(-head), &packet[..outer_len]), UPLINK);
        let decap = sent(moved(head), PORT);
        self.floor.clear();
        self.floor = [(encap, PORT), (decap, UPLINK)]
            .map(|(asm, device)| {
                Program::load(program::ProgramType::Xdp, &asm).attach(&self.ns, device)
            })
            .into();
    }
}

/// Outer headers up to VXLAN.
fn outer(family: Family, (mac, ip): (Mac, IpAddr), (far_mac, far_ip): (Mac, IpAddr)) -> Frame {
    let headers = eth(mac, far_mac).ip(ip, far_ip);
    let headers = match family {
        Family::V4 => headers.df(),
        Family::V6 => headers,
    };
    headers.udp_unchecked(50_000, 4789).vxlan(GREEN)
}

/// A namespace in which nothing but what is measured is on its way: devices made in it have no IPv6.
fn quiet(role: &str) -> Ns {
    let ns = Ns::new(role);
    ns.sysctl("ipv6/conf/default/disable_ipv6", "1");
    ns
}

/// Joins two namespaces, with GRO, and so NAPI, at both ends.
fn join(ns: &Ns, device: &str, far: &Ns, far_device: &str) {
    ns.ip(&format!(
        "link add name {device} type veth peer name {far_device} netns {}",
        far.name()
    ));
    for (ns, device) in [(ns, device), (far, far_device)] {
        // XDP is to see VLAN tags.
        set_vlan_offload(ns, device, false);
    }
    // The same with all, so that their packets can be compared.
    let ends = [
        (ns, device, Mac::nth(0xa0)),
        (far, far_device, Mac::nth(0xa1)),
    ];
    for (ns, device, mac) in ends {
        if device == UPLINK {
            ns.ip(&format!("link set {device} address {mac}"));
        }
        ns.ip(&format!(
            "link set {device} addrgenmode none\nlink set {device} up"
        ));
        set_gro(ns, device, true);
    }
}

/// VM, VTEP, VTEP, VM.
pub(super) struct Chain {
    vteps: [Vtep; 2],
    vms: [Ns; 2],
}

impl Chain {
    pub(super) fn new(contestant: Contestant<'_>, family: Family) -> Self {
        let [vm, far_vm, here, there] = ["vm0", "vm1", "hv0", "hv1"].map(quiet);
        let vms = [vm, far_vm];
        join(&here, UPLINK, &there, UPLINK);
        for (vm, hypervisor) in vms.iter().zip([&here, &there]) {
            join(vm, VM_DEV, hypervisor, PORT);
        }
        let (mac, far_mac) = (here.mac(UPLINK), there.mac(UPLINK));
        Self {
            vteps: [
                Vtep::new(here, 0, contestant, family, far_mac),
                Vtep::new(there, 1, contestant, family, mac),
            ],
            vms,
        }
    }

    pub(super) fn fit(&mut self, length: usize) {
        for vtep in &mut self.vteps {
            vtep.fit(length);
        }
    }

    /// From the first VM to the second.
    pub(super) fn lane(&self, ready: &Ready, sink: Sink, length: usize) -> Lane<'_> {
        let daemons = self.vteps.iter().filter_map(|vtep| vtep.daemon.as_ref());
        Lane::new(
            self.vms.each_ref().map(|ns| VethEnd { ns, device: VM_DEV }),
            ready,
            daemons.collect(),
            source(0),
            inner(0, length),
            inner(0, length),
            sink,
        )
    }
}

/// VM, VTEP, and the underlay's other end.
pub(super) struct Half {
    vtep: Vtep,
    vm: Ns,
    far: Ns,
}

impl Half {
    pub(super) fn new(contestant: Contestant<'_>, family: Family) -> Self {
        let [vm, here, far] = ["vm", "hv", "far"].map(quiet);
        join(&here, UPLINK, &far, UPLINK);
        join(&vm, VM_DEV, &here, PORT);
        let far_mac = far.mac(UPLINK);
        Self {
            vtep: Vtep::new(here, 0, contestant, family, far_mac),
            vm,
            far,
        }
    }

    pub(super) fn fit(&mut self, length: usize) {
        self.vtep.fit(length);
    }

    fn ends(&self) -> [VethEnd<'_>; 2] {
        [(&self.vm, VM_DEV), (&self.far, UPLINK)].map(|(ns, device)| VethEnd { ns, device })
    }

    /// From the VM to the underlay.
    pub(super) fn encap(&self, ready: &Ready, sink: Sink, length: usize) -> Lane<'_> {
        Lane::new(
            self.ends(),
            ready,
            self.vtep.daemon.iter().collect(),
            source(0),
            inner(0, length),
            vec![0; self.vtep.family.outer_len() + length],
            sink,
        )
    }

    /// From the underlay to the VM.
    pub(super) fn decap(&self, ready: &Ready, sink: Sink, length: usize) -> Lane<'_> {
        let [vm, far] = self.ends();
        let Vtep {
            family,
            ref ns,
            far_mac,
            ..
        } = self.vtep;
        let headers = outer(
            family,
            (far_mac, address(family, 1)),
            (ns.mac(UPLINK), address(family, 0)),
        );
        Lane::new(
            [far, vm],
            ready,
            self.vtep.daemon.iter().collect(),
            source(1),
            headers.bytes(&inner(1, length)).build(),
            inner(1, length),
            sink,
        )
    }
}
