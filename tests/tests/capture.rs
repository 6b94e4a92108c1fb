//! `vtep capture` shows inner frames in both directions and drops too, also those that XDP moved, and leaves nothing behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::{fs::MetadataExt as _, process::CommandExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use vtep_tests::bpf::{first_value, pin_new_array, program_of_link};
use vtep_tests::daemon::refusal::refused;
use vtep_tests::daemon::{Daemon, binary};
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::ns;
use vtep_tests::lab::underlay::{Family, Topology, Underlay};
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{Attach, GREEN, Kind, Lab, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::traffic::checks::marked;
use vtep_tests::traffic::ping;
use vtep_tests::wait::{until, until_true};
use vtep_tests::{need_programs, need_root};

/// A VNI that no hypervisor has.
const NOWHERE: u32 = 999;

/// Frames that are taken at once, and three times as many.
const BURST: usize = 1_500;
const FRAMES: usize = 3 * BURST;

/// How long a reader is sent more than it reads.
const FOR_SO_LONG: Duration = Duration::from_millis(1_500);

/// How long the end of a daemon may take, however its readers are.
const SOON: Duration = Duration::from_secs(5);

/// What ends when the test does, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Running {
    fn start(mut command: Command) -> Self {
        // SAFETY: prctl is safe to call between fork and exec; the process must not outlive its test.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        Self(
            command
                .spawn()
                .unwrap_or_else(|e| panic!("{command:?}: {e}")),
        )
    }

    /// Starts `vtep capture ARGS`.
    fn command(daemon: &Daemon, args: &str, out: impl Into<Stdio>) -> Self {
        let mut command = Command::new(binary::vtep());
        command
            .arg("capture")
            .args(args.split_whitespace())
            .args(["--instance", daemon.instance()])
            .envs(binary::environment())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped());
        Self::start(command)
    }

    /// The same, and waits until it captures.
    fn capture(daemon: &Daemon, args: &str, out: impl Into<Stdio>) -> Self {
        let begun = || daemon.log().matches("captures frames").count();
        let before = begun();
        let mut running = Self::command(daemon, args, out);
        until_true("the daemon to capture", || {
            if let Some(status) = running.0.try_wait().expect("ask for the child's state") {
                panic!(
                    "vtep capture {args} ended with {status}: {}",
                    running.said()
                );
            }
            begun() > before
        });
        running
    }

    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.0.id()).expect("a process id");
        // SAFETY: plain call on a child that has not been waited for, so the id is still its own.
        unsafe { libc::kill(pid, signal) };
    }

    /// Whether it has a handler for a signal.
    fn catches(&self, signal: i32) -> bool {
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.0.id())).expect("a process");
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = u64::from_str_radix(caught.expect("the caught signals").trim(), 16);
        caught.expect("hexadecimal digits") >> (signal - 1) & 1 == 1
    }

    fn ended(&mut self) -> ExitStatus {
        until("the command to end", || {
            self.0.try_wait().expect("ask for the child's state")
        })
    }

    /// What it says on standard error until it ends.
    fn said(&mut self) -> String {
        let mut text = String::new();
        let mut said = self.0.stderr.take().expect("a piped standard error");
        said.read_to_string(&mut text).expect("what it says");
        text
    }

    /// Interrupts it, insists that this is no failure, and returns what it said.
    #[track_caller]
    fn interrupted(mut self) -> String {
        self.signal(libc::SIGINT);
        let status = self.ended();
        let said = self.said();
        assert!(status.success(), "{status}: {said}");
        said
    }
}

/// Two hypervisors whose uplinks have XDP, with a VM each.
fn lab() -> Lab {
    let underlay = Underlay {
        family: Family::V4,
        topology: Topology::Flat,
    };
    let args = ["--uplink-hook", "xdp", "--xdp-mode", "native"];
    let lab = Lab::with(underlay, &[Kind::Vtep; 2], 1500, &args);
    lab.segment(GREEN);
    lab
}

