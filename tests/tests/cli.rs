//! The command line: what it prints, and what bad input gets.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output};

use serde_json::Value;
use vtep_tests::binary;
use vtep_tests::bpf;
use vtep_tests::daemon::Daemon;
use vtep_tests::frame::Mac;
use vtep_tests::inner::udp4;
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::ns::{self, Ns};
use vtep_tests::underlay::Family;
use vtep_tests::wait::until_true;
use vtep_tests::wire::{FAR_VM, PORT, VM, Wire};

/// One daemon for what only reads or is refused.
fn wire() -> Wire {
    Wire::new(Family::V4)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A refusal: this exit code, a sentence on stderr that says all of `needles`, nothing on stdout.
#[track_caller]
fn assert_refused(out: &Output, code: i32, needles: &[&str], what: &str) {
    let said = text(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{what}: {said}");
    for needle in needles {
        assert!(
            said.to_lowercase().contains(&needle.to_lowercase()),
            "{what}: the refusal does not say `{needle}`: {said}"
        );
    }
    assert!(!said.contains("panicked"), "{what}: {said}");
    assert!(
        out.stdout.is_empty(),
        "{what}: data on stdout: {}",
        text(&out.stdout)
    );
}

/// Refused, and every table is as it was.
#[track_caller]
fn refused(daemon: &Daemon, args: &str, code: i32, needles: &[&str]) {
    let before = daemon.tables();
    assert_refused(&daemon.vtep(args), code, needles, args);
    assert_eq!(daemon.tables(), before, "{args} changed something");
}

#[test]
fn wrong_usage_ends_with_2_and_changes_nothing() {
    need_root!();
    let wire = wire();
    for (args, needles) in [
        ("vni add 16777216", &["16777216", "16777215"][..]),
        ("vni add -1", &[]),
        ("vni add green", &["green"]),
        ("vni add", &[]),
        ("vni set 100", &[]),
        ("vni add 7 --ttl 0", &[]),
        ("vni add 7 --ttl 256", &["256"]),
        ("vni add 7 --tos 256", &["256"]),
        ("vni add 7 --df maybe", &["maybe"]),
        ("vni add 7 --srcport 5-1", &[]),
        ("vni add 7 --srcport 0-70000", &[]),
        ("vni add 7 --mode l4", &["l4"]),
        ("vni add 7 --group 192.0.2.256", &["192.0.2.256"]),
        (
            "fdb add 02:00:00:00:00 --vni 100 --dst 198.18.0.2",
            &["02:00:00:00:00"],
        ),
        (
            "fdb add 02:00:00:00:00:0g --vni 100 --dst 198.18.0.2",
            &["02:00:00:00:00:0g"],
        ),
        (
            "fdb add 02:00:00:00:00:0c --vni 100 --dst 198.18.0",
            &["198.18.0"],
        ),
        (
            "fdb add 02:00:00:00:00:0c --vni 100 --dst fe80:::1",
            &["fe80:::1"],
        ),
        ("fdb add 02:00:00:00:00:0c --vni 100", &["--dst"]),
        ("fdb add 02:00:00:00:00:0c --dst 198.18.0.2", &["--vni"]),
        (
            "fdb add 02:00:00:00:00:0c --vni 100 --dst 198.18.0.2 --dev vm0",
            &[],
        ),
        ("fdb flush", &["--vni"]),
        ("port add vm0", &["--vni"]),
        ("port add vm0 --vni 100 --vlan 4095", &["4095"]),
        ("port add vm0 --vni 100 --vlan 0", &["0"]),
        (
            "port add a-name-that-is-too-long --vni 100",
            &["a-name-that-is-too-long"],
        ),
        ("peer set 198.18.0.2", &["--csum6"]),
        ("frobnicate", &["frobnicate"]),
    ] {
        refused(&wire.daemon, args, 2, needles);
    }
}

#[test]
fn a_port_whose_xdp_is_another_s_is_refused_and_nothing_of_it_is_left() {
    need_root!();
    let wire = wire();
    let far = Ns::new("far");
    wire.ns.veth("vm9", &far, "vm9");
    wire.daemon
        .ok(&format!("port add vm9 --vni {GREEN} --hook xdp"));
    let other = Daemon::start(
        &wire.ns,
        &[
            "--iface",
            UPLINK,
            "--uplink-hook",
            "tc",
            "--udp-port",
            "4790",
        ],
    );
    other.ok("vni add 7");
    let add = "port add vm9 --vni 7 --hook xdp --mac 02:00:00:00:00:0c --ip 10.0.0.9";
    let programs = bpf::tcx_programs(&wire.ns, "vm9");
    refused(&other, add, 1, &["vm9", "xdp"]);
    assert_eq!(
        bpf::tcx_programs(&wire.ns, "vm9"),
        programs,
        "still attached"
    );

    wire.daemon.ok("port del vm9");
    other.ok(add);
    assert!(other.fdb(7, Mac([2, 0, 0, 0, 0, 0x0c])).is_some());
}

#[test]
fn what_does_not_exist_is_named_with_the_command_that_makes_it() {
    need_root!();
    let wire = wire();
    for (args, needles) in [
        ("vni set 999 --ttl 3", &["vni 999", "vtep vni add 999"][..]),
        ("vni del 999", &["vni 999"]),
        ("vni show 999", &["vni 999"]),
        ("port add vm0 --vni 999", &["vni 999", "vtep vni add 999"]),
        ("port add nope --vni 100", &["nope"]),
        ("port set nope --max-macs 3", &["nope"]),
        ("port del nope", &["nope"]),
        ("port del vm0 --vlan 7", &["vm0", "vlan 7"]),
        ("port show nope", &["nope"]),
        (
            "fdb add 02:00:00:00:00:0c --vni 999 --dst 198.18.0.2",
            &["vni 999", "vtep vni add 999"],
        ),
        (
            "fdb add 02:00:00:00:00:0c --vni 100 --dev nope",
            &["nope", "vtep port add nope"],
        ),
        (
            "fdb del 02:00:00:00:00:0c --vni 100",
            &["02:00:00:00:00:0c"],
        ),
        (
            "fdb del 00:00:00:00:00:00 --vni 100 --dst 198.18.0.9",
            &["198.18.0.9"],
        ),
        (
            "fdb get 02:00:00:00:00:0c --vni 100",
            &["02:00:00:00:00:0c"],
        ),
        ("fdb get 02:00:00:00:00:0c --vni 999", &["vni 999"]),
        ("fdb flush --vni 999", &["vni 999"]),
        ("peer set 198.18.0.9 --csum6 off", &["198.18.0.9"]),
        ("peer show 198.18.0.9", &["198.18.0.9"]),
        ("stats --vni 999", &["vni 999"]),
        ("batch /nonexistent/file", &["/nonexistent/file"]),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn what_is_there_already_is_not_added_again() {
    need_root!();
    let wire = wire();
    wire.daemon.ok("vni add 200");
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst 198.18.0.2",
        Mac::ZERO
    ));
    for (args, needles) in [
        ("vni add 100", &["vni 100", "vtep vni set 100"][..]),
        ("port add vm0 --vni 100", &["vm0", "vni 100"]),
        ("port add vm0 --vni 200", &["vm0", "vni 100"]),
        (
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 198.18.0.3",
            &["02:00:00:00:00:0b", "replace"],
        ),
        (
            "fdb add 02:00:00:00:00:0b --vni 100 --dev vm0",
            &["02:00:00:00:00:0b", "replace"],
        ),
        (
            "fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2",
            &["198.18.0.2"],
        ),
        (
            "fdb append 02:00:00:00:00:0c --vni 100 --dst 198.18.0.2",
            &["vtep fdb add"],
        ),
        ("fdb del 00:00:00:00:00:00 --vni 100", &["--dst"]),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn an_address_that_can_be_no_remote_vtep_is_refused() {
    need_root!();
    let wire = wire();
    for (dst, needles) in [
        ("198.18.0.1", ["198.18.0.1", "own address"]),
        ("0.0.0.0", ["0.0.0.0", "unspecified"]),
        ("224.0.0.1", ["224.0.0.1", "multicast"]),
        ("239.1.1.1", ["239.1.1.1", "multicast"]),
        ("255.255.255.255", ["255.255.255.255", "broadcast"]),
        ("127.0.0.1", ["127.0.0.1", "loopback"]),
        ("::", ["::", "unspecified"]),
        ("ff02::1", ["ff02::1", "multicast"]),
        // A family that this hypervisor has no address of.
        ("2001:db8::2", ["IPv6", "--local"]),
    ] {
        for entry in [
            "add 02:00:00:00:00:0c",
            "replace 02:00:00:00:00:0b",
            "append 00:00:00:00:00:00",
        ] {
            refused(
                &wire.daemon,
                &format!("fdb {entry} --vni {GREEN} --dst {dst}"),
                1,
                &needles,
            );
        }
    }
    for dev in [UPLINK, "vtep4789"] {
        refused(
            &wire.daemon,
            &format!("port add {dev} --vni {GREEN}"),
            1,
            &[dev],
        );
    }
}

#[test]
fn a_neigh_entry_that_makes_no_sense_is_refused() {
    need_root!();
    let wire = wire();
    let known = "10.0.0.9 --vni 100 --lladdr 02:00:00:00:00:0c";
    wire.daemon.ok(&format!("neigh add {known}"));
    let mac = "--lladdr 02:00:00:00:00:0c";
    for (args, needles) in [
        (
            format!("add 10.0.0.1 --vni 999 {mac}"),
            &["vni 999", "vtep vni add 999"][..],
        ),
        (
            format!("replace fd00::1 --vni 999 {mac}"),
            &["vni 999", "vtep vni add 999"],
        ),
        ("del 10.0.0.1 --vni 999".into(), &["vni 999"]),
        ("del 10.0.0.1 --vni 100".into(), &["10.0.0.1"]),
        (format!("add {known}"), &["10.0.0.9", "replace"]),
        (
            format!("add 239.1.1.1 --vni 100 {mac}"),
            &["239.1.1.1", "multicast"],
        ),
        (
            format!("add ff02::1 --vni 100 {mac}"),
            &["ff02::1", "multicast"],
        ),
        (format!("add 0.0.0.0 --vni 100 {mac}"), &["0.0.0.0"]),
        (
            "add 10.0.0.1 --vni 100 --lladdr ff:ff:ff:ff:ff:ff".into(),
            &["ff:ff:ff:ff:ff:ff"],
        ),
        (
            "add 10.0.0.1 --vni 100 --lladdr 00:00:00:00:00:00".into(),
            &["00:00:00:00:00:00"],
        ),
    ] {
        refused(&wire.daemon, &format!("neigh {args}"), 1, needles);
    }
    for (args, needles) in [
        ("neigh add 10.0.0.1 --vni 100", &["--lladdr"][..]),
        (
            "neigh add 10.0.0 --vni 100 --lladdr 02:00:00:00:00:0c",
            &["10.0.0"],
        ),
    ] {
        refused(&wire.daemon, args, 2, needles);
    }
}

#[test]
fn a_next_hop_that_makes_no_sense_is_refused() {
    need_root!();
    let wire = wire();
    let known = "10.0.0.9 --vni 100 --via 198.18.0.2";
    wire.daemon.ok(&format!("nexthop add {known}"));
    for (args, needles) in [
        (
            "add 10.0.0.1 --vni 999 --via 198.18.0.2",
            &["vni 999", "vtep vni add 999"][..],
        ),
        ("del 10.0.0.1 --vni 999", &["vni 999"]),
        ("del 10.0.0.1 --vni 100", &["10.0.0.1"]),
        (
            "add 10.0.0.9 --vni 100 --via 198.18.0.3",
            &["10.0.0.9", "replace"],
        ),
        (
            "add 10.0.0.1 --vni 100 --via 239.1.1.1",
            &["239.1.1.1", "multicast"],
        ),
        (
            "add fd00::1 --vni 100 --via ff05::100",
            &["ff05::100", "multicast"],
        ),
        (
            "add 10.0.0.1 --vni 100 --via 198.18.0.1",
            &["198.18.0.1", "own address"],
        ),
        (
            "add 10.0.0.1 --vni 100 --via 0.0.0.0",
            &["0.0.0.0", "unspecified"],
        ),
        (
            "add 10.0.0.1 --vni 100 --via 2001:db8::2",
            &["IPv6", "--local"],
        ),
        (
            "add 10.0.0.1 --vni 100 --via 198.18.0.2 --lladdr ff:ff:ff:ff:ff:ff",
            &["ff:ff:ff:ff:ff:ff"],
        ),
        (
            "add 239.1.1.1 --vni 100 --via 198.18.0.2",
            &["239.1.1.1", "multicast"],
        ),
    ] {
        refused(&wire.daemon, &format!("nexthop {args}"), 1, needles);
    }
    for (args, needles) in [
        ("add 10.0.0.1 --vni 100", &["--via"][..]),
        (
            "add 10.0.0.1/33 --vni 100 --via 198.18.0.2",
            &["10.0.0.1/33"],
        ),
        (
            "add 10.0.0.1/24 --vni 100 --via 198.18.0.2",
            &["10.0.0.0/24"],
        ),
    ] {
        refused(&wire.daemon, &format!("nexthop {args}"), 2, needles);
    }
}

#[test]
fn a_group_that_makes_no_sense_is_refused() {
    need_root!();
    let wire = wire();
    for (args, needles) in [
        ("vni add 7 --mode multicast", &["--group"][..]),
        ("vni add 7 --flood multicast", &["--group"]),
        ("vni set 100 --mode multicast", &["--group"]),
        ("vni set 100 --flood multicast", &["--group"]),
        (
            "vni add 7 --group 239.1.1.100",
            &["239.1.1.100", "--mode multicast"],
        ),
        ("vni add 7 --mode l2 --group 239.1.1.100", &["239.1.1.100"]),
        (
            "vni set 100 --group 239.1.1.100",
            &["239.1.1.100", "--mode multicast"],
        ),
        (
            "vni add 7 --mode multicast --group 198.18.0.9",
            &["198.18.0.9", "multicast"],
        ),
        ("vni add 7 --mode multicast --group 0.0.0.0", &["0.0.0.0"]),
        (
            "vni add 7 --mode multicast --group 255.255.255.255",
            &["255.255.255.255"],
        ),
        // A family that this hypervisor has no address of.
        (
            "vni add 7 --mode multicast --group ff05::100",
            &["IPv6", "--local"],
        ),
        ("vni set 100 --mode multicast --group ff05::100", &["IPv6"]),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn an_ageing_or_a_limit_that_makes_no_sense_is_refused() {
    need_root!();
    let wire = wire();
    for (args, needles) in [
        ("vni add 7 --ageing -1", &["-1"][..]),
        ("vni set 100 --ageing -1", &["-1"]),
        ("vni add 7 --max-macs 0", &["0"]),
        ("vni set 100 --max-macs 0", &["0"]),
        ("vni set 100 --max-macs -1", &["-1"]),
        ("port set vm0 --max-macs 0", &["0"]),
        ("port add vm0 --vni 100 --vlan 7 --max-macs 0", &["0"]),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn a_full_fdb_refuses_more_and_keeps_what_it_has() {
    need_root!();
    let wire = Wire::with(Family::V4, "", &["--fdb-max", "4"]);
    let add = |last: u8| format!("fdb add {} --vni {GREEN} --dst 198.18.0.2", Mac::nth(last));
    wire.daemon.ok(&add(1));
    wire.daemon.ok(&add(2));

    refused(
        &wire.daemon,
        &add(3),
        1,
        &["full", "4", "vtep fdb flush", "--fdb-max"],
    );
    let lines = format!("{}\n{}\n", add(4), add(5));
    assert_refused(
        &wire.daemon.vtep_input("batch", &lines),
        1,
        &["line 1", "full"],
        "batch",
    );
    wire.daemon
        .ok(&format!("fdb del {} --vni {GREEN}", Mac::nth(1)));
    wire.daemon.ok(&add(3));
    wire.encap(&udp4(VM, Mac::nth(3)).build());
}

#[test]
fn a_vni_takes_no_more_macs_than_it_may() {
    need_root!();
    let wire = Wire::with(Family::V4, "--max-macs 3", &[]);
    let add = |last: u8| format!("fdb add {} --vni {GREEN} --dst 198.18.0.2", Mac::nth(last));
    wire.daemon.ok(&add(1));

    refused(&wire.daemon, &add(2), 1, &["100", "3"]);
    wire.daemon.ok(&format!("vni set {GREEN} --max-macs 4"));
    wire.daemon.ok(&add(2));
}

#[test]
fn the_device_of_another_instance_is_no_port() {
    need_root!();
    let wire = wire();
    let args = [
        "--iface",
        UPLINK,
        "--udp-port",
        "4790",
        "--uplink-hook",
        "tc",
    ];
    let second = Daemon::start(&wire.ns, &args);

    for (daemon, dev) in [(&wire.daemon, "vtep4790"), (&second, "vtep4789")] {
        daemon.ok("vni add 7");
        let add = format!("port add {dev} --vni 7");
        refused(daemon, &add, 1, &[dev, "another vtep instance"]);
    }
}

#[test]
fn no_address_of_this_host_can_be_a_remote_vtep() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.ip("link set lo up
         addr add 198.18.0.5/24 dev up0
         addr add 203.0.113.77/32 dev lo");
    daemon.run();
    daemon.ok(&format!("vni add {GREEN}"));
    let add = |dst: &str| format!("fdb add {} --vni {GREEN} --dst {dst}", Mac::nth(1));
    for dst in ["198.18.0.1", "198.18.0.5", "203.0.113.77"] {
        refused(&daemon, &add(dst), 1, &[dst, "own address", "--dst"]);
    }

    // One that comes later is known soon after, and one that has gone is an address as any other.
    ns.ip("addr add 198.18.0.6/24 dev up0\naddr del 203.0.113.77/32 dev lo");
    until_true("refusal of the new address", || {
        let out = daemon.vtep(&add("198.18.0.6"));
        drop(daemon.vtep(&format!("fdb flush --vni {GREEN}")));
        text(&out.stderr).contains("own address")
    });
    daemon.ok(&add("203.0.113.77"));
}

// What the daemon says when it cannot start.

/// A namespace with an uplink, and a daemon for it that does not run.
fn stopped(args: &[&str]) -> (Ns, Daemon) {
    let ns = Ns::new("cli");
    ns.ip("link add name up0 type veth peer name far0
         link set far0 up
         link set up0 up
         addr add 198.18.0.1/24 dev up0");
    let daemon = Daemon::named(&ns, &ns::unique("i"), args);
    (ns, daemon)
}

/// The daemon does not start, says why, and leaves nothing behind.
#[track_caller]
fn refused_start(ns: &Ns, daemon: &Daemon, command: Command, code: i32, needles: &[&str]) {
    let links = ns.ip_output("-o -d link show");
    let what = format!("{command:?}");
    assert_refused(&daemon.refused_start(command), code, needles, &what);
    assert!(!daemon.socket().exists(), "{what}: a socket is left");
    assert!(!daemon.pins().exists(), "{what}: pins are left");
    assert_eq!(
        ns.ip_output("-o -d link show"),
        links,
        "{what}: devices changed"
    );
}

#[test]
fn an_uplink_that_is_missing_or_down_is_named() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", "nope0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["nope0"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.ip("link set up0 down");
    refused_start(
        &ns,
        &daemon,
        daemon.run_command(),
        1,
        &[UPLINK, "down", "ip link set"],
    );
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--iface", "nope0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["nope0"]);
}

#[test]
fn a_daemon_without_an_uplink_is_wrong_usage() {
    need_root!();
    let (ns, daemon) = stopped(&[]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["--iface"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", "198.18.0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["198.18.0"]);
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--udp-port", "0"]);
    refused_start(&ns, &daemon, daemon.run_command(), 2, &["0"]);
}

#[test]
fn a_local_address_that_no_vtep_can_have_is_refused() {
    need_root!();
    for (local, what) in [
        ("127.0.0.1", "loopback"),
        ("fe80::1", "link-local"),
        ("239.1.1.1", "multicast"),
        ("0.0.0.0", "unspecified"),
    ] {
        let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", local]);
        ns.ip("link set lo up\naddr add fe80::1/64 dev up0 nodad");
        refused_start(
            &ns,
            &daemon,
            daemon.run_command(),
            1,
            &[local, what, "--local"],
        );
    }
    let (ns, daemon) = stopped(&["--iface", UPLINK, "--local", "198.18.0.9"]);
    let add = "ip address add 198.18.0.9/32 dev up0";
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["198.18.0.9", add]);
}

#[test]
fn a_driver_without_native_xdp_is_named_with_what_to_choose() {
    need_root!();
    let args = [
        "--iface",
        "mv0",
        "--uplink-hook",
        "xdp",
        "--xdp-mode",
        "native",
    ];
    let (ns, daemon) = stopped(&args);
    ns.ip(
        "link add link far0 name mv0 type macvlan\nlink set mv0 up\naddr add 198.18.9.1/24 dev mv0",
    );
    refused_start(
        &ns,
        &daemon,
        daemon.run_command(),
        1,
        &["mv0", "native XDP", "--xdp-mode auto"],
    );
}

#[test]
fn what_only_a_teardown_changes_is_named_with_the_instance() {
    need_root!();
    let (_ns, daemon) = stopped(&["--iface", UPLINK]);
    daemon.run();
    daemon.kill();
    let teardown = format!("vtep teardown --instance {}", daemon.instance());
    for args in [["--fdb-max", "5"], ["--udp-port", "4790"]] {
        let mut command = daemon.run_command();
        command.args(args);
        assert_refused(
            &daemon.refused_start(command),
            1,
            &[&teardown],
            &format!("{args:?}"),
        );
    }
}

#[test]
fn an_uplink_without_any_address_is_refused() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.sysctl("ipv6/conf/up0/disable_ipv6", "1");
    ns.ip("addr flush dev up0");
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["address", UPLINK]);
}

#[test]
fn somebody_who_is_not_root_is_told_so() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    // Where everybody may run it from.
    let place = std::env::temp_dir().join(ns::unique("bin"));
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).unwrap();
    let copy = place.join("vtep");
    std::fs::copy(binary::vtep(), &copy).unwrap();
    let mut command = ns.command("setpriv");
    command
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&copy);
    command.args(["run", "--iface", UPLINK, "--instance", daemon.instance()]);

    refused_start(&ns, &daemon, command, 1, &["root"]);

    std::fs::remove_dir_all(&place).unwrap();
}

#[test]
fn a_kernel_without_bpf_is_told_apart() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let mut command = daemon.run_command();
    // SAFETY: between fork and exec this only makes one system call, with a filter on the stack.
    unsafe { command.pre_exec(bpf::forbid) };

    refused_start(&ns, &daemon, command, 1, &["kernel", "bpf"]);
}

#[test]
fn a_missing_bpffs_is_named_with_the_command_that_mounts_it() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let run = daemon.run_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--pid", "--fork", "--mount-proc", "sh", "-c"]);
    command
        .arg("umount /sys/fs/bpf && exec \"$@\"")
        .arg("sh")
        .arg(run.get_program());
    command.args(run.get_args());

    refused_start(&ns, &daemon, command, 1, &["mount -t bpf bpf /sys/fs/bpf"]);
}

#[test]
fn a_bpffs_hidden_by_ip_netns_exec_is_told_apart() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let mut command = Command::new("ip");
    command
        .args(["netns", "exec", ns.name()])
        .arg(binary::vtep());
    command.args(["run", "--iface", UPLINK, "--instance", daemon.instance()]);

    refused_start(
        &ns,
        &daemon,
        command,
        1,
        &["ip netns exec", "nsenter --net="],
    );
}

