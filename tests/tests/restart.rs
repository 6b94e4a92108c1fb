//! The data path outlives the daemon: crashes, restarts, teardown.

use std::fs;
use std::net::Shutdown;
use std::os::unix::net::UnixListener;

use aya::maps::{HashMap, Map, MapData};
use aya::programs::ProgramInfo;
use aya::programs::links::{FdLink, PinnedLink};
use serde_json::Value;
use vtep_common::abi::addr::VtepAddr;
use vtep_tests::bpf;
use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::program::{Program, ProgramType};
use vtep_tests::daemon::Daemon;
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::Ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_VM, PORT, SECOND, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK, Vm};
use vtep_tests::link::tap::Tap;
use vtep_tests::traffic::checks;
use vtep_tests::traffic::ping;
use vtep_tests::wait::until_true;
use vtep_tests::{need_root, over_each_family};

over_each_family! {
    a_crash_and_a_restart_lose_no_packet,
    a_clean_stop_and_a_restart_lose_no_packet,
    floods_go_on_without_a_daemon,
    a_restarted_daemon_goes_on_where_the_last_one_stopped,
    teardown_removes_everything,
    teardown_of_a_dead_daemon_removes_everything,
    teardown_of_a_dead_daemon_detaches_links_that_are_still_open,
    a_clean_stop_with_teardown_removes_everything,
    a_newer_layout_is_refused_and_forwarding_goes_on,
    ports_that_vanished_meanwhile_do_no_harm,
    ports_that_vanish_do_no_harm,
}

const TWO: [Kind; 2] = [Kind::Vtep; 2];

/// The slow-path device.
const DEVICE: &str = "vtep4789";
/// An XDP program's word for a frame that the host shall have.
const XDP_PASS: i32 = 2;

fn lab(family: Family) -> (Lab, Vm, Vm) {
    let lab = Lab::green(
        Underlay {
            family,
            topology: Topology::Flat,
        },
        &TWO,
    );
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    (lab, a, b)
}

fn a_crash_and_a_restart_lose_no_packet(family: Family) {
    let (lab, a, b) = lab(family);
    checks::restarts_lose_nothing(&lab, &a, &b, Daemon::kill);
}

fn a_clean_stop_and_a_restart_lose_no_packet(family: Family) {
    let (lab, a, b) = lab(family);
    checks::restarts_lose_nothing(&lab, &a, &b, |daemon| {
        assert!(daemon.stop().success(), "a clean stop ends with 0");
        assert!(
            !daemon.socket().exists(),
            "a clean stop takes the socket along"
        );
    });
}

fn floods_go_on_without_a_daemon(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));

    wire.daemon.kill();

    let out = udp4(VM, Mac::BROADCAST).build();
    wire.encap(&out);
    let inside = udp4(FAR_VM, Mac::BROADCAST).build();
    wire.delivers(&wire.tunnelled(GREEN, &inside), &inside);
}

/// Packets of every counter, by what it counts.
fn counters(daemon: &Daemon) -> Vec<(String, u64)> {
    let rows = daemon.rows("stats");
    let name = |row: &Value| {
        ["hook", "reason", "vni", "dev", "peer"]
            .map(|key| row[key].to_string())
            .join(" ")
    };
    rows.iter()
        .map(|row| (name(row), row["packets"].as_u64().unwrap()))
        .collect()
}

