//! Overlays that are broken on purpose: `vtep doctor` names each fault in one run, and nothing of its kind before.

use std::process::Command;

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::text;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::traffic::checks::{marked, ping_both_ways};
use vtep_tests::traffic::roam::{ROAMER, Site};
use vtep_tests::wait::until_true;
use vtep_tests::{need_programs, need_root};

const UNDERLAY: Underlay = Underlay {
    family: Family::V4,
    topology: Topology::Routed,
};

/// An overlay of two hypervisors with a VM each, which reach each other; `args` are for `vtep run`.
fn overlay(args: &[&str]) -> (Lab, Vm, Vm) {
    let lab = Lab::with(UNDERLAY, &[Kind::Vtep; 2], 1500, args);
    lab.segment(GREEN);
    let (ours, theirs) = lab.pair();
    ping_both_ways(&ours, &theirs);
    (lab, ours, theirs)
}

/// What one run finds, and its exit status.
#[track_caller]
fn examined(daemon: &Daemon) -> (Vec<Value>, Option<i32>) {
    let out = daemon.vtep("doctor -j");
    let rows = serde_json::from_slice(&out.stdout);
    let rows = rows.unwrap_or_else(|e| panic!("{e}: {}{}", text(&out.stdout), text(&out.stderr)));
    (rows, out.status.code())
}

/// What one run finds by a check, besides that all is well.
#[track_caller]
fn found(daemon: &Daemon, check: &str) -> Vec<Value> {
    let (rows, _) = examined(daemon);
    let of_check: Vec<_> = rows
        .into_iter()
        .filter(|row| row["check"] == check)
        .collect();
    assert!(!of_check.is_empty(), "there is no check {check}");
    of_check
        .into_iter()
        .filter(|row| row["state"] != "ok")
        .collect()
}

/// One run names this, and how to mend it.
#[track_caller]
fn finds(daemon: &Daemon, check: &str, state: &str, (about, mend): (&str, &str)) {
    let rows = found(daemon, check);
    let named = rows.iter().any(|row| {
        let has = |key: &str, needle: &str| row[key].as_str().is_some_and(|it| it.contains(needle));
        row["state"] == state && has("about", about) && has("mend", mend)
    });
    assert!(named, "{check} does not name {about}, {mend}: {rows:?}");
}

#[test]
fn a_healthy_overlay_has_no_fault() {
    need_root!();
    let (lab, ..) = overlay(&[]);

    for at in 0..2 {
        let (rows, code) = examined(lab.daemon(at));

        let named: Vec<_> = rows.iter().filter(|row| row["state"] != "ok").collect();
        assert_eq!(named, [] as [&Value; 0]);
        assert_eq!(code, Some(0), "{rows:?}");
    }
}

#[test]
fn a_guest_with_too_large_an_mtu_is_found() {
    need_root!();
    let (lab, ours, _theirs) = overlay(&[]);
    let daemon = lab.daemon(0);
    assert_eq!(found(daemon, "path_mtu"), [] as [Value; 0]);

    lab.hypervisors[0]
        .ns
        .ip(&format!("link set {} mtu 1500", ours.port));
    let port = format!("port show {}", ours.port);
    until_true("the MTU to be noticed", || {
        daemon.rows(&port)[0]["mtu"] == 1500
    });

    let mend = format!("ip link set {} mtu 1450", ours.port);
    finds(daemon, "path_mtu", "FAIL", (&ours.port, &mend));
    assert_eq!(examined(daemon).1, Some(1));
    // As people read it.
    let shown = daemon.vtep("doctor");
    let shown = text(&shown.stdout);
    assert!(
        shown.contains("FAIL  path_mtu     vm") && shown.contains(&format!(" mend: {mend}\n")),
        "{shown}"
    );
    // The checks' names stand in a column of their own.
    let rows = shown.lines().filter(|line| !line.starts_with(' '));
    for row in rows {
        assert!(row.get(17..19) == Some("  "), "{row}");
    }
    // What it says to type mends it.
    lab.hypervisors[0].ns.ip(mend.trim_start_matches("ip "));
    until_true("the MTU to be noticed", || {
        daemon.rows(&port)[0]["mtu"] == 1450
    });
    assert_eq!(examined(daemon).1, Some(0));
}

