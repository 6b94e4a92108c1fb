//! The results of a run, as a page.

use std::{collections::BTreeMap, fmt::Write as _, process::Command};

use super::{kernel::Kernel, plan::Job, qemu, verdict::Verdict};
use crate::shell::{Result, quiet, repository};

/// What ran where, and how it ended.
pub(super) struct Row<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) job: &'a Job,
    pub(super) verdict: Verdict,
}

/// What a page has at its head.
pub(super) struct Head {
    pub(super) date: String,
    pub(super) command: String,
    pub(super) commit: String,
    pub(super) qemu: String,
}

impl Head {
    /// Of what runs now.
    pub(super) fn now() -> Result<Self> {
        let mut git = Command::new("git");
        git.args(["rev-parse", "--short", "HEAD"])
            .current_dir(repository());
        let qemu = quiet(Command::new(qemu::PROGRAM.0).arg("--version"))?;
        let qemu = qemu.lines().next().unwrap_or_default();
        let date = quiet(Command::new("date").args(["--utc", "+%F"]))?;
        let args: Vec<_> = std::env::args().skip(1).collect();
        Ok(Self {
            date: date.trim().to_owned(),
            command: format!("cargo xtask {}", args.join(" ")),
            commit: quiet(&mut git)?.trim().to_owned(),
            qemu: qemu.split(" (").next().unwrap_or_default().to_owned(),
        })
    }
}

/// Writes the page.
pub(super) fn page(head: &Head, kernels: &[Kernel], rows: &[Row<'_>]) -> String {
    let Head {
        date,
        command,
        commit,
        qemu,
    } = head;
    let mut page = format!(
        "# In guests, {date}\n\nMade by `{command}` at commit {commit} with {qemu}. [Platforms](../platforms.md) says how.\n\n\
         Each cell has the tests that passed; behind it those that failed or were skipped, if any.\n"
    );
    let columns: Vec<_> = kernels
        .iter()
        .map(|kernel| kernel.release.as_str())
        .collect();
    table(
        &mut page,
        "tests",
        &columns,
        &cells(rows, |row| [(row.job.name(), cell(&row.verdict))].into()),
    );
    let verified = cells(rows, |row| {
        let all = row.verdict.verified.iter();
        all.map(|(name, count)| (name.clone(), count.to_string()))
            .collect()
    });
    if !verified.is_empty() {
        page.push_str("\n## Instructions that the verifier walked through\n");
        table(&mut page, "program", &columns, &verified);
    }
    let found = cells(rows, |row| {
        let text = row.verdict.found.join("<br>");
        let some = !text.is_empty();
        some.then(|| (row.job.name(), text)).into_iter().collect()
    });
    if !found.is_empty() {
        page.push_str("\n## What the tests found out\n");
        table(&mut page, "tests", &columns, &found);
    }
    let mut notes = String::new();
    for row in rows {
        for note in &row.verdict.notes {
            let note = note.replace('|', "\\|");
            writeln!(
                notes,
                "- {}, {}: {note}",
                row.kernel.release,
                row.job.name()
            )
            .unwrap_or(());
        }
    }
    if !notes.is_empty() {
        page.push_str("\n## What failed or was skipped\n\n");
        page.push_str(&notes);
    }
    let mut left_out = String::new();
    for row in rows
        .iter()
        .filter(|row| row.kernel.release == kernels[0].release)
    {
        for (test, why) in row.job.left_out {
            writeln!(left_out, "- {}: `{test}` {why}", row.job.name()).unwrap_or(());
        }
    }
    if !left_out.is_empty() {
        page.push_str("\n## What was not run\n\n");
        page.push_str(&left_out);
    }
    page
}

/// What stands where: a row's name, then for each kernel's release what `of` says there.
type Cells = Vec<(String, BTreeMap<String, String>)>;

/// Arranges what `of` says of each result, in the order in which the names come.
fn cells(rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Vec<(String, String)>) -> Cells {
    let mut cells: Cells = Vec::new();
    for row in rows {
        for (name, text) in of(row) {
            let at = cells.iter().position(|(known, _)| *known == name);
            let at = at.unwrap_or_else(|| {
                cells.push((name, BTreeMap::new()));
                cells.len() - 1
            });
            cells[at].1.insert(row.kernel.release.clone(), text);
        }
    }
    cells
}

fn table(page: &mut String, first: &str, columns: &[&str], cells: &Cells) {
    page.push('\n');
    let mut line = |words: &[&str]| {
        page.extend(["| ", &words.join(" | "), " |\n"]);
    };
    line(&[&[first], columns].concat());
    line(&[vec!["---"], vec!["---:"; columns.len()]].concat());
    for (name, texts) in cells {
        let text = |column: &&str| texts.get(*column).map_or("–", String::as_str);
        line(&[vec![name.as_str()], columns.iter().map(text).collect()].concat());
    }
}

/// A verdict in a table.
fn cell(verdict: &Verdict) -> String {
    let (passed, failed, skipped) = verdict.tally.counts();
    let mut cell = passed.to_string();
    if failed > 0 {
        write!(cell, ", **{failed} failed**").unwrap_or(());
    }
    if skipped > 0 {
        write!(cell, ", {skipped} skipped").unwrap_or(());
    }
    if failed == 0 && !verdict.is_good() {
        cell.push_str(", **did not end**");
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_column_for_each_kernel_and_says_what_was_not_run() {
        let kernel = |release: &str| Kernel {
            release: release.to_owned(),
            image: "vmlinuz".into(),
            modules: "modules.cpio".into(),
        };
        let kernels = ["6.1.0-9-amd64", "7.3.4-amd64"].map(kernel);
        let jobs = super::super::plan::jobs(&["kernel_budget".to_owned()], None, false);
        let mut verdict = Verdict::default();
        for line in [
            "tc_port                        6271   6460",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out",
            "guest: SKIP: deep: the kernel has no a|b",
            "guest: end 0",
        ] {
            verdict.read(line);
        }
        let rows = [Row {
            kernel: &kernels[0],
            job: &jobs[0],
            verdict,
        }];
        let head = Head {
            date: "2026-11-30".to_owned(),
            command: "cargo xtask test vm".to_owned(),
            commit: "abc".to_owned(),
            qemu: "QEMU".to_owned(),
        };

        let page = page(&head, &kernels, &rows);

        for line in [
            "| tests | 6.1.0-9-amd64 | 7.3.4-amd64 |",
            "| kernel_budget | 1, 1 skipped | – |",
            "| tc_port | 6271 | – |",
            "- 6.1.0-9-amd64, kernel_budget: SKIP: deep: the kernel has no a\\|b",
            "- kernel_budget: `a_loaded_daemon_holds_less_than_30_mib` does not depend on the kernel",
        ] {
            assert!(page.lines().any(|had| had == line), "{line}\n{page}");
        }
    }
}
