//! Whose the pins are, and which interface is the port: what a daemon finds that starts after things have changed.

use std::fs;
use std::process::Output;

use serde_json::Value;
use vtep_tests::bpf;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::{Ns, done, with_input};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::need_root;

/// An interface that no port is on.
const STRANGER: &str = "mgmt0";
/// What a port's interface is called after a rename.
const RENAMED: &str = "vm9";
/// The maps that say whose the pins are and what the ports' interfaces are called: earlier builds had none.
const NEW_MAPS: [&str; 2] = ["NAMESPACE", "PORT_NAMES"];

/// Interfaces of the ports, as the daemon shows them.
fn devices(daemon: &Daemon) -> Vec<String> {
    let rows = daemon.rows("port show");
    let there = rows.iter().filter(|row| row["ifindex"].is_u64());
    there
        .map(|row| row["dev"].as_str().unwrap().to_owned())
        .collect()
}

/// Makes another interface, with a number of one that is gone.
fn make_stranger(ns: &Ns, ifindex: u32) {
    ns.ip(&format!(
        "link add name {STRANGER} index {ifindex} type veth peer name far8 index 1008\nlink set {STRANGER} up"
    ));
}

#[track_caller]
fn assert_no_port(wire: &Wire) {
    assert_eq!(devices(&wire.daemon), [""; 0]);
    assert!(
        matches!(bpf::tcx_programs(&wire.ns, STRANGER), None | Some(0)),
        "a program takes the frames of {STRANGER}"
    );
    let log = wire.daemon.log();
    assert!(
        log.contains(&format!("{PORT} (number")) && log.contains(STRANGER),
        "{log}"
    );
}

#[track_caller]
fn assert_forwards(wire: &Wire) {
    wire.encap(&udp4(VM, FAR_VM).build());
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

fn forget(daemon: &Daemon, maps: &[&str]) {
    for map in maps {
        let pin = daemon.pins().join(map);
        drop(fs::remove_file(&pin));
        assert!(!pin.exists(), "{map}");
    }
}

#[test]
fn an_interface_that_has_the_number_of_a_port_is_not_the_port() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let number = wire.ns.ifindex(PORT);
    wire.daemon.kill();
    wire.ns.ip(&format!("link del {PORT}"));
    make_stranger(&wire.ns, number);

    wire.daemon.run();

    assert_no_port(&wire);
}

#[test]
fn nor_is_it_where_the_pins_do_not_have_the_names() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let number = wire.ns.ifindex(PORT);
    wire.daemon.kill();
    forget(&wire.daemon, &NEW_MAPS);
    wire.ns.ip(&format!("link del {PORT}"));
    make_stranger(&wire.ns, number);

    wire.daemon.run();

    assert_eq!(devices(&wire.daemon), [""; 0]);
}

#[test]
fn a_port_whose_interface_went_to_another_namespace_is_none_here() {
    need_root!();
    let (wire, other) = (Wire::new(Family::V4), Ns::new("other"));
    let number = wire.ns.ifindex(PORT);
    wire.daemon.kill();
    // It keeps its number there, and what is attached to it.
    wire.ns
        .ip(&format!("link set {PORT} netns {}", other.name()));
    assert_eq!(other.ifindex(PORT), number);
    make_stranger(&wire.ns, number);

    wire.daemon.run();

    assert_no_port(&wire);
}

#[test]
fn a_renamed_interface_is_still_the_port() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let rename = |from: &str, to: &str| {
        wire.daemon.kill();
        wire.ns.ip(&format!(
            "link set {from} down\nlink set {from} name {to}\nlink set {to} up"
        ));
        wire.daemon.run();
        assert_eq!(devices(&wire.daemon), [to]);
        assert_forwards(&wire);
    };

    rename(PORT, RENAMED);
    rename(RENAMED, PORT);
    // And by its number alone, where that is all that the pins have.
    forget(&wire.daemon, &NEW_MAPS);
    rename(PORT, RENAMED);
}

#[test]
fn a_rename_beside_a_running_daemon_is_known_to_the_next() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.ns.ip(&format!(
        "link set {PORT} down\nlink set {PORT} name {RENAMED}\nlink set {RENAMED} up"
    ));
    vtep_tests::wait::until_true("the name", || devices(&wire.daemon) == [RENAMED]);
    let number = wire.ns.ifindex(RENAMED);
    wire.daemon.kill();
    // One by the old name has the number now.
    wire.ns.ip(&format!("link del {RENAMED}"));
    wire.ns.ip(&format!(
        "link add name {PORT} index {number} type veth peer name far8 index 1008"
    ));

    wire.daemon.run();

    assert_eq!(devices(&wire.daemon), [""; 0]);
}

