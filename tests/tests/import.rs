//! `vtep import kernel`: the four examples of `ip link add type vxlan` that vtep takes as its model, and a link between two hosts, as Linux
//! has them. Each is imported, the device is deleted, a daemon starts with what was imported, and traffic passes; the other side stays Linux.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::encoder::Mac;
use vtep_tests::lab::VM_DEV;
use vtep_tests::lab::ns::{self, Ns, with_input};
use vtep_tests::link::capture::Capture;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::{marked, reaches_exactly_once};
use vtep_tests::traffic::{ping, tcp_transfer};
use vtep_tests::wait::until_true;

const DEVICE: &str = "vxlan100";
const BRIDGE: &str = "vxbr100";
const LOCALS: [&str; 2] = ["2001:db8:1::1", "2001:db8:2::1"];
/// The VMs: the last parts of their MACs and addresses, and the hypervisor that each is behind.
const VMS: [(u8, &str, usize); 3] = [
    (1, "2001:db8:ff::11", 0),
    (2, "2001:db8:ff::12", 0),
    (3, "2001:db8:ff::13", 1),
];

const fn mac(last: u8) -> Mac {
    Mac([0x78, 0x56, 0x43, 0, 0, last])
}

/// Two hypervisors that run Linux, with VMs in a bridge each.
struct Pair {
    vms: Vec<Ns>,
    hypervisors: [Ns; 2],
    _fabric: Ns,
}

