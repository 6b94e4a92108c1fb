//! The Debian package under a real systemd: installed, started, reloaded, hung, upgraded, stopped and purged, while a VM has traffic.
//!
//! It runs in a guest (`cargo xtask test vm --only installed_service`), whose first process is systemd, and changes that system.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use vtep_tests::daemon::refusal::text;
use vtep_tests::lab::ns::Ns;
use vtep_tests::note;
use vtep_tests::wait::{poll, until, until_true};

/// The package, where the guest has it.
const PACKAGE: &str = "/job/vtep.deb";

/// The configuration that it brings.
const CONFIGURATION: &str = "/etc/vtep/main.conf";

/// The unit of the instance `main`.
const UNIT: &str = "vtep@main.service";

/// One segment with a VM and a VTEP.
const LINES: &str = "\
run --iface up0 --local 198.18.0.1
vni add 100
port add vm0 --vni 100
fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2
";

/// Longer than the watchdog of the unit and what systemd then waits for.
const HANG: Duration = Duration::from_secs(300);

#[test]
fn the_package_serves_from_its_installation_to_its_purge() {
    let first = fs::read_to_string("/proc/1/comm").expect("a first process");
    assert_eq!(first.trim(), "systemd", "it changes the system");
    let site = Site::new();

    installed();
    started();
    until_true("a ping from the VM", || site.pings());
    reloaded();
    logged();
    looked_into(&site);
    hung(&site);
    upgraded(&site);
    stopped(&site);
    purged();

    let versions = ok("systemctl", "--version");
    note(versions.lines().next().unwrap_or_default());
}

/// A VM at this hypervisor, and another VTEP with a host: the kernel's own device.
struct Site {
    vm: Ns,
    _far: Ns,
}

impl Site {
    fn new() -> Self {
        let (vm, far) = (Ns::new("vm"), Ns::new("far"));
        for line in [
            format!("link add up0 type veth peer name far0 netns {}", far.name()),
            format!("link add vm0 type veth peer name eth0 netns {}", vm.name()),
            "addr add 198.18.0.1/24 dev up0".to_owned(),
            "link set up0 up".to_owned(),
            "link set vm0 up".to_owned(),
        ] {
            ok("ip", &line);
        }
        for line in [
            "addr add 198.18.0.2/24 dev far0",
            "link set far0 up",
            "link add vx0 type vxlan id 100 local 198.18.0.2 remote 198.18.0.1 dstport 4789",
            "addr add 10.0.0.2/24 dev vx0",
            "link set vx0 mtu 1450 up",
        ] {
            far.ip(line);
        }
        vm.ip("addr add 10.0.0.1/24 dev eth0");
        vm.ip("link set eth0 mtu 1450 up");
        Self { vm, _far: far }
    }

    fn pings(&self) -> bool {
        let mut ping = self.vm.command("ping");
        ping.args(["-q", "-c", "5", "-i", "0.2", "-W", "1", "10.0.0.2"]);
        ping.output().expect("run ping").status.success()
    }

    /// Pings all the time until [`Pings::all_answered`].
    fn keeps_pinging(&self) -> Pings {
        let mut ping = self.vm.command("ping");
        ping.args(["-q", "-i", "0.2", "10.0.0.2"])
            .stdout(Stdio::piped());
        Pings(ping.spawn().expect("run ping"))
    }
}

/// Pings that go on.
struct Pings(Child);

impl Pings {
    /// Insists that each was answered, and that there were some.
    #[track_caller]
    fn all_answered(self, meanwhile: &str) {
        let pid = i32::try_from(self.0.id()).expect("a pid");
        // SAFETY: only sends a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        let said = text(&self.0.wait_with_output().expect("its end").stdout);
        let counts = said.lines().find(|line| line.contains("transmitted"));
        let counts = counts.unwrap_or_else(|| panic!("no counts: {said}"));
        let count = |what: &str| -> u32 {
            let part = counts.split(", ").find(|part| part.contains(what));
            let number = part.and_then(|part| part.split(' ').next());
            number.and_then(|it| it.parse().ok()).expect("a count")
        };
        let (sent, received) = (count("transmitted"), count("received"));
        // The one that was sent last may be on its way.
        assert!(
            received > 0 && sent - received <= 1,
            "{meanwhile}: {counts}"
        );
        note(&format!("{meanwhile}: {counts}"));
    }
}

