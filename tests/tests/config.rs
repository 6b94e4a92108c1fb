//! The configuration file: started with, applied, dumped, saved, and whose everything is.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use vtep_tests::daemon::Daemon;
use vtep_tests::daemon::monitor::Monitor;
use vtep_tests::daemon::refusal::{assert_refused, text};
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::ns::{self, Ns};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::Wire;
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::wait::until;

/// A hypervisor with two taps, a directory for its configuration, and a daemon that does not run.
struct Host {
    daemon: Daemon,
    ns: Ns,
    directory: PathBuf,
}

const MAIN: &str = "\
# a hypervisor
run --iface up0

vni add 100 --mode l2
  port add vm0 --vni 100 --mac 02:00:00:00:00:0a
  fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2   # the far one
  fdb add 02:00:00:00:00:0b --vni 100 --dst 198.18.0.2
include conf.d/*.conf
";

impl Host {
    fn new(main: &str) -> Self {
        let ns = Ns::new("config");
        ns.ip("link add name up0 type veth peer name far0
             link set far0 up
             link set up0 up
             addr add 198.18.0.1/24 dev up0
             tuntap add dev vm0 mode tap
             tuntap add dev vm1 mode tap
             link set vm0 up
             link set vm1 up");
        let directory = std::env::temp_dir().join(ns::unique("config"));
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join("main.conf");
        let daemon = Daemon::named(&ns, &ns::unique("i"), &["--config", file.to_str().unwrap()]);
        let host = Self {
            daemon,
            ns,
            directory,
        };
        host.write("main.conf", main);
        host
    }

    fn started(main: &str) -> Self {
        let host = Self::new(main);
        host.daemon.run();
        host
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn dry_run(&self) -> (Option<i32>, String) {
        let out = self.daemon.vtep("apply --dry-run");
        (out.status.code(), text(&out.stdout))
    }

    /// Whose each row is: table, what, source.
    fn source(&self, table: &str, key: &str, what: &str) -> Value {
        let rows = self.daemon.rows(&format!("{table} show"));
        let mut rows = rows
            .iter()
            .filter(|row| row[key].to_string().trim_matches('"') == what);
        let row = rows
            .next()
            .unwrap_or_else(|| panic!("no {what} in {table}"));
        row["source"].clone()
    }

    #[track_caller]
    fn refused_start(&self, needles: &[&str]) {
        let out = self.daemon.refused_start(self.daemon.run_command());
        assert_refused(&out, 1, needles, "run --config");
        assert!(!self.daemon.pins().exists(), "pins were left");
        assert!(!self.ns.has_device("vtep4789"), "a device was left");
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", text(&out.stdout), text(&out.stderr))
}

#[test]
fn a_daemon_starts_with_its_file_and_is_in_step_with_it() {
    need_root!();
    let host = Host::started(MAIN);

    assert_eq!(host.daemon.rows("vni show").len(), 1);
    assert_eq!(host.source("vni", "vni", "100"), "config");
    assert_eq!(host.source("port", "dev", "vm0"), "config");
    assert_eq!(host.source("fdb", "mac", "02:00:00:00:00:0b"), "config");
    assert_eq!(host.source("fdb", "mac", "00:00:00:00:00:00"), "config");
    assert_eq!(host.dry_run(), (Some(0), String::new()));
    let status = host.daemon.status();
    assert_eq!(status["config"]["in_step"], true);
    let shown = host.daemon.ok("status");
    assert!(shown.contains("main.conf, in step"), "{shown}");
    assert!(host.daemon.log().contains("ready"));

    host.daemon.ok("vni set 100 --ageing 5");
    assert_eq!(host.daemon.status()["config"]["in_step"], false);
    let (code, plan) = host.dry_run();
    assert_eq!((code, &*plan), (Some(3), "~ vni set 100 --ageing 300\n"));
}

#[test]
fn a_changed_file_is_applied_and_leaves_alone_what_commands_made() {
    need_root!();
    let host = Host::started(MAIN);
    host.daemon.ok("vni add 300");
    host.daemon.ok("port add vm1 --vni 300");
    host.daemon
        .ok("fdb add 02:00:00:00:00:1b --vni 100 --dst 198.18.0.3");
    host.write(
        "main.conf",
        "run --iface up0\nvni add 100 --mode l2 --ttl 9\nport add vm0 --vni 100\nvni add 200\ninclude conf.d/*.conf\n",
    );

    let (code, plan) = host.dry_run();
    assert_eq!(code, Some(3));
    let lines: Vec<_> = plan.lines().collect();
    assert_eq!(
        lines,
        [
            "~ vni set 100 --ttl 9",
            "+ vni add 200",
            "~ port set vm0",
            "- fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2",
            "- fdb add 02:00:00:00:00:0b --vni 100 --dst 198.18.0.2",
        ]
    );
    assert_eq!(
        host.daemon.rows("vni show").len(),
        2,
        "a dry run did something"
    );
    let rows = host.daemon.rows("apply");
    assert_eq!(rows.len(), 5);
    assert_eq!(
        (&rows[1]["action"], &rows[1]["command"]),
        (&"add".into(), &"vni add 200".into())
    );

    assert_eq!(host.dry_run(), (Some(0), String::new()));
    assert_eq!(host.source("vni", "vni", "300"), "cli");
    assert_eq!(host.source("port", "dev", "vm1"), "cli");
    assert_eq!(host.source("fdb", "mac", "02:00:00:00:00:1b"), "cli");
    assert!(host.daemon.fdb(100, Mac::nth(0x0b)).is_none());
}

#[test]
fn a_restart_drops_what_the_file_no_longer_has_and_keeps_what_commands_made() {
    need_root!();
    let host = Host::started(&format!("{MAIN}vni add 200\n"));
    host.daemon.ok("vni add 300");
    host.daemon
        .ok("fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.3");
    host.daemon.kill();
    host.write("main.conf", MAIN);
    host.daemon.run();

    let vnis = host.daemon.rows("vni show");
    let vnis: Vec<_> = vnis
        .iter()
        .map(|row| (&row["vni"], &row["source"]))
        .collect();
    assert_eq!(vnis.len(), 2, "{vnis:?}");
    assert_eq!(host.source("vni", "vni", "100"), "config");
    assert_eq!(host.source("vni", "vni", "300"), "cli");
    let listed = host.daemon.rows("fdb show --dst 198.18.0.3");
    assert_eq!((listed.len(), &listed[0]["source"]), (1, &"cli".into()));
    let listed = host.daemon.rows("fdb show --dst 198.18.0.2");
    assert!(
        listed.iter().all(|row| row["source"] == "config"),
        "{listed:?}"
    );
}

#[test]
fn a_bad_file_is_refused_by_name_and_line_and_changes_nothing() {
    need_root!();
    let host = Host::new("run --iface up0\nvni add 100\n\nvni add 100\n");
    host.refused_start(&["main.conf:4:", "vni 100 exists already"]);
    for (main, needles) in [
        ("run --iface up0\nvni add x\n", &["main.conf:2:"][..]),
        ("vni add 1\nrun --iface up0\n", &["main.conf:2:", "first"]),
        (
            "run --iface up0\ninclude main.conf\n",
            &["main.conf:2:", "include itself"],
        ),
        (
            "run --iface up0\nvni show\n",
            &["main.conf:2:", "configures nothing"],
        ),
        ("vni add 1\n", &["run --iface DEV"]),
    ] {
        host.write("main.conf", main);
        host.refused_start(needles);
    }

    host.write("main.conf", MAIN);
    host.daemon.run();
    let before = host.daemon.tables();
    host.write(
        "main.conf",
        "run --iface up0\nvni add 100\nport add eth9 --vni 999\n",
    );
    for command in ["apply", "apply --dry-run"] {
        let out = host.daemon.vtep(command);
        assert_refused(&out, 1, &["main.conf:3:", "vni 999"], command);
    }
    let status = host.daemon.status();
    assert_eq!(status["config"]["in_step"], false);
    // What a signal finds is logged.
    host.daemon.signal(libc::SIGHUP);
    until("the log to say so", || {
        host.daemon.log().contains("main.conf:3:").then_some(())
    });
    assert_eq!(host.daemon.tables(), before);

    host.write(
        "main.conf",
        "run --iface up0 --udp-port 8472\nvni add 100\n",
    );
    let out = host.daemon.vtep("apply");
    assert_refused(
        &out,
        1,
        &["main.conf:1:", "--udp-port", "cannot change"],
        "apply",
    );
}

#[test]
fn a_signal_applies_the_file_again() {
    need_root!();
    let host = Host::started(MAIN);
    host.write("main.conf", &format!("{MAIN}vni add 200\n"));

    host.daemon.signal(libc::SIGHUP);

    until("the new VNI", || {
        (host.daemon.rows("vni show").len() == 2).then_some(())
    });
    assert_eq!(host.source("vni", "vni", "200"), "config");
}

#[test]
fn what_is_dumped_is_a_file_that_gives_the_same_again() {
    need_root!();
    let host = Host::started(MAIN);
    host.daemon.ok("vni add 300 --mode l3 --sources any");
    host.daemon
        .ok("port add vm1 --vni 300 --vlan 7 --ip 10.0.0.1 --mac 02:00:00:00:00:1a --isolated on");
    host.daemon
        .ok("neigh add 10.0.0.2 --vni 300 --lladdr 02:00:00:00:00:1b");
    host.daemon
        .ok("nexthop add 10.1.0.0/16 --vni 300 --via 198.18.0.2");
    let first = host.daemon.ok("dump");
    assert!(first.starts_with("run --iface up0\n"), "{first}");
    let of_cli = host.daemon.ok("dump --source cli --vni 300");
    assert_eq!(of_cli.lines().count(), 5, "{of_cli}");
    assert_eq!(host.daemon.rows("dump").len(), first.lines().count());

    // Without a daemon the pins say it, and the address that it sent from.
    host.daemon.kill();
    let out = host.daemon.vtep("dump");
    assert_refused(&out, 3, &["no vtep daemon"], "dump");
    let mut command = host.ns.command(vtep_tests::daemon::binary::vtep());
    command.args(["dump", "--pins", "--instance", host.daemon.instance()]);
    let out = ns::done(&mut command, "");
    let expected = first.replacen("run --iface up0", "run --iface up0 --local 198.18.0.1", 1);
    assert_eq!(text(&out.stdout), expected);
    host.daemon.run();
    assert_eq!(host.daemon.ok("dump --pins"), first);

    host.daemon.ok("teardown");
    until("the daemon to end", || host.daemon.ended());
    host.write("main.conf", &first);
    host.daemon.run();

    assert_eq!(host.daemon.ok("dump"), first);
    assert_eq!(host.daemon.ok("dump --source cli").lines().count(), 1);
    assert_eq!(host.dry_run(), (Some(0), String::new()));
}

#[test]
fn what_commands_made_is_saved_beside_the_file_and_is_the_file_s_then() {
    need_root!();
    let host = Host::started(MAIN);
    host.daemon.ok("vni add 300");
    host.daemon.ok("port add vm1 --vni 300");
    host.daemon
        .ok("fdb add 02:00:00:00:00:1b --vni 100 --dst 198.18.0.3");
    host.daemon.ok("vni set 100 --ageing 60");

    host.daemon.ok("save");

    let saved = fs::read_to_string(host.path("conf.d/90-saved.conf")).unwrap();
    assert_eq!(
        saved,
        "vni set 100 --ageing 60\nvni add 300\nport add vm1 --vni 300\nfdb add 02:00:00:00:00:1b --vni 100 --dst 198.18.0.3\n"
    );
    assert_eq!(host.dry_run(), (Some(0), String::new()));
    assert_eq!(host.source("vni", "vni", "300"), "config");
    // What is saved later is appended.
    host.daemon.ok("vni add 400");
    host.daemon.ok("save");
    let more = fs::read_to_string(host.path("conf.d/90-saved.conf")).unwrap();
    assert_eq!(more, format!("{saved}vni add 400\n"));
    host.daemon.ok("save");
    assert_eq!(
        fs::read_to_string(host.path("conf.d/90-saved.conf")).unwrap(),
        more
    );

    // A file that does not include it would lose it.
    host.write("main.conf", "run --iface up0\nvni add 100 --mode l2\n");
    let out = host.daemon.vtep("save");
    assert_refused(
        &out,
        1,
        &["does not include", "include conf.d/*.conf"],
        "save",
    );
}

#[test]
fn what_commands_built_on_is_lost_by_force_alone() {
    need_root!();
    let host = Host::started(&format!("{MAIN}vni add 200\n"));
    host.daemon.ok("port add vm1 --vni 200");
    host.write("main.conf", MAIN);

    let out = host.daemon.vtep("apply");
    assert_refused(
        &out,
        1,
        &["vni add 200", "port add vm1", "--force"],
        "apply",
    );
    assert_eq!(host.daemon.rows("port show").len(), 2);
    // A start cannot ask, and keeps it.
    host.daemon.stop();
    host.daemon.run();
    assert_eq!(host.daemon.rows("port show").len(), 2);
    assert_eq!(host.daemon.status()["config"]["in_step"], false);

    let done = host.daemon.ok("apply --force");
    assert_eq!(done, "- vni add 200\n- port add vm1 --vni 200\n");
    assert_eq!(host.daemon.rows("port show").len(), 1);
}

#[test]
fn options_on_the_command_line_win_over_those_of_the_file() {
    need_root!();
    let host = Host::new(&MAIN.replace("up0", "nope0 --udp-port 8472"));
    let file = host.path("main.conf");
    let daemon = Daemon::named(
        &host.ns,
        &ns::unique("i"),
        &["--config", file.to_str().unwrap(), "--iface", "up0"],
    );
    daemon.run();

    let status = daemon.status();
    assert_eq!(status["uplinks"][0]["dev"], "up0");
    assert_eq!(status["udp_port"], 8472);
    assert_eq!(text(&daemon.vtep("apply --dry-run").stdout), "");
}

#[test]
fn a_file_may_be_applied_to_a_daemon_that_was_started_without_one() {
    need_root!();
    let host = Host::new(MAIN);
    let daemon = Daemon::start(&host.ns, &["--iface", "up0"]);
    assert_eq!(daemon.status()["config"], Value::Null);
    let out = daemon.vtep("apply");
    assert_refused(&out, 1, &["without a configuration file"], "apply");

    let file = host.path("main.conf");
    let done = daemon.ok(&format!("apply {}", file.display()));

    assert!(done.lines().all(|line| line.starts_with("+ ")), "{done}");
    assert_eq!(daemon.rows("vni show")[0]["source"], "config");
    let out = daemon.vtep(&format!("apply {} --dry-run", file.display()));
    assert_eq!(out.status.code(), Some(0), "{}", said(&out));
}

#[test]
fn nothing_that_stays_loses_a_frame_while_a_file_is_applied() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let directory = std::env::temp_dir().join(ns::unique("config"));
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("main.conf");
    let stays = "vni add 100\nport add vm0 --vni 100 --mac 02:00:00:00:00:0a\nfdb add 02:00:00:00:00:0b --vni 100 --dst 198.18.0.2\n";
    let entries = |from: u32| -> String {
        let line = |n: u32| {
            let [_, _, high, low] = n.to_be_bytes();
            format!("fdb add 02:00:00:01:{high:02x}:{low:02x} --vni 100 --dst 198.18.0.3\n")
        };
        (from..from + 2_000).map(line).collect()
    };
    let frame = udp4(Mac::nth(0x0a), Mac::nth(0x0b)).build();

    for from in [0, 1_000, 2_000] {
        fs::write(&file, format!("{stays}{}", entries(from))).unwrap();
        std::thread::scope(|scope| {
            let apply = scope.spawn(|| wire.daemon.ok(&format!("apply {}", file.display())));
            let mut sent = 0;
            while !apply.is_finished() || sent < 50 {
                wire.encap(&frame);
                sent += 1;
            }
            assert!(!apply.join().unwrap().is_empty());
        });
    }
    fs::remove_dir_all(&directory).unwrap();
    assert_eq!(wire.daemon.rows("fdb show --vni 100").len(), 2_002);
    assert_eq!(wire.port.recv(std::time::Duration::ZERO), None);
    assert_eq!(wire.daemon.status()["uplinks"][0]["dev"], UPLINK);
}

#[test]
fn every_change_stands_in_the_log_with_who_made_it() {
    need_root!();
    let host = Host::started(MAIN);
    host.daemon.ok("vni add 300");

    let log = host.daemon.log();

    let line = |what: &str| {
        let mut lines = log.lines().filter(|line| line.contains(what));
        lines
            .next()
            .unwrap_or_else(|| panic!("{what}: {log}"))
            .to_owned()
    };
    let made = line("done: vni add 300");
    for needle in ["source=\"cli\"", "uid=0", "pid="] {
        assert!(made.contains(needle), "{needle}: {made}");
    }
    assert!(
        line("done: vni add 100").contains("source=\"config\""),
        "{log}"
    );
}

#[test]
fn a_port_waits_for_its_interface_and_comes_back_with_it() {
    need_root!();
    let host = Host::started(&MAIN.replace("vm0", "late0"));
    let row = || host.daemon.rows("port show late0").remove(0);
    assert_eq!(
        (&row()["state"], &row()["ifindex"]),
        (&"absent".into(), &Value::Null)
    );
    assert_eq!(host.dry_run(), (Some(0), String::new()));
    let dump = host.daemon.ok("dump");
    let out = host.daemon.vtep("port add later0 --vni 100");
    assert_refused(&out, 1, &["does not exist", "--wait"], "port add");
    host.daemon.ok("port add later0 --vni 100 --wait");
    host.daemon.ok("port del later0");

    let witness = "198.18.0.99".parse().unwrap();
    let monitor = Monitor::start(&host.daemon, 100, witness);
    let said = |event: &str| {
        monitor.wait_for(event, |row| row["event"] == event && row["dev"] == "late0");
        monitor.clear();
    };
    for _ in 0..2 {
        host.ns
            .ip("tuntap add dev late0 mode tap\nlink set late0 up");
        until("the port", || (row()["state"] == "attached").then_some(()));
        assert_eq!(row()["ifindex"], host.ns.ifindex("late0"));
        assert_eq!(row()["macs"], serde_json::json!(["02:00:00:00:00:0a"]));
        assert_eq!(host.daemon.ok("dump"), dump);
        said("port_up");
        host.ns.ip("link del late0");
        until("the port to wait", || {
            (row()["state"] == "absent").then_some(())
        });
        said("port_down");
        assert!(host.daemon.fdb(100, Mac::nth(0x0a)).is_some());
        assert_eq!(host.daemon.ok("dump"), dump);
    }
}

#[test]
fn what_cannot_be_attached_takes_back_all_that_was_done_for_a_file() {
    need_root!();
    let host = Host::started(MAIN);
    host.daemon.ok("vni add 300");
    // Another instance has the interface of a port.
    let args = [
        "--iface",
        "up0",
        "--udp-port",
        "4790",
        "--uplink-hook",
        "tc",
    ];
    let other = Daemon::start(&host.ns, &args);
    other.ok("vni add 7");
    other.ok("port add vm1 --vni 7 --hook xdp");
    let (before, dump) = (host.daemon.tables(), host.daemon.ok("dump"));
    host.write(
        "main.conf",
        "run --iface up0\nvni add 100 --ttl 9\nvni add 300\nvni add 400\nport add vm1 --vni 400 --hook xdp\nport add vm0 --vni 400\n",
    );

    let out = host.daemon.vtep("apply");

    assert_refused(&out, 1, &["vm1", other.instance()], "apply");
    assert_eq!(host.daemon.ok("dump"), dump);
    assert_eq!(host.daemon.tables(), before);
    // Others may go on.
    host.daemon.ok("vni add 500");
}
