//! The four examples of `ip link add type vxlan` that vtep takes as its model, each with three
//! hypervisors over IPv6: two run vtep, and one is Linux, configured word for word.

use std::net::Ipv6Addr;
use std::time::Duration;

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::VM_DEV;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::link::Link as _;
use vtep_tests::link::capture::{Capture, carrying};
use vtep_tests::need_root;
use vtep_tests::traffic::checks::{marked, reaches_exactly_once};
use vtep_tests::traffic::{ping, tcp_transfer};
use vtep_tests::wait::until_true;

/// Makes the test of an example with Linux in the first place, as the example has it, and one with
/// Linux in the third place and vtep in the first.
macro_rules! examples {
    ($($example:ident),+ $(,)?) => {
        mod linux_first {
            $(
                #[test]
                fn $example() {
                    vtep_tests::need_root!();
                    super::$example(0);
                }
            )+
        }
        mod vtep_first {
            $(
                #[test]
                fn $example() {
                    vtep_tests::need_root!();
                    super::$example(2);
                }
            )+
        }
    };
}

examples! {
    vteps_multicast,
    vteps_unicast_with_static_flooding,
    unicast_with_static_l2_entries,
    unicast_with_static_l3_entries,
}

/// The last parts of MAC and address of each VM, and the hypervisor that it is behind.
const VMS: [(u8, u16, usize); 4] = [
    (0x0a, 0x10, 0),
    (0x01, 0x11, 1),
    (0x02, 0x12, 1),
    (0x03, 0x13, 2),
];

const fn mac(last: u8) -> Mac {
    Mac([0x78, 0x56, 0x43, 0, 0, last])
}

const fn address(last: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xff, 0, 0, 0, 0, last)
}

/// The address of hypervisor `at`: `2001:db8:1::1` is that of the first.
fn local(at: usize) -> Ipv6Addr {
    let network = u16::try_from(at).expect("a small number") + 1;
    Ipv6Addr::new(0x2001, 0xdb8, network, 0, 0, 0, 0, 1)
}

/// The other two hypervisors.
fn others(at: usize) -> impl Iterator<Item = usize> {
    (0..3).filter(move |other| *other != at)
}

struct ThreeHypervisors {
    vms: Vec<(Ns, usize)>,
    daemons: [Option<Daemon>; 3],
    hypervisors: [Ns; 3],
    fabric: Ns,
}

