//! A daemon starts on what an earlier build has pinned, in the layout that tables had then. `tests/fixtures/` has those pins;
//! `cargo xtask upgrade OLD_VTEP --fixture FILE` makes them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Output;

use vtep_common::abi::id::Ifindex;
use vtep_common::abi::map::{DEFAULT_FDB_ENTRIES, LAYOUT_VERSION};
use vtep_tests::bpf;
use vtep_tests::bpf::asm::Asm;
use vtep_tests::bpf::map::MapDump;
use vtep_tests::bpf::program::{Program, ProgramType, XDP_PASS};
use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::done;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, Kind, Lab, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::traffic::checks;
use vtep_tests::upgrade::downgrade::downgrade;
use vtep_tests::upgrade::fixture::{COUNTED, Fixture, STATE};
use vtep_tests::upgrade::scene::{FAR_LEARNED, NEIGHBOUR, NEIGHBOUR_VM, Scene};
use vtep_user::datapath::Datapath;

/// `TC_ACT_OK`
const PASS: i32 = 0;

/// What the earlier builds had pinned.
fn fixtures() -> Vec<Fixture> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let layouts = 4..LAYOUT_VERSION;
    layouts
        .map(|layout| {
            let fixture = Fixture::read(&dir.join(format!("pins-layout-{layout}.json")));
            assert_eq!(fixture.layout, layout);
            fixture
        })
        .collect()
}

/// The commands that make what the scene was told. Builds of layout 4 had no `--sources` and no `--bum-rate`, which is what it stays at.
fn told(layout: u32) -> Vec<String> {
    let (sources, rate) = if layout == 4 {
        (" --sources any", " --bum-rate off")
    } else {
        ("", "")
    };
    [
        "run --iface up0".to_owned(),
        format!("vni add 100 --ageing 0{sources}"),
        format!(
            "vni add 200 --mode l3 --max-macs 70 --ttl 99 --df unset --srcport 40000-40001 --reserved strict{sources}"
        ),
        format!("port add vm0 --vni 100 --mac 02:00:00:00:00:0a{rate}"),
        format!("port add vm0 --vni 200 --vlan 20 --mac 02:00:00:00:00:2a --ip 10.9.0.4{rate}"),
        format!("port add vm1 --vni 100 --max-macs 9{rate}"),
        "fdb add 02:00:00:00:00:0b --vni 100 --dst 198.18.0.2".to_owned(),
        "fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2".to_owned(),
        "neigh add 10.9.0.5 --vni 200 --lladdr 02:00:00:00:00:2b".to_owned(),
        "nexthop add 10.9.1.0/24 --vni 200 --via 198.18.0.2".to_owned(),
    ]
    .into()
}

fn dump(scene: &Scene, more: &[&str]) -> Vec<String> {
    let text = typed(scene, "dump", more).stdout;
    let text = String::from_utf8(text).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Types a command on the hypervisor.
fn typed(scene: &Scene, verb: &str, more: &[&str]) -> Output {
    let Wire { ns, daemon, .. } = &scene.wire;
    let mut command = ns.command(binary::vtep());
    command.args([verb, "--instance", daemon.instance()]);
    done(command.args(more), "")
}

fn layout_of(daemon: &Daemon) -> u32 {
    bpf::first_value(&daemon.pins().join("CONFIG"))[0]
}

/// Where a migration has its pins.
fn beside(daemon: &Daemon) -> PathBuf {
    let instance = daemon.instance();
    daemon.pins().with_file_name("+next").join(instance)
}

#[track_caller]
fn assert_forwards(scene: &Scene) {
    let wire = &scene.wire;
    wire.encap(&udp4(VM, FAR_VM).build());
    wire.encap(&udp4(VM, FAR_LEARNED).build());
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);
    switches(scene, NEIGHBOUR_VM);
}

/// Insists that a frame comes to the neighbour.
#[track_caller]
fn switches(scene: &Scene, to: Mac) {
    let frame = udp4(VM, to).build();
    scene.wire.port.send(&frame);
    scene
        .neighbour
        .wait_for("the frame", |seen| seen == frame.as_slice());
}

#[track_caller]
fn assert_migrated(scene: &Scene, fixture: &Fixture) {
    let daemon = &scene.wire.daemon;
    fixture.assert_shown_by(daemon, &STATE);
    assert_eq!(layout_of(daemon), LAYOUT_VERSION);
    assert_eq!(dump(scene, &[]), told(fixture.layout));
    assert!(!beside(daemon).exists(), "what was beside is gone");
    assert_forwards(scene);
}