#[test]
fn another_vtep_on_the_udp_port_is_named() {
    need_root!();
    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    ns.ip("link add old7 type vxlan id 7 dstport 4789 dev up0\nlink set old7 up");
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["4789", "old7"]);

    let (ns, daemon) = stopped(&["--iface", UPLINK]);
    let holder = ns.run(|| std::net::UdpSocket::bind("0.0.0.0:4789").unwrap());
    refused_start(&ns, &daemon, daemon.run_command(), 1, &["4789"]);
    drop(holder);

    let wire = wire();
    let second = Daemon::named(&wire.ns, &ns::unique("i"), &["--iface", UPLINK]);
    let other = format!("vtep teardown --instance {}", wire.daemon.instance());
    refused_start(
        &wire.ns,
        &second,
        second.run_command(),
        1,
        &["4789", &other, "--udp-port"],
    );
    wire.encap(&udp4(VM, FAR_VM).build());
}

#[test]
fn a_file_in_the_place_of_the_socket_is_left_alone() {
    need_root!();
    let (_ns, daemon) = stopped(&["--iface", UPLINK]);
    std::fs::create_dir_all("/run/vtep").unwrap();
    std::fs::write(daemon.socket(), "mine").unwrap();

    let out = daemon.refused_start(daemon.run_command());

    let socket = daemon.socket();
    assert_refused(&out, 1, &[socket.to_str().unwrap()], "a file in the way");
    assert_eq!(std::fs::read_to_string(&socket).unwrap(), "mine");
}