fn a_restarted_daemon_goes_on_where_the_last_one_stopped(family: Family) {
    let wire = Wire::with(
        family,
        "--ttl 99 --srcport 40000-40001 --inner-vlan pass",
        &[],
    );
    let daemon = &wire.daemon;
    daemon.ok("vni add 200 --mode l2 --max-macs 7 --reserved strict --df unset");
    daemon.ok(&format!("port add {PORT} --vni 200 --vlan 20"));
    daemon.ok(&format!(
        "fdb append {} --vni 200 --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    if family == Family::V6 {
        daemon.ok(&format!("peer set {} --csum6 off", wire.far_ip));
    }
    for _ in 0..5 {
        wire.encap(&udp4(VM, FAR_VM).build());
        wire.refuses(
            &wire.tunnelled(999, &udp4(FAR_VM, VM).build()),
            "unknown_vni",
        );
    }
    let (tables, counted) = (daemon.tables(), counters(daemon));

    daemon.kill();
    daemon.run();

    assert_eq!(daemon.tables(), tables);
    let now = counters(daemon);
    for (name, packets) in counted {
        let after = now
            .iter()
            .find(|(other, _)| *other == name)
            .map(|(_, packets)| *packets);
        assert!(
            after >= Some(packets),
            "{name}: {packets} before, {after:?} after"
        );
    }
    // And it is in charge again.
    daemon.ok(&format!("vni set {GREEN} --srcport 40002-40002"));
    let got = wire.encap(&udp4(VM, FAR_VM).build());
    let udp = family.outer_len() - 16;
    assert_eq!(got[udp..udp + 2], 40002_u16.to_be_bytes());
    daemon.ok(&format!("fdb del {FAR_VM} --vni {GREEN}"));
    daemon.ok("vni del 200 --force");
    daemon.ok(&format!("port del {PORT}"));
}

/// Nothing of the instance is left in the namespace and on the machine.
#[track_caller]
fn assert_gone(wire: &Wire) {
    let daemon = &wire.daemon;
    assert!(
        !daemon.pins().exists(),
        "pins are left: {:?}",
        fs::read_dir(daemon.pins())
    );
    assert!(!daemon.socket().exists(), "the socket is left");
    let links = wire.ns.ip_output("-d link show");
    assert!(!links.contains("vxlan"), "a device is left:\n{links}");
    assert!(!links.contains("xdp"), "an XDP program is left:\n{links}");
    for dev in [UPLINK, PORT] {
        assert!(
            matches!(bpf::tcx_programs(&wire.ns, dev), None | Some(0)),
            "tcx at {dev}"
        );
        let tc = vtep_tests::lab::ns::done(
            wire.ns
                .command("tc")
                .args(["filter", "show", "dev", dev, "ingress"]),
            "",
        );
        assert!(
            tc.stdout.is_empty(),
            "filters at {dev}: {}",
            String::from_utf8_lossy(&tc.stdout)
        );
    }
    // And the hypervisor can start again from nothing.
    daemon.run();
    assert!(
        daemon.tables().iter().all(|(_, rows)| rows.is_empty()),
        "{:?}",
        daemon.tables()
    );
}

fn teardown_removes_everything(family: Family) {
    let wire = Wire::new(family);

    wire.daemon.ok("teardown");

    until_true("the daemon to end", || wire.daemon.ended().is_some());
    assert_gone(&wire);
}

fn teardown_of_a_dead_daemon_removes_everything(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.kill();

    teardown_without_daemon(&wire);

    assert_gone(&wire);
}

/// Without its pin a link goes only once nobody has it open, and even then the kernel takes its time.
fn teardown_of_a_dead_daemon_detaches_links_that_are_still_open(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.kill();
    let links = fs::read_dir(wire.daemon.pins().join("links")).unwrap();
    let open: Vec<FdLink> = links
        .map(|link| PinnedLink::from_pin(link.unwrap().path()).unwrap().into())
        .collect();
    assert!(!open.is_empty());

    teardown_without_daemon(&wire);

    assert_gone(&wire);
}

fn teardown_without_daemon(wire: &Wire) {
    let mut command = wire.ns.command(vtep_tests::daemon::binary::vtep());
    command.args(["teardown", "--instance", wire.daemon.instance()]);
    vtep_tests::lab::ns::done(&mut command, "");
}

fn a_clean_stop_with_teardown_removes_everything(family: Family) {
    let wire = Wire::with(family, "", &["--teardown"]);

    assert!(wire.daemon.stop().success());

    assert_gone(&wire);
}

fn a_newer_layout_is_refused_and_forwarding_goes_on(family: Family) {
    let wire = Wire::new(family);
    wire.daemon.kill();
    bpf::set_first_word(&wire.daemon.pins().join("CONFIG"), 4711);

    let out = wire.daemon.refused_start(wire.daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(said.contains("layout") && said.contains("4711"), "{said}");
    wire.encap(&udp4(VM, FAR_VM).build());
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    wire.encap(&udp4(VM, FAR_VM).tos(1).build());
}

fn ports_that_vanished_meanwhile_do_no_harm(family: Family) {
    let (lab, a, b) = lab(family);
    let extra = lab.vm(0, 7, GREEN);
    lab.teach(GREEN, &extra);
    lab.daemon(0).kill();
    lab.hypervisors[0]
        .ns
        .ip(&format!("link del {}", extra.port));

    lab.daemon(0).run();

    checks::ping_both_ways(&a, &b);
    checks::arp_crosses(&b, &a);
    let ports = lab.daemon(0).rows("port show");
    let stale = |row: &&Value| row["dev"] == extra.port.as_str() && !row["ifindex"].is_null();
    assert_eq!(ports.iter().find(stale), None);
}

fn ports_that_vanish_do_no_harm(family: Family) {
    let (lab, a, b) = lab(family);
    let extra = lab.vm(0, 7, GREEN);
    lab.teach(GREEN, &extra);
    lab.hypervisors[0]
        .ns
        .ip(&format!("link del {}", extra.port));

    checks::ping_both_ways(&a, &b);
    checks::arp_crosses(&b, &a);
    assert!(lab.daemon(0).ended().is_none());
    // A VM that comes back under the same name is a port again, if need be by the same command.
    let again = lab.vm_unattached(vtep_tests::lab::Attach::Veth, 0, 7);
    assert_eq!(again.port, extra.port);
    until_true("the port to be taken again", || {
        let rows = lab.daemon(0).rows("port show");
        let there = rows
            .iter()
            .any(|row| row["dev"] == again.port && row["ifindex"].is_u64());
        there
            || lab
                .daemon(0)
                .vtep(&format!("port add {} --vni {GREEN}", again.port))
                .status
                .success()
    });
    ping(&again.ns, b.v4);
}

#[test]
fn a_foreign_layout_is_refused_and_left_alone() {
    need_root!();
    let ns = Ns::new("layout");
    let daemon = {
        ns.ip("link add name up0 type veth peer name far0\nlink set up0 up\naddr add 198.18.0.1/24 dev up0");
        Daemon::named(&ns, &vtep_tests::lab::ns::unique("i"), &["--iface", UPLINK])
    };
    fs::create_dir_all(daemon.pins()).unwrap();
    for name in ["FDB", "CONFIG"] {
        bpf::pin_new_array(&daemon.pins().join(name), 4);
    }

    let out = daemon.refused_start(daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains("layout") && said.contains("vtep teardown"),
        "{said}"
    );
    assert!(
        daemon.pins().join("FDB").exists(),
        "what was there before is there after"
    );
    assert!(
        !ns.ip_output("-d link show").contains("vxlan"),
        "nothing half-done"
    );
}

/// What an instance has in the kernel: what runs where, and the tables that a start writes.
fn in_kernel(wire: &Wire) -> Vec<String> {
    let pins = wire.daemon.pins();
    let below = |dir| {
        let entries = fs::read_dir(pins.join(dir)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    };
    let mut found = Vec::new();
    for path in below("links") {
        let link: FdLink = PinnedLink::from_pin(&path).unwrap().into();
        let program = link.info().unwrap().program_id();
        found.push(format!("{} runs {program}", path.display()));
    }
    for path in below("programs") {
        let program = ProgramInfo::from_pin(&path).unwrap().id();
        found.push(format!("{} is {program}", path.display()));
    }
    let locals = Map::HashMap(MapData::from_pin(pins.join("LOCALS")).unwrap());
    let locals: HashMap<_, VtepAddr, u32> = locals.try_into().unwrap();
    found.extend(locals.iter().map(|local| format!("{:?}", local.unwrap())));
    for map in ["PARTS", "CONFIG"] {
        let value = bpf::first_value(&pins.join(map));
        found.push(format!("{map} {:?}", &value[..4]));
    }
    let links = wire.ns.ip_output("-d link show");
    let xdp = links.lines().filter(|line| line.contains("xdp"));
    found.extend(xdp.map(str::to_owned));
    for dev in [UPLINK, SECOND] {
        let tcx = bpf::tcx_programs(&wire.ns, dev);
        found.push(format!("tcx at {dev}: {tcx:?}"));
    }
    found.sort();
    found
}

#[test]
fn a_refused_start_leaves_what_it_found() {
    need_root!();
    let pass = Program::load(ProgramType::Xdp, &Asm::new().returns(XDP_PASS));
    let taken = "--local 198.19.0.1 --iface up1 --uplink-hook xdp";
    for (first, next, refusal) in [
        // XDP is new at the first uplink, is there in the driver, and was there in the stack.
        ("--uplink-hook tc", taken.to_owned(), "already has an XDP"),
        (
            "--uplink-hook xdp",
            format!("{taken} --xdp-mode generic"),
            "already has an XDP",
        ),
        (
            "--uplink-hook xdp --xdp-mode generic",
            format!("{taken} --xdp-mode native"),
            "already has an XDP",
        ),
        ("", "--fdb-max 7".to_owned(), "capacity"),
        ("", "--udp-port 4790".to_owned(), "UDP port"),
    ] {
        let first: Vec<&str> = first.split_whitespace().collect();
        let wire = Wire::with(Family::V4, "", &first);
        let _up1 = Tap::new(&wire.ns, SECOND);
        wire.daemon.kill();
        wire.ns.ip("addr add 198.19.0.1/32 dev up0");
        let held = pass.attach(&wire.ns, SECOND);
        let before = in_kernel(&wire);
        let mut args = vec!["--iface", UPLINK];
        args.extend(next.split_whitespace());
        let again = Daemon::named(&wire.ns, wire.daemon.instance(), &args);

        let out = again.refused_start(again.run_command());

        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(1), "{said}");
        assert!(said.contains(refusal), "{next}: {said}");
        assert_eq!(in_kernel(&wire), before, "{next}");
        wire.encap(&udp4(VM, FAR_VM).build());
        let inner = udp4(FAR_VM, VM).build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);

        // Once nothing stands in its way it takes both uplinks.
        drop(held);
        if next.contains(SECOND) {
            again.run();
            let uplinks = &again.status()["uplinks"];
            assert_eq!(uplinks.as_array().unwrap().len(), 2, "{uplinks}");
            for dev in [UPLINK, SECOND] {
                let index = wire.ns.ifindex(dev);
                let link = format!("links/xdp_uplink-{index}");
                assert!(again.pins().join(&link).exists(), "{link}");
            }
        }
    }
}

#[test]
fn a_slow_path_device_that_somebody_deletes_is_made_anew() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        wire.far_ip
    ));
    let config = wire.daemon.pins().join("CONFIG");
    // The second word of it is the device's number.
    let device = || bpf::first_value(&config)[1];

    // Also the one that it made itself.
    for _ in 0..2 {
        let old = device();
        assert_eq!(wire.ns.ifindex(DEVICE), old);
        wire.ns.ip(&format!("link del {DEVICE}"));

        until_true("another device", || device() != old);
        let out = udp4(VM, Mac::BROADCAST).build();
        wire.encap(&out);
        let inside = udp4(FAR_VM, Mac::BROADCAST).build();
        wire.delivers(&wire.tunnelled(GREEN, &inside), &inside);
        // The daemon takes it away after the new device is in use.
        let old_link = wire.daemon.pins().join(format!("links/tc_tunnel-{old}"));
        until_true("the old device's link to go", || !old_link.exists());
    }
    let log = wire.daemon.log();
    assert!(log.contains("vtep4789 was deleted"), "{log}");
    // And it belongs to the instance as the first did.
    wire.daemon.ok("teardown");
    until_true("the daemon to end", || wire.daemon.ended().is_some());
    assert_gone(&wire);
}