/// The program at each link and in the first tail call.
fn programs(daemon: &Daemon) -> BTreeMap<String, u32> {
    let links = fs::read_dir(daemon.pins().join("links")).expect("the links");
    let links = links.map(|entry| entry.expect("a link").path());
    let mut programs: BTreeMap<String, u32> = links
        .map(|path| (path.display().to_string(), program_of_link(&path)))
        .collect();
    let parts = first_value(&daemon.pins().join("PARTS"))[0];
    programs.insert("PARTS".to_owned(), parts);
    programs
}

/// A file that goes with the test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        Self(std::env::temp_dir().join(ns::unique("capture") + ".pcapng"))
    }

    fn name(&self) -> String {
        self.0.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}

#[track_caller]
fn text(out: Output) -> String {
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{}: {said}", out.status);
    String::from_utf8(out.stdout).expect("text")
}

/// What tcpdump makes of a file, a line for each frame.
fn tcpdump(file: &Scratch) -> Vec<String> {
    let mut command = Command::new("tcpdump");
    let text = text(
        command
            .args(["-nn", "-e", "-r", &file.name()])
            .output()
            .expect("tcpdump"),
    );
    text.lines().map(str::to_owned).collect()
}

/// Fields that tshark reads of a file: those of each frame, parted by tabulators.
fn tshark(file: &Scratch, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-r", &file.name(), "-T", "fields"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let text = text(command.output().expect("tshark"));
    text.lines().map(str::to_owned).collect()
}

#[test]
fn a_pipe_shows_tcpdump_both_directions_of_a_ping_under_an_xdp_uplink() {
    need_root!();
    need_programs!(["tcpdump"]);
    let lab = lab();
    // XDP delivers to a tap.
    let a = lab.vm_by(Attach::TapPlain, 0, 1, GREEN);
    let b = lab.vm(1, 2, GREEN);
    for vm in [&a, &b] {
        lab.teach(GREEN, vm);
    }
    let daemon = lab.daemon(0);
    ping(&a.ns, b.v4);
    let xdp = |daemon: &Daemon| {
        let rows = daemon.rows("stats");
        let moved = |row: &&Value| row["hook"] == "uplink_xdp" && row["reason"] == "decapsulated";
        rows.iter()
            .find(moved)
            .map_or(0, |row| row["packets"].as_u64().unwrap())
    };
    let before = xdp(daemon);

    let mut capture = Running::capture(daemon, "-w -", Stdio::piped());
    let out = capture.0.stdout.take().expect("a piped standard output");
    let mut reader = Command::new("tcpdump");
    reader
        .args(["-nn", "-l", "-r", "-"])
        .stdin(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut reader = Running::start(reader);
    let lines = reader.0.stdout.take().expect("a piped standard output");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&seen);
    std::thread::spawn(move || {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            to.lock().unwrap().push(line);
        }
    });
    ping(&a.ns, b.v4);

    for wanted in [
        format!("{} > {}: ICMP echo request", a.v4, b.v4),
        format!("{} > {}: ICMP echo reply", b.v4, a.v4),
    ] {
        until_true(&wanted, || {
            let seen = seen.lock().unwrap();
            seen.iter().any(|line| line.contains(&wanted))
        });
    }
    assert!(xdp(daemon) > before, "XDP has moved nothing");
    capture.interrupted();
}

