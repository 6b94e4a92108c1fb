//! A VNI whose ports are the members of a Linux bridge, as libvirt, Proxmox, Incus and Docker attach guests: beside a VTEP of the kernel.

mod life;
mod reach;
mod refused;
mod settings;

use std::net::IpAddr;
use std::process::Command;

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{Ns, done};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{Attach, GREEN, Kind, Lab, Vm};
use vtep_tests::link::capture::Capture;
use vtep_tests::traffic::{inner_v4, inner_v6};
use vtep_tests::wait::until_true;

/// The bridge that the guests are attached to.
const BRIDGE: &str = "br0";
/// The end of the gate that is a member of the bridge, and the one that is a port.
const GATE: &str = "vtbr100";
const GATE_PORT: &str = "vtbr100p";
/// The last part of the host's own addresses.
const HOST: u8 = 100;
const UNDERLAY: Underlay = Underlay {
    family: Family::V4,
    topology: Topology::Flat,
};

/// A hypervisor with a bridge of guests, and a VTEP of the kernel with one guest.
struct Host {
    a: Vm,
    b: Vm,
    far: Vm,
    lab: Lab,
}

impl Host {
    /// With the bridge, its members and its VNI in place.
    fn new() -> Self {
        Self::with("")
    }

    fn with(vni: &str) -> Self {
        let host = Self::without_vni();
        let daemon = host.daemon();
        daemon.ok(&format!("vni add {GREEN} --bridge {BRIDGE} {vni}"));
        host.lab.hypervisors[0].flood_to(GREEN, host.lab.hypervisors[1].ip);
        host.settled();
        host
    }

    /// With the bridge and its members.
    fn without_vni() -> Self {
        let lab = Lab::new(UNDERLAY, &[Kind::Vtep, Kind::Kernel]);
        let near = &lab.hypervisors[0];
        let far = &lab.hypervisors[1];
        vtep_tests::lab::kernel::add_vni(&far.ns, GREEN, far.ip, lab.inner_mtu());
        far.flood_to(GREEN, near.ip);
        let a = lab.vm_unattached(Attach::Veth, 0, 1);
        let b = lab.vm_unattached(Attach::TapVnet, 0, 2);
        let far = lab.vm(1, 3, GREEN);
        let host = Self { a, b, far, lab };
        host.make_bridge();
        host
    }

    fn ns(&self) -> &Ns {
        &self.lab.hypervisors[0].ns
    }

    fn daemon(&self) -> &Daemon {
        self.lab.daemon(0)
    }

    /// Makes the bridge with the host's addresses, and attaches the guests, as a hypervisor's tools do.
    fn make_bridge(&self) {
        let (v4, v6) = (inner_v4(HOST), inner_v6(HOST));
        let ns = self.ns();
        ns.ip(&format!(
            "link add {BRIDGE} type bridge
             link set {BRIDGE} addrgenmode none
             link set {BRIDGE} mtu {}
             addr add {v4}/24 dev {BRIDGE}
             addr add {v6}/64 dev {BRIDGE} nodad
             link set {BRIDGE} up",
            self.lab.inner_mtu()
        ));
        for vm in [&self.a, &self.b] {
            attach(ns, &vm.port);
        }
    }

    /// The host's own addresses.
    fn ips() -> [IpAddr; 2] {
        [inner_v4(HOST).into(), inner_v6(HOST).into()]
    }

    fn mac(&self) -> Mac {
        self.ns().mac(BRIDGE)
    }

    fn members(&self) -> [&str; 2] {
        [&self.a.port, &self.b.port]
    }

    /// Waits until the members are ports and the bridge leaves them alone.
    fn settled(&self) {
        for dev in self.members() {
            self.is_member(dev);
        }
    }

    /// Waits until a member is a port and the bridge leaves it alone.
    #[track_caller]
    fn is_member(&self, dev: &str) {
        until_true("the member to be a port", || {
            self.port(dev)
                .is_some_and(|row| row["source"] == "bridge" && row["vni"] == GREEN)
        });
        self.has_state(dev, "disabled");
    }

    /// Waits until the bridge treats a member so.
    #[track_caller]
    fn has_state(&self, dev: &str, state: &str) {
        until_true(&format!("{dev} to be {state}"), || {
            bridge_state(self.ns(), dev).as_deref() == Some(state)
        });
    }

    fn port(&self, dev: &str) -> Option<Value> {
        let rows = self.daemon().rows("port show");
        rows.into_iter().find(|row| row["dev"] == dev)
    }

    /// Waits until an interface is no port.
    #[track_caller]
    fn is_no_port(&self, dev: &str) {
        until_true(&format!("{dev} to be no port"), || self.port(dev).is_none());
    }

    /// What comes to the guests, to the host, and to the guest far away, in this order.
    fn ears(&self) -> Vec<Capture> {
        let vms = [&self.a, &self.b];
        let mut ears: Vec<_> = vms.into_iter().map(Vm::link).collect();
        ears.push(Capture::arriving(self.ns(), BRIDGE));
        ears.push(self.far.link());
        ears
    }
}

/// Puts an interface into the bridge.
fn attach(ns: &Ns, dev: &str) {
    ns.ip(&format!(
        "link set {dev} addrgenmode none\nlink set {dev} master {BRIDGE}"
    ));
}

/// What the kernel says of the bridge port that an interface is.
fn bridge_state(ns: &Ns, dev: &str) -> Option<String> {
    let mut command = Command::new("bridge");
    command.args(["-n", ns.name(), "-j", "link", "show", "dev", dev]);
    let out = done(&mut command, "");
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap_or_default();
    rows.first()?["state"].as_str().map(str::to_owned)
}