fn run(program: &str, args: &str) -> Output {
    let mut command = Command::new(program);
    command.args(args.split_whitespace());
    command.output().expect("run a program")
}

/// Runs a program that succeeds; returns what it prints.
#[track_caller]
fn ok(program: &str, args: &str) -> String {
    let out = run(program, args);
    let said = [text(&out.stdout), text(&out.stderr)].concat();
    assert!(out.status.success(), "{program} {args}: {said}");
    text(&out.stdout)
}

/// What systemd says of the unit.
fn property(name: &str) -> String {
    let value = ok(
        "systemctl",
        &format!("show --value --property {name} {UNIT}"),
    );
    value.trim().to_owned()
}

fn installed() {
    // The guest's packages are unpacked without being installed.
    ok("dpkg", &format!("--install --force-depends {PACKAGE}"));

    assert_eq!(property("ActiveState"), "inactive", "nobody asked for it");
    assert!(
        !run("systemctl", &format!("is-enabled {UNIT}"))
            .status
            .success()
    );
    ok("getent", "passwd vtep");
    assert!(!Path::new("/sys/fs/bpf/vtep").exists());
}

fn started() {
    fs::write(CONFIGURATION, LINES).expect("write the configuration");
    ok("systemctl", &format!("start {UNIT}"));

    // It is there when `start` comes back, so nobody has to wait for it.
    assert_eq!(property("ActiveState"), "active");
    until_true("what it has", || {
        property("StatusText").starts_with("1 VNI, 1 port, 1 VTEP")
    });
    let status = fs::read_to_string(format!("/proc/{}/status", property("MainPID")));
    let status = status.expect("it runs");
    let user = ok("id", "--user vtep");
    assert!(
        status.contains(&format!("\nUid:\t{}\t", user.trim())),
        "{status}"
    );
    assert!(status.contains("\nNoNewPrivs:\t1\n"), "{status}");
    assert!(
        status.contains("\nSeccomp:\t2\n"),
        "system calls are filtered"
    );
}

fn add_to_configuration(line: &str) {
    let file = OpenOptions::new().append(true).open(CONFIGURATION);
    writeln!(file.expect("the configuration"), "{line}").expect("write a line");
}

fn reloaded() {
    add_to_configuration("vni add 200");
    ok("systemctl", &format!("reload {UNIT}"));
    assert_eq!(rows("vni show").len(), 2);

    let good = fs::read(CONFIGURATION).expect("the configuration");
    add_to_configuration("vni frobnicate 300");
    assert!(!run("systemctl", &format!("reload {UNIT}")).status.success());
    assert_eq!(rows("vni show").len(), 2);
    assert_eq!(property("ActiveState"), "active");
    fs::write(CONFIGURATION, good).expect("write the configuration");
    ok("systemctl", &format!("reload {UNIT}"));
}

/// The rows that a command of `vtep` shows.
fn rows(args: &str) -> Vec<Value> {
    serde_json::from_str(&ok("vtep", &format!("-j {args}"))).expect("JSON")
}