#[test]
fn a_vtep_that_the_flood_list_lacks_is_found() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let (daemon, far) = (lab.daemon(0), lab.hypervisors[1].ip);
    assert_eq!(found(daemon, "flood_list"), [] as [Value; 0]);

    daemon.ok(&format!("fdb del {} --vni {GREEN} --dst {far}", Mac::ZERO));

    let mend = format!("vtep fdb append {} --vni {GREEN} --dst {far}", Mac::ZERO);
    finds(daemon, "flood_list", "WARN", ("vni 100", &mend));
}

#[test]
fn a_firewall_that_drops_vxlan_is_found() {
    need_root!();
    need_programs!(["nft"]);
    let (lab, ..) = overlay(&[]);
    let (daemon, host) = (lab.daemon(0), &lab.hypervisors[0].ns);
    let load = |rules: &str| ns::done(host.command("nft").args(["-f", "-"]), rules);
    load(
        "table inet filter {
        chain input {
            type filter hook input priority 0; policy accept;
            ct state established,related accept
            tcp dport 22 accept
        }
    }",
    );
    assert_eq!(found(daemon, "firewall"), [] as [Value; 0]);

    for (broken, mended) in [
        (
            "add rule inet filter input udp dport 4789 drop",
            "flush chain inet filter input",
        ),
        ("add chain inet filter input { policy drop; }", ""),
    ] {
        load(broken);
        let mend = "nft insert rule inet filter input udp dport 4789 accept";
        finds(daemon, "firewall", "FAIL", (UPLINK, mend));
        assert_eq!(examined(daemon).1, Some(1));
        load(mended);
    }
    load("insert rule inet filter input udp dport 4789 accept");
    assert_eq!(found(daemon, "firewall"), [] as [Value; 0]);
}

#[test]
fn a_mac_in_two_places_is_found() {
    need_root!();
    let (lab, ..) = overlay(&["--dup-moves", "1", "--dup-freeze", "600"]);
    let daemon = lab.daemon(0);
    let sites = ["vm8", "vm9"].map(|port| Site::new(&lab, 0, port));
    for site in &sites {
        site.plug(&lab, "");
    }
    assert_eq!(found(daemon, "duplicates"), [] as [Value; 0]);

    until_true("the MAC to be frozen", || {
        for (site, mark) in sites.iter().zip(1..) {
            let frame = marked(ROAMER, Mac::BROADCAST, mark).build();
            site.link.send(&frame);
        }
        let row = daemon.fdb(GREEN, ROAMER);
        row.is_some_and(|row| row["duplicate"] == true)
    });

    let (about, mend) = (
        format!("{ROAMER} in vni {GREEN}"),
        format!("vtep fdb del {ROAMER} --vni {GREEN}"),
    );
    finds(daemon, "duplicates", "WARN", (&about, &mend));
}

#[test]
fn a_guest_in_the_wrong_vlan_is_found() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let daemon = lab.daemon(0);
    let site = Site::new(&lab, 0, "vm8");
    site.plug(&lab, "--vlan 10");
    let tagged = |vlan| {
        let frame = eth(ROAMER, Mac::BROADCAST).vlan(vlan).ethertype(0x88b5);
        frame.payload(1, 60).build()
    };
    assert_eq!(found(daemon, "vlans"), [] as [Value; 0]);

    site.link.send(&tagged(20));
    daemon.expect_dropped("vlan_unmapped", 1);

    let mend = "vtep capture --reason vlan_unmapped";
    finds(daemon, "vlans", "WARN", ("vm8", mend));
    // Nothing is wrong with a VLAN that has frames of its own.
    site.link.send(&tagged(10));
    until_true("the VLAN to have a frame", || {
        daemon.fdb(GREEN, ROAMER).is_some()
    });
    assert_eq!(found(daemon, "vlans"), [] as [Value; 0]);
}

