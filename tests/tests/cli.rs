//! The command line: what it prints.

use std::process::Command;

use serde_json::Value;
use vtep_tests::daemon::binary;
use vtep_tests::daemon::refusal::{assert_refused, text};
use vtep_tests::encoder::Mac;
use vtep_tests::encoder::inner::udp4;
use vtep_tests::lab::ns::{self};
use vtep_tests::lab::underlay::Family;
use vtep_tests::lab::wire::{FAR_VM, PORT, VM, Wire};
use vtep_tests::lab::{GREEN, UPLINK};
use vtep_tests::link::Link as _;
use vtep_tests::need_root;
use vtep_tests::priority::Ahead;

/// One daemon for what only reads or is refused.
fn wire() -> Wire {
    Wire::new(Family::V4)
}

fn keys(row: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = row
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    keys
}

/// Every key of the contract is there.
#[track_caller]
fn assert_keys(row: &Value, contract: &str) {
    let keys = keys(row);
    for key in contract.split(", ") {
        assert!(keys.contains(&key), "{key} is missing: {row}");
    }
}

#[test]
fn json_rows_have_the_keys_of_the_contract() {
    need_root!();
    let wire = wire();
    wire.daemon.ok(&format!(
        "fdb append {} --vni {GREEN} --dst 198.18.0.2",
        Mac::ZERO
    ));
    wire.daemon
        .ok(&format!("port add {PORT} --vni {GREEN} --vlan 10"));
    wire.refuses(
        &wire.tunnelled(999, &udp4(FAR_VM, VM).build()),
        "unknown_vni",
    );

    let vni = &wire.daemon.rows("vni show 100")[0];
    assert_keys(
        vni,
        "vni, mode, flood, group, learning, suppress, ageing_s, max_macs, inner_vlan, ports, remotes",
    );
    assert_eq!(vni["vni"], 100);
    assert_eq!(
        (&vni["mode"], &vni["flood"]),
        (&"flood".into(), &"her".into())
    );
    assert_eq!(
        (&vni["suppress"], &vni["inner_vlan"]),
        (&false.into(), &"drop".into())
    );
    assert_eq!(vni["remotes"], serde_json::json!(["198.18.0.2"]));
    assert!(
        vni["ports"].as_array().unwrap().contains(&PORT.into()),
        "{vni}"
    );
    let ports = wire.daemon.rows("port show");
    assert_eq!(ports.len(), 2);
    for port in &ports {
        assert_keys(port, "dev, vni, vlan, hook");
    }
    assert!(ports.iter().any(|port| port["vlan"].is_null()));
    assert!(ports.iter().any(|port| port["vlan"] == 10));
    let peer = &wire.daemon.rows("peer show")[0];
    assert_keys(peer, "ip, dev, mac, state, mtu");
    assert_eq!(
        (&peer["ip"], &peer["dev"]),
        (&"198.18.0.2".into(), &UPLINK.into())
    );
    assert_eq!(
        (&peer["mac"], &peer["mtu"]),
        (&"02:aa:00:00:00:02".into(), &1500.into())
    );
    let drops = wire.daemon.rows("drops");
    let row = drops
        .iter()
        .find(|row| row["reason"] == "unknown_vni")
        .expect("a drop");
    assert_eq!(keys(row), ["bytes", "hook", "meaning", "packets", "reason"]);
    let stats = wire.daemon.rows("stats");
    for row in &stats {
        assert_eq!(
            keys(row),
            ["bytes", "dev", "hook", "packets", "peer", "reason", "vni"]
        );
    }
    // An FDB row is as the contract shows it, the order of its keys included.
    let row = r#"{"vni":100,"mac":"02:00:00:00:00:0b","dst":"198.18.0.2","dev":null,"state":"static","age_s":null,"duplicate":false,"source":"cli"}"#;
    let printed: String = wire
        .daemon
        .ok("fdb show --vni 100 -j")
        .split_whitespace()
        .collect();
    assert!(printed.contains(row), "{printed}");
    assert_eq!(
        wire.daemon.rows(&format!("fdb get {FAR_VM} --vni {GREEN}")),
        [serde_json::from_str::<Value>(row).unwrap()]
    );
}