#[test]
fn what_an_earlier_build_had_set_learned_and_counted_is_there() {
    need_root!();
    for fixture in fixtures() {
        let scene = Scene::of_pins(&fixture);
        let daemon = &scene.wire.daemon;

        daemon.run();

        fixture.assert_shown_by(daemon, &COUNTED);
        assert_migrated(&scene, &fixture);
        // From then on it is a start as any other.
        daemon.kill();
        daemon.run();
        assert_migrated(&scene, &fixture);
        assert_eq!(daemon.log().matches("migrates").count(), 1);
    }
}

#[test]
fn what_an_earlier_build_had_pinned_is_dumped_and_left_as_it_is() {
    need_root!();
    for fixture in fixtures() {
        let scene = Scene::of_pins(&fixture);
        let daemon = &scene.wire.daemon;

        let dumped = dump(&scene, &["--pins"]);

        // Nothing says which uplinks it had: no program is attached.
        assert_eq!(dumped[1..], told(fixture.layout)[1..]);
        assert!(!beside(daemon).exists());
        for (name, map) in &fixture.maps {
            assert_eq!(&MapDump::read(&daemon.pins().join(name)), map, "{name}");
        }
    }
}

#[test]
fn an_upgrade_under_traffic_loses_no_packet() {
    need_root!();
    for family in [Family::V4, Family::V6] {
        let underlay = Underlay {
            family,
            topology: Topology::Flat,
        };
        let lab = Lab::green(underlay, &[Kind::Vtep; 2]);
        let (a, b) = lab.pair();
        checks::ping_both_ways(&a, &b);

        checks::restarts_lose_nothing(&lab, &a, &b, |daemon| {
            daemon.kill();
            downgrade(daemon, 4);
        });

        let log = lab.daemon(0).log();
        assert!(log.contains("migrated the pinned state"), "{log}");
    }
}

/// Programs in place of the earlier build's, which cannot be kept in a file: what comes from the port goes to its neighbour.
fn hold(scene: &Scene) -> [Program; 2] {
    let wire = &scene.wire;
    let neighbour = wire.ns.ifindex(NEIGHBOUR);
    let programs = [
        ("tc_port", PORT, Asm::new().redirect(neighbour)),
        ("tc_uplink", UPLINK, Asm::new().returns(PASS)),
    ];
    programs.map(|(name, dev, asm)| {
        let program = Program::load(ProgramType::Tc, &asm);
        let link: OwnedFd = program.attach(&wire.ns, dev);
        let pins = wire.daemon.pins();
        program.pin(&pins.join("programs").join(name));
        let ifindex = wire.ns.ifindex(dev);
        bpf::pin(&link, &pins.join(format!("links/{name}-{ifindex}")));
        program
    })
}

/// Insists that the earlier programs have the frames.
#[track_caller]
fn assert_held(scene: &Scene) {
    switches(scene, FAR_VM);
    switches(scene, Mac::nth(0x77));
}

#[test]
fn a_start_that_is_refused_leaves_the_earlier_state_forwarding() {
    need_root!();
    for fixture in fixtures() {
        let scene = Scene::of_pins(&fixture);
        let (wire, _held) = (&scene.wire, hold(&scene));
        let daemon = &wire.daemon;
        let pass = Program::load(ProgramType::Xdp, &Asm::new().returns(XDP_PASS));
        let taken = pass.attach(&wire.ns, UPLINK);
        let mut command = daemon.run_command();
        command.args(["--uplink-hook", "xdp"]);

        let out = daemon.refused_start(command);

        let said = String::from_utf8_lossy(&out.stderr);
        assert!(said.contains("already has an XDP"), "{said}");
        assert!(said.contains("stays as it was"), "{said}");
        assert_eq!(layout_of(daemon), fixture.layout);
        assert!(!beside(daemon).exists());
        assert_held(&scene);
        for (name, map) in &fixture.maps {
            assert_eq!(&MapDump::read(&daemon.pins().join(name)), map, "{name}");
        }

        drop(taken);
        daemon.run();
        assert_migrated(&scene, &fixture);
    }
}

/// How far a daemon comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The maps are made and filled.
    Filled,
    /// Some interfaces have the new programs.
    Swapping,
    /// The new pins are in place.
    InPlace,
}

/// Takes the steps of a migration up to one, in this process.
fn migrate(scene: &Scene, last: Step) -> Datapath {
    let wire = &scene.wire;
    let at = |dev| Ifindex::new(wire.ns.ifindex(dev));
    let mut datapath = Datapath::open(&wire.daemon.pins(), DEFAULT_FDB_ENTRIES).expect("open");
    assert!(datapath.is_beside());
    datapath.pin_programs().expect("pin the programs");
    if last >= Step::Swapping {
        datapath.attach_port(PORT, at(PORT), false).expect("swap");
    }
    if last >= Step::InPlace {
        let uplink = datapath.replace_uplink(UPLINK, at(UPLINK), false);
        uplink.expect("swap");
        datapath.put_in_place().expect("put in place");
    }
    datapath
}

