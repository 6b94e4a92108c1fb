//! Hypervisors, what lies between them, and the VMs behind them.

pub mod busy;
pub mod kernel;
pub mod ns;
pub mod underlay;
pub mod wire;

use std::net::IpAddr;

use crate::daemon::Daemon;
use crate::encoder::Mac;
use crate::lab::ns::Ns;
use crate::lab::underlay::{Family, Topology, Underlay};
use crate::link::Link as _;
use crate::link::capture::Capture;
use crate::link::tap::{Pump, Tap};
use crate::traffic::{self, inner_v4, inner_v6};

/// The uplink of every hypervisor.
pub const UPLINK: &str = "up0";
/// The device of every VM.
pub const VM_DEV: &str = "eth0";
/// The VNI of labs that need only one.
pub const GREEN: u32 = 100;
/// A second VNI.
pub const BLUE: u32 = 0x00ab_cdef;

/// What encapsulates at a hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The program under test.
    Vtep,
    /// The kernel's `vxlan` device and a bridge.
    Kernel,
}

/// A hypervisor: a namespace with an uplink.
#[derive(Debug)]
pub struct Hypervisor {
    /// The instance of the program under test, unless the kernel does its work here.
    pub vtep: Option<Daemon>,
    /// Its namespace.
    pub ns: Ns,
    /// Its underlay address.
    pub ip: IpAddr,
}

impl Hypervisor {
    /// The program under test.
    ///
    /// # Panics
    ///
    /// At a hypervisor of the kernel kind.
    #[must_use]
    pub fn daemon(&self) -> &Daemon {
        self.vtep.as_ref().expect("a hypervisor that runs vtep")
    }

    /// Adds a VTEP to the flood list of a VNI.
    pub fn flood_to(&self, vni: u32, remote: IpAddr) {
        match &self.vtep {
            Some(vtep) => {
                vtep.ok(&format!(
                    "fdb append {} --vni {vni} --dst {remote}",
                    Mac::ZERO
                ));
            }
            None => kernel::flood_to(&self.ns, vni, remote),
        }
    }
}

/// How a VM hangs on its hypervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attach {
    /// By a veth pair, as a container.
    Veth,
    /// By a tap that carries virtio's offloads, as a VM.
    TapVnet,
    /// By a tap without offloads.
    TapPlain,
}

/// A VM: a namespace with one device.
#[derive(Debug)]
pub struct Vm {
    pump: Option<Pump>,
    /// Its namespace.
    pub ns: Ns,
    /// Its MAC.
    pub mac: Mac,
    /// Its IPv4 address.
    pub v4: IpAddr,
    /// Its IPv6 address.
    pub v6: IpAddr,
    /// What its device is called at the hypervisor.
    pub port: String,
    /// The hypervisor it runs on.
    pub at: usize,
}

impl Vm {
    /// Both addresses.
    #[must_use]
    pub fn ips(&self) -> [IpAddr; 2] {
        [self.v4, self.v6]
    }

    /// A packet socket on the VM's device that sees what comes to the VM.
    #[must_use]
    pub fn link(&self) -> Capture {
        Capture::arriving(&self.ns, VM_DEV)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        drop(self.pump.take());
    }
}

/// Hypervisors on an underlay.
#[derive(Debug)]
pub struct Lab {
    /// The hypervisors, whose number is their place.
    pub hypervisors: Vec<Hypervisor>,
    /// The switch or the router; `hvN` is its device towards hypervisor N.
    pub fabric: Ns,
    /// What the lab stands on.
    pub underlay: Underlay,
    mtu: u32,
}

impl Lab {
    /// A lab with an underlay MTU of 1500, one hypervisor for each kind.
    #[must_use]
    pub fn new(underlay: Underlay, kinds: &[Kind]) -> Self {
        Self::with(underlay, kinds, 1500, &[])
    }

