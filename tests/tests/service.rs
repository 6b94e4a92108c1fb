//! What a service manager sees of the daemon: when it is ready, that it is alive, its log; and the unit for systemd.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use vtep_tests::daemon::refusal::text;
use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::lab::UPLINK;
use vtep_tests::lab::ns::{Ns, unique};
use vtep_tests::need_root;
use vtep_tests::wait::{DEADLINE, until_true};

/// The unit for systemd.
const UNIT: &str = include_str!("../../dist/systemd/vtep@.service");

/// A directory of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let path = std::env::temp_dir().join(unique("service"));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The service manager's side: what a daemon that it has started tells it.
struct Manager {
    ns: Ns,
    _far: Ns,
    daemon: Daemon,
    scratch: Scratch,
    socket: UnixDatagram,
    /// What the daemon is told of the socket.
    name: OsString,
    child: Option<Child>,
    heard: Vec<String>,
}

impl Manager {
    fn new(args: &[&str]) -> Self {
        let ns = Ns::new("service");
        let far = Ns::new("far");
        ns.veth(UPLINK, &far, "far0");
        ns.ip(&format!("addr add 198.18.0.1/24 dev {UPLINK}"));
        let scratch = Scratch::new();
        let path = scratch.0.join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        let slice = Some(Duration::from_millis(20));
        socket.set_read_timeout(slice).expect("a time-out");
        let daemon = Daemon::named(&ns, &unique("s"), args);
        Self {
            ns,
            _far: far,
            daemon,
            scratch,
            socket,
            name: path.into(),
            child: None,
            heard: Vec::new(),
        }
    }

    fn start(&mut self) {
        let mut command = self.daemon.run_command();
        command
            .env("NOTIFY_SOCKET", &self.name)
            .env("WATCHDOG_USEC", "60000000")
            .env_remove("WATCHDOG_PID");
        self.child = Some(command.spawn().expect("start the daemon"));
    }

