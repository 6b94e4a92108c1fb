//! Kernels without tcx, where TC programs hang on the clsact qdisc and no link holds them.

use vtep_tests::bpf;
use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::dropper::{DROPPED, PASSES, Pinned, udp};
use vtep_tests::bpf::program::{Program, ProgramType, XDP_PASS};
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::binary;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_MAC, FAR_VM, PORT, SECOND, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK, Vm};
use vtep_tests::link::offload::set_vlan_offload;
use vtep_tests::link::tap::Tap;
use vtep_tests::need_root;
use vtep_tests::traffic::checks;
use vtep_tests::upgrade::downgrade::downgrade;
use vtep_tests::wait::{DEADLINE, until_true};

use vtep_tests::link::Link as _;

/// The VNI, the port and the UDP port of a second instance.
const BLUE: u32 = 200;
const BLUE_PORT: &str = "vm1";
const BLUE_UDP: u16 = 4790;

fn wire(run_args: &[&str]) -> Wire {
    binary::without_tcx();
    // Without XDP, which would take the packets first, and whose place no second instance gets.
    let args = [&["--uplink-hook", "tc"], run_args].concat();
    Wire::with(Family::V4, "", &args)
}

fn lab() -> (Lab, Vm, Vm) {
    binary::without_tcx();
    let lab = Lab::green(
        Underlay {
            family: Family::V4,
            topology: Topology::Flat,
        },
        &[Kind::Vtep; 2],
    );
    let (a, b) = lab.pair();
    checks::ping_both_ways(&a, &b);
    (lab, a, b)
}

