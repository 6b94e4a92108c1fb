//! What is refused, and what is waited for.

use vtep_tests::lab::GREEN;
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

use super::{BRIDGE, GATE_PORT, Host};

/// What a refused command says.
#[track_caller]
fn refused(host: &Host, args: &str) -> String {
    let out = host.daemon().vtep(args);
    assert_eq!(out.status.code(), Some(1), "vtep {args}: {out:?}");
    String::from_utf8_lossy(&out.stderr).into_owned()
}

#[test]
fn what_cannot_be_the_bridge_of_a_vni_is_refused_with_what_to_type() {
    need_root!();
    let host = Host::new();
    host.ns().ip("link add aware0 type bridge
         link set aware0 type bridge stp_state 1
         link add plain0 type veth peer name plain1
         link add under0 type bridge");
    for (bridge, why) in [
        ("aware0", "type bridge stp_state 0"),
        ("plain0", "plain0 is no bridge"),
        (BRIDGE, "bridge br0 is in vni 100"),
    ] {
        let said = refused(&host, &format!("vni add 200 --bridge {bridge}"));
        assert!(said.contains(why), "{said}");
    }
    for bridge in ["far/away", "a-name-of-16-byte"] {
        let out = host
            .daemon()
            .vtep(&format!("vni add 200 --bridge {bridge}"));
        assert_eq!(out.status.code(), Some(2), "{out:?}");
    }
    host.ns().ip("link set up0 master under0");
    until_true("the uplink to be seen in the bridge", || {
        refused(&host, "vni add 200 --bridge under0").contains("has the uplink up0 as a member")
    });
    host.ns().ip("link set up0 nomaster");
}

#[test]
fn a_bridge_that_gets_a_spanning_tree_is_let_go_until_it_has_none() {
    need_root!();
    let host = Host::new();
    host.ns()
        .ip(&format!("link set {BRIDGE} type bridge stp_state 1"));
    for dev in host.members() {
        host.is_no_port(dev);
    }
    let waits = || host.daemon().status()["waits_for"].to_string();
    until_true("the daemon to say so", || waits().contains("stp_state 0"));

    host.ns()
        .ip(&format!("link set {BRIDGE} type bridge stp_state 0"));

    host.settled();
    super::reach::all_reach_each_other(&host);
}

#[test]
fn what_is_there_for_a_bridge_is_not_taken_away_by_hand() {
    need_root!();
    let host = Host::new();
    let dev = &host.a.port;
    for (args, why) in [
        (
            format!("port del {dev}"),
            format!("ip link set {dev} nomaster"),
        ),
        (format!("port del {GATE_PORT}"), "--bridge none".into()),
        (
            format!("port set {GATE_PORT} --isolated on"),
            "--bridge none".into(),
        ),
        (
            format!("fdb add {} --vni {GREEN} --dev {dev}", host.a.mac),
            format!("vtep port add {dev} --vni {GREEN}"),
        ),
        (format!("vni del {GREEN}"), "has 2 ports".into()),
    ] {
        let said = refused(&host, &args);
        assert!(said.contains(&why), "vtep {args}: {said}");
    }
}