    fn signal(&self, signal: i32) {
        let pid = self.child.as_ref().expect("it runs").id();
        let pid = i32::try_from(pid).expect("a pid");
        // SAFETY: only sends a signal to a child that was not waited for.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// Takes what has been said.
    fn listen(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(len) = self.socket.recv(&mut buffer) {
            let lines = text(&buffer[..len]);
            self.heard.extend(lines.lines().map(str::to_owned));
        }
    }

    fn count(&self, line: &str) -> usize {
        self.heard.iter().filter(|heard| *heard == line).count()
    }

    /// Waits until a line was said.
    #[track_caller]
    fn hears(&mut self, line: &str) {
        let start = Instant::now();
        while self.count(line) == 0 {
            assert!(start.elapsed() < DEADLINE, "{line}: {:?}", self.heard);
            self.listen();
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

#[test]
fn it_is_ready_when_it_answers_says_what_it_has_and_that_it_ends() {
    need_root!();
    let mut manager = Manager::new(&["--iface", UPLINK]);
    manager.start();

    manager.hears("READY=1");
    assert_eq!(
        manager.daemon.rows("vni show").len(),
        0,
        "it answers at once"
    );
    manager.hears("STATUS=0 VNIs, 0 ports, 0 VTEPs");
    manager.daemon.ok("vni add 7");
    manager.hears("STATUS=1 VNI, 0 ports, 0 VTEPs");

    manager.signal(libc::SIGTERM);
    manager.hears("STOPPING=1");
    let ended = manager.child.as_mut().expect("it runs").wait();
    assert!(ended.expect("its end").success());
    manager.listen();
    assert_eq!(manager.count("READY=1"), 1);
}

#[test]
fn it_is_ready_without_its_uplink_and_says_what_it_waits_for() {
    need_root!();
    let mut manager = Manager::new(&["--iface", "later0", "--wait"]);
    manager.start();

    manager.hears("READY=1");
    let start = Instant::now();
    let waits =
        |heard: &str| heard.starts_with("STATUS=") && heard.contains("waits for uplink later0");
    while !manager.heard.iter().any(|heard| waits(heard)) {
        assert!(start.elapsed() < DEADLINE, "{:?}", manager.heard);
        manager.listen();
    }
}

#[test]
fn what_the_unit_says_may_be_said_again() {
    need_root!();
    let start = UNIT.lines().find_map(|line| {
        let words = line.strip_prefix("ExecStart=/usr/bin/vtep run --instance %i ")?;
        words.strip_suffix(" $VTEP_RUN")
    });
    let unit: Vec<_> = start.expect("its command").split(' ').collect();
    assert_eq!(unit, ["--wait"]);
    let mut manager = Manager::new(&[&unit[..], &["--iface", UPLINK, "--wait"]].concat());
    manager.start();

    manager.hears("READY=1");
}

#[test]
fn it_is_alive_as_long_as_its_task_goes_round() {
    need_root!();
    let mut manager = Manager::new(&["--iface", UPLINK]);
    manager.start();
    manager.hears("READY=1");

    manager.heard.clear();
    manager.hears("WATCHDOG=1");
    manager.heard.clear();
    manager.hears("WATCHDOG=1");

    // One that hangs says nothing.
    manager.signal(libc::SIGSTOP);
    let pid = manager.child.as_ref().expect("it runs").id();
    until_true("it to stand still", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
        stat.contains(") T ")
    });
    manager.listen();
    manager.heard.clear();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(3) {
        manager.listen();
    }
    assert_eq!(manager.count("WATCHDOG=1"), 0, "{:?}", manager.heard);
    manager.signal(libc::SIGCONT);
    manager.hears("WATCHDOG=1");
}

#[test]
fn a_manager_with_an_abstract_name_hears_it() {
    need_root!();
    let mut manager = Manager::new(&["--iface", UPLINK]);
    let name = unique("notify");
    let address = SocketAddr::from_abstract_name(&name).expect("an address");
    // Such names are of the network namespace.
    let bound = manager.ns.run(|| UnixDatagram::bind_addr(&address));
    manager.socket = bound.expect("a socket");
    let slice = Some(Duration::from_millis(20));
    manager.socket.set_read_timeout(slice).expect("a time-out");
    manager.name = format!("@{name}").into();
    manager.start();

    manager.hears("READY=1");
}

#[test]
fn a_manager_that_takes_nothing_keeps_nobody_waiting() {
    need_root!();
    let mut manager = Manager::new(&["--iface", UPLINK]);
    // Its queue is full before it begins.
    let filler = UnixDatagram::unbound().expect("a socket");
    filler.set_nonblocking(true).expect("one that waits not");
    let full = loop {
        if let Err(why) = filler.send_to(b"X=1", &manager.name) {
            break why;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    manager.start();

    until_true("it to answer", || {
        manager.daemon.vtep("status").status.success()
    });
    manager.daemon.ok("vni add 7");
    // It goes on to tell, and is heard as soon as somebody reads.
    manager.hears("STATUS=1 VNI, 0 ports, 0 VTEPs");
}

/// One field of an entry of the journal.
fn field<'a>(entry: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = entry.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
fn the_journal_gets_each_line_with_its_priority_and_fields() {
    need_root!();
    let mut manager = Manager::new(&["--iface", UPLINK]);
    let journal = UnixDatagram::bind(manager.scratch.0.join("socket")).expect("a socket");
    let slice = Some(Duration::from_millis(20));
    journal.set_read_timeout(slice).expect("a time-out");
    let stderr = manager.scratch.0.join("stderr");
    File::create(&stderr).expect("a file");
    // A journal of its own, where the daemon looks for it.
    let daemon = manager.daemon.run_command();
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c"]).arg(format!(
        "mkdir -p /run/systemd/journal && mount --bind {0} /run/systemd/journal && exec 2>>{1} && \
         export JOURNAL_STREAM=$(stat -c %d:%i {1}) && exec \"$@\"",
        manager.scratch.0.display(),
        stderr.display()
    ));
    command
        .arg("sh")
        .arg(daemon.get_program())
        .args(daemon.get_args());
    let given = daemon.get_envs();
    command.envs(given.filter_map(|(name, value)| Some((name, value?))));
    manager.child = Some(command.spawn().expect("start the daemon"));
    let mut entries = Vec::new();
    let mut buffer = [0; 8192];
    let mut hears = |what: &str, wanted: &dyn Fn(&str) -> bool| {
        let start = Instant::now();
        loop {
            if let Some(found) = entries.iter().find(|entry: &&String| wanted(entry)) {
                return found.clone();
            }
            assert!(start.elapsed() < DEADLINE, "{what}: {entries:?}");
            if let Ok(len) = journal.recv(&mut buffer) {
                entries.push(text(&buffer[..len]));
            }
        }
    };

    let ready = hears("that it is ready", &|entry| {
        field(entry, "MESSAGE").is_some_and(|it| it.starts_with("ready"))
    });
    assert_eq!(field(&ready, "PRIORITY"), Some("6"));
    assert_eq!(field(&ready, "SYSLOG_IDENTIFIER"), Some("vtep"));
    assert_eq!(
        field(&ready, "VTEP_INSTANCE"),
        Some(manager.daemon.instance())
    );
    manager.daemon.ok("vni add 7");
    let change = hears("who has made a VNI", &|entry| {
        field(entry, "MESSAGE").is_some_and(|it| it.contains("vni add 7"))
    });
    assert_eq!(field(&change, "VTEP_SOURCE"), Some("cli"));
    assert_eq!(field(&change, "VTEP_UID"), Some("0"));
    // What others change is worse than what was asked for.
    manager.ns.ip("link set vtep4789 mtu 1400");
    hears("a warning", &|entry| {
        field(entry, "PRIORITY") == Some("4") && entry.contains("put it right")
    });
    let said = fs::read_to_string(&stderr).expect("what it said");
    assert_eq!(said, "", "nothing stands in both");
}

/// The unit, for a user that is there, and a binary that is.
fn unit_file(scratch: &Path) -> PathBuf {
    let unit = UNIT.replace("/usr/bin/vtep", &binary::vtep().display().to_string());
    let path = scratch.join("vtep@main.service");
    fs::write(&path, unit).expect("write the unit");
    path
}

/// What systemd-analyze says of the unit.
fn analyze(args: &[&str]) -> Option<(bool, String)> {
    let scratch = Scratch::new();
    let unit = unit_file(&scratch.0);
    let out = Command::new("systemd-analyze")
        .args(args)
        .arg(unit)
        .output();
    let out = out.ok()?;
    let said = [text(&out.stdout), text(&out.stderr)].concat();
    Some((out.status.success(), said))
}

#[test]
fn systemd_has_nothing_to_say_of_the_unit() {
    let Some((taken, said)) = analyze(&["verify", "--man=no"]) else {
        vtep_tests::skip!("needs systemd-analyze, of the package systemd");
    };
    assert!(taken && !said.contains("vtep@"), "{said}");
}

#[test]
fn the_unit_grants_little() {
    // Of 100, less is better; a service without any protection has 96.
    let wanted = ["security", "--offline=yes", "--threshold=25"];
    let Some((taken, said)) = analyze(&wanted) else {
        vtep_tests::skip!("needs systemd-analyze, of the package systemd");
    };
    assert!(taken, "{said}");
}

#[test]
fn guests_and_routing_daemons_come_after_it_and_no_ring_is_made() {
    let line = |key: &str| {
        let mut lines = UNIT.lines();
        lines
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .expect("a line")
    };
    for later in ["libvirtd", "pve-guests", "incus", "frr"] {
        assert!(
            line("Before").contains(&format!("{later}.service")),
            "{later}"
        );
    }
    // frr.service comes before network.target.
    assert!(!line("After").contains("network.target"));
    assert_eq!(line("Type"), "notify");
    assert_eq!(line("RestartPreventExitStatus"), "2", "wrong usage");
    assert!(line("WatchdogSec").parse::<u32>().is_ok());
}