/// Has a VTEP that is none on the flood list.
fn flood_to_nobody(daemon: &Daemon, ip: &str, state: &str) {
    let zero = Mac::ZERO;
    daemon.ok(&format!("fdb append {zero} --vni {GREEN} --dst {ip}"));
    let show = format!("peer show {ip}");
    until_true("the VTEP's state", || {
        daemon.rows(&show)[0]["state"] == state
    });
}

#[test]
fn why_a_vtep_has_no_route_is_told_and_what_is_typed_then_mends_it() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let (daemon, host) = (lab.daemon(0), &lab.hypervisors[0].ns);
    assert_eq!(found(daemon, "routes"), [] as [Value; 0]);
    let gateway = UNDERLAY.family.address(1, 254);
    let far = lab.hypervisors[1].ip;
    let ip = "203.0.113.9";
    host.ip(&format!(
        "route add {far} via {gateway}
         route add unreachable {ip}"
    ));
    flood_to_nobody(daemon, ip, "unreachable");
    let state = || daemon.rows(&format!("peer show {ip}"))[0]["state"].clone();

    for kind in ["unreachable", "prohibit", "blackhole"] {
        host.ip(&format!("route replace {kind} {ip}"));
        until_true("the VTEP to be unreachable", || state() == "unreachable");
        let mend = format!("ip route del {kind} {ip}/32 table 254");
        finds(daemon, "routes", "FAIL", (ip, &mend));
        assert_eq!(examined(daemon).1, Some(1));
        host.ip(mend.trim_start_matches("ip "));
        until_true("the VTEP to be reachable", || state() != "unreachable");
    }

    // One that no rule leads to keeps nothing from anywhere.
    host.ip(&format!(
        "route add {ip} via {gateway} table 100
         route add unreachable {ip} table 77
         route del default"
    ));
    until_true("the VTEP to be unreachable", || state() == "unreachable");
    let mend = format!("ip rule add to {ip} lookup 100");
    finds(daemon, "routes", "FAIL", (ip, &mend));
    host.ip(mend.trim_start_matches("ip "));
    until_true("the VTEP to be reachable", || {
        // A rule alone tells nobody; the next change of the underlay does.
        host.ip(&format!("route replace {ip} via {gateway} table 100"));
        state() != "unreachable"
    });

    host.ip("rule del lookup 100");
    host.ip("route flush table 100");
    until_true("the VTEP to be unreachable", || state() == "unreachable");
    finds(daemon, "routes", "FAIL", (ip, "ip rule show"));
    host.ip("route flush table 77");
    // The router that leads to the other VTEP may lead to this one.
    let mend = format!("ip route add {ip} via {gateway} dev {UPLINK}");
    finds(daemon, "routes", "FAIL", (ip, &mend));
    host.ip(mend.trim_start_matches("ip "));
    until_true("the VTEP to be reachable", || state() != "unreachable");
    assert_eq!(found(daemon, "routes"), [] as [Value; 0]);
}

#[test]
fn a_next_hop_that_does_not_answer_is_found() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let daemon = lab.daemon(0);
    let nobody = UNDERLAY.family.address(1, 77).to_string();
    flood_to_nobody(daemon, &nobody, "resolving");

    until_true("the neighbour to be given up", || {
        let rows = found(daemon, "routes");
        rows.iter().any(|row| row["state"] == "FAIL")
    });

    let mend = format!("ip neighbour show to {nobody} dev {UPLINK}");
    finds(daemon, "routes", "FAIL", (&nobody, &mend));
}

#[test]
fn an_uplink_that_is_down_fails() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let (daemon, host) = (lab.daemon(0), &lab.hypervisors[0].ns);
    assert_eq!(found(daemon, "uplinks"), [] as [Value; 0]);

    host.ip(&format!("link set {UPLINK} down"));
    until_true("the uplink to be down", || {
        daemon.status()["uplinks"][0]["state"] == "down"
    });

    let mend = format!("ip link set {UPLINK} up");
    finds(daemon, "uplinks", "FAIL", (UPLINK, &mend));
}