#[test]
fn a_command_without_a_daemon_says_how_to_start_one() {
    need_root!();
    let (_ns, daemon) = stopped(&["--iface", UPLINK]);
    for args in [
        "vni show",
        "vni add 5",
        "fdb show -j",
        "drops",
        "stats",
        "batch",
    ] {
        assert_refused(
            &daemon.vtep(args),
            1,
            &[daemon.instance(), "vtep run"],
            args,
        );
    }
}

// What is printed.

fn keys(row: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = row
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Every key of the contract is there.
#[track_caller]
fn assert_keys(row: &Value, contract: &str) {
    let keys = keys(row);
    for key in contract.split(", ") {
        assert!(keys.contains(&key), "{key} is missing: {row}");
    }
}

#[test]
fn json_rows_have_the_keys_of_the_contract() {
    need_root!();
    let wire = wire();
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst 198.18.0.2",
        Mac::ZERO
    ));
    wire.daemon
        .ok(&format!("port add {PORT} --vni {GREEN} --vlan 10"));
    wire.refuses(
        &wire.tunnelled(999, &udp4(FAR_VM, VM).build()),
        "unknown_vni",
    );

    let vni = &wire.daemon.rows("vni show 100")[0];
    assert_keys(
        vni,
        "vni, mode, flood, group, learning, suppress, ageing_s, max_macs, inner_vlan, ports, remotes",
    );
    assert_eq!(vni["vni"], 100);
    assert_eq!(
        (&vni["mode"], &vni["flood"]),
        (&"flood".into(), &"her".into())
    );
    assert_eq!(
        (&vni["suppress"], &vni["inner_vlan"]),
        (&false.into(), &"drop".into())
    );
    assert_eq!(vni["remotes"], serde_json::json!(["198.18.0.2"]));
    assert!(
        vni["ports"].as_array().unwrap().contains(&PORT.into()),
        "{vni}"
    );
    let ports = wire.daemon.rows("port show");
    assert_eq!(ports.len(), 2);
    for port in &ports {
        assert_keys(port, "dev, vni, vlan, hook");
    }
    assert!(ports.iter().any(|port| port["vlan"].is_null()));
    assert!(ports.iter().any(|port| port["vlan"] == 10));
    let peer = &wire.daemon.rows("peer show")[0];
    assert_keys(peer, "ip, dev, mac, state, mtu");
    assert_eq!(
        (&peer["ip"], &peer["dev"]),
        (&"198.18.0.2".into(), &UPLINK.into())
    );
    assert_eq!(
        (&peer["mac"], &peer["mtu"]),
        (&"02:aa:00:00:00:02".into(), &1500.into())
    );
    let drops = wire.daemon.rows("drops");
    let row = drops
        .iter()
        .find(|row| row["reason"] == "unknown_vni")
        .expect("a drop");
    assert_eq!(keys(row), ["bytes", "hook", "meaning", "packets", "reason"]);
    let stats = wire.daemon.rows("stats");
    for row in &stats {
        assert_eq!(
            keys(row),
            ["bytes", "dev", "hook", "packets", "peer", "reason", "vni"]
        );
    }
    // An FDB row is as the contract shows it, the order of its keys included.
    let row = r#"{"vni":100,"mac":"02:00:00:00:00:0b","dst":"198.18.0.2","dev":null,"state":"static","age_s":null,"duplicate":false}"#;
    let printed: String = wire
        .daemon
        .ok("fdb show --vni 100 -j")
        .split_whitespace()
        .collect();
    assert!(printed.contains(row), "{printed}");
    assert_eq!(
        wire.daemon.rows(&format!("fdb get {FAR_VM} --vni {GREEN}")),
        [serde_json::from_str::<Value>(row).unwrap()]
    );
}