#[test]
fn an_interface_is_a_port_of_one_instance() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let args = [
        "--iface",
        UPLINK,
        "--udp-port",
        "4790",
        "--uplink-hook",
        "tc",
    ];
    let other = Daemon::start(&wire.ns, &args);
    other.ok("vni add 7");
    for hook in ["tc", "xdp"] {
        let out = other.vtep(&format!("port add {PORT} --vni 7 --hook {hook}"));

        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        let instance = wire.daemon.instance();
        let instead = format!("vtep port del {PORT} --instance {instance}");
        assert!(said.contains(&instead), "{said}");
        assert_eq!(other.rows("port show"), [Value::Null; 0]);
        assert_forwards(&wire);
    }

    wire.daemon.ok(&format!("port del {PORT}"));
    other.ok(&format!("port add {PORT} --vni 7"));
}

/// Another namespace that would do for a daemon, with an interface that has the port's number.
fn other_namespace(wire: &Wire) -> Ns {
    let other = Ns::new("other");
    other.ip(&format!(
        "link add name {UPLINK} index {} type veth peer name far0 index 1000\nlink set {UPLINK} up\naddr add 198.18.0.1/24 dev {UPLINK}",
        wire.ns.ifindex(UPLINK)
    ));
    make_stranger(&other, wire.ns.ifindex(PORT));
    other
}

fn teardown(ns: &Ns, daemon: &Daemon, more: &[&str]) -> Output {
    let mut command = ns.command(binary::vtep());
    command.args(["teardown", "--instance", daemon.instance()]);
    with_input(command.args(more), "")
}

#[track_caller]
fn assert_refused(out: &Output, daemon: &Daemon) {
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    let teardown = format!("vtep teardown --instance {}", daemon.instance());
    for part in ["another network namespace", &teardown, daemon.instance()] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn the_pins_of_another_namespace_are_refused_and_left_alone() {
    need_root!();
    // Also pins of an earlier build, which do not say whose they are.
    for gone in [&[][..], &NEW_MAPS] {
        let wire = Wire::new(Family::V4);
        let other = other_namespace(&wire);
        let before = wire.daemon.tables();
        wire.daemon.kill();
        forget(&wire.daemon, gone);
        let there = Daemon::named(&other, wire.daemon.instance(), &["--iface", UPLINK]);

        let out = there.refused_start(there.run_command());

        assert_refused(&out, &wire.daemon);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("vtep run --instance NAME"), "{said}");
        let links = other.ip_output("-d link show");
        assert!(!links.contains("vxlan"), "a device is left:\n{links}");
        assert_forwards(&wire);

        let out = teardown(&other, &wire.daemon, &[]);

        assert_refused(&out, &wire.daemon);
        assert_forwards(&wire);

        wire.daemon.run();
        assert_eq!(wire.daemon.tables(), before);
        assert_forwards(&wire);
    }
}

#[test]
fn what_a_namespace_that_is_gone_has_left_is_removed_by_force() {
    need_root!();
    let instance = {
        let wire = Wire::new(Family::V4);
        wire.daemon.kill();
        let instance = vtep_tests::lab::ns::unique("i");
        let pins = wire.daemon.pins();
        // The lab would remove them.
        done(
            std::process::Command::new("mv")
                .arg(&pins)
                .arg(pins.with_file_name(&instance)),
            "",
        );
        instance
    };
    let other = Ns::new("other");
    other.ip(&format!(
        "link add name {UPLINK} type veth peer name far0\nlink set {UPLINK} up\naddr add 198.18.0.1/24 dev {UPLINK}"
    ));
    let there = Daemon::named(&other, &instance, &["--iface", UPLINK]);
    assert_refused(&there.refused_start(there.run_command()), &there);
    assert_refused(&teardown(&other, &there, &[]), &there);

    let out = teardown(&other, &there, &["--force"]);

    assert!(out.status.success(), "{out:?}");
    assert!(!there.pins().exists());
    there.run();
    assert_eq!(there.rows("vni show"), [Value::Null; 0]);
}