#[test]
fn a_file_says_where_and_why_each_frame_ended_to_tcpdump_and_tshark() {
    need_root!();
    need_programs!(["tcpdump", "tshark"]);
    let wire = Wire::with(
        Family::V4,
        "",
        &["--uplink-hook", "xdp", "--xdp-mode", "generic"],
    );
    let file = Scratch::new();
    let mark = |mark| marked(FAR_VM, VM, mark).build();
    let capture = Running::capture(&wire.daemon, &format!("-w {}", file.name()), Stdio::null());

    wire.uplink.send(&wire.tunnelled(GREEN, &mark(1)));
    wire.uplink.send(&wire.tunnelled(NOWHERE, &mark(2)));
    wire.port.send(&marked(VM, FAR_VM, 3).build());
    wire.daemon.expect_dropped("unknown_vni", 1);
    until_true("the frame from the port to be sent", || {
        let rows = wire.daemon.rows("stats");
        rows.iter()
            .any(|row| row["hook"] == "port" && row["reason"] == "encapsulated")
    });
    let said = capture.interrupted();

    assert_eq!(said, "");
    let of = |from: Mac, to: Mac| {
        move |line: &&String| line.contains(&format!("{from} > {to}")) && line.contains("0x88b6")
    };
    let lines = tcpdump(&file);
    assert_eq!(lines.iter().filter(of(FAR_VM, VM)).count(), 2, "{lines:#?}");
    assert_eq!(lines.iter().filter(of(VM, FAR_VM)).count(), 1, "{lines:#?}");

    let fields = [
        "frame.comment",
        "frame.interface_name",
        "eth.type",
        "frame.len",
    ];
    let rows = tshark(&file, &fields);
    let ours = |row: &&String| row.contains("\t0x88b6\t");
    let mut rows: Vec<&str> = rows.iter().filter(ours).map(String::as_str).collect();
    // As they are below.
    rows.sort_unstable();
    let far = wire.far_ip;
    let len = mark(1).len();
    let want = [
        format!(
            "reason=decapsulated hook=uplink_xdp direction=rx vni={GREEN} peer={far} dev={PORT} iface={UPLINK}\t{PORT}\t0x88b6\t{len}"
        ),
        format!(
            "reason=encapsulated hook=port direction=tx vni={GREEN} peer={far} dev={PORT}\t{PORT}\t0x88b6\t{len}"
        ),
        format!(
            "reason=unknown_vni hook=uplink_xdp direction=rx vni={NOWHERE} peer={far} iface={UPLINK}\t{UPLINK}\t0x88b6\t{len}"
        ),
    ];
    assert_eq!(rows, want);
}

#[test]
fn filters_hold_together() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let _neighbour = wire.add_port("tap1", &format!("--mac {}", Mac::nth(0x21)));
    let send = |vni, mark| {
        wire.uplink
            .send(&wire.tunnelled(vni, &marked(FAR_VM, VM, mark).build()));
    };
    let far = wire.far_ip;
    let cases = [
        (String::new(), 3),
        (PORT.to_owned(), 2),
        (UPLINK.to_owned(), 2),
        ("tap1".to_owned(), 0),
        (format!("--vni {GREEN}"), 2),
        (format!("--vni {NOWHERE}"), 1),
        ("--drops".to_owned(), 1),
        ("--reason unknown_vni".to_owned(), 1),
        (format!("--peer {far}"), 3),
        ("--peer 192.0.2.77".to_owned(), 0),
        (format!("--mac {FAR_VM}"), 3),
        (format!("--mac {}", Mac::nth(0x33)), 0),
        (format!("{PORT} --drops"), 0),
        (format!("{PORT} --vni {GREEN} --peer {far} --mac {VM}"), 2),
        (format!("--vni {GREEN} --reason unknown_vni"), 0),
    ];
    for (at, (args, want)) in cases.into_iter().enumerate() {
        let unknown = u64::try_from(at).unwrap() + 1;
        let mut capture = Running::capture(&wire.daemon, &format!("{args} -j"), Stdio::piped());
        let out = capture.0.stdout.take().expect("a piped standard output");
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(out).lines();
            let rows =
                lines.map(|line| serde_json::from_str(&line.expect("a line")).expect("JSON"));
            rows.collect::<Vec<Value>>()
        });

        send(NOWHERE, 1);
        send(GREEN, 2);
        wire.port.send(&marked(VM, FAR_VM, 3).build());
        wire.daemon.expect_dropped("unknown_vni", unknown);
        until_true("both other frames to be through", || {
            let rows = wire.daemon.rows("stats");
            let count = |reason: &str| {
                let of = rows.iter().filter(|row| row["reason"] == reason);
                of.map(|row| row["packets"].as_u64().unwrap()).sum::<u64>()
            };
            count("decapsulated") >= unknown && count("encapsulated") >= unknown
        });
        capture.interrupted();

        let rows = reader.join().expect("the reader");
        let ours = |row: &&Value| row["bytes"].as_str().unwrap().contains("88b6");
        let rows: Vec<_> = rows.iter().filter(ours).collect();
        let of_uplink = args == UPLINK;
        assert_eq!(rows.len(), want, "{args}: {rows:#?}");
        assert!(!of_uplink || rows.iter().all(|row| row["iface"] == UPLINK));
    }
}

