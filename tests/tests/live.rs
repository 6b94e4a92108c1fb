//! `vtep trace --live`: frames as they really come, each with what is decided on it and what became of it.

use std::io::{BufReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use vtep_tests::bpf::program_of_link;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::refused;
use vtep_tests::encoder::inner::v4;
use vtep_tests::encoder::{Mac, eth};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::link::tap::GsoType;
use vtep_tests::over_each_family;
use vtep_tests::traffic::checks::marked;
use vtep_tests::wait::{until, until_true};

over_each_family! {
    frames_that_come_are_told_with_what_became_of_them,
    a_filter_says_which_frames_are_awaited,
    a_gso_packet_is_known_as_one,
    too_few_frames_are_said_and_nothing_is_left,
    what_cannot_be_awaited_is_refused,
}

/// A VNI that no hypervisor has.
const NOWHERE: u32 = 999;

/// `vtep trace --live`, which ends when the test does.
struct Live(Child);

impl Drop for Live {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Live {
    /// Starts it, and waits until frames are captured.
    fn start(wire: &Wire, args: &str) -> Self {
        let begun = || wire.daemon.log().matches("captures frames").count();
        let before = begun();
        let mut command = Command::new(binary::vtep());
        command
            .arg("trace")
            .args(args.split_whitespace())
            .args(["--instance", wire.daemon.instance()])
            .envs(binary::environment())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: prctl is safe to call between fork and exec; the process must not outlive its test.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let mut live = Self(command.spawn().expect("start vtep trace"));
        until_true("frames to be captured", || {
            let ended = live.0.try_wait().expect("ask for the child's state");
            assert!(ended.is_none(), "vtep trace {args}: {}", live.text().1);
            begun() > before
        });
        live
    }

    /// What it printed on both.
    fn text(&mut self) -> (String, String) {
        let (mut out, mut said) = (String::new(), String::new());
        let printed = self.0.stdout.take().expect("a piped standard output");
        BufReader::new(printed)
            .read_to_string(&mut out)
            .expect("what it prints");
        let errors = self.0.stderr.take().expect("a piped standard error");
        BufReader::new(errors)
            .read_to_string(&mut said)
            .expect("what it says");
        (out, said)
    }

    /// What it printed when it has ended.
    fn ended(mut self) -> Output {
        let status = until("vtep trace to end", || {
            self.0.try_wait().expect("ask for the child's state")
        });
        let (out, said) = self.text();
        Output {
            status,
            stdout: out.into(),
            stderr: said.into(),
        }
    }

    fn rows(self) -> Vec<Value> {
        let ended = self.ended();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success() && said.is_empty(), "{said}");
        serde_json::from_slice(&ended.stdout).expect("an array")
    }
}

/// The last two rows of the frame that ended for a reason: what was decided, and what happened.
#[track_caller]
fn end<'a>(rows: &'a [Value], reason: &str) -> [&'a Value; 2] {
    let happened = rows
        .iter()
        .position(|row| row["step"] == "happened" && row["reason"] == reason);
    let happened = happened.unwrap_or_else(|| panic!("no frame ended for {reason}: {rows:#?}"));
    [&rows[happened - 1], &rows[happened]]
}

/// The words of the rows about something of one frame.
fn words(rows: &[Value], frame: &Value, step: &str) -> String {
    let rows = rows
        .iter()
        .filter(|row| row["step"] == step && row["frame"] == *frame);
    let texts: Vec<&str> = rows.map(|row| row["text"].as_str().unwrap()).collect();
    texts.join("; ")
}

fn frames_that_come_are_told_with_what_became_of_them(family: Family) {
    let wire = Wire::new(family);
    let live = Live::start(&wire, "--live 4 -j");
    let packet = wire.tunnelled(GREEN, &marked(FAR_VM, VM, 1).build());
    let group = marked(FAR_VM, Mac::BROADCAST, 4).build();

    wire.uplink.send(&packet);
    wire.uplink
        .send(&wire.tunnelled(NOWHERE, &marked(FAR_VM, VM, 2).build()));
    let sent = marked(VM, FAR_VM, 3).build();
    wire.port.send(&sent);
    wire.uplink.send(&wire.tunnelled(GREEN, &group));
    let rows = live.rows();

    let far = wire.far_ip.to_string();
    let by_kernel = match family {
        Family::V4 => "encapsulated",
        Family::V6 => "encapsulated_by_kernel",
    };
    let nothing = serde_json::json!([]);
    let (to_port, to_far) = (serde_json::json!([PORT]), serde_json::json!([far]));
    for (reason, hook, ports, vteps) in [
        ("decapsulated", "uplink_xdp", &to_port, &nothing),
        ("unknown_vni", "uplink_xdp", &nothing, &nothing),
        (by_kernel, "port", &nothing, &to_far),
        ("flooded_locally", "tunnel", &nothing, &nothing),
    ] {
        let [verdict, happened] = end(&rows, reason);
        assert_eq!(verdict["step"], "verdict", "{verdict}");
        for key in ["frame", "hook", "reason"] {
            assert_eq!(verdict[key], happened[key], "{key} of {verdict} {happened}");
        }
        assert_eq!(happened["hook"], hook, "{happened}");
        assert_eq!(happened["ports"], *ports, "{happened}");
        assert_eq!(happened["vteps"], *vteps, "{happened}");
        let text = happened["text"].as_str().unwrap();
        assert!(
            text.starts_with(&format!("so it happened: {reason} at {hook}")),
            "{text}"
        );
    }
    // What came to the hook, and not what was left of it.
    let [verdict, _] = end(&rows, "decapsulated");
    let came = words(&rows, &verdict["frame"], "frame");
    assert!(
        came.starts_with(&format!("{} bytes from ", packet.len())),
        "{came}"
    );
    let arrival = words(&rows, &verdict["frame"], "arrival");
    assert!(
        arrival.starts_with(&format!("VXLAN of VTEP {far} in vni {GREEN}")),
        "{arrival}"
    );
    let [verdict, _] = end(&rows, by_kernel);
    let came = words(&rows, &verdict["frame"], "frame");
    assert!(
        came.starts_with(&format!("{} bytes from {VM} to {FAR_VM}", sent.len())),
        "{came}"
    );
    assert_eq!(verdict["vteps"], to_far);
    let [verdict, _] = end(&rows, "flooded_locally");
    assert_eq!(verdict["ports"], to_port);
    wire.port.expect(&group);
}

