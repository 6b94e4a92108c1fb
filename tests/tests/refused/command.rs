//! Commands that are refused.

use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::refusal::{assert_refused, refused, text};
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

use crate::{stopped, wire};

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
fn what_does_not_exist_is_named_with_the_command_that_makes_it() {
    need_root!();
    let wire = wire();
    for (args, needles) in [
        ("vni set 999 --ttl 3", &["vni 999", "vtep vni add 999"][..]),
        ("vni del 999 --force", &["vni 999"]),
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
        ("fdb flush --vni 999 --static", &["vni 999"]),
        ("peer set 198.18.0.9 --csum6 off", &["198.18.0.9"]),
        ("peer show 198.18.0.9", &["198.18.0.9"]),
        ("stats --vni 999", &["vni 999"]),
        ("batch /nonexistent/file", &["/nonexistent/file"]),
    ] {
        refused(&wire.daemon, args, 1, needles);
    }
}

#[test]
fn what_shows_or_removes_of_nothing_says_how_to_see_what_there_is() {
    need_root!();
    let wire = wire();
    let stats = format!("stats --dev {UPLINK}");
    for (args, needles) in [
        ("vni show 999", &["vni 999", "vtep vni show"][..]),
        ("vni del 999", &["vni 999", "vtep vni show"]),
        ("fdb show --vni 999", &["vni 999", "vtep vni show"]),
        ("neigh show --vni 999", &["vni 999", "vtep vni show"]),
        ("port show nope", &["nope", "vtep port show"]),
        ("port del nope", &["nope", "vtep port show"]),
        ("stats --dev nope", &["nope", "vtep port show"]),
        (&stats, &[UPLINK, "is an uplink", "vtep stats"]),
        ("peer show 198.18.0.9", &["198.18.0.9", "vtep peer show"]),
        (
            "fdb del 00:00:00:00:00:00 --vni 100 --dst 198.18.0.9",
            &["198.18.0.9", "vtep fdb get 00:00:00:00:00:00 --vni 100"],
        ),
    ] {
        refused(&wire.daemon, args, 1, needles);
        let said = text(&wire.daemon.vtep(args).stderr);
        for wrong in [" add ", "append"] {
            assert!(!said.contains(wrong), "{args} says how to make it: {said}");
        }
    }
    let own = format!("port add vtep4789 --vni {GREEN}");
    refused(&wire.daemon, &own, 1, &["vtep's own slow-path device"]);
}

#[test]
fn an_option_without_its_dashes_is_refused_with_the_line_to_type() {
    need_root!();
    let wire = wire();
    for (args, line) in [
        (
            "fdb add 02:00:00:00:00:0c vni 100 dst 198.18.0.2",
            "vtep fdb add 02:00:00:00:00:0c --vni 100 --dst 198.18.0.2",
        ),
        (
            "fdb append 00:00:00:00:00:00 dst 198.18.0.2 --vni 100",
            "vtep fdb append 00:00:00:00:00:00 --dst 198.18.0.2 --vni 100",
        ),
    ] {
        refused(&wire.daemon, args, 2, &[line]);
    }
}

#[test]
fn a_word_that_is_short_for_several_commands_is_refused_with_their_names() {
    need_root!();
    let wire = wire();
    refused(&wire.daemon, "p show", 2, &["`p`", "port, peer"]);
    refused(&wire.daemon, "fdb a", 2, &["`a`", "add, append"]);
    refused(&wire.daemon, "tear", 2, &["teardown in full"]);
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
        drop(daemon.vtep(&format!("fdb flush --vni {GREEN} --static")));
        text(&out.stderr).contains("own address")
    });
    daemon.ok(&add("203.0.113.77"));
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
            3,
            &[daemon.instance(), "vtep run"],
            args,
        );
    }
}
