//! What a guest says, read.

use std::path::PathBuf;

use crate::test::{Tally, noteworthy};

/// What `init.sh` says begins with this.
const PREFIX: &str = "guest: ";

/// How the tests in a guest ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// How many ended how.
    pub(super) tally: Tally,
    /// What failed or was skipped, and why.
    pub(super) notes: Vec<String>,
    /// What tests found out, besides passing.
    pub(super) found: Vec<String>,
    /// Instructions that the verifier walked through for each program.
    pub(super) verified: Vec<(String, u32)>,
    /// Where all that it said is kept, if it did not end well.
    pub(super) said_in: Vec<PathBuf>,
    /// The test binary's exit status, if it came to that.
    status: Option<i32>,
}

impl Verdict {
    /// Reads a line; returns what is worth showing of it.
    pub(super) fn read<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        if let Some(said) = line.strip_prefix(PREFIX) {
            if let Some(status) = said.strip_prefix("end ") {
                self.status = status.parse().ok();
            } else if said.starts_with("SKIP: ") {
                // It has passed for libtest.
                self.tally.skip_one();
                self.notes.push(said.to_owned());
            } else if let Some(found) = said.strip_prefix("note: ") {
                self.found.push(found.to_owned());
            } else if said.starts_with("no module ") {
                self.notes.push(said.to_owned());
            }
            return Some(said);
        }
        if let Some(tally) = Tally::parse(line) {
            self.tally += tally;
        }
        self.notes.extend(noteworthy(line));
        self.verified.extend(verified(line));
        line.starts_with("test ").then_some(line)
    }

    /// Whether every test ended well, and the binary after them.
    pub(super) fn is_good(&self) -> bool {
        self.status == Some(0) && self.tally.is_good()
    }

    /// How it ended, in a few words.
    pub(super) fn end(&self) -> String {
        match self.status {
            None => format!("{}; the guest did not come to its end", self.tally),
            // What the shell has for a killed process.
            Some(137) => format!("{}; the tests took too long", self.tally),
            Some(_) => self.tally.to_string(),
        }
    }
}

/// Reads a line of the table that `kernel_budget` prints.
fn verified(line: &str) -> Option<(String, u32)> {
    let words: Vec<_> = line.split_whitespace().collect();
    match words[..] {
        [name, count, budget] if name.starts_with("tc_") || name.starts_with("xdp_") => {
            budget.parse::<u32>().ok()?;
            Some((name.to_owned(), count.parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(lines: &[&str]) -> Verdict {
        let mut verdict = Verdict::default();
        for line in lines {
            verdict.read(line);
        }
        verdict
    }

    const GOOD: &str = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";

    #[test]
    fn a_guest_whose_tests_pass_is_good() {
        let verdict = read(&["guest: kernel 6.1.0", "test a ... ok", GOOD, "guest: end 0"]);

        assert!(verdict.is_good());
        assert_eq!(verdict.end(), "2 passed, 0 failed, 0 skipped");
    }

    #[test]
    fn a_skipped_test_has_not_passed() {
        let verdict = read(&[GOOD, "guest: SKIP: a: needs VRFs", "guest: end 0"]);

        assert_eq!(verdict.end(), "1 passed, 0 failed, 1 skipped");
        assert_eq!(verdict.notes, ["SKIP: a: needs VRFs"]);
    }

    #[test]
    fn a_guest_that_stops_in_the_middle_is_not_good() {
        assert!(!read(&[GOOD]).is_good());
        assert!(!read(&[GOOD, "guest: end 101"]).is_good());
        assert!(!read(&["guest: end 0"]).is_good(), "no test has run");
    }

    #[test]
    fn what_a_test_found_out_is_kept() {
        let verdict = read(&["guest: note: hook: xdp native"]);

        assert_eq!(verdict.found, ["hook: xdp native"]);
        assert!(verdict.notes.is_empty());
    }

    #[test]
    fn what_the_verifier_walked_through_is_read() {
        let verdict = read(&[
            "program       verified instructions, of",
            "tc_port                        4542   4680",
            "tc_port                          352",
        ]);

        assert_eq!(verdict.verified, [("tc_port".to_owned(), 4542)]);
    }
}
