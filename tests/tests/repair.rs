//! Others change what is vtep's own, by hand or by program, and vtep puts it right.

use std::time::Duration;

use serde_json::Value;
use vtep_tests::bpf;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait::{until, until_true};

/// The slow-path device.
const DEVICE: &str = "vtep4789";

/// A broadcast from the far side gets to the VM, sooner or later: the slow path carries it.
#[track_caller]
fn floods_arrive(wire: &Wire) {
    let flood = udp4(FAR_VM, Mac::BROADCAST).build();
    let packet = wire.tunnelled(GREEN, &flood);
    until("a flood from the far side", || {
        wire.uplink.send(&packet);
        let got = wire
            .port
            .collect(Duration::from_millis(50), |seen| seen.contains(&flood));
        got.contains(&flood).then_some(())
    });
}

/// Frames cross both ways, by all hooks.
#[track_caller]
fn carries(wire: &Wire) {
    floods_arrive(wire);
    wire.port.drain();
    wire.encap(&udp4(VM, FAR_VM).build());
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

/// What `ip` says of an interface that others can change.
fn facts(ns: &Ns, dev: &str) -> Vec<Value> {
    let links = ns.ip_output("-j -d link show");
    let links: Vec<Value> = serde_json::from_str(&links).expect("a list of interfaces");
    let link = links.into_iter().find(|link| link["ifname"] == dev);
    let link = link.unwrap_or_default();
    let addresses = ns.ip_output("-j addr show");
    let addresses: Vec<Value> = serde_json::from_str(&addresses).expect("a list of addresses");
    let addresses = addresses.into_iter().find(|link| link["ifname"] == dev);
    let keys = ["ifindex", "ifalias", "mtu", "address", "qdisc", "master"];
    let mut facts: Vec<Value> = keys.iter().map(|key| link[key].clone()).collect();
    let flags = link["flags"].as_array().cloned().unwrap_or_default();
    facts.push(flags.contains(&"UP".into()).into());
    facts.push(addresses.map_or(Value::Null, |link| link["addr_info"].clone()));
    facts
}

/// How often a kind of thing was put right, as the metrics have it.
fn repairs(wire: &Wire, what: &str) -> u64 {
    let metrics = wire.daemon.metrics();
    let line = format!("vtep_repairs_total{{what=\"{what}\"}} ");
    let count = metrics.lines().find_map(|found| found.strip_prefix(&line));
    count.expect("the metric").parse().expect("a number")
}

fn tc(ns: &Ns, args: &str) {
    ns::done(ns.command("tc").args(args.split(' ')), "");
}

#[test]
fn the_device_becomes_again_what_it_was() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.ns.ip("link add br9 type bridge");
    carries(&wire);
    let whole = facts(&wire.ns, DEVICE);
    let monitor = Monitor::start(&wire.daemon, GREEN, "198.18.0.99".parse().unwrap());

    for (what, change) in [
        ("up", "link set vtep4789 down"),
        ("mtu", "link set vtep4789 mtu 1400"),
        ("mac", "link set vtep4789 address 02:00:00:00:00:77"),
        ("alias", "link set vtep4789 alias mine"),
        ("master", "link set vtep4789 master br9"),
        ("address", "addr add 198.18.0.9/24 dev vtep4789"),
        ("address", "addr add 2001:db8:9::9/64 dev vtep4789 nodad"),
        (
            "name",
            "link set vtep4789 down\nlink set vtep4789 name foo9\nlink set foo9 up",
        ),
    ] {
        let before = repairs(&wire, what);
        monitor.clear();

        // Else a change of several steps is put right in the middle of it.
        wire.daemon.signal(libc::SIGSTOP);
        wire.ns.ip(change);
        wire.daemon.signal(libc::SIGCONT);

        until_true(&format!("{change} to be put right"), || {
            facts(&wire.ns, DEVICE) == whole
        });
        monitor.wait_for(what, |row| {
            row["event"] == "repaired" && row["dev"] == DEVICE && !row["why"].is_null()
        });
        assert!(repairs(&wire, what) > before, "{what}");
        carries(&wire);
    }
    tc(&wire.ns, "qdisc add dev vtep4789 root pfifo limit 1");
    until_true("the queueing discipline to go", || {
        facts(&wire.ns, DEVICE) == whole
    });
    carries(&wire);

    let log = wire.daemon.log();
    for said in [
        "somebody switched vtep4789 off; vtep has put it right",
        "somebody gave vtep4789 the MTU 1400",
        "somebody called vtep4789 foo9",
        "somebody gave vtep4789 the queueing discipline pfifo",
    ] {
        assert!(log.contains(said), "{said}: {log}");
    }
    let status = wire.daemon.status();
    assert!(status["repairs"].as_u64() >= Some(9), "{status}");
    assert_eq!(status["left_alone"], serde_json::json!([]));
}