#[test]
fn fdb_shows_filter_and_flush_takes_what_they_show() {
    need_root!();
    let wire = wire();
    wire.daemon.ok("vni add 200");
    let batch = "
        # two VTEPs on the list of each VNI
        fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2
        fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.3

        vtep fdb append 00:00:00:00:00:00 --vni 200 --dst 198.18.0.3
        fdb add 02:00:00:00:00:21 --vni 100 --dst 198.18.0.3
        fdb add 02:00:00:00:00:22 --vni 100 --dst 198.18.0.3
        fdb add 02:00:00:00:00:21 --vni 200 --dst 198.18.0.3
        fdb add 02:00:00:00:00:23 --vni 100 --dev vm0
    ";
    assert!(wire.daemon.vtep_input("batch", batch).status.success());
    let count = |filter: &str| wire.daemon.rows(&format!("fdb show {filter}")).len();

    // VM and FAR_VM are there from the start.
    assert_eq!(count(""), 9);
    assert_eq!(count("--vni 100"), 7);
    assert_eq!(count("--vni 100 --dst 198.18.0.3"), 3);
    assert_eq!(count("--dst 198.18.0.3"), 5);
    assert_eq!(count("--dev vm0"), 2);
    wire.daemon.ok("fdb flush --vni 100 --learned");
    assert_eq!(count(""), 9, "nothing was learned");
    wire.daemon.ok("fdb flush --vni 100 --dst 198.18.0.3");
    assert_eq!((count("--vni 100"), count("--vni 200")), (4, 2));
    wire.daemon.ok("fdb flush --vni 100 --dev vm0");
    assert_eq!(count("--vni 100"), 2);
    wire.daemon.ok("fdb flush --vni 100");
    assert_eq!((count("--vni 100"), count("--vni 200")), (0, 2));
    // A peer goes with the last entry that points to it.
    assert_eq!(wire.daemon.rows("peer show").len(), 1);
    wire.daemon.ok("vni del 200");
    assert_eq!(wire.daemon.rows("peer show").len(), 0);
    assert_eq!(count(""), 0);
}