impl ThreeHypervisors {
    /// Three hypervisors with their VMs, and nothing configured.
    fn new(linux: usize) -> Self {
        let fabric = Ns::new("fabric");
        fabric.ip("link add sw0 type bridge stp_state 0 mcast_snooping 0
             link set sw0 addrgenmode none
             link set sw0 up");
        let hypervisors = [0, 1, 2].map(|at| {
            let ns = Ns::new(&format!("hv{at}"));
            ns.veth("eth0", &fabric, &format!("hv{at}"));
            fabric.ip(&format!("link set hv{at} addrgenmode none master sw0"));
            ns.ip(&format!(
                "addr add {}/64 dev eth0 nodad
                 route add 2001:db8::/32 dev eth0",
                local(at)
            ));
            ns
        });
        for (from, to) in (0..3).flat_map(|from| others(from).map(move |to| (from, to))) {
            ping(&hypervisors[from], local(to).into());
        }
        let daemons = [0, 1, 2].map(|at| {
            (at != linux).then(|| {
                let local = local(at).to_string();
                Daemon::start(&hypervisors[at], &["--iface", "eth0", "--local", &local])
            })
        });
        let mut ports = [0; 3];
        let vms = VMS.map(|(last, host, at)| {
            let ns = Ns::new("vm");
            let dev = format!("vnet{}", ports[at]);
            ports[at] += 1;
            hypervisors[at].veth(&dev, &ns, VM_DEV);
            hypervisors[at].ip(&format!("link set {dev} addrgenmode none"));
            ns.ip(&format!(
                "link set {VM_DEV} address {} mtu 1400
                 addr add {}/64 dev {VM_DEV} nodad",
                mac(last),
                address(host)
            ));
            (ns, at)
        });
        Self {
            vms: vms.into(),
            daemons,
            hypervisors,
            fabric,
        }
    }

    /// Runs the commands of an example at every hypervisor: `ours` and `theirs` give them, one a
    /// line, for the hypervisor with this number. VMs are plugged in as each side does it.
    fn configure(&self, ours: impl Fn(usize) -> String, theirs: impl Fn(usize) -> [String; 2]) {
        for (at, ns) in self.hypervisors.iter().enumerate() {
            if let Some(vtep) = &self.daemons[at] {
                for line in ours(at)
                    .lines()
                    .map(str::trim)
                    .filter(|line| !line.is_empty())
                {
                    let args = line.strip_prefix("vtep ").expect("a command of vtep");
                    vtep.ok(args);
                }
                continue;
            }
            let [ip, bridge] = theirs(at);
            ns.ip(&ip);
            ns.ip("link add vxbr100 type bridge stp_state 0
                 link set vxlan100 master vxbr100
                 link set vxlan100 up
                 link set vxbr100 up");
            for number in 0..VMS.iter().filter(|vm| vm.2 == at).count() {
                ns.ip(&format!("link set vnet{number} master vxbr100"));
            }
            ns.bridge(&bridge);
        }
    }

    /// Every VM pings every other one, and carries TCP to those elsewhere.
    #[track_caller]
    fn vms_talk(&self) {
        for (from, (ns, at)) in self.vms.iter().enumerate() {
            for (to, (other, there)) in self.vms.iter().enumerate() {
                let ip = address(VMS[to].1).into();
                if from != to {
                    ping(ns, ip);
                }
                if at < there {
                    tcp_transfer(ns, other, ip, 100_000);
                }
            }
        }
    }

    /// A broadcast of each VM comes to every other one exactly once.
    #[track_caller]
    fn floods_arrive_once(&self) {
        let links: Vec<Capture> = self
            .vms
            .iter()
            .map(|vm| Capture::arriving(&vm.0, VM_DEV))
            .collect();
        for (sender, mark) in (0..VMS.len()).zip(1..) {
            let frame = marked(mac(VMS[sender].0), Mac::BROADCAST, mark).build();
            let receivers: Vec<_> = (0..VMS.len())
                .filter(|at| *at != sender)
                .map(|at| &links[at])
                .collect();
            reaches_exactly_once(&links[sender], &frame, &receivers, &[&links[sender]]);
        }
    }

    /// The copies of a broadcast that a VM behind hypervisor `at` sends go to these VTEPs or groups.
    #[track_caller]
    fn copies_go_to(&self, at: usize, want: &[String]) {
        let uplink = [Capture::arriving(&self.fabric, &format!("hv{at}"))];
        let vm = (0..VMS.len()).find(|vm| VMS[*vm].2 == at).expect("a VM");
        let frame = marked(mac(VMS[vm].0), Mac::BROADCAST, 0xc0).build();
        Capture::arriving(&self.vms[vm].0, VM_DEV).send(&frame);
        let more = Duration::from_millis(50);
        let outers = carrying(&uplink, &frame, want.len(), more).remove(0);
        let mut to: Vec<String> = outers
            .iter()
            .map(|outer| Family::V6.destination(outer).1.to_string())
            .collect();
        to.sort();
        assert_eq!(to, want, "copies of hypervisor {at}");
    }

    /// What learning would change.
    fn tables(&self) -> Vec<Vec<Value>> {
        let daemons = self.daemons.iter().flatten();
        daemons
            .flat_map(|vtep| ["fdb", "neigh", "nexthop", "vni"].map(|table| vtep.table(table)))
            .collect()
    }

    /// Every vtep has learned where every VM elsewhere is.
    #[track_caller]
    fn everybody_is_learned(&self) {
        for (at, vtep) in self.daemons.iter().enumerate() {
            let Some(vtep) = vtep else { continue };
            for (last, _, there) in VMS.into_iter().filter(|vm| vm.2 != at) {
                until_true("a VM to be learned", || {
                    let row = vtep.fdb(100, mac(last));
                    row.is_some_and(|row| {
                        row["dst"] == local(there).to_string().as_str() && row["state"] == "learned"
                    })
                });
            }
        }
    }
}

/// The ports of hypervisor `at`, as vtep's commands; with their MACs where nothing is learned or flooded.
fn ports(at: usize, with_macs: bool) -> String {
    VMS.iter()
        .filter(|vm| vm.2 == at)
        .enumerate()
        .map(|(number, vm)| {
            let mac = if with_macs {
                format!(" --mac {}", mac(vm.0))
            } else {
                String::new()
            };
            format!("vtep port add vnet{number} --vni 100{mac}\n")
        })
        .collect::<Vec<_>>()
        .concat()
}

/// One line for each of the other hypervisors.
fn to_others(at: usize, line: impl Fn(Ipv6Addr) -> String) -> String {
    others(at).map(|other| line(local(other)) + "\n").collect()
}

/// One line for each VM behind another hypervisor.
fn of_vms(at: usize, line: impl Fn(Mac, Ipv6Addr, Ipv6Addr) -> String) -> String {
    VMS.iter()
        .filter(|vm| vm.2 != at)
        .map(|vm| line(mac(vm.0), address(vm.1), local(vm.2)) + "\n")
        .collect()
}

/// Where the copies to each VTEP go.
fn vteps(at: usize) -> Vec<String> {
    others(at).map(|other| local(other).to_string()).collect()
}

fn vteps_multicast(linux: usize) {
    let lab = ThreeHypervisors::new(linux);
    lab.configure(
        |at| {
            "vtep vni add 100 --mode multicast --group ff05::100 --ttl 5\n".to_owned()
                + &ports(at, false)
        },
        |at| {
            let local = local(at);
            [
                format!(
                    "link add vxlan100 type vxlan id 100 dstport 4789 \
                     local {local} group ff05::100 dev eth0 ttl 5"
                ),
                String::new(),
            ]
        },
    );

    lab.vms_talk();

    lab.everybody_is_learned();
    lab.floods_arrive_once();
    for at in others(linux) {
        lab.copies_go_to(at, &["ff05::100".to_owned()]);
    }
}

fn vteps_unicast_with_static_flooding(linux: usize) {
    let lab = ThreeHypervisors::new(linux);
    lab.configure(
        |at| {
            let list = to_others(at, |other| {
                format!("vtep fdb append 00:00:00:00:00:00 --vni 100 --dst {other}")
            });
            format!("vtep vni add 100\n{}{list}", ports(at, false))
        },
        |at| {
            let local = local(at);
            [
                format!("link add vxlan100 type vxlan id 100 dstport 4789 local {local}"),
                to_others(at, |other| {
                    format!("fdb append 00:00:00:00:00:00 dev vxlan100 dst {other}")
                }),
            ]
        },
    );

    lab.vms_talk();

    lab.everybody_is_learned();
    lab.floods_arrive_once();
    for at in others(linux) {
        lab.copies_go_to(at, &vteps(at));
    }
}

fn unicast_with_static_l2_entries(linux: usize) {
    let lab = ThreeHypervisors::new(linux);
    lab.configure(
        |at| {
            let list = to_others(at, |other| {
                format!("vtep fdb append 00:00:00:00:00:00 --vni 100 --dst {other}")
            });
            let macs = of_vms(at, |mac, _, vtep| {
                format!("vtep fdb add {mac} --vni 100 --dst {vtep}")
            });
            format!(
                "vtep vni add 100 --mode l2\n{}{list}{macs}",
                ports(at, false)
            )
        },
        |at| {
            let local = local(at);
            let list = to_others(at, |other| {
                format!("fdb append 00:00:00:00:00:00 dev vxlan100 dst {other}")
            });
            let macs = of_vms(at, |mac, _, vtep| {
                format!("fdb append {mac} dev vxlan100 dst {vtep}")
            });
            [
                format!(
                    "link add vxlan100 type vxlan id 100 dstport 4789 local {local} nolearning"
                ),
                list + &macs,
            ]
        },
    );
    let before = lab.tables();

    lab.vms_talk();

    lab.floods_arrive_once();
    for at in others(linux) {
        lab.copies_go_to(at, &vteps(at));
    }
    assert_eq!(lab.tables(), before, "something was learned");
}

fn unicast_with_static_l3_entries(linux: usize) {
    let lab = ThreeHypervisors::new(linux);
    lab.configure(
        |at| {
            // The hosts here need to be found by each other as well, which a bridge does by flooding.
            let hosts = VMS.map(|vm| {
                let (mac, ip) = (mac(vm.0), address(vm.1));
                format!("vtep neigh add {ip} --vni 100 --lladdr {mac}\n")
            });
            let hosts = hosts.concat();
            let macs = of_vms(at, |mac, _, vtep| {
                format!("vtep fdb add {mac} --vni 100 --dst {vtep}")
            });
            format!(
                "vtep vni add 100 --mode l3\n{}{hosts}{macs}",
                ports(at, true)
            )
        },
        |at| {
            let local = local(at);
            let hosts = of_vms(at, |mac, ip, _| {
                format!("neigh add {ip} lladdr {mac} dev vxlan100")
            });
            [
                format!(
                    "link add vxlan100 type vxlan id 100 dstport 4789 local {local} nolearning proxy
                     {hosts}"
                ),
                of_vms(at, |mac, _, vtep| {
                    format!("fdb append {mac} dev vxlan100 dst {vtep}")
                }),
            ]
        },
    );
    let before = lab.tables();

    lab.vms_talk();

    for at in others(linux) {
        lab.copies_go_to(at, &[]);
    }
    assert_eq!(lab.tables(), before, "something was learned");
}

#[test]
fn the_linux_commands_are_those_of_the_examples() {
    need_root!();
    assert_eq!(local(0).to_string(), "2001:db8:1::1");
    assert_eq!(vteps(0), ["2001:db8:2::1", "2001:db8:3::1"]);
    let entries = of_vms(0, |mac, ip, vtep| format!("{ip} {mac} {vtep}"));
    assert_eq!(
        entries,
        "2001:db8:ff::11 78:56:43:00:00:01 2001:db8:2::1\n\
         2001:db8:ff::12 78:56:43:00:00:02 2001:db8:2::1\n\
         2001:db8:ff::13 78:56:43:00:00:03 2001:db8:3::1\n"
    );
}