/// What `tc` prints.
fn tc(ns: &Ns, args: &str) -> String {
    let out = ns::done(ns.command("tc").args(args.split(' ')), "");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The eBPF filters at the ingress of a device.
fn filters(ns: &Ns, dev: &str) -> Vec<String> {
    let shown = tc(ns, &format!("filter show dev {dev} ingress"));
    let handles = shown.lines().filter(|line| line.contains(" handle "));
    handles.map(str::to_owned).collect()
}

#[track_caller]
fn assert_filters(ns: &Ns, dev: &str, want: &[&str]) {
    let got = filters(ns, dev);
    let fits =
        got.len() == want.len() && got.iter().zip(want).all(|(got, want)| got.contains(want));
    assert!(fits, "at {dev} not {want:?} but {got:#?}");
}

/// Frames cross both ways.
#[track_caller]
fn forwards(wire: &Wire) {
    wire.encap(&udp4(VM, FAR_VM).build());
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
}

#[test]
fn programs_hang_on_the_qdisc() {
    need_root!();
    let (lab, a, _b) = lab();

    let ns = &lab.hypervisors[0].ns;
    for (dev, program) in [
        (UPLINK, "tc_uplink"),
        ("vtep4789", "tc_tunnel"),
        (&a.port, "tc_port"),
    ] {
        assert_filters(ns, dev, &[program]);
        assert!(matches!(bpf::tcx_programs(ns, dev), None | Some(0)));
    }
}

#[test]
fn a_crash_and_a_restart_lose_no_packet() {
    need_root!();
    let (lab, a, b) = lab();

    checks::restarts_lose_nothing(&lab, &a, &b, Daemon::kill);

    let ns = &lab.hypervisors[0].ns;
    assert_filters(ns, UPLINK, &["tc_uplink"]);
    assert_filters(ns, &a.port, &["tc_port"]);
}

#[test]
fn an_upgrade_from_an_earlier_layout_loses_no_packet() {
    need_root!();
    let (lab, a, b) = lab();

    checks::restarts_lose_nothing(&lab, &a, &b, |daemon| {
        daemon.kill();
        downgrade(daemon, 4);
    });

    let log = lab.daemon(0).log();
    assert!(log.contains("migrated the pinned state"), "{log}");
    let ns = &lab.hypervisors[0].ns;
    assert_filters(ns, UPLINK, &["tc_uplink"]);
    assert_filters(ns, &a.port, &["tc_port"]);
}

#[test]
fn a_refused_upgrade_leaves_the_filters_with_their_programs() {
    need_root!();
    let wire = wire(&[]);
    let _up1 = Tap::new(&wire.ns, SECOND);
    wire.ns.ip("addr add 198.19.0.1/32 dev up0");
    wire.daemon.kill();
    downgrade(&wire.daemon, 4);
    let pass = Program::load(ProgramType::Xdp, &Asm::new().returns(XDP_PASS));
    let _taken = pass.attach(&wire.ns, SECOND);
    let filters = || [UPLINK, SECOND, PORT, "vtep4789"].map(|dev| filters(&wire.ns, dev));
    let before = filters();
    let args = [
        "--iface",
        UPLINK,
        "--iface",
        SECOND,
        "--local",
        "198.19.0.1",
        "--uplink-hook",
        "xdp",
    ];
    let again = Daemon::named(&wire.ns, wire.daemon.instance(), &args);

    let out = again.refused_start(again.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("already has an XDP program"), "{said}");
    assert_eq!(filters(), before);
    forwards(&wire);
}

#[test]
fn a_port_goes_and_comes_back() {
    need_root!();
    let wire = wire(&[]);

    wire.daemon.ok(&format!("port del {PORT}"));
    assert_filters(&wire.ns, PORT, &[]);

    wire.daemon.ok(&format!("port add {PORT} --vni {GREEN}"));
    wire.daemon
        .ok(&format!("fdb add {VM} --vni {GREEN} --dev {PORT}"));
    assert_filters(&wire.ns, PORT, &["tc_port"]);
    forwards(&wire);
}

/// The filters are gone, and the hypervisor can start again from nothing.
#[track_caller]
fn assert_gone(wire: &Wire) {
    assert!(!wire.daemon.pins().exists(), "pins are left");
    for dev in [UPLINK, PORT] {
        assert_filters(&wire.ns, dev, &[]);
    }
    wire.daemon.run();
    assert!(wire.daemon.tables().iter().all(|(_, rows)| rows.is_empty()));
    assert_filters(&wire.ns, UPLINK, &["tc_uplink"]);
}

#[test]
fn teardown_removes_every_filter() {
    need_root!();
    let wire = wire(&[]);

    wire.daemon.ok("teardown");

    until_true("the daemon to end", || wire.daemon.ended().is_some());
    assert_gone(&wire);
}

/// Tears an instance without a daemon down, in a namespace.
fn teardown_in(ns: &Ns, daemon: &Daemon) {
    teardown_with(ns, daemon, &[]);
}

fn teardown_with(ns: &Ns, daemon: &Daemon, more: &[&str]) {
    let mut command = ns.command(binary::vtep());
    command
        .args(["teardown", "--instance", daemon.instance()])
        .args(more)
        .envs(binary::environment());
    ns::done(&mut command, "");
}

#[test]
fn teardown_of_a_dead_daemon_removes_every_filter() {
    need_root!();
    let wire = wire(&[]);
    wire.daemon.kill();

    teardown_in(&wire.ns, &wire.daemon);

    assert_gone(&wire);
}

#[test]
fn teardown_of_a_dead_daemon_touches_no_other_instance() {
    need_root!();
    let (dead, alive) = (wire(&[]), wire(&[]));
    dead.daemon.kill();

    // In the namespace of the other, whose devices have the same names.
    teardown_with(&alive.ns, &dead.daemon, &["--force"]);

    assert_filters(&alive.ns, UPLINK, &["tc_uplink"]);
    assert_filters(&alive.ns, PORT, &["tc_port"]);
    forwards(&alive);
}

#[test]
fn an_uplink_that_is_none_any_more_loses_its_filter() {
    need_root!();
    let wire = wire(&["--iface", SECOND]);
    assert_filters(&wire.ns, SECOND, &["tc_uplink"]);
    wire.daemon.kill();

    let next = Daemon::named(&wire.ns, wire.daemon.instance(), &["--iface", UPLINK]);
    next.run();

    assert_filters(&wire.ns, SECOND, &[]);
    assert_filters(&wire.ns, UPLINK, &["tc_uplink"]);
    forwards(&wire);
}

/// Starts a second instance at the uplink of `wire`; returns it and the VM's end of its port.
fn second_instance(wire: &Wire) -> (Daemon, Tap) {
    let udp = BLUE_UDP.to_string();
    let tc = ["--uplink-hook", "tc", "--udp-port", &udp];
    let two = Daemon::start(&wire.ns, &[&["--iface", UPLINK], &tc[..]].concat());
    let tap = wire.tap(BLUE_PORT);
    two.ok(&format!("vni add {BLUE} --sources any"));
    two.ok(&format!("port add {BLUE_PORT} --vni {BLUE}"));
    two.ok(&format!("fdb add {VM} --vni {BLUE} --dev {BLUE_PORT}"));
    (two, tap)
}

/// A frame for the second instance is delivered, and by the program at its uplink.
#[track_caller]
fn second_delivers(wire: &Wire, two: &Daemon, tap: &Tap) {
    let delivered = || -> u64 {
        let rows = two.rows("stats");
        let ours = rows
            .iter()
            .filter(|row| row["hook"] == "uplink" && row["reason"] == "decapsulated");
        ours.map(|row| row["packets"].as_u64().unwrap()).sum()
    };
    let before = delivered();
    let inner = udp4(FAR_VM, VM).build();
    let outer = eth(FAR_MAC, wire.mac)
        .ip(wire.far_ip, wire.ip)
        .udp_unchecked(50000, BLUE_UDP);
    wire.uplink.send(&outer.vxlan(BLUE).bytes(&inner).build());
    tap.expect(&inner);
    assert!(delivered() > before, "{:?}", two.rows("stats"));
}

#[test]
fn two_instances_share_an_uplink() {
    need_root!();
    let wire = wire(&[]);
    let (two, tap) = second_instance(&wire);
    assert_filters(&wire.ns, UPLINK, &["tc_uplink", "tc_uplink"]);
    forwards(&wire);
    second_delivers(&wire, &two, &tap);

    // Each takes over its own.
    for daemon in [&wire.daemon, &two] {
        daemon.kill();
        daemon.run();
        assert_filters(&wire.ns, UPLINK, &["tc_uplink", "tc_uplink"]);
    }
    forwards(&wire);
    second_delivers(&wire, &two, &tap);

    // And removes its own.
    wire.daemon.kill();
    teardown_in(&wire.ns, &wire.daemon);
    assert_filters(&wire.ns, UPLINK, &["tc_uplink"]);
    assert_filters(&wire.ns, PORT, &[]);
    assert_filters(&wire.ns, BLUE_PORT, &["tc_port"]);
    second_delivers(&wire, &two, &tap);
}

#[test]
fn filters_of_others_stay() {
    need_root!();
    let wire = wire(&[]);
    // One of another kind, and one that stands next to ours.
    let add = format!("filter add dev {UPLINK} ingress");
    tc(
        &wire.ns,
        &format!("{add} prio 7 protocol ip u32 match ip dst 192.0.2.99 flowid 1:1"),
    );
    let pinned = wire.daemon.pins().join("programs/tc_uplink");
    tc(
        &wire.ns,
        &format!(
            "{add} prio 4789 handle 2 bpf da pinned {}",
            pinned.display()
        ),
    );

    forwards(&wire);
    wire.daemon.ok("teardown");

    until_true("the daemon to end", || wire.daemon.ended().is_some());
    assert_filters(&wire.ns, UPLINK, &["handle 0x2 "]);
    let left = tc(&wire.ns, &format!("filter show dev {UPLINK} ingress"));
    assert!(left.contains("u32"), "{left}");
}

#[test]
fn a_refused_start_leaves_what_it_found() {
    need_root!();
    let wire = wire(&[]);
    let _second = Tap::new(&wire.ns, SECOND);
    wire.daemon.kill();
    // In the place of ours, and for one protocol alone: ours, which is for all, is refused there.
    tc(&wire.ns, &format!("qdisc add dev {SECOND} clsact"));
    tc(
        &wire.ns,
        &format!(
            "filter add dev {SECOND} ingress prio 4789 protocol ip u32 match ip dst 192.0.2.99 flowid 1:1"
        ),
    );
    let noted = || {
        let links = std::fs::read_dir(wire.daemon.pins().join("links")).unwrap();
        let mut names: Vec<_> = links.map(|link| link.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = noted();
    let args = ["--iface", UPLINK, "--iface", SECOND, "--uplink-hook", "tc"];
    let next = Daemon::named(&wire.ns, wire.daemon.instance(), &args);

    let out = next.refused_start(next.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains(SECOND), "{said}");
    assert_eq!(noted(), before, "what is noted as attached");
    forwards(&wire);
}

#[test]
fn a_first_start_that_fails_leaves_no_filter() {
    need_root!();
    binary::without_tcx();
    let ns = Ns::new("fails");
    ns.ip("link add name up0 type veth peer name far0\nlink set up0 up\naddr add 198.18.0.1/24 dev up0");
    for end in [UPLINK, "far0"] {
        set_vlan_offload(&ns, end, false);
    }
    // Which has no XDP of its own: the start fails when the first uplink has its program.
    ns.ip("link add up1 type bridge\nlink set up1 up");
    let native = "--uplink-hook xdp --xdp-mode native";
    let mut args = vec!["--iface", UPLINK, "--iface", SECOND];
    args.extend(native.split(' '));
    let daemon = Daemon::named(&ns, &ns::unique("i"), &args);

    let out = daemon.refused_start(daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains(SECOND), "{said}");
    assert_filters(&ns, UPLINK, &[]);
}

#[test]
fn a_renamed_interface_is_still_the_port_and_another_with_its_number_is_not() {
    need_root!();
    let wire = wire(&[]);
    let number = wire.ns.ifindex(PORT);
    wire.daemon.kill();
    wire.ns.ip(&format!(
        "link set {PORT} down\nlink set {PORT} name vm9\nlink set vm9 up"
    ));

    wire.daemon.run();

    let rows = wire.daemon.rows("port show");
    assert_eq!((rows.len(), &rows[0]["dev"]), (1, &"vm9".into()));
    assert_filters(&wire.ns, "vm9", &["tc_port"]);
    forwards(&wire);

    wire.daemon.kill();
    wire.ns.ip("link del vm9");
    wire.ns.ip(&format!(
        "link add name mgmt0 index {number} type veth peer name far8 index 1008"
    ));

    wire.daemon.run();

    let rows = wire.daemon.rows("port show");
    assert!(rows.iter().all(|row| row["dev"] != "mgmt0"), "{rows:?}");
    assert!(!tc(&wire.ns, "filter show dev mgmt0 ingress").contains("tc_port"));
}

#[test]
fn filters_of_others_come_first_by_their_priority_or_are_named() {
    need_root!();
    let pinned = Pinned::new();
    let wire = wire(&[]);
    let other = Mac::nth(0x22);
    let tap = wire.add_port("tap2", &format!("--mac {other}"));
    let bypasses = || wire.daemon.rows("port show tap2")[0]["bypasses"].clone();
    let passes = |mark| {
        let [first, fence] = [DROPPED, PASSES].map(|to| udp(other, VM, to, mark));
        tap.send(&first);
        tap.send(&fence);
        let seen = wire
            .port
            .collect(DEADLINE, |seen| seen.last() == Some(&fence));
        assert_eq!(seen.last(), Some(&fence), "nothing arrives");
        seen.contains(&first)
    };
    assert_eq!(bypasses().to_string(), "[]");
    pinned.hang(&wire.ns, "tap2", "ingress", 5000);
    let said = bypasses().to_string();
    assert!(said.contains("ingress filter bpf (pref 5000)"), "{said}");
    assert!(passes(1));
    pinned.hang(&wire.ns, "tap2", "ingress", 7);
    assert_eq!(bypasses().to_string(), said);
    assert!(!passes(2));
}

#[test]
fn filters_that_are_deleted_are_made_again() {
    need_root!();
    let wire = wire(&[]);
    forwards(&wire);
    for how in [
        "filter del dev up0 ingress",
        "filter del dev vm0 ingress",
        "filter del dev vtep4789 ingress",
        "qdisc del dev up0 clsact",
        "qdisc del dev vm0 clsact",
        "qdisc del dev vtep4789 clsact",
    ] {
        tc(&wire.ns, how);

        until_true(how, || {
            [UPLINK, PORT, "vtep4789"].map(|dev| filters(&wire.ns, dev).len()) == [1, 1, 1]
        });
        forwards(&wire);
    }
    assert!(wire.daemon.status()["repairs"].as_u64() >= Some(6));
}

#[test]
fn a_port_is_promiscuous_as_long_as_it_is_one() {
    need_root!();
    for ends_by in ["port del", "teardown", "teardown without a daemon"] {
        let wire = wire(&[]);
        wire.daemon.kill();
        assert_eq!(wire.ns.promiscuity(PORT), 1);
        if ends_by == "teardown without a daemon" {
            teardown_in(&wire.ns, &wire.daemon);
        } else {
            wire.daemon.run();
            assert_eq!(wire.ns.promiscuity(PORT), 1);
            wire.daemon
                .ok(&ends_by.replace("del", &format!("del {PORT}")));
        }
        until_true(ends_by, || wire.ns.promiscuity(PORT) == 0);
    }
}