#[test]
fn what_the_device_is_told_about_ip_changes_nothing() {
    need_root!();
    for family in Family::BOTH {
        let wire = Wire::new(family);
        for key in ["rp_filter", "accept_local", "forwarding"] {
            wire.ns.sysctl(&format!("ipv4/conf/{DEVICE}/{key}"), "1");
        }
        wire.ns
            .sysctl(&format!("ipv6/conf/{DEVICE}/disable_ipv6"), "1");

        carries(&wire);
        // And back, which would give it an address.
        wire.ns
            .sysctl(&format!("ipv6/conf/{DEVICE}/addr_gen_mode"), "0");
        wire.ns
            .sysctl(&format!("ipv6/conf/{DEVICE}/disable_ipv6"), "0");
        until_true("the addresses to go", || {
            facts(&wire.ns, DEVICE).last() == Some(&serde_json::json!([]))
        });
        carries(&wire);
    }
}

#[test]
fn a_device_that_is_moved_away_comes_back() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let away = Ns::new("away");

    wire.ns
        .ip(&format!("link set {DEVICE} netns {}", away.name()));

    carries(&wire);
    assert!(!away.has_device(DEVICE));
    assert!(wire.ns.has_device(DEVICE));
    assert_eq!(repairs(&wire, "device"), 1);
    let log = wire.daemon.log();
    assert!(log.contains("moved to another network namespace"), "{log}");
}

/// Waits until `what` was put right once more, and frames cross.
#[track_caller]
fn put_right(wire: &Wire, before: u64, what: &str) {
    until_true(what, || repairs(wire, "program") > before);
    carries(wire);
}

#[test]
fn programs_that_are_detached_are_attached_again() {
    need_root!();
    for hook in ["xdp", "tc"] {
        let wire = Wire::with(Family::V4, "", &["--uplink-hook", hook]);
        if hook == "xdp" {
            wire.daemon.ok(&format!("port set {PORT} --hook xdp"));
        }
        carries(&wire);
        let mut programs = vec![
            ("tc_uplink", UPLINK),
            ("tc_tunnel", DEVICE),
            ("tc_port", PORT),
        ];
        if hook == "xdp" {
            programs.extend([("xdp_uplink", UPLINK), ("xdp_port", PORT)]);
        }
        for (program, dev) in programs {
            let before = repairs(&wire, "program");
            let link = format!("links/{program}-{}", wire.ns.ifindex(dev));

            bpf::detach_link(&wire.daemon.pins().join(link));

            put_right(&wire, before, &format!("{program} at {dev}"));
        }
        if hook == "xdp" {
            let links = wire.ns.ip_output("-d link show");
            assert_eq!(links.matches("prog/xdp").count(), 2, "{links}");
        }
    }
}

#[test]
fn a_port_that_somebody_makes_unpromiscuous_is_promiscuous_again() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let is_promiscuous = || {
        let link = wire.ns.ip_output(&format!("link show dev {PORT}"));
        link.contains(",PROMISC,")
    };
    assert!(is_promiscuous());

    wire.ns.ip(&format!("link set {PORT} promisc off"));

    until_true("promiscuous mode", is_promiscuous);
    until_true("the repair to be counted", || {
        repairs(&wire, "promiscuous") == 1
    });
}

#[test]
fn who_undoes_every_repair_is_left_alone_and_named() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let left_alone = || {
        let status = wire.daemon.status();
        let left = status["left_alone"].as_array().unwrap().clone();
        left.iter().any(|what| {
            what.as_str().unwrap()
                == "the MTU of vtep4789, which somebody changes as often as vtep puts it right"
        })
    };
    until_true("vtep to give up for a minute", || {
        wire.ns.ip("link set vtep4789 mtu 1400");
        left_alone()
    });

    assert_eq!(repairs(&wire, "mtu"), 10);
    let log = wire.daemon.log();
    let said = "vtep leaves alone for a minute: the MTU of vtep4789";
    assert_eq!(log.matches(said).count(), 1, "{log}");
    let told = wire.daemon.ok("status");
    assert!(told.contains("left alone           the MTU of vtep4789"));
    // All else is put right all the same.
    wire.ns.ip("link set vtep4789 down");
    until_true("the device to be up", || repairs(&wire, "up") == 1);
}
