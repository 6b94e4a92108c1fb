//! Overlays that are broken on purpose: `vtep doctor` names each fault in one run, and nothing of its kind before.

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::text;
use vtep_tests::encoder::Mac;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK, Vm};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks::{marked, ping_both_ways};
use vtep_tests::traffic::roam::{ROAMER, Site};
use vtep_tests::wait::until_true;

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
        // How strict a host is by itself is not the lab's.
        let others = named.iter().filter(|row| row["check"] != "rp_filter");
        assert_eq!(others.count(), 0, "{named:?}");
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
        shown.contains("FAIL  path_mtu") && shown.contains(&mend),
        "{shown}"
    );
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
fn a_vtep_without_a_route_and_an_uplink_that_is_down_fail() {
    need_root!();
    let (lab, ..) = overlay(&[]);
    let (daemon, host) = (lab.daemon(0), &lab.hypervisors[0].ns);
    assert_eq!(found(daemon, "routes"), [] as [Value; 0]);
    assert_eq!(found(daemon, "uplinks"), [] as [Value; 0]);

    host.ip("route add unreachable 203.0.113.9");
    daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst 203.0.113.9",
        Mac::ZERO
    ));
    until_true("the VTEP to be unreachable", || {
        daemon.rows("peer show 203.0.113.9")[0]["state"] == "unreachable"
    });
    finds(daemon, "routes", "FAIL", ("203.0.113.9", "ip route add"));

    host.ip(&format!("link set {UPLINK} down"));
    until_true("the uplink to be down", || {
        daemon.status()["uplinks"][0]["state"] == "down"
    });
    let mend = format!("ip link set {UPLINK} up");
    finds(daemon, "uplinks", "FAIL", (UPLINK, &mend));
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
    assert_eq!(row("conflicts")["mend"], "ip link del vxlan7");
    assert_eq!(row("firewall")["state"], "ok");
}