/// The same in a process that ends there, as if it was killed.
fn migrate_and_die(scene: &Scene, last: Step) {
    let status = scene.wire.ns.run(|| {
        // SAFETY: the child goes on in this thread alone, which holds no lock, and ends without a return.
        let child = unsafe { libc::fork() };
        assert!(child >= 0, "fork");
        if child == 0 {
            let migrated = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                std::mem::forget(migrate(scene, last));
            }));
            // SAFETY: it ends the process, and nothing of it is cleaned up.
            unsafe { libc::_exit(migrated.is_err().into()) };
        }
        let mut status = 0;
        // SAFETY: the child is ours, and there is room for its status.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(ended, child);
        status
    });
    assert_eq!(status, 0, "{last:?}");
}

/// Insists that the frames of the port go on as they did before, by the earlier programs or by the new ones.
#[track_caller]
fn assert_goes_on(scene: &Scene, last: Step) {
    match last {
        Step::Filled => assert_held(scene),
        Step::Swapping | Step::InPlace => {
            scene.wire.encap(&udp4(VM, FAR_VM).build());
            switches(scene, NEIGHBOUR_VM);
        }
    }
}

#[test]
fn a_daemon_that_is_killed_at_any_step_leaves_one_state_or_the_other_and_the_next_goes_on() {
    need_root!();
    for fixture in fixtures() {
        for last in [Step::Filled, Step::Swapping, Step::InPlace] {
            let scene = Scene::of_pins(&fixture);
            let (daemon, _held) = (&scene.wire.daemon, hold(&scene));

            migrate_and_die(&scene, last);

            assert_goes_on(&scene, last);
            let wanted = match last {
                Step::Filled | Step::Swapping => fixture.layout,
                Step::InPlace => LAYOUT_VERSION,
            };
            assert_eq!(layout_of(daemon), wanted, "{last:?}");
            daemon.run();
            assert_migrated(&scene, &fixture);
        }
    }
}

#[test]
fn a_migration_that_fails_gives_every_interface_its_program_back() {
    need_root!();
    for fixture in fixtures() {
        let scene = Scene::of_pins(&fixture);
        let _held = hold(&scene);

        scene.wire.ns.run(|| drop(migrate(&scene, Step::Swapping)));

        assert_held(&scene);
        assert!(!beside(&scene.wire.daemon).exists());
        assert_eq!(layout_of(&scene.wire.daemon), fixture.layout);
    }
}

#[test]
fn a_teardown_removes_what_a_killed_migration_has_left() {
    need_root!();
    for fixture in fixtures() {
        let scene = Scene::of_pins(&fixture);
        let (daemon, held) = (&scene.wire.daemon, hold(&scene));
        migrate_and_die(&scene, Step::Swapping);
        drop(held);

        typed(&scene, "teardown", &[]);

        assert!(!daemon.pins().exists() && !beside(daemon).exists());
        for dev in [PORT, UPLINK] {
            let programs = bpf::tcx_programs(&scene.wire.ns, dev);
            assert!(matches!(programs, None | Some(0)), "{dev}: {programs:?}");
        }
    }
}

#[test]
fn layouts_that_nobody_knows_are_refused_with_what_to_type() {
    need_root!();
    for layout in [3, LAYOUT_VERSION + 1] {
        let [fixture, ..] = &fixtures()[..] else {
            panic!("no fixture")
        };
        let scene = Scene::of_pins(fixture);
        let (daemon, _held) = (&scene.wire.daemon, hold(&scene));
        bpf::set_first_word(&daemon.pins().join("CONFIG"), layout);

        let out = daemon.refused_start(daemon.run_command());

        let said = String::from_utf8_lossy(&out.stderr);
        let known = format!("version {layout}, and this one knows 4 to {LAYOUT_VERSION}");
        let typed = format!("vtep teardown --instance {}", daemon.instance());
        for part in [&known, "run the vtep that made it", &typed] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_held(&scene);
    }
}

#[test]
fn tables_that_are_not_of_their_layout_are_refused_and_left_alone() {
    need_root!();
    let [fixture, ..] = &fixtures()[..] else {
        panic!("no fixture")
    };
    let mut spoilt = fixture.clone();
    spoilt.maps.get_mut("PORTS").expect("ports").value_size = 20;
    let ports = &mut spoilt.maps.get_mut("PORTS").expect("ports").entries;
    ports.clear();
    let scene = Scene::of_pins(&spoilt);
    let (daemon, _held) = (&scene.wire.daemon, hold(&scene));

    let out = daemon.refused_start(daemon.run_command());

    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        said.contains("PORTS has keys and values of (4, 20)"),
        "{said}"
    );
    assert!(!beside(daemon).exists());
    assert_held(&scene);
}