#[test]
fn a_slow_path_device_that_cannot_be_made_anew_is_logged() {
    need_root!();
    let wire = Wire::new(Family::V4);
    // Another has its place before the daemon knows.
    wire.daemon.signal(libc::SIGSTOP);
    wire.ns.ip(&format!(
        "link del {DEVICE}\nlink add {DEVICE} type veth peer name far9"
    ));
    wire.daemon.signal(libc::SIGCONT);

    until_true("an error", || {
        let log = wire.daemon.log();
        log.contains("vtep4789 was deleted") && log.contains("vtep run")
    });

    // Once the place is free, nobody has to start anything again.
    wire.ns.ip(&format!("link del {DEVICE}"));
    until_true("the device", || {
        wire.ns.ip_output("-d link show").contains("vxlan")
    });
    wire.daemon.kill();
    wire.daemon.run();
    assert!(wire.ns.ip_output("-d link show").contains("vxlan"));
}

/// Makes of what a killed daemon has left what it would have left if it had been killed before it attached anything.
fn unmake(daemon: &Daemon, gone: &[&str]) {
    daemon.kill();
    for link in fs::read_dir(daemon.pins().join("links")).unwrap() {
        fs::remove_file(link.unwrap().path()).unwrap();
    }
    bpf::set_first_word(&daemon.pins().join("CONFIG"), 0);
    for map in gone {
        fs::remove_file(daemon.pins().join(map)).unwrap();
    }
}