#[test]
fn a_vtep_that_is_sent_to_and_not_heard_is_found_if_macs_are_behind_it() {
    need_root!();
    let (lab, ours, _theirs) = overlay(&[]);
    let daemon = lab.daemon(0);
    // Its router takes the packets, and has no route.
    let (ip, mac) = ("203.0.113.9", Mac::nth(0x77));
    flood_to_nobody(daemon, ip, "resolved");
    let link = ours.link();
    let mut marks = 1..;
    until_true("the VTEP to be silent", || {
        let broadcast = marked(ours.mac, Mac::BROADCAST, marks.next().unwrap_or(0));
        link.send(&broadcast.build());
        daemon.rows(&format!("peer show {ip}"))[0]["state"] == "silent"
    });
    assert_eq!(found(daemon, "silence"), [] as [Value; 0]);

    daemon.ok(&format!("fdb add {mac} --vni {GREEN} --dst {ip}"));

    finds(daemon, "silence", "WARN", (ip, &format!("ping {ip}")));
}

#[test]
fn a_strict_rp_filter_is_found_where_a_vtep_is_reached_by_another_interface() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let (daemon, host) = (lab.daemon(0), &lab.hypervisors[0].ns);
    host.sysctl(&format!("ipv4/conf/{UPLINK}/rp_filter"), "1");
    host.sysctl("ipv4/conf/all/rp_filter", "0");
    assert_eq!(found(daemon, "rp_filter"), [] as [Value; 0]);

    host.ip("link add other0 type veth peer name other1
         link set other0 up
         link set other1 up
         addr add 198.51.100.1/24 dev other0");
    flood_to_nobody(daemon, "198.51.100.7", "resolving");

    let key = format!("net/ipv4/conf/{UPLINK}/rp_filter");
    let mend = format!("sysctl -w {key}=2");
    finds(daemon, "rp_filter", "WARN", (UPLINK, &mend));
    host.sysctl(&format!("ipv4/conf/{UPLINK}/rp_filter"), "2");
    assert_eq!(found(daemon, "rp_filter"), [] as [Value; 0]);
}

#[test]
fn from_where_the_namespace_cannot_be_entered_the_daemon_is_asked_all_the_same() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let daemon = lab.daemon(0);
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set", "-sys_admin"]);
    command.arg(binary::vtep());
    command.args(["doctor", "-j", "--instance", daemon.instance()]);

    let out = ns::with_input(&mut command, "");

    let rows: Vec<Value> = serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", text(&out.stderr)));
    let of = |check: &str| rows.iter().find(|row| row["check"] == check);
    for check in ["firewall", "conflicts", "cards", "rp_filter", "promiscuous"] {
        assert_eq!(of(check), None);
    }
    for check in ["routes", "flood_list", "vlans", "drops"] {
        assert_eq!(of(check).expect(check)["state"], "ok");
    }
    let row = of("daemon").expect("a row of the daemon");
    let mend = format!("sudo vtep doctor --instance {}", daemon.instance());
    assert_eq!(
        (&row["state"], &row["mend"]),
        (&"WARN".into(), &mend.into())
    );
    let finding = row["finding"].as_str().unwrap_or_default();
    assert!(finding.contains("cannot be entered"), "{finding}");
    assert_eq!(out.status.code(), Some(0));
}

#[test]
fn without_a_daemon_the_host_is_looked_at() {
    need_root!();
    let ns = Ns::new("nobody");
    ns.ip("link add vxlan7 type vxlan id 7 dstport 4789 local 127.0.0.1");
    let mut command = ns.command(binary::vtep());
    command.args(["doctor", "-j", "--instance", &ns::unique("i")]);

    let out = ns::with_input(&mut command, "");

    assert_eq!(out.status.code(), Some(1), "{}", text(&out.stderr));
    let rows: Vec<Value> = serde_json::from_slice(&out.stdout).expect("rows");
    let row = |check: &str| rows.iter().find(|row| row["check"] == check).expect(check);
    let daemon = row("daemon")["finding"].as_str().unwrap_or_default();
    assert!(daemon.contains("no daemon answers"), "{daemon}");
    assert_eq!(row("conflicts")["mend"], "ip -d link show dev vxlan7");
    assert_eq!(row("firewall")["state"], "ok");
}
