//! Rows as people read them: a table that no line of the terminal breaks, or one thing a line.

use super::output::Output;
use super::terminal::fold;
use crate::model::endpoint::Cells;

/// Columns between two columns of a table.
const GAP: usize = 2;

/// How far what belongs to the line before is indented.
const INDENT: usize = 4;

/// Narrowest column, in columns of the terminal, that sentences are folded into.
const NARROWEST: usize = 20;

/// What there is nothing of.
const NOTHING: &str = "-";

/// Lays rows out in columns. A last column of sentences is folded where it would be too wide. Where words alone are too wide,
/// the columns that find no room stand below each row by their names; nothing is left out, and no word is broken.
pub(super) fn columns(cells: &Cells, output: Output, width: usize) -> String {
    let heading = &cells.heading[..cells.columns];
    let widths: Vec<_> = (0..heading.len()).map(|at| natural(cells, at)).collect();
    let last = heading.len() - 1;
    let before_last = needed(&widths[..last]) + GAP;
    let sentences = cells.rows.iter().any(|row| row[last].contains(' '));
    let (shown, folded) = if needed(&widths) <= width {
        (heading.len(), None)
    } else if sentences && before_last + NARROWEST <= width {
        (heading.len(), Some(width - before_last))
    } else {
        let fits = (1..=last).rev().find(|&n| needed(&widths[..n]) <= width);
        (fits.unwrap_or(1), None)
    };
    let mut text = String::new();
    let names = heading[..shown].iter().map(|name| name.to_uppercase());
    let names: Vec<_> = names
        .zip(&widths)
        .enumerate()
        .map(|(at, (name, &wide))| padded(heading[at], &name, wide, &output.paint("1", &name)))
        .collect();
    line(&mut text, &names);
    for row in &cells.rows {
        let mut words = Vec::with_capacity(shown);
        for (at, cell) in row[..shown].iter().enumerate() {
            let painted = state(heading[at], cell, output);
            words.push(match folded {
                Some(room) if at == last => {
                    let left = width - room;
                    fold(cell.split(' '), room, 0).replace('\n', &format!("\n{:left$}", ""))
                }
                _ => padded(heading[at], cell, widths[at], &painted),
            });
        }
        line(&mut text, &words);
        below(
            &mut text,
            &heading[shown..],
            &row[shown..cells.columns],
            width,
            output,
        );
    }
    text
}

/// Everything about each row, one column a line.
pub(super) fn lines(cells: &Cells, output: Output) -> String {
    let names = cells.heading.iter().map(|name| name.len());
    let wide = names.max().unwrap_or_default();
    let each = cells.whole.iter().map(|row| {
        let columns = cells.heading.iter().zip(row);
        let line = |(name, value): (&&str, &String)| {
            let value = state(name, value, output);
            output.folded(&format!("{name:<wide$}"), value.split(' '), wide + 1)
        };
        columns.map(line).collect::<String>()
    });
    each.collect::<Vec<_>>().join("\n")
}

/// What found no room beside the others.
fn below(text: &mut String, names: &[&str], row: &[String], width: usize, output: Output) {
    let given = names.iter().zip(row).filter(|(_, cell)| *cell != NOTHING);
    let pairs: Vec<_> = given
        .map(|(name, cell)| format!("{name} {}", state(name, cell, output)))
        .collect();
    if pairs.is_empty() {
        return;
    }
    let pairs = fold(
        pairs.iter().map(String::as_str),
        width - INDENT.min(width),
        0,
    );
    for pairs in pairs.lines() {
        text.push_str(&" ".repeat(INDENT));
        text.push_str(pairs);
        text.push('\n');
    }
}

/// The width of a column where nothing is folded.
fn natural(cells: &Cells, at: usize) -> usize {
    let cells_of = cells.rows.iter().map(|row| row[at].chars().count());
    cells_of
        .max()
        .unwrap_or_default()
        .max(cells.heading[at].len())
}