#[test]
fn fdb_shows_filter_and_flush_takes_what_they_show() {
    need_root!();
    let wire = wire();
    wire.daemon.ok("vni add 200");
    let batch = "
        # two VTEPs on the list of each VNI
        fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.2
        fdb append 00:00:00:00:00:00 --vni 100 --dst 198.18.0.3

        vtep fdb append 00:00:00:00:00:00 --vni 200 --dst 198.18.0.3
        fdb add 02:00:00:00:00:21 --vni 100 --dst 198.18.0.3
        fdb add 02:00:00:00:00:22 --vni 100 --dst 198.18.0.3
        fdb add 02:00:00:00:00:21 --vni 200 --dst 198.18.0.3
        fdb add 02:00:00:00:00:23 --vni 100 --dev vm0
    ";
    assert!(wire.daemon.vtep_input("batch", batch).status.success());
    let count = |filter: &str| wire.daemon.rows(&format!("fdb show {filter}")).len();

    // VM and FAR_VM are there from the start.
    assert_eq!(count(""), 9);
    assert_eq!(count("--vni 100"), 7);
    assert_eq!(count("--vni 100 --dst 198.18.0.3"), 3);
    assert_eq!(count("--dst 198.18.0.3"), 5);
    assert_eq!(count("--dev vm0"), 2);
    wire.daemon.ok("fdb flush --vni 100 --learned");
    assert_eq!(count(""), 9, "nothing was learned");
    wire.daemon
        .ok("fdb flush --vni 100 --dst 198.18.0.3 --static");
    assert_eq!((count("--vni 100"), count("--vni 200")), (4, 2));
    wire.daemon.ok("fdb flush --vni 100 --dev vm0 --static");
    assert_eq!(count("--vni 100"), 2);
    wire.daemon.ok("fdb flush --vni 100 --static");
    assert_eq!((count("--vni 100"), count("--vni 200")), (0, 2));
    // A peer goes with the last entry that points to it.
    assert_eq!(wire.daemon.rows("peer show").len(), 1);
    wire.daemon.ok("vni del 200 --force");
    assert_eq!(wire.daemon.rows("peer show").len(), 0);
    assert_eq!(count(""), 0);
}

#[test]
fn text_reads_like_bridge_fdb_show() {
    need_root!();
    let wire = wire();

    let shown = wire.daemon.ok("fdb show");

    let line = shown
        .lines()
        .find(|line| line.contains("02:00:00:00:00:0b"))
        .expect("a line");
    assert!(line.contains("dst 198.18.0.2"), "{line}");
    assert!(
        !shown.contains('\u{1b}'),
        "colour where nobody sees it: {shown:?}"
    );
}

#[test]
fn a_table_fits_the_terminal_and_breaks_no_word() {
    need_root!();
    let wire = wire();
    wire.daemon
        .ok("vni add 16777215 --mode multicast --group 239.255.255.255 --max-macs 1000000");
    let remotes: Vec<_> = (2..8).map(|last| format!("198.18.0.{last}")).collect();
    for remote in &remotes {
        wire.daemon.ok(&format!(
            "fdb append {} --vni {GREEN} --dst {remote}",
            Mac::ZERO
        ));
    }

    let shown = on_terminal(&wire, "vni show", 80, "TERM=dumb");

    assert!(shown.contains("REMOTES"), "{shown}");
    let row = shown.lines().find(|line| line.starts_with("100 ")).unwrap();
    assert!(row.split_whitespace().any(|word| word == "6"), "{shown}");
    assert!(!shown.contains("198.18.0."), "a list: {shown}");
    let piped = wire.daemon.ok("vni show");
    let piped: Vec<Vec<_>> = piped
        .lines()
        .map(|line| line.split('\t').collect())
        .collect();
    let at = piped[0].iter().position(|name| *name == "remotes").unwrap();
    assert!(piped.iter().all(|row| row.len() == piped[0].len()));
    assert_eq!(piped[1][at], "6");

    let one = on_terminal(&wire, "vni show 100", 80, "TERM=dumb");
    for remote in &remotes {
        let mut words = one.split([' ', ',', '\n']);
        assert!(words.any(|word| word == remote), "{remote}: {one}");
    }
    for (columns, command) in [
        (80, "vni show"),
        (80, "vni show 100"),
        (80, "port show"),
        (80, "peer show"),
        (80, "fdb show"),
        (80, "stats"),
        (80, "status"),
        (60, "vni show"),
        (60, "port show"),
        (40, "peer show"),
    ] {
        let whole = on_terminal(&wire, command, 1000, "TERM=dumb");
        let narrow = on_terminal(&wire, command, columns, "TERM=dumb");
        for line in narrow.lines() {
            assert!(line.len() <= columns, "{command}: {line:?}");
        }
        // Of the rows; counters go on, and what there is nothing of may be left out.
        let rows = whole.lines().skip(1).flat_map(str::split_whitespace);
        for word in rows.filter(|word| *word != "-" && word.parse::<u64>().is_err()) {
            assert!(
                narrow.split_whitespace().any(|other| other == word),
                "{command} has no {word}: {narrow}"
            );
        }
    }
}

