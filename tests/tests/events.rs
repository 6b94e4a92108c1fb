//! What the daemon does and tells by itself, seen on the wire and in `vtep monitor`.

use std::net::IpAddr;
use std::time::Duration;

use vtep_common::abi::id::Ifindex;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{Ns, done};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::over_each_family;
use vtep_tests::priority::Ahead;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::{DEADLINE, until_true};
use vtep_user::netlink::Netlink;

over_each_family! {
    a_peer_that_comes_and_goes_is_an_event,
    a_next_hop_is_kept_resolved_for_as_long_as_a_peer_needs_it,
    a_teardown_has_the_kernel_keep_no_next_hop_of_ours,
    our_own_macs_are_never_learned,
    a_port_with_a_known_mac_is_announced_twice,
    a_mac_that_has_left_is_not_announced_again,
}

/// Nobody's.
const NEW: Mac = Mac::nth(0x77);
/// Nobody's either.
const OTHER: Mac = Mac::nth(0x78);

fn a_peer_that_comes_and_goes_is_an_event(family: Family) {
    let wire = Wire::new(family);
    let witness = family.address(0, 9);
    wire.ns
        .sysctl(&format!("ipv6/conf/{UPLINK}/keep_addr_on_down"), "1");
    let monitor = Monitor::start(&wire.daemon, GREEN, witness);
    let far = wire.far_ip.to_string();
    let about_far = |event: &str| {
        let (_, row) = monitor.wait_for(event, |row| {
            row["event"] == event && row["dst"] == far.as_str()
        });
        row
    };

    wire.ns.ip(&format!("link set {UPLINK} down"));
    let down = about_far("peer_down");
    assert!(down["why"].is_string(), "{down}");

    wire.ns.ip(&format!("link set {UPLINK} up"));
    wire.ns.ip(&format!(
        "neigh replace {far} lladdr {} dev {UPLINK} nud permanent",
        vtep_tests::lab::wire::FAR_MAC
    ));
    let up = about_far("peer_up");
    assert!(up["why"].is_null(), "{up}");
    let count =
        |event: &str| monitor.count(|row| row["event"] == event && row["dst"] == far.as_str());
    assert_eq!((count("peer_down"), count("peer_up")), (1, 1));
}

fn a_next_hop_is_kept_resolved_for_as_long_as_a_peer_needs_it(family: Family) {
    let site = Kept::new(family);
    let (daemon, peer) = (&site.daemon, site.peer);

    daemon.ok(&format!("fdb add {FAR_VM} --vni {GREEN} --dst {peer}"));
    daemon.ok(&format!("fdb add {NEW} --vni {GREEN} --dst {peer}"));
    until_true("the next hop to be kept", || site.keeps());
    daemon.ok(&format!("fdb del {NEW} --vni {GREEN}"));
    assert!(site.keeps(), "another entry leads to the peer");

    daemon.ok(&format!("fdb del {FAR_VM} --vni {GREEN}"));
    assert!(!site.keeps());
}

fn a_teardown_has_the_kernel_keep_no_next_hop_of_ours(family: Family) {
    let teardown: [fn(&Kept); 3] = [
        |site| drop(site.daemon.ok("teardown")),
        |site| {
            site.daemon.kill();
            let mut command = site.here.command(binary::vtep());
            command.args(["teardown", "--instance", site.daemon.instance()]);
            done(&mut command, "");
        },
        |site| {
            site.daemon.kill();
            site.daemon.run();
            drop(site.daemon.ok("teardown"));
        },
    ];
    for teardown in teardown {
        let site = Kept::new(family);
        let others = family.address(0, 3);
        let managed = format!("neigh replace {others} dev {UPLINK} managed");
        site.here.ip(&managed);
        for (host, mac) in [(site.peer, FAR_VM), (others, NEW)] {
            let add = format!("fdb add {mac} --vni {GREEN} --dst {host}");
            site.daemon.ok(&add);
        }
        until_true("the next hop to be kept", || site.keeps());

        teardown(&site);

        assert!(!site.keeps());
        assert!(site.manages(others), "what others want is left alone");
    }
}

/// A hypervisor, and another one that is reached directly.
struct Kept {
    here: Ns,
    _far: Ns,
    daemon: Daemon,
    peer: IpAddr,
}

