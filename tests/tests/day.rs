//! A day of an operator: one configuration file, guests that come and go, reloads, commands, a crash, an upgrade and a reboot.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use vtep_common::abi::map::LAYOUT_VERSION;
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::Tap;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::marked;
use vtep_tests::upgrade::downgrade::downgrade;
use vtep_tests::wait::until_true;

/// The guest that has a port by its name.
const GUEST: Mac = Mac([0x78, 0x56, 0x43, 0, 0, 4]);
/// The guest on the bridge.
const BRIDGED: Mac = Mac::nth(0x51);
/// The guest behind the far VTEP.
const FAR_GUEST: Mac = Mac([0x78, 0x56, 0x43, 0, 0, 1]);
/// The MAC of the far VTEP's interface.
const FAR_MAC: Mac = Mac([0x02, 0xaa, 0, 0, 0, 0x02]);
const UPLINK: &str = "eth0";

/// The file of the first day.
const MAIN: &str = "\
# /etc/vtep/main.conf
run --iface eth0 --local 198.18.0.1 --metrics 127.0.0.1:9472

vni add 100 --mode l2 --bridge br100
  port add vnet0 --vni 100 --mac 78:56:43:00:00:04 --wait
  fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2
  fdb add 78:56:43:00:00:01 --vni 100 --dst 198.18.0.2
