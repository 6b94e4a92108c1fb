//! Members, bridges and daemons that come and go.

use std::process::Command;

use serde_json::Value;
use vtep_tests::daemon::binary;
use vtep_tests::lab::ns::{Ns, done};
use vtep_tests::lab::{Attach, GREEN};
use vtep_tests::need_root;
use vtep_tests::traffic::ping;
use vtep_tests::wait::until_true;

use super::reach::{all_reach_each_other, each_is_heard_once};
use super::{BRIDGE, GATE, GATE_PORT, Host, attach, bridge_state};

#[test]
fn an_interface_is_a_port_as_long_as_it_is_a_member() {
    need_root!();
    let host = Host::new();
    let late = host.lab.vm_unattached(Attach::TapPlain, 0, 4);
    assert_eq!(host.port(&late.port), None);

    attach(host.ns(), &late.port);
    host.is_member(&late.port);
    ping(&late.ns, host.far.v4);
    ping(&late.ns, host.a.v4);
    ping(&late.ns, Host::ips()[0]);

    host.ns().ip(&format!("link set {} nomaster", late.port));
    host.is_no_port(&late.port);
    let vni = host.daemon().rows(&format!("vni show {GREEN}")).remove(0);
    let mut ports = [&host.a.port, &host.b.port, GATE_PORT];
    ports.sort_unstable();
    assert_eq!(vni["ports"], Value::from(ports.to_vec()));

    // It goes while it is one.
    attach(host.ns(), &late.port);
    host.is_member(&late.port);
    let dev = late.port.clone();
    drop(late);
    host.is_no_port(&dev);
    each_is_heard_once(&host, 1);
}

#[test]
fn a_member_whose_link_comes_up_again_is_left_alone_again() {
    need_root!();
    let host = Host::new();
    all_reach_each_other(&host);
    for dev in host.members() {
        host.ns()
            .ip(&format!("link set {dev} down\nlink set {dev} up"));
        // The kernel opens it by itself; the daemon closes it again.
        until_true("the link to be up and left alone", || {
            let up = host.ns().ip_output(&format!("-br link show dev {dev}"));
            up.contains("LOWER_UP") && bridge_state(host.ns(), dev).as_deref() == Some("disabled")
        });
    }
    all_reach_each_other(&host);
    host.settled();

    each_is_heard_once(&host, 1);
}

#[test]
fn a_bridge_that_is_missing_is_waited_for() {
    need_root!();
    let host = Host::new();
    host.ns().ip(&format!("link del {BRIDGE}"));
    for dev in host.members() {
        host.is_no_port(dev);
    }
    host.is_no_port(GATE_PORT);
    let waits = || host.daemon().status()["waits_for"].to_string();
    until_true("the daemon to wait", || {
        waits().contains("bridge br0 of vni 100, which does not exist")
    });

    host.make_bridge();
    host.settled();

    assert_eq!(
        host.daemon().status()["waits_for"],
        Value::from([0; 0].to_vec())
    );
    all_reach_each_other(&host);
    each_is_heard_once(&host, 1);
}

#[test]
fn a_gate_that_somebody_deletes_is_made_again() {
    need_root!();
    let host = Host::new();
    let number = host.ns().ifindex(GATE);
    host.ns().ip(&format!("link del {GATE}"));

    until_true("another gate", || {
        host.ns().has_device(GATE) && host.ns().ifindex(GATE) != number
    });
    until_true("the gate to be a port", || host.port(GATE_PORT).is_some());
    all_reach_each_other(&host);
    each_is_heard_once(&host, 1);
}

#[test]
fn a_daemon_that_was_killed_takes_on_what_changed_meanwhile() {
    need_root!();
    let host = Host::new();
    all_reach_each_other(&host);
    let late = host.lab.vm_unattached(Attach::Veth, 0, 4);
    let gate = host.ns().ifindex(GATE);

    host.daemon().kill();
    // Forwarding goes on, and the bridge still leaves its members alone.
    all_reach_each_other(&host);
    each_is_heard_once(&host, 1);
    attach(host.ns(), &late.port);
    host.ns().ip(&format!("link set {} nomaster", host.a.port));
    host.daemon().run();

    host.is_member(&late.port);
    host.is_no_port(&host.a.port);
    ping(&late.ns, host.far.v4);
    assert_eq!(host.ns().ifindex(GATE), gate, "the gate stays");
    attach(host.ns(), &host.a.port);
    host.settled();
    all_reach_each_other(&host);
    each_is_heard_once(&host, 2);
}

