//! The report on the terminal.

use std::fmt::Write as _;

use super::{Goal, GoalState, Report, ReportRow};
use crate::measure::Spread;

/// A row as one line.
pub(super) fn line(row: &ReportRow) -> String {
    let mut text = format!("{}:", row.what);
    for (name, figures) in &row.series {
        if let Some(spread) = Spread::of(figures) {
            write!(text, " {name} {} {},", number(spread.median), row.unit)
                .expect("write to a string");
        }
    }
    let text = text.trim_end_matches(',');
    format!("{text}{}{}", ratio(row), remarks(row))
}

fn ratio(row: &ReportRow) -> String {
    match (&row.pair, row.spread) {
        (Some(_), Some(spread)) => format!(
            "; ratio {:.2} ({:.2} to {:.2})",
            spread.median, spread.low, spread.high
        ),
        (None, Some(spread)) if row.rounds.kept > 1 => {
            format!(" ({} to {})", number(spread.low), number(spread.high))
        }
        _ => String::new(),
    }
}

fn remarks(row: &ReportRow) -> String {
    let mut text = String::new();
    if let (Some(goal), Some(verdict)) = (row.goal, row.verdict) {
        write!(text, "; goal {}: {}", wanted(goal), word(verdict)).expect("write to a string");
    }
    let rounds = &row.rounds;
    let lost = rounds.stolen + rounds.unsteady + rounds.void;
    if lost > 0 {
        write!(
            text,
            "; {} of {} rounds left out ({} stolen, {} unsteady, {} void)",
            lost,
            lost + rounds.kept,
            rounds.stolen,
            rounds.unsteady,
            rounds.void
        )
        .expect("write to a string");
    }
    if let Some(why) = &rounds.why {
        write!(text, "; void: {why}").expect("write to a string");
    }
    text
}

/// The goals, and what was reached.
pub(super) fn goals(report: &Report) -> String {
    let rows: Vec<[String; 4]> = report
        .rows
        .iter()
        .filter_map(|row| {
            let (goal, verdict) = (row.goal?, row.verdict?);
            let found = row.spread.map_or_else(
                || "-".to_owned(),
                |spread| {
                    format!(
                        "{} ({} to {})",
                        number(spread.median),
                        number(spread.low),
                        number(spread.high)
                    )
                },
            );
            let unit = if row.pair.is_some() {
                "times"
            } else {
                &row.unit
            };
            Some([
                format!("{}: {}", row.case, row.what),
                format!("{} {unit}", wanted(goal)),
                found,
                word(verdict).to_owned(),
            ])
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let mut text = "\n".to_owned();
    if report.smoke {
        text.push_str("only to see that everything works: these figures say nothing\n");
    }
    let head = ["case", "goal", "reached", ""].map(str::to_owned);
    let widths: [usize; 4] = std::array::from_fn(|column| {
        rows.iter()
            .chain([&head])
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    });
    for row in [&head].into_iter().chain(&rows) {
        let cells: Vec<String> = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A goal for people.
pub(super) fn wanted(goal: Goal) -> String {
    match goal {
        Goal::AtLeast(value) => format!("≥ {}", number(value)),
        Goal::AtMost(value) => format!("≤ {}", number(value)),
    }
}

/// A verdict for people.
pub(super) const fn word(verdict: GoalState) -> &'static str {
    match verdict {
        GoalState::Reached => "reached",
        GoalState::ReachedByMedian => "reached by the median only",
        GoalState::Missed => "missed",
        GoalState::Unknown => "not measured",
    }
}

/// A number with as many digits as say something.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 10_000.0 {
        grouped(value)
    } else if size >= 100.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// A large number with commas.
fn grouped(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        let left = digits.len() - at;
        if at > 0 && left.is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_digits_that_say_something() {
        assert_eq!(number(1.234), "1.23");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(-123_456.0), "-123,456");
    }
}
