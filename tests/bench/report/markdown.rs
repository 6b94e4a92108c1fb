//! The report as Markdown: one table per case, for `docs/results/`.

use std::fmt::Write as _;

use super::table::{number, wanted, word};
use super::{Report, ReportRow};
use crate::measure::Spread;

/// All rows of a report as tables.
pub(super) fn tables(report: &Report) -> String {
    let machine = &report.machine;
    let mut text = String::from("# Results of a benchmark\n\n");
    text.push_str("Generated from the JSON file of the same name; do not edit.\n\n");
    writeln!(
        text,
        "`{}` took {} s on {} ({} processors, {} MiB) with Linux {}.",
        machine.command,
        machine.took,
        machine.processor,
        machine.processors,
        machine.memory_mib,
        machine.kernel
    )
    .expect("write to a string");
    text.push_str(
        "Figures are medians over the rounds. In brackets: the bounds of the median (95 %). \
         A ratio is that of the first two contenders, round by round.\n",
    );
    if report.smoke {
        text.push_str("This was a smoke run: its figures mean nothing.\n");
    }
    for (case, about) in &report.cases {
        write!(text, "\n## {case}\n\nMeasured: {about}.\n\n").expect("write to a string");
        text.push_str("| row | medians | ratio or figure | goal | |\n|---|---|---|---|---|\n");
        for row in report.rows.iter().filter(|row| row.case == *case) {
            line(&mut text, row);
        }
    }
    text
}

fn line(text: &mut String, row: &ReportRow) {
    let medians: Vec<String> = row
        .series
        .iter()
        .filter_map(|(name, figures)| {
            Spread::of(figures).map(|spread| format!("{name} {}", number(spread.median)))
        })
        .collect();
    let found = row.spread.map_or_else(String::new, |spread| {
        let (low, high) = (number(spread.low), number(spread.high));
        format!("{} ({low}–{high})", number(spread.median))
    });
    writeln!(
        text,
        "| {} | {} {} | {found} | {} | {} |",
        row.what,
        medians.join("; "),
        row.unit,
        row.goal.map(wanted).unwrap_or_default(),
        row.verdict.map(word).unwrap_or_default()
    )
    .expect("write to a string");
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn committed_tables_are_those_of_their_results() {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/results");
        let mut compared = 0;
        for entry in fs::read_dir(results).expect("a directory of results") {
            let json = entry.expect("a file of results").path();
            if json.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let want = tables(&Report::read(&json).expect("results"));
            let file = json.with_extension("md");
            let found = fs::read_to_string(&file).unwrap_or_default();
            assert!(
                found == want,
                "generate it with: cargo xtask bench --from docs/results/{} --markdown docs/results/{}",
                name(&json),
                name(&file)
            );
            compared += 1;
        }
        assert!(compared > 0, "no results are committed");
    }

    fn name(file: &Path) -> String {
        let name = file.file_name().expect("a file has a name");
        name.to_string_lossy().into_owned()
    }
}