#[test]
fn states_have_colours_on_a_terminal_that_has_them() {
    need_root!();
    let wire = wire();
    let resolved = "\u{1b}[32mresolved\u{1b}[0m";

    let coloured = on_terminal(&wire, "peer show", 80, "TERM=xterm");

    assert!(coloured.contains(resolved), "{coloured:?}");
    for environment in [
        "TERM=dumb",
        "TERM=dumb CI=true",
        "TERM=xterm NO_COLOR=1",
        "-u TERM",
        "-u TERM CI=true",
    ] {
        for command in ["peer show", "vni show", "fdb show", "port show", "nope"] {
            let plain = on_terminal(&wire, command, 80, environment);
            assert!(!plain.contains('\u{1b}'), "{environment}: {plain:?}");
        }
    }
    assert!(!wire.daemon.ok("peer show").contains('\u{1b}'));
}

/// What a command prints on a terminal that is so wide.
fn on_terminal(wire: &Wire, command: &str, columns: usize, environment: &str) -> String {
    let vtep = binary::vtep().display();
    let instance = wire.daemon.instance();
    let line = format!(
        "stty rows 24 cols {columns}; exec env {environment} {vtep} {command} --instance {instance}"
    );
    let out = Command::new("script")
        .args(["-qc", &line, "/dev/null"])
        .env("SHELL", "/bin/sh")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    text(&out.stdout).replace('\r', "")
}

#[test]
fn commands_have_the_short_forms_that_iproute2_has() {
    need_root!();
    let wire = wire();
    for short in ["fdb sh", "f s", "fdb list", "fd lis"] {
        assert_eq!(
            wire.daemon.rows(short),
            wire.daemon.rows("fdb show"),
            "{short}"
        );
    }
    wire.daemon.ok("v a 200");
    wire.daemon.ok("vni delete 200");
    let batch = "v a 300\nf ap 00:00:00:00:00:00 --vni 300 --dst 198.18.0.2\n";
    assert!(wire.daemon.vtep_input("batch", batch).status.success());
    assert_eq!(wire.daemon.rows("fdb show --vni 300").len(), 1);
}

#[test]
fn a_batch_names_the_line_that_it_stopped_at() {
    need_root!();
    let wire = wire();
    for (lines, needles) in [
        (
            "vni add 300\nvni add 300\nvni add 301\n",
            &["line 2", "vni 300"][..],
        ),
        (
            "# first\n\nfdb add 02:00:00:00:00:31 --vni 999 --dst 198.18.0.2\n",
            &["line 3", "vni 999"],
        ),
        (
            "fdb add 02:00:00:00:00:3x --vni 100 --dst 198.18.0.2\n",
            &["line 1", "02:00:00:00:00:3x"],
        ),
        ("vni add 302\nfrobnicate\n", &["line 2", "frobnicate"]),
    ] {
        assert_refused(&wire.daemon.vtep_input("batch", lines), 1, needles, lines);
    }
    assert!(
        wire.daemon
            .rows("vni show")
            .iter()
            .all(|row| row["vni"] != 301),
        "it went on"
    );
    // From a file as well.
    let file = std::env::temp_dir().join(ns::unique("batch"));
    std::fs::write(&file, "vni add 310\nvni del 310\nvni add 311").unwrap();
    wire.daemon.ok(&format!("batch {}", file.display()));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(wire.daemon.rows("vni show 311").len(), 1);
}