include conf.d/*.conf
";

/// What is added to it at noon.
const ADDED: &str = "\
vni add 200
  fdb add 78:56:43:00:00:02 --vni 200 --dst 198.18.0.3
";

/// The interfaces of a hypervisor that runs.
struct Machine {
    ns: Ns,
    uplink: Tap,
    guest: Option<Tap>,
    bridged: Tap,
    /// A device that no line of the file names.
    spare: Tap,
}

impl Machine {
    /// Makes the interfaces, those of guests before the uplink or after it: their numbers are others then.
    fn boot(guests_first: bool) -> Self {
        let ns = Ns::new("day");
        let uplink = |ns: &Ns| Tap::new(ns, UPLINK);
        let guests = |ns: &Ns| {
            let spare = Tap::new(ns, "tap9");
            let guest = Tap::new(ns, "vnet0");
            ns.ip("link add br100 type bridge\nlink set br100 addrgenmode none\nlink set br100 up");
            let bridged = Tap::new(ns, "vnet1");
            ns.ip("link set vnet1 master br100");
            for dev in ["tap9", "vnet0", "vnet1"] {
                ns.sysctl(&format!("ipv6/conf/{dev}/disable_ipv6"), "1");
            }
            (guest, bridged, spare)
        };
        let (uplink, (guest, bridged, spare)) = if guests_first {
            let guests = guests(&ns);
            (uplink(&ns), guests)
        } else {
            (uplink(&ns), guests(&ns))
        };
        ns.ip(&format!(
            "addr add 198.18.0.1/24 dev {UPLINK}
             neigh replace 198.18.0.2 lladdr {FAR_MAC} dev {UPLINK} nud permanent"
        ));
        Self {
            ns,
            uplink,
            guest: Some(guest),
            bridged,
            spare,
        }
    }

    fn guest(&self) -> &Tap {
        self.guest.as_ref().expect("a guest that runs")
    }

    /// A frame as the far VTEP sends it.
    fn tunnelled(&self, inner: &[u8]) -> Vec<u8> {
        let (far, own) = (Family::V4.address(0, 2), Family::V4.address(0, 1));
        let outer = eth(FAR_MAC, self.ns.mac(UPLINK)).ip(far, own);
        outer
            .udp_unchecked(50_000, 4789)
            .vxlan(100)
            .bytes(inner)
            .build()
    }

    /// Insists that a frame of the guest's leaves for the far VTEP.
    #[track_caller]
    fn leaves(&self, frame: &[u8]) {
        self.guest().send(frame);
        self.uplink.wait_for("the frame in VXLAN", |sent| {
            sent.len() > frame.len() && sent.ends_with(frame)
        });
    }

    /// Insists that every guest reaches every other one, and a broadcast all of them once. Each call has a mark of its own.
    #[track_caller]
    fn is_whole(&self, mark: u32) {
        let guest = self.guest();
        guest.drain();
        self.bridged.drain();
        self.leaves(&marked(GUEST, FAR_GUEST, mark).build());
        let to_guest = marked(FAR_GUEST, GUEST, mark + 1).build();
        self.uplink.send(&self.tunnelled(&to_guest));
        guest.expect(&to_guest);

        let from_bridge = marked(BRIDGED, Mac::BROADCAST, mark + 2).build();
        self.bridged.send(&from_bridge);
        guest.expect(&from_bridge);
        self.uplink.wait_for("the broadcast in VXLAN", |sent| {
            sent.len() > from_bridge.len() && sent.ends_with(&from_bridge)
        });
        let from_far = marked(FAR_GUEST, Mac::BROADCAST, mark + 3).build();
        self.uplink.send(&self.tunnelled(&from_far));
        guest.expect(&from_far);
        self.bridged.expect(&from_far);
        let local = marked(GUEST, BRIDGED, mark + 4).build();
        guest.send(&local);
        self.bridged.expect(&local);
        for tap in [guest, &self.bridged] {
            assert_eq!(tap.recv(Duration::ZERO), None, "a frame came twice");
        }
    }
}

/// What stays: the directory of the configuration, and the name of the instance.
struct Disk {
    directory: PathBuf,
    instance: String,
}

impl Disk {
    fn new() -> Self {
        let directory = std::env::temp_dir().join(ns::unique("day"));
        fs::create_dir_all(&directory).unwrap();
        let instance = ns::unique("i");
        Self {
            directory,
            instance,
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    fn daemon(&self, ns: &Ns) -> Daemon {
        let file = self.directory.join("main.conf");
        Daemon::named(ns, &self.instance, &["--config", file.to_str().unwrap()])
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Waits until the daemon has all that the file names, and the bridge's guest is a port.
#[track_caller]
fn is_ready(daemon: &Daemon) {
    until_true("nothing to be waited for", || {
        daemon.status()["waits_for"] == Value::from([0; 0].to_vec())
    });
    until_true("the guests to be ports", || {
        let rows = daemon.rows("port show");
        let attached = |dev: &str| {
            let mut rows = rows.iter();
            rows.any(|row| row["dev"] == dev && row["state"] == "attached")
        };
        attached("vnet0") && attached("vnet1")
    });
    until_true("the VTEP", || {
        let rows = daemon.rows("peer show 198.18.0.2");
        rows.first().is_some_and(|row| row["state"] == "resolved")
    });
}

/// Insists that the file says what is set.
#[track_caller]
fn is_in_step(daemon: &Daemon) {
    let out = daemon.vtep("apply --dry-run");
    assert_eq!(out.status.code(), Some(0), "{out:?}");
}

#[test]
fn an_operator_s_day() {
    need_root!();
    let disk = Disk::new();
    disk.write("main.conf", MAIN);
    let mut machine = Machine::boot(false);
    let daemon = disk.daemon(&machine.ns);
    daemon.run();
    is_ready(&daemon);
    machine.is_whole(100);
    is_in_step(&daemon);

    // A guest stops, and starts again.
    drop(machine.guest.take());
    until_true("the port to wait", || {
        daemon.rows("port show vnet0")[0]["state"] == "absent"
    });
    machine.guest = Some(Tap::new(&machine.ns, "vnet0"));
    is_ready(&daemon);
    machine.is_whole(200);

    // Noon: the file is changed, under traffic of which nothing is lost.
    disk.write("main.conf", &format!("{MAIN}{ADDED}"));
    daemon.signal(libc::SIGHUP);
    let frame = udp4(GUEST, FAR_GUEST).build();
    until_true("the new VNI", || {
        machine.leaves(&frame);
        !daemon.rows("vni show").iter().all(|row| row["vni"] != 200)
    });
    machine.leaves(&frame);
    is_in_step(&daemon);

    // Somebody mistypes, and nothing happens.
    disk.write("main.conf", &format!("{MAIN}{ADDED}vni make 300\n"));
    daemon.signal(libc::SIGHUP);
    let line = MAIN.lines().count() + ADDED.lines().count() + 1;
    until_true(&format!("line {line} in the log"), || {
        daemon.log().contains(&format!("main.conf:{line}"))
    });
    machine.is_whole(300);
    assert_eq!(daemon.rows("vni show").len(), 2);
    disk.write("main.conf", &format!("{MAIN}{ADDED}"));
    is_in_step(&daemon);

    // A tenant comes by commands, and is saved.
    daemon.ok("vni add 300");
    daemon.ok("port add tap9 --vni 300 --mac 02:00:00:00:00:09");
    assert_eq!(daemon.rows("vni show 300")[0]["source"], "cli");
    daemon.ok("save");
    is_in_step(&daemon);
    assert_eq!(daemon.rows("vni show 300")[0]["source"], "config");

    // The daemon dies. Frames go on, and another one takes over.
    daemon.kill();
    machine.leaves(&frame);
    let to_guest = marked(FAR_GUEST, GUEST, 400).build();
    machine.uplink.send(&machine.tunnelled(&to_guest));
    machine.guest().expect(&to_guest);
    daemon.run();
    is_ready(&daemon);
    machine.is_whole(500);
    is_in_step(&daemon);

    // Evening: an upgrade from a build with the layout before. Frames go on until it is done, and after it.
    daemon.stop();
    downgrade(&daemon, LAYOUT_VERSION - 1);
    machine.leaves(&frame);
    daemon.run();
    assert!(
        daemon.log().contains("migrated the pinned state"),
        "no word of the migration: {}",
        daemon.log()
    );
    is_ready(&daemon);
    machine.is_whole(550);
    is_in_step(&daemon);

    // Night: the machine is booted. Pins, devices and daemon are gone, and interfaces come in another order.
    let dump = daemon.ok("dump");
    let number = machine.ns.ifindex("vnet0");
    drop(daemon);
    drop(machine);
    assert!(
        !PathBuf::from("/sys/fs/bpf/vtep")
            .join(&disk.instance)
            .exists()
    );
    let machine = Machine::boot(true);
    assert_ne!(machine.ns.ifindex("vnet0"), number);
    let daemon = disk.daemon(&machine.ns);
    daemon.run();
    is_ready(&daemon);
    assert_eq!(daemon.ok("dump"), dump);
    is_in_step(&daemon);
    machine.is_whole(600);
    let from_spare = marked(Mac::nth(9), Mac::BROADCAST, 700).build();
    machine.spare.send(&from_spare);
    daemon.expect_dropped("nowhere_to_flood", 1);
}