    /// A lab with another MTU or more arguments for `vtep run`.
    ///
    /// # Panics
    ///
    /// If anything of it cannot be set up.
    #[must_use]
    pub fn with(underlay: Underlay, kinds: &[Kind], mtu: u32, run_args: &[&str]) -> Self {
        let fabric = Ns::new("fabric");
        match underlay.topology {
            Topology::Flat => fabric.ip("link add sw0 type bridge stp_state 0 mcast_snooping 0
                 link set sw0 addrgenmode none
                 link set sw0 up"),
            Topology::Routed => {
                fabric.sysctl("ipv4/ip_forward", "1");
                fabric.sysctl("ipv6/conf/all/forwarding", "1");
            }
        }
        let hypervisors = (0_u8..)
            .zip(kinds)
            .map(|(number, kind)| {
                let ns = Ns::new(&format!("hv{number}"));
                let fabric_dev = format!("hv{number}");
                ns.veth_for_xdp(UPLINK, &fabric, &fabric_dev);
                ns.ip(&format!("link set {UPLINK} mtu {mtu}"));
                fabric.ip(&format!("link set {fabric_dev} mtu {mtu}"));
                let ip = connect(underlay, number, &ns, &fabric, &fabric_dev);
                let vtep = (*kind == Kind::Vtep)
                    .then(|| Daemon::start(&ns, &[&["--iface", UPLINK], run_args].concat()));
                Hypervisor { vtep, ns, ip }
            })
            .collect::<Vec<_>>();
        let lab = Self::of(fabric, hypervisors, underlay, mtu);
        for hypervisor in &lab.hypervisors {
            for other in &lab.hypervisors {
                if hypervisor.ip != other.ip {
                    traffic::ping(&hypervisor.ns, other.ip);
                }
            }
        }
        lab
    }

    /// A lab of hypervisors that are set up already, and reach each other.
    #[must_use]
    pub fn of(fabric: Ns, hypervisors: Vec<Hypervisor>, underlay: Underlay, mtu: u32) -> Self {
        Self {
            hypervisors,
            fabric,
            underlay,
            mtu,
        }
    }

    /// A lab with segment [`GREEN`] on it.
    #[must_use]
    pub fn green(underlay: Underlay, kinds: &[Kind]) -> Self {
        let lab = Self::new(underlay, kinds);
        lab.segment(GREEN);
        lab
    }

    /// The largest packet of a VM that crosses the underlay in one piece.
    #[must_use]
    pub fn inner_mtu(&self) -> u32 {
        kernel::inner_mtu(self.underlay.family, self.mtu)
    }

    /// The daemon of hypervisor `at`.
    #[must_use]
    pub fn daemon(&self, at: usize) -> &Daemon {
        self.hypervisors[at].daemon()
    }

    /// Makes a VNI at every hypervisor, with every other one on its flood list.
    pub fn segment(&self, vni: u32) {
        self.segment_with(vni, "");
    }

    /// Makes a VNI at every hypervisor, with more arguments for `vtep vni add`.
    pub fn segment_with(&self, vni: u32, args: &str) {
        for here in &self.hypervisors {
            match &here.vtep {
                Some(vtep) => drop(vtep.ok(&format!("vni add {vni} {args}"))),
                None => kernel::add_vni(&here.ns, vni, here.ip, self.inner_mtu()),
            }
            for there in &self.hypervisors {
                if here.ip != there.ip {
                    here.flood_to(vni, there.ip);
                }
            }
        }
    }

    /// Makes VM number `number` behind hypervisor `at` in a VNI, reached by flooding until
    /// [`Lab::teach`] tells where it is.
    #[must_use]
    pub fn vm(&self, at: usize, number: u8, vni: u32) -> Vm {
        self.vm_by(Attach::Veth, at, number, vni)
    }

    /// Makes a VM that hangs on its hypervisor in a stated way.
    #[must_use]
    pub fn vm_by(&self, attach: Attach, at: usize, number: u8, vni: u32) -> Vm {
        let vm = self.vm_unattached(attach, at, number);
        let here = &self.hypervisors[at];
        match &here.vtep {
            Some(vtep) => drop(vtep.ok(&format!("port add {} --vni {vni}", vm.port))),
            None => kernel::add_port(&here.ns, vni, &vm.port),
        }
        vm
    }

    /// Makes a VM whose device is a port of no VNI yet.
    #[must_use]
    pub fn vm_unattached(&self, attach: Attach, at: usize, number: u8) -> Vm {
        let here = &self.hypervisors[at];
        let ns = Ns::new(&format!("vm{number}"));
        // Devices are named once per hypervisor, so that two VMs may share their number.
        let port = (0..9)
            .map(|n| format!("vm{number}p{n}"))
            .find(|dev| !here.ns.has_device(dev))
            .expect("a free device name");
        let pump = match attach {
            Attach::Veth => {
                here.ns.veth(&port, &ns, VM_DEV);
                here.ns
                    .ip(&format!("link set {port} mtu {}", self.inner_mtu()));
                None
            }
            Attach::TapVnet | Attach::TapPlain => {
                let open = if attach == Attach::TapVnet {
                    Tap::with_vnet_header
                } else {
                    Tap::new
                };
                let (outside, inside) = (open(&here.ns, &port), open(&ns, VM_DEV));
                here.ns
                    .ip(&format!("link set {port} mtu {}", self.inner_mtu()));
                Some(Pump::start(outside, inside))
            }
        };
        let mac = Mac::nth(number);
        let (v4, v6) = (inner_v4(number), inner_v6(number));
        ns.ip(&format!(
            "link set {VM_DEV} address {mac} mtu {}
             addr add {v4}/24 dev {VM_DEV}
             addr add {v6}/64 dev {VM_DEV} nodad",
            self.inner_mtu()
        ));
        Vm {
            pump,
            ns,
            mac,
            v4: v4.into(),
            v6: v6.into(),
            port,
            at,
        }
    }

    /// Tells every vtep hypervisor where a VM is.
    pub fn teach(&self, vni: u32, vm: &Vm) {
        for at in 0..self.hypervisors.len() {
            self.teach_at(at, vni, vm);
        }
    }

    /// Tells the vtep at hypervisor `at`, if there is one, where a VM is.
    pub fn teach_at(&self, at: usize, vni: u32, vm: &Vm) {
        let Some(vtep) = &self.hypervisors[at].vtep else {
            return;
        };
        let place = if at == vm.at {
            format!("--dev {}", vm.port)
        } else {
            format!("--dst {}", self.hypervisors[vm.at].ip)
        };
        vtep.ok(&format!("fdb add {} --vni {vni} {place}", vm.mac));
    }

    /// Two VMs in [`GREEN`], behind the first and the second hypervisor, known to both.
    #[must_use]
    pub fn pair(&self) -> (Vm, Vm) {
        let (a, b) = (self.vm(0, 1, GREEN), self.vm(1, 2, GREEN));
        self.teach(GREEN, &a);
        self.teach(GREEN, &b);
        (a, b)
    }
}

/// Gives hypervisor `number` an address and its ways to the others; returns the address.
fn connect(underlay: Underlay, number: u8, ns: &Ns, fabric: &Ns, fabric_dev: &str) -> IpAddr {
    let Underlay { family, topology } = underlay;
    let (prefix, nodad) = (family.prefix(), family.nodad());
    match topology {
        Topology::Flat => {
            let ip = family.address(0, number + 1);
            fabric.ip(&format!(
                "link set {fabric_dev} addrgenmode none master sw0"
            ));
            ns.ip(&format!("addr add {ip}/{prefix} dev {UPLINK} {nodad}"));
            ip
        }
        Topology::Routed => {
            let (ip, gateway) = (
                family.address(number + 1, 1),
                family.address(number + 1, 254),
            );
            fabric.ip(&format!(
                "addr add {gateway}/{prefix} dev {fabric_dev} {nodad}"
            ));
            ns.ip(&format!("addr add {ip}/{prefix} dev {UPLINK} {nodad}"));
            ns.ip(&format!("route add default via {gateway}"));
            ip
        }
    }
}

/// Throws away what came to several VMs so far.
pub fn drain(links: &[Capture]) {
    for link in links {
        link.drain();
    }
}

/// The family of an address.
#[must_use]
pub const fn family_of(ip: IpAddr) -> Family {
    match ip {
        IpAddr::V4(_) => Family::V4,
        IpAddr::V6(_) => Family::V6,
    }
}