/// The columns that columns of these widths take beside each other.
fn needed(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// A cell with the blanks that its column has around it. Numbers stand below each other.
fn padded(column: &str, cell: &str, width: usize, painted: &str) -> String {
    let blanks = " ".repeat(width - cell.chars().count());
    if matches!(column, "packets" | "bytes") {
        blanks + painted
    } else {
        painted.to_owned() + &blanks
    }
}

fn line(text: &mut String, words: &[String]) {
    let line = words.join(&" ".repeat(GAP));
    text.push_str(line.trim_end());
    text.push('\n');
}

/// The cell of a column, in the colour of the state that it names.
fn state(column: &str, cell: &str, output: Output) -> String {
    if column == "state" {
        output.state(&cell)
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Output = Output::Terminal {
        colour: false,
        width: 80,
    };

    #[test]
    fn columns_stand_below_each_other_and_numbers_end_below_each_other() {
        let cells = table(
            &["hook", "packets", "meaning"],
            &[&["xdp_uplink", "7", "few bytes"], &["port", "1234567", "-"]],
        );

        assert_eq!(
            columns(&cells, PLAIN, 80),
            "HOOK        PACKETS  MEANING\n\
             xdp_uplink        7  few bytes\n\
             port        1234567  -\n"
        );
    }

    #[test]
    fn sentences_are_folded_between_words() {
        let cells = table(
            &["reason", "meaning"],
            &[&["too_big", "the frame and its outer headers are larger"]],
        );

        assert_eq!(
            columns(&cells, PLAIN, 31),
            "REASON   MEANING\n\
             too_big  the frame and its\n\
             \x20        outer headers are\n\
             \x20        larger\n"
        );
    }

    #[test]
    fn columns_that_find_no_room_stand_below_their_row_by_name() {
        let cells = table(
            &["vni", "ip", "lladdr", "state", "dev", "source"],
            &[
                &["100", "10.0.0.1", "02:00:00:00:00:0b", "static", "-", "cli"],
                &["7", "10.0.0.2", "02:00:00:00:00:0c", "port", "tap0", "-"],
                &["8", "10.0.0.3", "02:00:00:00:00:0d", "snooped", "-", "-"],
            ],
        );

        assert_eq!(
            columns(&cells, PLAIN, 34),
            "VNI  IP        LLADDR\n\
             100  10.0.0.1  02:00:00:00:00:0b\n\
             \x20   state static source cli\n\
             7    10.0.0.2  02:00:00:00:00:0c\n\
             \x20   state port dev tap0\n\
             8    10.0.0.3  02:00:00:00:00:0d\n\
             \x20   state snooped\n"
        );
    }

    #[test]
    fn no_width_breaks_a_word_or_loses_one() {
        let row = [
            "16777215",
            "2001:db8:1111:2222:3333:4444:5555:6666",
            "02:00:00:00:00:0b",
        ];
        let cells = table(
            &["vni", "ip", "mac", "state"],
            &[&[row[0], row[1], row[2], "resolved"]],
        );
        for width in 1..100 {
            let text = columns(&cells, PLAIN, width);

            for word in row.into_iter().chain(["resolved"]) {
                let mut words = text.split_whitespace();
                assert!(words.any(|other| other == word), "{width}: {text}");
            }
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(width < 50 || longest <= Some(width), "{width}: {text}");
        }
    }

    #[test]
    fn one_row_has_a_line_for_each_of_its_columns_with_lists_in_full() {
        let mut cells = table(&["vni", "remotes"], &[&["100", "2"]]);
        cells.whole = vec![vec!["100".into(), "192.0.2.2, 192.0.2.3".into()]];
        let narrow = Output::Terminal {
            colour: false,
            width: 20,
        };

        assert_eq!(
            lines(&cells, Output::Plain),
            "vni     100\nremotes 192.0.2.2, 192.0.2.3\n"
        );
        assert_eq!(
            lines(&cells, narrow),
            "vni     100\nremotes 192.0.2.2,\n        192.0.2.3\n"
        );
    }

    #[test]
    fn a_state_has_a_colour_and_takes_no_more_room_for_it() {
        let cells = table(
            &["state", "ip"],
            &[&["unreachable", "::1"], &["resolved", "::2"]],
        );
        let colour = Output::Terminal {
            colour: true,
            width: 80,
        };

        assert_eq!(
            columns(&cells, colour, 80),
            "\x1b[1mSTATE\x1b[0m        \x1b[1mIP\x1b[0m\n\
             \x1b[31munreachable\x1b[0m  ::1\n\
             \x1b[32mresolved\x1b[0m     ::2\n"
        );
    }

    fn table(heading: &[&'static str], rows: &[&[&str]]) -> Cells {
        let rows: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().map(|&cell| cell.to_owned()).collect())
            .collect();
        Cells {
            heading: heading.to_vec(),
            columns: heading.len(),
            whole: rows.clone(),
            rows,
        }
    }
}
