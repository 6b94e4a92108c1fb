//! The commands of `docs/howto/`: those that set a host up, and what each tool does when a guest starts and stops. And the quick start of the README.

use std::fs;
use std::path::Path;
use std::process::Command;

use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{Ns, done};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, VM_DEV, Vm, kernel};
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::Capture;
use vtep_tests::link::tap::{Pump, Tap};
use vtep_tests::need_root;
use vtep_tests::traffic::checks::{marked, reaches_exactly_once};
use vtep_tests::traffic::{inner_v4, ping};
use vtep_tests::wait::until_true;

/// The VTEP that the pages name.
const FAR_IN_PAGES: &str = "192.0.2.2";
/// The guest that a tool attaches.
const GUEST: u8 = 10;
/// The last part of the host's address in the pages.
const HOST: u8 = 100;

/// What the blocks of a page do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    /// It sets the host up.
    Host,
    /// What a tool does when a guest starts.
    Start,
    /// What it does when that stops.
    Stop,
}

/// The blocks of a page that are to be run, in their order.
fn blocks(page: &str) -> Vec<(Does, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/howto");
    let text = fs::read_to_string(path.join(page)).expect("the page");
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let does = match line {
            "```sh host" => Does::Host,
            "```sh start" => Does::Start,
            "```sh stop" => Does::Stop,
            _ => continue,
        };
        let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push((does, block.join("\n")));
    }
    blocks
}

/// A hypervisor as the pages have it, and one of the kernel's with a guest.
struct Pages {
    lab: Lab,
    far: Vm,
    /// The namespace of the guest that the tool attaches.
    guest: Ns,
}

impl Pages {
    fn new() -> Self {
        let underlay = Underlay {
            family: Family::V4,
            topology: Topology::Flat,
        };
        let lab = Lab::new(underlay, &[Kind::Vtep, Kind::Kernel]);
        let (near, far) = (&lab.hypervisors[0], &lab.hypervisors[1]);
        kernel::add_vni(&far.ns, GREEN, far.ip, lab.inner_mtu());
        far.flood_to(GREEN, near.ip);
        let far = lab.vm(1, 3, GREEN);
        let guest = Ns::new("guest");
        Self { lab, far, guest }
    }

    fn ns(&self) -> &Ns {
        &self.lab.hypervisors[0].ns
    }

    /// Runs a block as root would on the hypervisor.
    fn run(&self, block: &str) {
        let far = self.lab.hypervisors[1].ip.to_string();
        let block = block.replace(FAR_IN_PAGES, &far);
        let mut command = self.ns().command("bash");
        command
            .args(["-ec", &format!("vtep() {{ \"$VTEP\" \"$@\"; }}\n{block}")])
            .env("VTEP", binary::vtep())
            .env("VTEP_INSTANCE", self.lab.daemon(0).instance())
            .env("CT", self.guest.name())
            .envs(binary::environment());
        done(&mut command, "");
    }

    /// The names of the members of a bridge, as `vtep port show` has them.
    fn members(&self) -> Vec<String> {
        let rows = self.lab.daemon(0).rows("port show");
        let members = rows.iter().filter(|row| row["source"] == "bridge");
        let names = members.filter_map(|row| row["dev"].as_str());
        let gate = format!("vtbr{GREEN}p");
        names
            .filter(|dev| *dev != gate)
            .map(str::to_owned)
            .collect()
    }

    /// Waits until the bridge leaves a member alone.
    fn settled(&self, dev: &str) {
        until_true("the member to be a port alone", || {
            let mut command = Command::new("bridge");
            command.args(["-n", self.ns().name(), "link", "show", "dev", dev]);
            let out = done(&mut command, "");
            String::from_utf8_lossy(&out.stdout).contains("state disabled")
        });
    }

    /// Runs the guest on what the tool made for it: a tap, or the device that it was given.
    fn guest(&self, start: &str) -> Option<Pump> {
        let mut words = start
            .split_whitespace()
            .skip_while(|word| *word != "tuntap");
        let tap = words.nth(3);
        let pump = tap.map(|tap| {
            let outside = Tap::with_vnet_header(self.ns(), tap);
            Pump::start(outside, Tap::with_vnet_header(&self.guest, VM_DEV))
        });
        self.guest.ip(&format!(
            "link set {VM_DEV} address {} mtu {}
             link set {VM_DEV} up
             addr add {}/24 dev {VM_DEV}",
            Mac::nth(GUEST),
            self.lab.inner_mtu(),
            inner_v4(GUEST)
        ));
        pump
    }