#[test]
fn a_bridge_that_was_made_anew_without_a_daemon_is_the_vni_s() {
    need_root!();
    let host = Host::new();
    host.daemon().kill();
    host.ns().ip(&format!("link del {BRIDGE}"));
    host.make_bridge();
    host.daemon().run();

    host.settled();
    all_reach_each_other(&host);
    each_is_heard_once(&host, 1);
}

/// Everything that the kernel says of the bridge and its members.
fn settings(ns: &Ns) -> Vec<Value> {
    let json = |command: &mut Command| -> Value {
        let out = done(command, "");
        serde_json::from_slice(&out.stdout).expect("JSON")
    };
    let bridge = Command::new("ip")
        .args(["-n", ns.name(), "-d", "-j", "addr", "show", "dev", BRIDGE])
        .output();
    let mut bridge: Value = serde_json::from_slice(&bridge.expect("ip").stdout).expect("JSON");
    // Timers run.
    if let Some(data) = bridge[0]["linkinfo"]["info_data"].as_object_mut() {
        data.retain(|key, _| !key.ends_with("_timer"));
    }
    let mut links =
        json(Command::new("bridge").args(["-n", ns.name(), "-d", "-j", "link", "show"]));
    for link in links.as_array_mut().expect("an array") {
        // What changes by itself, as multicast routers do.
        link.as_object_mut()
            .expect("an object")
            .retain(|key, _| key != "mcast_router");
    }
    vec![bridge, links]
}

#[test]
fn a_bridge_is_as_before_when_its_vni_goes() {
    need_root!();
    let host = Host::without_vni();
    for dev in host.members() {
        host.has_state(dev, "forwarding");
    }
    let before = settings(host.ns());
    let adds = || {
        host.daemon()
            .ok(&format!("vni add {GREEN} --bridge {BRIDGE}"));
        host.settled();
    };
    let is_back = |how: &str| {
        until_true(how, || settings(host.ns()) == before);
        assert!(!host.ns().has_device(GATE), "{how}");
        for vm in [&host.a, &host.b] {
            ping(&vm.ns, Host::ips()[0]);
        }
        ping(&host.a.ns, host.b.v4);
    };

    adds();
    host.daemon().ok(&format!("vni del {GREEN} --force"));
    is_back("vni del");

    adds();
    host.daemon().ok(&format!("vni set {GREEN} --bridge none"));
    is_back("vni set --bridge none");
    for dev in host.members() {
        assert_eq!(host.port(dev), None);
    }
    host.daemon().ok(&format!("vni del {GREEN}"));

    adds();
    host.daemon().kill();
    host.daemon().run();
    host.daemon().ok(&format!("vni del {GREEN} --force"));
    is_back("vni del after a kill");

    adds();
    host.daemon().ok("teardown");
    is_back("teardown");
    until_true("the daemon to end", || host.daemon().ended().is_some());

    host.daemon().run();
    adds();
    host.daemon().kill();
    let mut teardown = host.ns().command(binary::vtep());
    teardown.args(["teardown", "--instance", host.daemon().instance()]);
    done(&mut teardown, "");
    is_back("teardown without a daemon");
    host.daemon().run();
}

#[test]
fn a_bridge_without_members_keeps_its_mac() {
    need_root!();
    let host = Host::without_vni();
    host.ns().ip("link add br1 type bridge\nlink set br1 up");
    let mac = host.ns().mac("br1");

    host.daemon().ok("vni add 200 --bridge br1");
    until_true("the gate", || host.port("vtbr200p").is_some());
    assert_eq!(host.ns().mac("br1"), mac);
    host.daemon().ok("vni del 200");

    until_true("the gate to go", || !host.ns().has_device("vtbr200"));
    until_true("the MAC", || host.ns().mac("br1") == mac);
}