#[test]
fn text_reads_like_bridge_fdb_show() {
    need_root!();
    let wire = wire();

    let shown = wire.daemon.ok("fdb show");

    let line = shown
        .lines()
        .find(|line| line.contains("02:00:00:00:00:0b"))
        .expect("a line");
    assert!(line.contains("dst 198.18.0.2"), "{line}");
    assert!(
        !shown.contains('\u{1b}'),
        "colour where nobody sees it: {shown:?}"
    );
}

#[test]
fn a_batch_names_the_line_that_it_stopped_at() {
    need_root!();
    let wire = wire();
    for (lines, needles) in [
        (
            "vni add 300\nvni add 300\nvni add 301\n",
            &["line 2", "vni 300"][..],
        ),
        (
            "# first\n\nfdb add 02:00:00:00:00:31 --vni 999 --dst 198.18.0.2\n",
            &["line 3", "vni 999"],
        ),
        (
            "fdb add 02:00:00:00:00:3x --vni 100 --dst 198.18.0.2\n",
            &["line 1", "02:00:00:00:00:3x"],
        ),
        ("vni add 302\nfrobnicate\n", &["line 2", "frobnicate"]),
    ] {
        assert_refused(&wire.daemon.vtep_input("batch", lines), 1, needles, lines);
    }
    assert!(
        wire.daemon
            .rows("vni show")
            .iter()
            .all(|row| row["vni"] != 301),
        "it went on"
    );
    // From a file as well.
    let file = std::env::temp_dir().join(ns::unique("batch"));
    std::fs::write(&file, "vni add 310\nvni del 310\nvni add 311").unwrap();
    wire.daemon.ok(&format!("batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(wire.daemon.rows("vni show 311").len(), 1);
}

#[test]
fn a_batch_of_ten_thousand_entries_is_loaded_at_once() {
    need_root!();
    let wire = wire();
    let line = |n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        format!("fdb add 02:00:00:01:{high:02x}:{low:02x} --vni 100 --dst 198.18.0.2\n")
    };
    let start = std::time::Instant::now();

    let out = wire
        .daemon
        .vtep_input("batch", &(0..10_000).map(line).collect::<String>());

    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(wire.daemon.rows("fdb show").len(), 10_002);
    wire.encap(&udp4(VM, Mac([2, 0, 0, 1, 0x27, 0x0f])).build());
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let out = Command::new(binary::vtep())
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        let script = text(&out.stdout);
        assert!(
            script.contains("vtep") && script.contains("fdb"),
            "{shell}: {script}"
        );
    }
}