#[test]
fn a_first_start_that_was_killed_is_made_anew() {
    need_root!();
    // While it pinned the maps, before the one with the version; when they were all there; and when only some were.
    for gone in [&["CONFIG"][..], &[], &["CONFIG", "SHAPES", "PORTS"]] {
        let ns = Ns::new("unmade");
        ns.ip("link add name up0 type veth peer name far0\nlink set up0 up\naddr add 198.18.0.1/24 dev up0");
        let instance = vtep_tests::lab::ns::unique("i");
        let run = |fdb_max| {
            let daemon = Daemon::named(&ns, &instance, &["--iface", UPLINK, "--fdb-max", fdb_max]);
            daemon.run();
            daemon
        };
        let first = run("1000");
        first.ok(&format!("vni add {GREEN}"));
        unmake(&first, gone);

        let second = run("5000");

        assert_eq!(second.status()["fdb_max"], 5000, "without {gone:?}");
        assert_eq!(second.status()["vnis"], 0, "without {gone:?}");
        second.ok(&format!("vni add {GREEN}"));
        drop(second);
        drop(first);
    }
}

#[test]
fn pinned_links_without_a_version_are_refused() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.kill();
    bpf::set_first_word(&wire.daemon.pins().join("CONFIG"), 0);

    let out = wire.daemon.refused_start(wire.daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("version 0"), "{said}");
    assert!(wire.daemon.pins().join("FDB").exists());
}

