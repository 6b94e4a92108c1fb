//! Ports take frames for all MACs, and what was set before is left as it was.

use vtep_tests::daemon::binary;
use vtep_tests::lab::GREEN;
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{PORT, Wire};
use vtep_tests::need_root;
use vtep_tests::wait::until_true;

/// A hypervisor with a veth beside its port.
fn with_veth() -> Wire {
    let wire = Wire::new(Family::V4);
    wire.ns
        .ip("link add c0 type veth peer name far0\nlink set c0 up\nlink set far0 up");
    wire
}

fn teardown_without_daemon(wire: &Wire) {
    let mut command = wire.ns.command(binary::vtep());
    command.args(["teardown", "--instance", wire.daemon.instance()]);
    ns::done(&mut command, "");
}

#[test]
fn a_port_is_promiscuous_as_long_as_it_is_one() {
    need_root!();
    let wire = with_veth();
    assert_eq!(wire.ns.promiscuity("c0"), 0);

    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    assert_eq!(wire.ns.promiscuity("c0"), 1);

    wire.daemon.ok("port del c0");
    assert_eq!(wire.ns.promiscuity("c0"), 0);
}

#[test]
fn a_trunk_is_promiscuous_until_its_last_port_goes() {
    need_root!();
    let wire = with_veth();
    for vlan in [10, 20] {
        wire.daemon
            .ok(&format!("port add c0 --vni {GREEN} --vlan {vlan}"));
    }
    assert_eq!(wire.ns.promiscuity("c0"), 1);

    wire.daemon.ok("port del c0 --vlan 10");
    assert_eq!(wire.ns.promiscuity("c0"), 1);
    wire.daemon.ok("port del c0 --vlan 20");

    assert_eq!(wire.ns.promiscuity("c0"), 0);
}

#[test]
fn what_somebody_has_set_stays_set() {
    need_root!();
    let wire = with_veth();
    wire.ns.ip("link set c0 promisc on");

    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    wire.daemon.ok("port del c0");

    assert_eq!(wire.ns.promiscuity("c0"), 1);
    // Nor does anybody forget it meanwhile.
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    wire.daemon.kill();
    wire.daemon.run();
    wire.daemon.ok("port del c0");
    assert_eq!(wire.ns.promiscuity("c0"), 1);
}

#[test]
fn it_outlives_the_daemon_and_ends_with_the_port() {
    need_root!();
    let wire = with_veth();
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));

    wire.daemon.kill();
    assert_eq!(wire.ns.promiscuity("c0"), 1);
    wire.daemon.run();
    assert_eq!(wire.ns.promiscuity("c0"), 1);
    wire.daemon.ok("port del c0");

    assert_eq!(wire.ns.promiscuity("c0"), 0);
}

#[test]
fn a_teardown_ends_it() {
    need_root!();
    let wire = with_veth();
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    assert_eq!(wire.ns.promiscuity("c0"), 1);

    wire.daemon.ok("teardown");

    until_true("the daemon to end", || wire.daemon.ended().is_some());
    for dev in ["c0", PORT] {
        assert_eq!(wire.ns.promiscuity(dev), 0, "{dev}");
    }
    assert!(!wire.daemon.pins().exists());
}

#[test]
fn a_teardown_without_a_daemon_ends_it() {
    need_root!();
    let wire = with_veth();
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    wire.daemon.kill();
    assert_eq!(wire.ns.promiscuity("c0"), 1);

    teardown_without_daemon(&wire);

    assert_eq!(wire.ns.promiscuity("c0"), 0);
    assert!(!wire.daemon.pins().exists());
}

#[test]
fn a_port_of_a_daemon_that_knew_nothing_of_it_becomes_promiscuous() {
    need_root!();
    let wire = with_veth();
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    wire.daemon.kill();
    // As such a daemon leaves it.
    wire.ns.ip("link set c0 promisc off");
    std::fs::remove_dir_all(wire.daemon.pins().join("promiscuous")).unwrap();

    wire.daemon.run();

    assert_eq!(wire.ns.promiscuity("c0"), 1);
    assert_eq!(wire.daemon.status()["repairs"], 0);
    wire.daemon.ok("port del c0");
    assert_eq!(wire.ns.promiscuity("c0"), 0);
}

#[test]
fn another_interface_with_its_number_is_left_alone() {
    need_root!();
    let wire = with_veth();
    wire.daemon.ok(&format!("port add c0 --vni {GREEN}"));
    let number = wire.ns.ifindex("c0");
    wire.daemon.kill();
    wire.ns.ip(&format!(
        "link del c0\nlink add other0 index {number} type veth peer name far1\nlink set other0 promisc on"
    ));

    wire.daemon.run();
    wire.daemon.ok("port del c0");

    assert_eq!(wire.ns.promiscuity("other0"), 1);
}