#[test]
fn a_batch_says_what_it_applied_and_goes_on_where_it_is_forced() {
    need_root!();
    let wire = wire();
    let lines = "vni add 300\nvni add 300\nfrobnicate\nvni add 301\nvni add 302 # last\n";
    let vnis = || wire.daemon.rows("vni show").len();

    let out = wire.daemon.vtep_input("batch --dry-run", lines);

    let needles = [
        "line 2",
        "line 3",
        "would apply 3 changes: 3 vni add",
        "2 lines",
    ];
    assert_refused(&out, 1, &needles, "--dry-run");
    assert_eq!(vnis(), 1, "a dry run changed something");

    let out = wire.daemon.vtep_input("batch --force", lines);

    let needles = [
        "line 2",
        "vni 300 exists",
        "line 3",
        "applied 3 changes: 3 vni add",
        "2 lines",
    ];
    assert_refused(&out, 1, &needles, "--force");
    assert_eq!(vnis(), 4);

    let out = wire
        .daemon
        .vtep_input("batch", "vni del 300\nvni add 301\nvni del 302\n");
    let needles = ["applied 1 change: 1 vni del", "line 2"];
    assert_refused(&out, 1, &needles, "batch");
    let out = wire
        .daemon
        .vtep_input("batch --force", "vni del 301\nvni del 302\n");
    assert!(out.status.success());
    assert_eq!(text(&out.stderr), "applied 2 changes: 2 vni del\n");
}

#[test]
fn a_batch_of_ten_thousand_entries_is_loaded_at_once() {
    need_root!();
    let _ahead = Ahead::of_others();
    let wire = wire();
    let line = |n: u32| {
        let [_, _, high, low] = n.to_be_bytes();
        format!("fdb add 02:00:00:01:{high:02x}:{low:02x} --vni 100 --dst 198.18.0.2\n")
    };
    let start = std::time::Instant::now();

    let out = wire
        .daemon
        .vtep_input("batch", &(0..10_000).map(line).collect::<String>());

    assert!(out.status.success(), "{}", text(&out.stderr));
    assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
    assert_eq!(wire.daemon.rows("fdb show").len(), 10_002);
    wire.encap(&udp4(VM, Mac([2, 0, 0, 1, 0x27, 0x0f])).build());
}

#[test]
fn completions_are_there_for_each_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let out = Command::new(binary::vtep())
            .args(["completions", shell])
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", text(&out.stderr));
        let script = text(&out.stdout);
        assert!(script.contains("vtep"), "{shell}: {script}");
        if shell == "bash" {
            let read = Command::new("bash").args(["-n", "-c", &script]).output();
            let read = read.unwrap();
            assert!(read.status.success(), "{}", text(&read.stderr));
        }
    }
}