#[test]
fn the_instance_may_come_from_the_environment() {
    need_root!();
    let wire = wire();

    let out = Command::new(binary::vtep())
        .args(["vni", "show", "-j"])
        .env("VTEP_INSTANCE", wire.daemon.instance())
        .output()
        .unwrap();

    let rows: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(rows[0]["vni"], 100);
}

#[test]
fn counters_tell_what_happened_to_each_frame() {
    need_root!();
    let wire = wire();
    let sum = |filter: &str, reason: Option<&str>| -> u64 {
        let rows = wire.daemon.rows(&format!("stats {filter}"));
        rows.iter()
            .filter(|row| reason.is_none_or(|reason| row["reason"] == reason))
            .map(|row| row["packets"].as_u64().unwrap())
            .sum()
    };
    let frame = udp4(VM, FAR_VM).build();

    for _ in 0..3 {
        wire.encap(&frame);
    }
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);

    assert_eq!(sum("", Some("encapsulated")), 3);
    assert_eq!(sum("", Some("decapsulated")), 1);
    // Both directions of each.
    for filter in ["--vni 100", "--dev vm0", "--peer 198.18.0.2"] {
        assert_eq!(sum(filter, None), 4, "{filter}");
    }
    assert_eq!(
        wire.daemon
            .rows("drops")
            .iter()
            .map(|row| row["packets"].as_u64().unwrap())
            .sum::<u64>(),
        0
    );
    assert_eq!(wire.port.recv(std::time::Duration::ZERO), None);
}

#[test]
fn the_api_answers_plain_http() {
    need_root!();
    let wire = wire();
    let mut stream = std::os::unix::net::UnixStream::connect(wire.daemon.socket()).unwrap();

    std::io::Write::write_all(
        &mut stream,
        b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .unwrap();

    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"openapi\""), "{answer}");
}
