//! `cargo xtask test`: every test there is, and an honest sum.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    ops::AddAssign,
    path::Path,
    process::{Command, Stdio},
};

use crate::{
    build::{self, Profile},
    setup,
    shell::{Result, cargo_command, cargo_text, doing, is_root, said, starting, target_dir},
    suite::BINARY,
};

/// A skipped test fails the run where this is `1`.
const REQUIRE_ALL: &str = "VTEP_REQUIRE_ALL";

/// Names the file that a test which skips itself adds a line to.
const SKIP_LOG: &str = "VTEP_SKIP_LOG";

/// Runs the verb.
pub(crate) fn run(filter: Option<&str>) -> Result<()> {
    every(
        filter,
        env::var(REQUIRE_ALL).is_ok_and(|value| value == "1"),
    )
}

/// Runs every test whose name contains `filter`; with `require_all`, a skip is a failure.
pub(crate) fn every(filter: Option<&str>, require_all: bool) -> Result<()> {
    setup::ensure_tests(require_all)?;
    if is_root() {
        setup::bpffs()?;
    }
    let vtep = build::vtep(Profile::Dev)?;
    let path = setup::path_of_tests()?;
    let log = target_dir()?.join(format!("skipped-{}.log", std::process::id()));
    let mut sum = Tally::default();
    let mut ends = Vec::new();
    let mut broken = Vec::new();
    for mut command in commands(filter) {
        command
            .env(SKIP_LOG, &log)
            .env(BINARY, &vtep)
            .env("PATH", &path);
        if require_all {
            command.env(REQUIRE_ALL, "1");
        }
        let (counted, success) = counted(&mut command, &mut ends)?;
        sum += counted;
        if !success {
            broken.push(cargo_text(&command));
        }
    }
    let skips = skips(&log)?;
    // To libtest a test that skips itself has passed, or, where all are required, failed.
    let from = if require_all {
        &mut sum.failed
    } else {
        &mut sum.passed
    };
    *from = from.saturating_sub(skips.len());
    sum.skipped += skips.len();

    println!();
    for line in skips.iter().chain(&ends) {
        println!("{line}");
    }
    println!("{sum}");
    if !broken.is_empty() {
        said(format!("failed: {}", broken.join(", ")))
    } else if let (Some(filter), true) = (filter, sum == Tally::default()) {
        said(format!("no test's name contains {filter}"))
    } else if require_all && sum.skipped > 0 {
        said(format!("{REQUIRE_ALL} is set, and tests were skipped"))
    } else {
        Ok(())
    }
}

/// The test runs, cheapest first; the first one replays the fuzz corpora too.
fn commands(filter: Option<&str>) -> [Command; 2] {
    let mut commands = [
        cargo_command("test --no-fail-fast"),
        // One at a time: they share the kernel.
        cargo_command("test --no-fail-fast --package vtep-tests"),
    ];
    for command in &mut commands {
        command.args(filter);
    }
    commands[1].args(["--", "--test-threads=1"]);
    commands
}

/// Runs one `cargo test`, shows what it prints, adds up its results, and notes in `ends`
/// what did not pass.
fn counted(command: &mut Command, ends: &mut Vec<String>) -> Result<(Tally, bool)> {
    println!("\n==> {}", cargo_text(command));
    watched(command, |line| ends.extend(noteworthy(line)))
}

/// Runs tests, shows what they print, hands each line to `seen`, and adds up their results.
pub(crate) fn watched(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<(Tally, bool)> {
    let start = starting(command);
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(start)?;
    let mut sum = Tally::default();
    for line in child
        .stdout
        .take()
        .into_iter()
        .flat_map(|pipe| BufReader::new(pipe).lines())
    {
        let line = line.map_err(doing("read what the tests print"))?;
        println!("{line}");
        if let Some(part) = Tally::parse(&line) {
            sum += part;
        }
        seen(&line);
    }
    let status = child.wait().map_err(doing("wait for the tests"))?;
    Ok((sum, status.success()))
}

/// Reads from a line of libtest that a test failed or was ignored.
pub(crate) fn noteworthy(line: &str) -> Option<String> {
    let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    match end.split_once(", ").unwrap_or((end, "ignored")) {
        ("FAILED", _) => Some(format!("FAILED: {name}")),
        ("ignored", why) => Some(format!("SKIP: {name}: {why}")),
        _ => None,
    }
}

/// Takes the lines that tests left in `log`.
fn skips(log: &Path) -> Result<Vec<String>> {
    if !log.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(log).map_err(doing("read the list of skipped tests"))?;
    fs::remove_file(log).map_err(doing("remove the list of skipped tests"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

/// How many tests ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Reads a result line of libtest; what libtest ignores was skipped.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        let count = |what| {
            counts
                .split("; ")
                .find_map(|part| part.strip_suffix(what)?.trim().parse().ok())
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored")?,
        })
    }

    /// One of those that passed for libtest has skipped itself.
    pub(crate) fn skip_one(&mut self) {
        self.passed = self.passed.saturating_sub(1);
        self.skipped += 1;
    }

    /// Whether some test has passed, and none has failed.
    pub(crate) fn is_good(self) -> bool {
        self.failed == 0 && self.passed > 0
    }

    /// How many passed, failed and were skipped.
    pub(crate) fn counts(self) -> (usize, usize, usize) {
        (self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        let Self {
            passed,
            failed,
            skipped,
        } = other;
        self.passed += passed;
        self.failed += failed;
        self.skipped += skipped;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            passed,
            failed,
            skipped,
        } = self;
        write!(f, "{passed} passed, {failed} failed, {skipped} skipped")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_are_added_up() {
        let lines = [
            "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s",
            "test tests::result: ok. 7 passed",
        ];

        let mut sum = Tally::default();
        lines
            .iter()
            .filter_map(|line| Tally::parse(line))
            .for_each(|part| sum += part);

        assert_eq!(
            sum,
            Tally {
                passed: 9,
                failed: 3,
                skipped: 1
            }
        );
        assert_eq!(sum.to_string(), "9 passed, 3 failed, 1 skipped");
    }

    #[test]
    fn tests_that_failed_or_were_ignored_are_named() {
        let failed = noteworthy("test v4::ping_crosses ... FAILED");
        assert_eq!(failed.as_deref(), Some("FAILED: v4::ping_crosses"));
        let ignored = noteworthy("test all ... ignored, takes an hour");
        assert_eq!(ignored.as_deref(), Some("SKIP: all: takes an hour"));
        assert_eq!(noteworthy("test v4::ping_crosses ... ok"), None);
        assert_eq!(noteworthy("test result: ok. 7 passed; 0 failed"), None);
    }

    #[test]
    fn the_kernel_tests_run_one_at_a_time() {
        let commands = commands(Some("arp"));

        assert_eq!(cargo_text(&commands[0]), "cargo test --no-fail-fast arp");
        assert!(cargo_text(&commands[1]).ends_with("--package vtep-tests arp -- --test-threads=1"));
    }
}