#[test]
fn it_ends_after_as_many_frames_as_it_was_told() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let mut capture = Running::capture(
        &wire.daemon,
        &format!("--mac {VM} --count 2"),
        Stdio::piped(),
    );

    for mark in 0..5 {
        wire.uplink
            .send(&wire.tunnelled(GREEN, &marked(FAR_VM, VM, mark).build()));
    }

    assert!(capture.ended().success());
    let mut text = String::new();
    let mut out = capture.0.stdout.take().expect("a piped standard output");
    out.read_to_string(&mut text).expect("what it printed");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 2, "{text}");
    let line = format!(
        "vni {GREEN} peer {} dev {PORT} {} bytes from {FAR_VM} to {VM}, EtherType 0x88b6",
        wire.far_ip,
        marked(FAR_VM, VM, 0).build().len()
    );
    assert!(lines[0].contains(&line), "{text}");
}

#[test]
fn nothing_of_it_is_left_however_it_ends() {
    need_root!();
    let lab = lab();
    let (a, b) = lab.pair();
    let daemon = lab.daemon(0);
    ping(&a.ns, b.v4);
    let before = programs(daemon);
    let differ = || {
        let now = programs(daemon);
        before.iter().all(|(path, program)| now[path] != *program)
    };

    // A command that is interrupted, and one that is killed.
    for signal in [libc::SIGINT, libc::SIGKILL] {
        let mut capture = Running::capture(daemon, "", Stdio::null());
        assert!(differ(), "{before:?} {:?}", programs(daemon));
        capture.signal(signal);
        capture.ended();
        until_true("every link to have its program back", || {
            programs(daemon) == before
        });
        ping(&a.ns, b.v4);
    }

    // A daemon that stops.
    let mut capture = Running::capture(daemon, "", Stdio::null());
    daemon.stop();
    assert!(!capture.ended().success());
    assert!(capture.said().contains("the daemon has ended"));
    assert_eq!(programs(daemon), before);
    ping(&a.ns, b.v4);
    daemon.run();

    // A daemon that is killed, at worst while it loads the programs: its successor puts that right.
    let own = programs(daemon);
    let mut capture = Running::capture(daemon, "", Stdio::null());
    daemon.kill();
    assert!(!capture.ended().success());
    let load = daemon.pins().join("capture");
    fs::create_dir(&load).expect("what a load leaves");
    pin_new_array(&load.join("CLOCK"), 8);
    ping(&a.ns, b.v4);
    let left = programs(daemon);
    daemon.run();
    let now = programs(daemon);
    for (path, program) in &now {
        assert!(left[path] != *program && own[path] != *program, "{path}");
    }
    ping(&a.ns, b.v4);
    assert!(!load.exists());
}

/// A frame of many bytes, in a VNI that is not here.
fn big_packet(wire: &Wire) -> Vec<u8> {
    let inner = eth(FAR_VM, VM).ethertype(0x88b6).payload(1, 1_300);
    wire.tunnelled(NOWHERE, &inner.build())
}

/// Has frames dropped for so long that more are captured than pipes, sockets and buffers take on the way to a reader that reads nothing:
/// some 5,000, of 10,000 a second.
fn overwhelm(wire: &Wire, long: Duration) {
    let packet = big_packet(wire);
    let mut sent = wire.daemon.dropped("unknown_vni");
    let began = Instant::now();
    while began.elapsed() < long {
        for _ in 0..BURST {
            wire.uplink.send(&packet);
        }
        sent += BURST as u64;
        wire.daemon.expect_dropped("unknown_vni", sent);
    }
}