#[test]
fn the_manual_has_a_page_for_each_command_that_the_help_shows() {
    let directory = std::env::temp_dir().join(ns::unique("manual"));

    let out = Command::new(binary::vtep())
        .arg("describe")
        .arg(&directory)
        .output()
        .unwrap();

    let mut pages: Vec<_> = std::fs::read_dir(&directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    drop(std::fs::remove_dir_all(&directory));
    assert!(out.status.success(), "{}", text(&out.stderr));
    pages.retain(|page| page.matches('-').count() == 1);
    let mut shown = commands_of(&["--help"]);
    shown.retain(|word| word != "help");
    let mut wanted: Vec<_> = shown.iter().map(|word| format!("vtep-{word}.8")).collect();
    pages.sort();
    wanted.sort();
    assert_eq!(pages, wanted);
    assert!(!shown.contains(&"describe".to_owned()), "{shown:?}");
}

/// The commands that a help lists.
fn commands_of(help: &[&str]) -> Vec<String> {
    let out = Command::new(binary::vtep()).args(help).output().unwrap();
    let help = text(&out.stdout);
    let (_, listed) = help.split_once("Commands:\n").expect("a list");
    let lines = listed.lines().take_while(|line| !line.is_empty());
    // What goes on in another line begins further to the right.
    let first = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    first
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What bash offers where the cursor stands behind a line, with the script that is advised.
fn offered(line: &str) -> Vec<String> {
    let vtep = binary::vtep();
    let path = vtep.parent().unwrap().display();
    let words: Vec<&str> = line.split(' ').collect();
    let (last, count) = (words.last().unwrap(), words.len() - 1);
    let script = format!(
        "PATH={path}:$PATH; source <(vtep completions bash); \
         function=$(complete -p vtep | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
         COMP_WORDS=({line}{}); COMP_CWORD={count}; COMP_TYPE=9; $function vtep '{last}'; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        if last.is_empty() { "''" } else { "" }
    );
    let out = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert!(out.stderr.is_empty(), "{line}: {}", text(&out.stderr));
    text(&out.stdout)
        .lines()
        .map(|word| word.trim().to_owned())
        .collect()
}

#[test]
fn completions_know_verbs_and_what_there_is() {
    need_root!();
    let wire = wire();
    let instance = wire.daemon.instance();
    let has = |line: &str, wanted: &[&str]| {
        let offered = offered(line);
        for word in wanted {
            assert!(offered.iter().any(|one| one == word), "{line}: {offered:?}");
        }
        offered
    };
    has("vtep ", &["vni", "fdb", "port", "batch"]);
    has("vtep port ", &["add", "show"]);
    let begin = format!("vtep --instance {instance}");
    assert_eq!(has(&format!("{begin} vni del "), &["100"])[0], "100");
    has(&format!("{begin} port show v"), &["vm0"]);
    has(
        &format!("{begin} fdb add 02:00:00:00:00:1 --vni "),
        &["100"],
    );
    let macs = has(
        &format!("{begin} fdb del 02:00:00:00:00:0"),
        &[&VM.to_string()],
    );
    assert!(macs.contains(&FAR_VM.to_string()), "{macs:?}");
    has(&format!("{begin} stats --peer "), &["198.18.0.2"]);
    has("vtep --instance ", &[instance]);
    // Without a daemon nothing is offered, and nothing said.
    offered("vtep --instance nobody vni del ");
}

#[test]
fn the_instance_may_come_from_the_environment() {
    need_root!();
    let wire = wire();

    let out = Command::new(binary::vtep())
        .args(["vni", "show", "-j"])
        .env("VTEP_INSTANCE", wire.daemon.instance())
        .output()
        .unwrap();

    let rows: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(rows[0]["vni"], 100);
}

#[test]
fn counters_tell_what_happened_to_each_frame() {
    need_root!();
    let wire = wire();
    let sum = |filter: &str, reason: Option<&str>| -> u64 {
        let rows = wire.daemon.rows(&format!("stats {filter}"));
        rows.iter()
            .filter(|row| reason.is_none_or(|reason| row["reason"] == reason))
            .map(|row| row["packets"].as_u64().unwrap())
            .sum()
    };
    let frame = udp4(VM, FAR_VM).build();

    for _ in 0..3 {
        wire.encap(&frame);
    }
    let inner = udp4(FAR_VM, VM).build();
    wire.delivers(&wire.tunnelled(GREEN, &inner), &inner);

    assert_eq!(sum("", Some("encapsulated")), 3);
    assert_eq!(sum("", Some("decapsulated")), 1);
    // Both directions of each.
    for filter in ["--vni 100", "--dev vm0", "--peer 198.18.0.2"] {
        assert_eq!(sum(filter, None), 4, "{filter}");
    }
    assert_eq!(
        wire.daemon
            .rows("drops")
            .iter()
            .map(|row| row["packets"].as_u64().unwrap())
            .sum::<u64>(),
        0
    );
    assert_eq!(wire.port.recv(std::time::Duration::ZERO), None);
}

#[test]
fn the_api_answers_plain_http() {
    need_root!();
    let wire = wire();
    let mut stream = std::os::unix::net::UnixStream::connect(wire.daemon.socket()).unwrap();

    std::io::Write::write_all(
        &mut stream,
        b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    .unwrap();

    let mut answer = String::new();
    std::io::Read::read_to_string(&mut stream, &mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"openapi\""), "{answer}");
}