impl Pair {
    /// With the underlay in place, and nothing on it.
    fn bare() -> Self {
        let fabric = Ns::new("fabric");
        fabric.ip("link add sw0 type bridge stp_state 0 mcast_snooping 0
             link set sw0 addrgenmode none
             link set sw0 up");
        let hypervisors = [0, 1].map(|at| {
            let ns = Ns::new(&format!("hv{at}"));
            ns.veth_for_xdp("eth0", &fabric, &format!("hv{at}"));
            fabric.ip(&format!("link set hv{at} addrgenmode none master sw0"));
            ns.ip(&format!(
                "addr add {}/64 dev eth0 nodad
                 route add 2001:db8::/32 dev eth0",
                LOCALS[at]
            ));
            ns
        });
        ping(&hypervisors[0], LOCALS[1].parse().unwrap());
        ping(&hypervisors[1], LOCALS[0].parse().unwrap());
        Self {
            vms: vec![],
            hypervisors,
            _fabric: fabric,
        }
    }

    /// With a VNI of the kernel: the device's arguments, and the lines for its FDB and its neighbours, by the number of the hypervisor.
    fn new(
        device: impl Fn(usize) -> String,
        fdb: impl Fn(usize) -> String,
        neighbours: impl Fn(usize) -> String,
    ) -> Self {
        let mut pair = Self::bare();
        for (at, ns) in pair.hypervisors.iter().enumerate() {
            ns.ip(&format!(
                "link add {DEVICE} type vxlan id 100 dstport 4789 local {} {}
                 link set {DEVICE} mtu 1430 addrgenmode none
                 link add {BRIDGE} type bridge stp_state 0 mcast_snooping 0
                 link set {BRIDGE} addrgenmode none
                 link set {DEVICE} master {BRIDGE}
                 link set {DEVICE} up
                 link set {BRIDGE} up
                 {}",
                LOCALS[at],
                device(at),
                neighbours(at)
            ));
            ns.bridge(&fdb(at));
        }
        for (number, (last, address, at)) in VMS.into_iter().enumerate() {
            let (ns, here) = (Ns::new("vm"), &pair.hypervisors[at]);
            let dev = format!("vnet{number}");
            here.veth(&dev, &ns, VM_DEV);
            here.ip(&format!(
                "link set {dev} mtu 1430 addrgenmode none
                 link set {dev} master {BRIDGE}"
            ));
            ns.ip(&format!(
                "link set {VM_DEV} address {} mtu 1430
                 addr add {address}/64 dev {VM_DEV} nodad",
                mac(last)
            ));
            pair.vms.push(ns);
        }
        pair
    }

    fn near(&self) -> &Ns {
        &self.hypervisors[0]
    }

    /// Every VM pings every other one by an address that it has to ask for, and carries TCP to the one elsewhere.
    #[track_caller]
    fn vms_talk(&self) {
        for ns in &self.vms {
            ns.ip(&format!("neigh flush dev {VM_DEV}"));
        }
        for (from, ns) in self.vms.iter().enumerate() {
            for (to, (_, address, there)) in VMS.into_iter().enumerate() {
                let ip: IpAddr = address.parse().unwrap();
                if from != to {
                    ping(ns, ip);
                }
                if VMS[from].2 < there {
                    tcp_transfer(ns, &self.vms[to], ip, 100_000);
                }
            }
        }
    }

    /// A broadcast of each VM comes to those others exactly once that it is to come to.
    #[track_caller]
    fn floods_arrive_once(&self, everywhere: bool) {
        let links = self.vms.iter().map(|ns| Capture::arriving(ns, VM_DEV));
        let links: Vec<_> = links.collect();
        for (sender, mark) in (0..VMS.len()).zip(1..) {
            let frame = marked(mac(VMS[sender].0), Mac::BROADCAST, mark).build();
            let (heard, silent): (Vec<usize>, Vec<usize>) = (0..VMS.len())
                .partition(|to| *to != sender && (everywhere || VMS[*to].2 == VMS[sender].2));
            let [heard, silent] =
                [heard, silent].map(|all| all.iter().map(|at| &links[*at]).collect::<Vec<_>>());
            reaches_exactly_once(&links[sender], &frame, &heard, &silent);
        }
    }

    /// Imports at the first hypervisor, deletes the kernel's device, types what the import says to type there, and starts a daemon.
    fn changed_over(&self) -> Changed {
        let ns = self.near();
        let before = state(ns);
        let text = imported(ns, "");
        assert_eq!(state(ns), before, "the import changed something");
        let rows = import_rows(ns);
        ns.ip(&format!("link del {DEVICE}"));
        for line in rows.iter().flat_map(instead) {
            if let Some(line) = line.strip_prefix("ip ") {
                ns.ip(line);
            }
        }
        let file = File::new(&text);
        let path = file.0.to_str().unwrap();
        let daemon = Daemon::named(ns, &ns::unique("i"), &["--config", path]);
        daemon.run();
        let changed = Changed {
            daemon,
            text,
            _file: file,
        };
        for dev in ["vnet0", "vnet1"] {
            until_true("the member to be a port", || {
                let rows = changed.daemon.rows("port show");
                self.vms.is_empty()
                    || rows
                        .iter()
                        .any(|row| row["dev"] == dev && row["vni"] == 100)
            });
        }
        let again = changed.daemon.vtep("apply --dry-run");
        assert_eq!(again.status.code(), Some(0), "{}", changed.text);
        changed
    }
}

/// A daemon that runs with what was imported.
struct Changed {
    daemon: Daemon,
    text: String,
    _file: File,
}

impl Changed {
    /// Insists on a line of the configuration.
    #[track_caller]
    fn has(&self, line: &str) {
        let found = self.text.lines().any(|other| other.trim() == line);
        assert!(found, "{line} is not in:\n{}", self.text);
    }
}

/// A configuration file.
struct File(PathBuf);

impl File {
    fn new(text: &str) -> Self {
        let path = std::env::temp_dir().join(ns::unique("import.conf"));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

/// What an import could have changed.
fn state(ns: &Ns) -> [String; 3] {
    [
        ns.ip_output("-o link show"),
        ns.ip_output("-o addr show"),
        ns.ip_output("route show"),
    ]
}

fn import(ns: &Ns, args: &str) -> Output {
    let mut command = ns.command(binary::vtep());
    command.args(["import", "kernel"]);
    command.args(args.split_whitespace());
    with_input(&mut command, "")
}

/// What the import prints.
#[track_caller]
fn imported(ns: &Ns, args: &str) -> String {
    let out = import(ns, args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    String::from_utf8(out.stdout).unwrap()
}

#[track_caller]
fn import_rows(ns: &Ns) -> Vec<Value> {
    serde_json::from_str(&imported(ns, "-j")).unwrap()
}

/// What a row says to type.
fn instead(row: &Value) -> Vec<String> {
    let lines = row["instead"].as_array().expect("a list of commands");
    let lines = lines.iter().map(|line| line.as_str().unwrap().to_owned());
    lines.collect()
}

/// One line for each VM behind the other hypervisor.
fn of_vms(at: usize, line: impl Fn(Mac, &str) -> String) -> String {
    let far = VMS.iter().filter(|vm| vm.2 != at);
    far.map(|vm| line(mac(vm.0), vm.1) + "\n").collect()
}

fn flood_list(at: usize) -> String {
    format!(
        "fdb append 00:00:00:00:00:00 dev {DEVICE} dst {}\n",
        LOCALS[1 - at]
    )
}

fn macs(at: usize) -> String {
    of_vms(at, |mac, _| {
        format!("fdb append {mac} dev {DEVICE} dst {}", LOCALS[1 - at])
    })
}

#[test]
fn a_multicast_group_is_carried_on() {
    need_root!();
    let pair = Pair::new(
        |_| "group ff05::100 dev eth0 ttl 5".to_owned(),
        |_| String::new(),
        |_| String::new(),
    );
    pair.vms_talk();

    let changed = pair.changed_over();

    changed.has("run --iface eth0 --local 2001:db8:1::1");
    changed.has(
        "vni add 100 --mode multicast --group ff05::100 --inner-vlan pass --ttl 5 --bridge vxbr100",
    );
    pair.vms_talk();
    pair.floods_arrive_once(true);
}

#[test]
fn a_static_flood_list_is_carried_on() {
    need_root!();
    let pair = Pair::new(|_| String::new(), flood_list, |_| String::new());
    pair.vms_talk();

    let changed = pair.changed_over();

    changed.has("vni add 100 --inner-vlan pass --bridge vxbr100");
    changed.has("fdb append 00:00:00:00:00:00 --vni 100 --dst 2001:db8:2::1");
    assert!(
        !changed.text.contains(&mac(3).to_string()),
        "a learned MAC is in:\n{}",
        changed.text
    );
    pair.vms_talk();
    pair.floods_arrive_once(true);
}

#[test]
fn static_l2_entries_are_carried_on() {
    need_root!();
    let pair = Pair::new(
        |_| "nolearning".to_owned(),
        |at| flood_list(at) + &macs(at),
        |_| String::new(),
    );
    pair.vms_talk();

    let changed = pair.changed_over();

    changed.has("vni add 100 --mode l2 --inner-vlan pass --bridge vxbr100");
    changed.has("fdb add 78:56:43:00:00:03 --vni 100 --dst 2001:db8:2::1");
    pair.vms_talk();
    pair.floods_arrive_once(true);
    let learned = changed.daemon.rows("fdb show");
    assert!(
        learned.iter().all(|row| row["state"] == "static"),
        "{learned:?}"
    );
}

#[test]
fn static_l3_entries_are_carried_on() {
    need_root!();
    let pair = Pair::new(
        |_| "nolearning proxy".to_owned(),
        macs,
        |at| {
            of_vms(at, |mac, address| {
                format!("neigh add {address} lladdr {mac} dev {DEVICE}")
            })
        },
    );
    pair.vms_talk();

    let changed = pair.changed_over();

    changed.has("vni add 100 --mode l3 --flood her --inner-vlan pass --bridge vxbr100");
    changed.has("neigh add 2001:db8:ff::13 --vni 100 --lladdr 78:56:43:00:00:03");
    pair.vms_talk();
    pair.floods_arrive_once(false);
}

#[test]
fn a_link_between_two_hosts_is_carried_on_by_a_bridge_of_its_name() {
    need_root!();
    let pair = Pair::bare();
    for (at, ns) in pair.hypervisors.iter().enumerate() {
        ns.ip(&format!(
            "link add {DEVICE} type vxlan id 100 dstport 4789 local {} remote {} dev eth0
             addr add 10.9.0.{}/24 dev {DEVICE}
             link set {DEVICE} up",
            LOCALS[at],
            LOCALS[1 - at],
            at + 1
        ));
    }
    let [near, far] = ["10.9.0.1", "10.9.0.2"].map(|ip| ip.parse().unwrap());
    ping(pair.near(), far);

    let changed = pair.changed_over();

    changed.has("vni add 100 --inner-vlan pass --bridge vxlan100");
    ping(pair.near(), far);
    ping(&pair.hypervisors[1], near);
}

#[test]
fn what_the_bridge_has_set_of_a_guest_is_carried_on() {
    need_root!();
    let pair = Pair::new(|_| String::new(), flood_list, |_| String::new());
    pair.near().bridge(&format!(
        "fdb replace {} dev vnet0 master static
         link set dev vnet1 isolated on",
        mac(1)
    ));

    let changed = pair.changed_over();

    changed.has("port add vnet0 --vni 100 --mac 78:56:43:00:00:01");
    changed.has("port add vnet1 --vni 100 --isolated on");
    pair.vms_talk();
}

#[test]
fn what_is_left_out_is_said_in_rows_and_in_comments() {
    need_root!();
    let pair = Pair::bare();
    let ns = pair.near();
    ns.ip(&format!(
        "link add {DEVICE} type vxlan id 100 dstport 4789 local {0} l3miss
         link add {BRIDGE} type bridge stp_state 1
         link set {DEVICE} master {BRIDGE}
         link add vxlan200 type vxlan id 200 dstport 8472 local {0}
         link add vxlan0 type vxlan external dstport 4789",
        LOCALS[0]
    ));

    let rows = import_rows(ns);
    let text = imported(ns, "");

    for (device, what, type_this) in [
        (DEVICE, "l3miss", "vtep monitor --vni 100"),
        (
            DEVICE,
            "runs a spanning tree",
            "ip link set vxbr100 type bridge stp_state 0",
        ),
        (
            "vxlan200",
            "is on UDP port 8472",
            "vtep import kernel --udp-port 8472",
        ),
        ("vxlan0", "is external", "vtep vni add VNI"),
    ] {
        let row = rows.iter().find(|row| {
            row["device"] == device
                && row["left_out"]
                    .as_str()
                    .is_some_and(|said| said.contains(what))
        });
        let row = row.unwrap_or_else(|| panic!("{what} is not in {rows:?}"));
        assert_eq!(row["command"], Value::Null);
        assert!(instead(row).contains(&type_this.to_owned()), "{row}");
        assert!(text.contains(&format!("#     {type_this}\n")), "{text}");
    }
    let commands = rows.iter().filter_map(|row| row["command"].as_str());
    let lines = text.lines().map(str::trim);
    let lines: Vec<_> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    assert_eq!(commands.collect::<Vec<_>>(), lines);
    let other = imported(ns, "--udp-port 8472");
    assert!(other.contains("\nvni add 200 "), "{other}");
}

#[test]
fn where_there_is_nothing_to_import_it_says_where_to_look() {
    need_root!();
    let ns = Ns::new("hv");

    let out = import(&ns, "");

    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("ip -d link show type vxlan"), "{said}");
    assert_eq!(import(&ns, "--udp-port 0").status.code(), Some(2));
    let mut command = ns.command(binary::vtep());
    let out = with_input(command.args(["import", "ovs"]), "");
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("kernel"));
}