#[test]
fn a_reader_that_is_stuck_keeps_neither_a_stop_nor_a_teardown_waiting() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let before = programs(&wire.daemon);

    let mut stuck = Running::capture(&wire.daemon, "-w -", Stdio::piped());
    overwhelm(&wire, FOR_SO_LONG);
    let began = Instant::now();
    wire.daemon.stop();
    let took = began.elapsed();

    assert!(took < SOON, "{took:?}");
    assert_eq!(programs(&wire.daemon), before);
    // Nor can it be interrupted only by its reader.
    stuck.signal(libc::SIGINT);
    assert!(stuck.ended().success());
    let said = stuck.said();
    assert!(
        said.contains("some frames that were captured are missing"),
        "{said}"
    );

    wire.daemon.run();
    let mut stuck = Running::capture(&wire.daemon, "-w -", Stdio::piped());
    overwhelm(&wire, FOR_SO_LONG);
    let began = Instant::now();
    wire.daemon.ok("teardown");
    let status = until("the daemon to end", || wire.daemon.ended());
    let took = began.elapsed();

    assert!(took < SOON, "{took:?}");
    assert!(status.success(), "{status}");
    let log = wire.daemon.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
    assert!(!wire.daemon.pins().exists());
    stuck.signal(libc::SIGKILL);
    stuck.ended();
}

#[test]
fn a_reader_that_is_slow_is_told_how_many_frames_it_has_missed() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let args = format!("--vni {NOWHERE} -j");
    let mut slow = Running::capture(&wire.daemon, &args, Stdio::piped());
    let out = slow.0.stdout.take().expect("a piped standard output");
    // It has begun when it says something: a daemon captures before whoever asked knows.
    wire.uplink.send(&big_packet(&wire));
    until_true("the first line", || {
        let mut bytes: libc::c_int = 0;
        // SAFETY: the descriptor is open, and the call writes one number.
        let asked = unsafe { libc::ioctl(out.as_raw_fd(), libc::FIONREAD, &raw mut bytes) };
        asked == 0 && bytes > 0
    });
    // It reads nothing until it is interrupted.
    slow.signal(libc::SIGSTOP);
    overwhelm(&wire, 2 * FOR_SO_LONG);

    slow.signal(libc::SIGINT);
    slow.signal(libc::SIGCONT);
    let lines = BufReader::new(out).lines();
    let lines = lines
        .filter(|line| line.as_ref().is_ok_and(|line| line.contains("88b6")))
        .count();

    let status = slow.ended();
    let said = slow.said();
    assert!(status.success(), "{said}");
    assert!(
        said.starts_with(&format!("captured {lines} frames and left out ")),
        "{lines}: {said}"
    );
    assert!(said.contains("the reader was too slow"), "{said}");
}

#[test]
fn a_capture_that_has_not_begun_can_be_interrupted() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let before = programs(&wire.daemon);

    wire.daemon.signal(libc::SIGSTOP);
    let mut capture = Running::command(&wire.daemon, "", Stdio::null());
    until_true("the command to listen for signals", || {
        capture.catches(libc::SIGINT)
    });
    capture.signal(libc::SIGINT);
    let status = capture.ended();
    wire.daemon.signal(libc::SIGCONT);

    let said = capture.said();
    assert!(status.success() && said.is_empty(), "{status}: {said}");
    // What it may have begun by then, it ends.
    let count = |words: &str| wire.daemon.log().matches(words).count();
    until_true("no capture to run", || {
        wire.daemon.ok("status");
        count("captures frames") == count("captures no more") && programs(&wire.daemon) == before
    });
}

#[test]
fn a_capture_of_no_frames_is_refused() {
    need_root!();
    let wire = Wire::new(Family::V4);

    refused(
        &wire.daemon,
        "capture --count 0",
        1,
        &["0 frames", "--count"],
    );
}