    /// The guest reaches the host and the guest far away, which hear it once, and it them.
    fn works(&self, bridge: &str) {
        let host = inner_v4(HOST).into();
        ping(&self.guest, host);
        ping(&self.guest, self.far.v4);
        ping(&self.far.ns, host);
        ping(self.ns(), inner_v4(GUEST).into());
        let ends = [
            (&self.guest, VM_DEV, Mac::nth(GUEST)),
            (self.ns(), bridge, self.ns().mac(bridge)),
            (&self.far.ns, VM_DEV, self.far.mac),
        ];
        let ears: Vec<_> = ends
            .iter()
            .map(|(ns, dev, _)| Capture::arriving(ns, dev))
            .collect();
        for (number, (ns, dev, mac)) in (0..).zip(&ends) {
            let mouth = Capture::all(ns, dev);
            let frame = marked(*mac, Mac::BROADCAST, number).build();
            let others = (0..).zip(&ears).filter(|(at, _)| *at != number);
            let others: Vec<_> = others.map(|(_, ear)| ear).collect();
            let own = &ears[usize::try_from(number).expect("a small number")];
            reaches_exactly_once(&mouth, &frame, &others, &[own]);
        }
        for ear in &ears {
            ear.drain();
        }
    }
}

/// Runs a page: a guest starts, works and stops, for each way in which the tool attaches one.
fn holds(page: &str, bridge: &str, guests: &[&str]) {
    need_root!();
    let pages = Pages::new();
    let blocks = blocks(page);
    for (_, block) in blocks.iter().filter(|(does, _)| *does == Does::Host) {
        pages.run(block);
    }
    let of = |wanted| {
        let blocks = blocks.iter().filter(move |(does, _)| *does == wanted);
        blocks.map(|(_, block)| block)
    };
    assert_eq!(of(Does::Start).count(), guests.len(), "guests of {page}");
    assert_eq!(of(Does::Stop).count(), guests.len(), "guests of {page}");
    for ((start, stop), dev) in of(Does::Start).zip(of(Does::Stop)).zip(guests) {
        pages.run(start);
        let pump = pages.guest(start);
        until_true("the port", || pages.members() == [*dev]);
        pages.settled(dev);
        pages.works(bridge);
        // The guest's process ends, and with it what it had open.
        drop(pump);
        pages.run(stop);
        until_true("no port", || pages.members().is_empty());
    }
}

#[test]
fn libvirt() {
    holds("libvirt.md", "br100", &["vnet0"]);
}

#[test]
fn proxmox_with_and_without_its_firewall() {
    holds("proxmox.md", "vmbr100", &["fwpr100p0", "tap101i0"]);
}

#[test]
fn incus() {
    holds("incus.md", "br100", &["veth1a2b3c4d"]);
}

#[test]
fn docker() {
    holds("docker.md", "br-green", &["veth5f6a7b8"]);
}

#[test]
fn qemu() {
    holds("qemu.md", "br100", &["tap0"]);
}

/// The block of the README that begins with a line.
fn readme(fence: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(path).expect("the README");
    let mut lines = text.lines().skip_while(|line| *line != fence).skip(1);
    let block: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
    assert!(!block.is_empty(), "the README has no block {fence}");
    block.join("\n")
}

/// What a block is on the second host: the addresses that a comment names, or those of the other one.
fn on_second_host(block: &str) -> String {
    block
        .replace("10.0.0.1", "10.0.0.2")
        .replace("192.0.2.1", "FIRST")
        .replace("192.0.2.2", "192.0.2.1")
        .replace("FIRST", "192.0.2.2")
}

#[test]
fn the_quick_start_of_the_readme() {
    need_root!();
    let hosts = [Ns::new("first"), Ns::new("second")];
    hosts[0].veth("eth0", &hosts[1], "eth0");
    let guests = [Ns::new("vm1"), Ns::new("vm2")];
    let (guest, conf) = (readme("```sh guest"), readme("```sh conf"));
    let blocks = [
        (guest.clone(), conf.clone()),
        (on_second_host(&guest), on_second_host(&conf)),
    ];
    let mut daemons = Vec::new();
    for ((number, host), (guest, conf)) in (1..).zip(&hosts).zip(&blocks) {
        host.ip(&format!("addr add 192.0.2.{number}/24 dev eth0"));
        // The namespace of the guest is there, under a name of its own.
        let name = guests[number - 1].name();
        let guest = guest
            .replace("ip netns add vm\n", "")
            .replace("netns vm", &format!("netns {name}"))
            .replace("-n vm ", &format!("-n {name} "));
        assert!(!guest.contains(" vm "), "{guest}");
        done(host.command("bash").args(["-ec", &guest]), "");
        let file = std::env::temp_dir().join(format!("{name}.conf"));
        fs::write(&file, conf).expect("write the file");
        let daemon = Daemon::start(host, &["--config", &file.display().to_string()]);
        drop(fs::remove_file(&file));
        daemons.push(daemon);
    }

    ping(&guests[0], "10.0.0.2".parse().expect("an address"));

    let places = [
        "dst 192.0.2.2 static",
        "dev vnet0 learned",
        "dst 192.0.2.2 learned",
    ];
    until_true("both MACs to be learned", || {
        let shown = daemons[0].printed("fdb show");
        places.iter().all(|place| shown.contains(place))
    });
}