#[test]
fn the_socket_of_a_dead_daemon_is_taken_over() {
    need_root!();
    let wire = Wire::new(Family::V4);
    wire.daemon.kill();
    assert!(wire.daemon.socket().exists());
    drop(fs::remove_file(wire.daemon.socket()));
    // A socket that nobody listens on any more.
    drop(UnixListener::bind(wire.daemon.socket()).unwrap());

    wire.daemon.run();

    assert_eq!(wire.daemon.rows("vni show").len(), 1);
    let metadata = fs::metadata(wire.daemon.socket()).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o777,
        0o660
    );
}

#[test]
fn a_second_daemon_of_an_instance_is_refused() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let before = wire.daemon.tables();

    let out = wire.daemon.refused_start(wire.daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{said}");
    assert!(
        said.contains(wire.daemon.instance()) && said.contains("running"),
        "{said}"
    );
    assert_eq!(wire.daemon.tables(), before);
    wire.encap(&udp4(VM, FAR_VM).build());
}

#[test]
fn two_instances_live_side_by_side() {
    need_root!();
    let (one, two) = (Wire::new(Family::V4), Wire::new(Family::V4));
    one.daemon.ok("vni add 7");

    assert_eq!(two.daemon.rows("vni show").len(), 1);
    for wire in [&one, &two] {
        wire.encap(&udp4(VM, FAR_VM).build());
        let inner = udp4(FAR_VM, VM).build();
        wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    }
    one.daemon.ok("teardown");
    two.encap(&udp4(VM, FAR_VM).build());
    assert_eq!(two.daemon.rows("vni show").len(), 1);
}

#[test]
fn teardown_of_a_dead_daemon_touches_no_other_instance() {
    need_root!();
    let (dead, alive) = (Wire::new(Family::V4), Wire::new(Family::V4));
    dead.daemon.kill();

    // In the namespace of the other, whose device has the same name.
    let mut command = alive.ns.command(vtep_tests::daemon::binary::vtep());
    command.args(["teardown", "--force", "--instance", dead.daemon.instance()]);
    vtep_tests::lab::ns::with_input(&mut command, "");

    assert!(!dead.daemon.pins().exists(), "the pins are left");
    assert!(
        alive.ns.ip_output("-d link show").contains("vxlan"),
        "the other's device is gone"
    );
    alive.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst {}",
        Mac::ZERO,
        alive.far_ip
    ));
    alive.encap(&udp4(VM, Mac::BROADCAST).build());
}

#[test]
fn a_client_that_hangs_up_does_no_harm() {
    need_root!();
    let wire = Wire::new(Family::V4);
    for _ in 0..20 {
        let stream = std::os::unix::net::UnixStream::connect(wire.daemon.socket()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }

    assert_eq!(wire.daemon.rows("vni show").len(), 1);
}