/// The journal's entries of the daemon itself; what is printed by a reload comes another way.
fn journal() -> Vec<Value> {
    let own = "SYSLOG_IDENTIFIER=vtep _TRANSPORT=journal";
    let all = ok("journalctl", &format!("--boot --output json {own}"));
    let lines = all.lines();
    lines
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

fn logged() {
    let entries = journal();
    assert!(!entries.is_empty());
    for entry in &entries {
        assert_eq!(entry["VTEP_INSTANCE"], "main", "{entry}");
        assert_eq!(entry["_SYSTEMD_UNIT"], UNIT, "{entry}");
        let priority = entry["PRIORITY"].as_str().and_then(|it| it.parse().ok());
        assert!(matches!(priority, Some(3_u8..=7)), "{entry}");
    }
    let has = |what: &str, priority: &str| {
        entries.iter().any(|entry| {
            let message = entry["MESSAGE"].as_str().unwrap_or_default();
            message.contains(what) && entry["PRIORITY"] == priority
        })
    };
    assert!(has("ready", "6"), "{entries:#?}");
    assert!(has("vni add 200", "6"), "{entries:#?}");
}

/// What the unit forbids the daemon is not what these need.
fn looked_into(site: &Site) {
    ok("vtep", "trace vm0 --dst 02:00:00:00:00:02");
    let pings = site.keeps_pinging();
    let captured = ok("timeout", "60 vtep capture vm0 --count 9");
    let traced = ok("timeout", "60 vtep trace vm0 --live 1 --seconds 50");
    assert!(captured.contains("10.0.0."), "{captured}");
    assert!(!traced.is_empty());
    let findings = text(&run("vtep", "doctor -j").stdout);
    let findings: Vec<Value> = serde_json::from_str(&findings).expect("JSON");
    assert!(!findings.is_empty());
    pings.all_answered("capture and live trace");
}

fn hung(site: &Site) {
    let pings = site.keeps_pinging();
    let pid = property("MainPID");
    ok("kill", &format!("-STOP {pid}"));

    // It goes by itself, so a look at it costs the guest nothing; `systemctl` is asked when it has gone.
    let process = PathBuf::from(format!("/proc/{pid}"));
    let gone = poll(HANG, || (!process.exists()).then_some(()));
    assert!(
        gone.is_some(),
        "{}",
        ok("systemctl", &format!("show {UNIT}"))
    );
    let back = until("another to be active", || {
        (property("ActiveState") == "active").then(|| property("MainPID"))
    });
    assert_ne!(back, pid);
    assert_eq!(property("NRestarts"), "1");
    let said = ok("journalctl", &format!("--boot --unit {UNIT} --output cat"));
    assert!(said.contains("Watchdog timeout"), "{said}");
    assert_eq!(rows("vni show").len(), 2);
    pings.all_answered("a daemon that hangs, until systemd has started another");
}

fn upgraded(site: &Site) {
    let pings = site.keeps_pinging();
    let pid = property("MainPID");
    ok("dpkg", &format!("--install --force-depends {PACKAGE}"));

    assert_eq!(property("ActiveState"), "active");
    assert_ne!(property("MainPID"), pid, "the new one runs");
    let had = fs::read_to_string(CONFIGURATION).expect("the configuration");
    assert!(had.starts_with(LINES), "{had}");
    assert_eq!(rows("vni show").len(), 2);
    pings.all_answered("an upgrade of the package");
}

fn stopped(site: &Site) {
    let pings = site.keeps_pinging();
    ok("systemctl", &format!("stop {UNIT}"));

    assert_eq!(property("ActiveState"), "inactive");
    assert_eq!(run("vtep", "vni show").status.code(), Some(3), "no daemon");
    assert!(site.pings());
    pings.all_answered("a stop of the service");
}

fn purged() {
    ok("systemctl", &format!("enable --now {UNIT}"));
    ok("dpkg", "--purge vtep");

    let gone = until("systemd to forget it", || {
        let all = ok("systemctl", "list-units --all --plain --no-legend vtep@*");
        all.trim().is_empty().then_some(all)
    });
    assert_eq!(gone.trim(), "");
    for path in [
        "/usr/bin/vtep",
        "/etc/vtep",
        "/var/lib/vtep",
        "/run/vtep",
        "/sys/fs/bpf/vtep",
        "/sys/class/net/vtep4789",
        "/etc/systemd/system/multi-user.target.wants/vtep@main.service",
    ] {
        assert!(fs::symlink_metadata(path).is_err(), "{path}");
    }
    assert!(!run("getent", "passwd vtep").status.success());
    let filters = ok("tc", "filter show dev vm0 ingress");
    assert_eq!(filters.trim(), "");
    let links = ok("ip", "-details link show up0");
    assert!(!links.contains("xdp"), "{links}");
}