impl Kept {
    fn new(family: Family) -> Self {
        let (here, far) = (Ns::new("here"), Ns::new("far"));
        here.veth(UPLINK, &far, UPLINK);
        for (ns, host) in [(&here, 1), (&far, 2)] {
            let address = family.address(0, host);
            let prefix = family.prefix();
            ns.ip(&format!("address add {address}/{prefix} dev {UPLINK}"));
        }
        let daemon = Daemon::start(&here, &["--iface", UPLINK]);
        daemon.ok(&format!("vni add {GREEN}"));
        Self {
            here,
            _far: far,
            daemon,
            peer: family.address(0, 2),
        }
    }

    /// Whether the kernel keeps the peer resolved.
    fn keeps(&self) -> bool {
        self.manages(self.peer)
    }

    fn manages(&self, host: IpAddr) -> bool {
        let uplink = Ifindex::new(self.here.ifindex(UPLINK));
        self.here.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let netlink = Netlink::open().unwrap();
                let entry = netlink.neighbour(uplink, host).await.unwrap();
                entry.is_some_and(|entry| entry.managed)
            })
        })
    }
}

fn our_own_macs_are_never_learned(family: Family) {
    let wire = Wire::new(family);
    // The slow-path device's, the uplink's, a port's; and the MAC that a port gets later.
    let device = wire.ns.mac("vtep4789");
    let later = Mac([0x02, 0xbb, 0, 0, 0, 1]);
    let [of_uplink, of_port] = [UPLINK, PORT].map(|dev| wire.ns.mac(dev));
    wire.ns.ip(&format!("link set {PORT} address {later}"));

    for (times, own) in [device, of_uplink, later].into_iter().enumerate() {
        wire.port.send(&marked(own, FAR_VM, 0x51).build());
        until_true(&format!("{own} to be ignored"), || {
            learning(&wire, "ignored") == times as u64 + 1
        });
    }
    assert_eq!(learning(&wire, "learned"), 0);

    // It is a stranger's by now.
    wire.port.send(&marked(of_port, FAR_VM, 0x52).build());
    until_true("the old MAC of the port to be learned", || {
        wire.daemon.fdb(GREEN, of_port).is_some()
    });
}

fn a_port_with_a_known_mac_is_announced_twice(family: Family) {
    let wire = flooding(family);

    let _vm = wire.add_port("vm1", &format!("--mac {NEW}"));

    announced(&wire, 2);
}

fn a_mac_that_has_left_is_not_announced_again(family: Family) {
    // It has 20 ms to be gone in.
    let _ahead = Ahead::of_others();
    let wire = flooding(family);
    let _vm = wire.add_port("vm1", "");

    // In one go, and nothing is to be attached: the MAC is gone long before the second announcement is due.
    let come_and_go = format!("port set vm1 --mac {NEW}\nport set vm1 --mac {OTHER}\n");
    let out = wire.daemon.vtep_input("batch", &come_and_go);
    assert!(out.status.success(), "{out:?}");

    announced(&wire, 1);
}

/// A hypervisor that floods to the far VTEP.
fn flooding(family: Family) -> Wire {
    let wire = Wire::new(family);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    wire
}

/// [`NEW`] is announced this often, and no more often within a while: it is said once more after 20 ms.
#[track_caller]
fn announced(wire: &Wire, times: usize) {
    let count = |seen: &[Vec<u8>]| seen.iter().filter(|frame| is_rarp(wire, frame)).count();
    let mut seen = wire.uplink.collect(DEADLINE, |seen| count(seen) == times);
    seen.extend(wire.uplink.collect(Duration::from_millis(500), |_| false));
    assert_eq!(count(&seen), times);
}

/// Whether a frame of the underlay carries the RARP request that announces [`NEW`].
fn is_rarp(wire: &Wire, frame: &[u8]) -> bool {
    wire.is_vxlan(frame) && {
        let inner = &frame[wire.family.outer_len()..];
        inner[..6] == [0xff; 6] && inner[6..12] == NEW.0 && inner[12..14] == [0x80, 0x35]
    }
}

/// How often learning did this.
fn learning(wire: &Wire, what: &str) -> u64 {
    let rows = wire.daemon.rows("stats");
    let found = rows
        .iter()
        .find(|row| row["hook"] == "learning" && row["reason"] == what);
    found.map_or(0, |row| row["packets"].as_u64().unwrap_or(0))
}