fn a_filter_says_which_frames_are_awaited(family: Family) {
    let wire = Wire::new(family);
    let live = Live::start(&wire, &format!("{UPLINK} --live 1 --drops --vni {NOWHERE}"));

    wire.uplink
        .send(&wire.tunnelled(GREEN, &marked(FAR_VM, VM, 1).build()));
    wire.port.expect(&marked(FAR_VM, VM, 1).build());
    wire.uplink
        .send(&wire.tunnelled(NOWHERE, &marked(FAR_VM, VM, 2).build()));
    let ended = live.ended();

    let text = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{text}");
    for says in [
        "vni 999 does not exist here",
        "verdict",
        "so it happened: unknown_vni",
    ] {
        assert_eq!(text.matches(says).count(), 1, "{says}: {text}");
    }
    assert!(!text.contains("decapsulated"), "{text}");
}

fn a_gso_packet_is_known_as_one(family: Family) {
    let wire = Wire::with_vnet_port(family);
    let (a, b) = v4();
    let big = eth(VM, FAR_VM).ipv4(a, b).tcp(1, 2, 3).payload(1, 20_000);
    let big = big.build();
    let live = Live::start(&wire, &format!("{PORT} --live 1 -j"));

    wire.port.send_gso(&big, GsoType::Tcp, 1000, 34);
    let rows = live.rows();

    let frame = &rows[0]["frame"];
    let came = words(&rows, frame, "frame");
    let len = big.len();
    assert!(
        came.starts_with(&format!("{len} bytes from {VM}")),
        "{came}"
    );
    assert!(
        came.contains(&format!("of its {len} bytes, 1984 were captured")),
        "{came}"
    );
    let [verdict, happened] = [&rows[rows.len() - 2], &rows[rows.len() - 1]];
    assert_eq!(
        verdict["vteps"],
        serde_json::json!([wire.far_ip.to_string()])
    );
    assert_eq!(verdict["reason"], happened["reason"]);
    let text = happened["text"].as_str().unwrap();
    assert!(text.starts_with("so it happened: encapsulated"), "{text}");
}

fn too_few_frames_are_said_and_nothing_is_left(family: Family) {
    let wire = Wire::new(family);
    let ifindex = wire.ns.ifindex(UPLINK);
    let link = wire
        .daemon
        .pins()
        .join(format!("links/xdp_uplink-{ifindex}"));
    let own = program_of_link(&link);
    let packet = wire.tunnelled(NOWHERE, &marked(FAR_VM, VM, 1).build());

    let live = Live::start(&wire, "--live 2 --seconds 2 --drops -j");
    assert_ne!(program_of_link(&link), own);
    wire.uplink.send(&packet);
    let ended = live.ended();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(
        said.contains("1 of 2 frames came within 2 seconds"),
        "{said}"
    );
    let rows: Vec<Value> = serde_json::from_slice(&ended.stdout).expect("an array all the same");
    assert_eq!(end(&rows, "unknown_vni")[1]["frame"], 1);
    assert_eq!(program_of_link(&link), own);

    let live = Live::start(&wire, "--live 2 -j");
    let pid = i32::try_from(live.0.id()).expect("a process id");
    // SAFETY: plain call on a child that has not been waited for, so the id is still its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let ended = live.ended();
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{said}");
    assert!(
        said.contains("0 of 2 frames came until it was interrupted"),
        "{said}"
    );
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "[]\n");
    // It may have had no answer yet, and then does not wait until all is as before.
    until_true("the program to be back", || program_of_link(&link) == own);
}

fn what_cannot_be_awaited_is_refused(family: Family) {
    let wire = Wire::new(family);
    for (args, code, needles) in [
        ("--live 0", 1, &["from 1 on"][..]),
        ("--live 1 --seconds 0", 1, &["from 1 on"]),
        ("--live 10001", 1, &["1 to 10000"]),
        ("nope --live 1", 1, &["nope"]),
        ("--dst 02:00:00:00:00:01", 2, &["vtep trace DEV"]),
        ("vm0 --dst 02:00:00:00:00:01 --drops", 2, &["--live N"]),
        ("vm0 --live 1 --frame 00", 2, &["cannot be used"]),
        ("vm0 --live 1 --size 100", 2, &["cannot be used"]),
    ] {
        refused(&wire.daemon, &format!("trace {args}"), code, needles);
    }
}