#[test]
fn a_port_that_comes_meanwhile_is_captured_too() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let link = |dev| {
        wire.daemon
            .pins()
            .join(format!("links/tc_port-{}", wire.ns.ifindex(dev)))
    };
    let own = program_of_link(&link(PORT));
    let made = || fs::metadata(link(PORT)).expect("a pin").ino();
    let mut capture = Running::capture(&wire.daemon, "-j", Stdio::piped());
    let made_then = made();
    assert_ne!(program_of_link(&link(PORT)), own);

    let guest = wire.add_port("tap1", "");

    until_true("the new port to have a program that captures", || {
        program_of_link(&link("tap1")) != own
    });
    assert_eq!(program_of_link(&link("tap1")), program_of_link(&link(PORT)));
    guest.send(&marked(Mac::nth(0x21), FAR_VM, 1).build());
    let out = capture.0.stdout.take().expect("a piped standard output");
    let rows = BufReader::new(out).lines();
    let rows =
        rows.map(|line| serde_json::from_str::<Value>(&line.expect("a line")).expect("JSON"));
    // It blocks until there is one, and a test that takes too long is ended.
    let of_guest = rows.into_iter().find(|row| {
        row["dev"] == "tap1"
            && row["bytes"]
                .as_str()
                .is_some_and(|bytes| bytes.contains("88b6"))
    });
    assert_eq!(of_guest.expect("a row")["reason"], "encapsulated");
    // What was there and has its program is left alone.
    assert_eq!(made(), made_then);
    capture.interrupted();
}

#[test]
fn one_captures_at_a_time_and_the_log_says_who() {
    need_root!();
    let wire = Wire::new(Family::V4);
    let capture = Running::capture(&wire.daemon, "--drops", Stdio::null());
    let pid = capture.0.id();

    let second = wire.daemon.vtep("capture");
    let unknown = wire.daemon.vtep("capture nope");
    let log = wire.daemon.log();

    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(
        said.contains(&format!("another capture runs, by process {pid}")),
        "{said}"
    );
    let said = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert_eq!(unknown.status.code(), Some(1), "{said}");
    assert!(said.contains("nope"), "{said}");
    let line = log.lines().find(|line| line.contains("captures frames"));
    let line = line.expect("a line in the log");
    assert!(
        line.contains(&pid.to_string()) && line.contains("drops"),
        "{line}"
    );
    capture.interrupted();
    let log = wire.daemon.log();
    let line = log
        .lines()
        .find(|line| line.contains("told to end the capture"));
    let line = line.expect("a line in the log");
    assert!(line.contains(&pid.to_string()), "{line}");
}

#[test]
fn what_is_too_much_is_left_out_and_counted() {
    need_root!();
    need_programs!(["tcpdump"]);
    let wire = Wire::new(Family::V4);
    let file = Scratch::new();
    let args = format!("--vni {NOWHERE} -w {}", file.name());
    let capture = Running::capture(&wire.daemon, &args, Stdio::null());
    let packet = wire.tunnelled(NOWHERE, &marked(FAR_VM, VM, 1).build());

    // Nobody allows more meanwhile.
    wire.daemon.signal(libc::SIGSTOP);
    for _ in 0..FRAMES {
        wire.uplink.send(&packet);
    }
    wire.daemon.signal(libc::SIGCONT);
    wire.daemon.expect_dropped("unknown_vni", FRAMES as u64);
    let said = capture.interrupted();

    // Of each frame there is a line of headers, and others of bytes.
    let lines = tcpdump(&file);
    let captured = lines.iter().filter(|line| line.contains("0x88b6")).count();
    let words = said.split(' ');
    let numbers: Vec<usize> = words.filter_map(|word| word.parse().ok()).collect();
    let [told, left_out] = numbers[..2] else {
        panic!("{said}")
    };
    assert_eq!((told, told + left_out), (captured, FRAMES), "{said}");
    assert!(captured >= BURST && left_out >= BURST / 2, "{said}");
    assert!(
        said.contains("that may have matched") && said.contains("more than 10,000 in a second"),
        "{said}"
    );
}
