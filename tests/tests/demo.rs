//! The demo: its page shows what it shows now, and it leaves nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vtep_tests::daemon::binary;
use vtep_tests::lab::ns::done;
use vtep_tests::wait::until;
use vtep_tests::{need_programs, need_root};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/demo.md");

fn demo() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_demo"));
    command
        .env("VTEP_BIN", binary::vtep())
        .envs(binary::environment());
    command
}

/// A page without what differs each time: `#` for a number, `MAC` for a MAC, one space for several and for a new line in a table.
fn shape(page: &str) -> Vec<String> {
    let parts = page.split("\n#");
    parts.map(|part| shape_of_words(part).join(" ")).collect()
}

fn shape_of_words(part: &str) -> Vec<String> {
    let words = part.split_whitespace();
    words
        .map(|word| {
            if is_mac(word) {
                "MAC".to_owned()
            } else {
                without_numbers(word)
            }
        })
        .collect()
}

/// Six pairs of digits.
fn is_mac(word: &str) -> bool {
    let is_pair =
        |pair: &str| pair.len() == 2 && pair.bytes().all(|digit| digit.is_ascii_hexdigit());
    word.split(':').count() == 6 && word.split(':').all(is_pair)
}

/// `#` for every number, also one with a fraction.
fn without_numbers(word: &str) -> String {
    let mut out = String::new();
    let mut digits = word.chars().peekable();
    while let Some(char) = digits.next() {
        if !char.is_ascii_digit() {
            out.push(char);
            continue;
        }
        out.push('#');
        while digits
            .next_if(|char| char.is_ascii_digit() || *char == '.')
            .is_some()
        {}
    }
    out
}

/// Whether anything of a process of the demo is there: namespaces and pins have its number in their names.
fn left_behind(pid: u32) -> Vec<String> {
    let prefix = format!("vt{pid}-");
    let dirs = ["/run/netns", "/sys/fs/bpf/vtep", "/run/vtep"];
    let entries = dirs
        .into_iter()
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let of_it = |path: &Path| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(&prefix)
    };
    paths
        .filter(|path| of_it(path))
        .map(|path| path.display().to_string())
        .collect()
}

#[test]
fn its_page_shows_what_it_shows() {
    need_root!();
    need_programs!(["ping"]);
    let file = std::env::temp_dir().join(format!("vtep-demo-{}.md", std::process::id()));

    done(demo().arg("--record").arg(&file), "");

    let shown = fs::read_to_string(&file).expect("what it recorded");
    drop(fs::remove_file(&file));
    let page = fs::read_to_string(PAGE).expect("the page");
    for (page, shown) in shape(&page).iter().zip(&shape(&shown)) {
        assert_eq!(page, shown, "make it anew with: cargo xtask demo --record");
    }
    assert_eq!(shape(&page).len(), shape(&shown).len(), "as many parts");
}

#[test]
fn ctrl_c_takes_everything_away() {
    need_root!();
    need_programs!(["ping"]);
    let mut child = demo()
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start the demo");
    let pid = child.id();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    lines
        .find(|line| line.as_ref().is_ok_and(|line| line.contains("== Ping")))
        .expect("it comes to its ping")
        .expect("a line");
    assert_ne!(left_behind(pid), [""; 0], "it has nothing to take away");

    interrupt(&child);

    lines.for_each(drop);
    let status = until("the demo to end", || child.try_wait().expect("a child"));
    assert!(!status.success(), "it went on to its end");
    assert_eq!(left_behind(pid), [""; 0]);
}

fn interrupt(child: &Child) {
    let pid = i32::try_from(child.id()).expect("a process id");
    // SAFETY: plain call on a child that has not been waited for, so the id is still its own.
    unsafe { libc::kill(pid, libc::SIGINT) };
}

#[test]
fn a_page_is_the_same_whatever_its_numbers() {
    let one = "## A\n\n 3 lost; 1.5 ms\ntable  02:aa:00:00:0b:02   10.0.0.1\n";
    let other = "## A\n\n 12 lost; 0.25 ms\ntable 56:cb:aa:89:40:93 10.0.0.12\n";
    assert_eq!(shape(one), shape(other));
    assert_ne!(shape(one), shape(&one.replace("lost", "sent")));
    assert_ne!(shape(one), shape("## A\n"));
}
