//! How rows are printed: as JSON, as tables for people on a terminal, or plain for a pipe.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::failure::Failure;
use super::status;
use crate::api::client::{Client, ClientError};
use crate::model::endpoint::{Answers, Cells, TableOf};
use crate::model::request::Request;
use crate::model::{FdbRow, Query, Status, printable};

/// Narrowest terminal, in columns, that a table is made to fit.
const WRAP_FROM: u16 = 60;

/// The form that rows are printed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// A JSON array of objects.
    Json,
    /// For people.
    Terminal {
        /// Whether colour is wanted.
        colour: bool,
    },
    /// For other programs.
    Plain,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        if json {
            Self::Json
        } else if io::stdout().is_terminal() {
            Self::Terminal {
                colour: std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty()),
            }
        } else {
            Self::Plain
        }
    }

    /// The text in the colour of an ANSI code, where colour is wanted.
    pub(super) fn paint(self, code: &str, text: &dyn Display) -> String {
        match self {
            Self::Terminal { colour: true } => format!("\x1b[{code}m{text}\x1b[0m"),
            Self::Terminal { colour: false } | Self::Json | Self::Plain => text.to_string(),
        }
    }

    /// Reads rows and prints them.
    pub(super) async fn show(self, client: &mut Client, query: Query) -> Result<(), Failure> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        if query == Query::Status {
            let answer = client.show(query).await?;
            let status: Status =
                serde_json::from_slice(&answer).map_err(ClientError::Unreadable)?;
            if self == Self::Json {
                // An array of rows, where there is one thing as well.
                writeln!(out, "[{}]", String::from_utf8_lossy(&answer))?;
            } else {
                write!(out, "{}", status::text(&status))?;
            }
        } else if self == Self::Json {
            client
                .rows_text(query, |piece| out.write_all(piece))
                .await??;
            writeln!(out)?;
        } else if matches!(query, Query::Fdb(_) | Query::FdbGet(_)) {
            for row in client.rows::<FdbRow>(query).await? {
                writeln!(out, "{}", fdb_line(&row, self))?;
            }
        } else {
            let one = matches!(query, Query::Vnis(Some(_)));
            let table = table_of(&query);
            let cells = table(&client.show(query).await?).map_err(ClientError::Unreadable)?;
            if one {
                write!(out, "{}", lines(&cells))?;
            } else if !cells.rows.is_empty() {
                write!(out, "{}", self.lay_out(cells))?;
            }
        }
        Ok(out.flush()?)
    }

    /// Lays rows out under a heading, in columns on a terminal and separated by tabs in a pipe.
    fn lay_out(self, cells: Cells) -> String {
        let Cells { heading, rows, .. } = cells;
        let Self::Terminal { colour } = self else {
            let heading = heading.join("\t") + "\n";
            return rows
                .iter()
                .fold(heading, |text, row| text + &row.join("\t") + "\n");
        };
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // Some terminals say that they are 0 wide; on these and on very narrow ones nothing is wrapped.
        if table.width().is_some_and(|width| width >= WRAP_FROM) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(heading.iter().map(|name| {
            let cell = Cell::new(name.to_uppercase());
            if colour {
                cell.add_attribute(Attribute::Bold)
            } else {
                cell
            }
        }));
        table.add_rows(rows);
        for (column, name) in table.column_iter_mut().zip(heading) {
            column.set_padding((0, 2));
            if matches!(name, "packets" | "bytes") {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.trim_fmt() + "\n"
    }
}

/// How the rows that answer a query are read as a table.
fn table_of(query: &Query) -> TableOf {
    let (endpoint, _) = Request::from(query.clone()).sent();
    match endpoint.answers {
        Answers::Rows(_, table) => table,
        Answers::Done | Answers::One(_) | Answers::Text => {
            unreachable!("{} has a command and answers no rows", endpoint.path)
        }
    }
}

/// Everything about each row, one column a line.
fn lines(cells: &Cells) -> String {
    let line = |(name, value): (&str, &String)| format!("{name:<10} {value}\n");
    let rows = cells.rows.iter().zip(&cells.details);
    rows.flat_map(|(row, details)| {
        let columns = cells.heading.iter().copied().zip(row);
        columns.chain(details.iter().map(|(name, value)| (*name, value)))
    })
    .map(line)
    .collect()
}

/// An FDB entry as `bridge fdb show` would put it.
fn fdb_line(row: &FdbRow, output: Output) -> String {
    let mut words = vec![output.paint("33", &row.mac), format!("vni {}", row.vni)];
    words.extend(
        row.dst
            .map(|dst| format!("dst {}", output.paint("35", &dst))),
    );
    words.extend(
        row.dev
            .as_ref()
            .map(|dev| format!("dev {}", output.paint("36", &printable(dev)))),
    );
    words.push(row.state.to_string());
    words.extend(row.age_s.map(|age| format!("age {age}s")));
    if row.duplicate {
        words.push(output.paint("31", &"duplicate"));
    }
    words.extend(row.other_dst.map(|dst| format!("also dst {dst}")));
    let other_dev = row.other_dev.as_ref();
    words.extend(other_dev.map(|dev| format!("also dev {}", printable(dev))));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DropsRow, EntryState, MacAddr, Source, Vni};

    #[test]
    fn an_fdb_entry_reads_like_that_of_the_bridge_tool() {
        assert_eq!(
            fdb_line(&entry(), Output::Plain),
            "02:00:00:00:00:0b vni 100 dst 192.0.2.2 static"
        );
        let local = FdbRow {
            dst: None,
            dev: Some("tap0".into()),
            state: EntryState::Learned,
            age_s: Some(5),
            ..entry()
        };
        assert_eq!(
            fdb_line(&local, Output::Plain),
            "02:00:00:00:00:0b vni 100 dev tap0 learned age 5s"
        );
        let frozen = FdbRow {
            duplicate: true,
            other_dst: Some("192.0.2.3".parse().unwrap()),
            ..local
        };
        assert_eq!(
            fdb_line(&frozen, Output::Plain),
            "02:00:00:00:00:0b vni 100 dev tap0 learned age 5s duplicate also dst 192.0.2.3"
        );
    }

    #[test]
    fn only_a_terminal_gets_colour() {
        assert!(!fdb_line(&entry(), Output::Plain).contains('\x1b'));
        assert!(!fdb_line(&entry(), Output::Terminal { colour: false }).contains('\x1b'));
        assert!(fdb_line(&entry(), Output::Terminal { colour: true }).contains('\x1b'));
    }

    #[test]
    fn a_pipe_gets_a_heading_and_one_line_a_row_with_tabs() {
        let text = Output::Plain.lay_out(Cells::of(&[drops("truncated"), drops("unknown_vni")]));

        assert_eq!(
            text,
            "hook\treason\tpackets\tbytes\tmeaning\n\
             xdp_uplink\ttruncated\t1\t2\tfew bytes\n\
             xdp_uplink\tunknown_vni\t1\t2\tfew bytes\n"
        );
    }

    #[test]
    fn a_terminal_gets_aligned_columns() {
        let text = Output::Terminal { colour: false }
            .lay_out(Cells::of(&[drops("truncated"), drops("x")]));

        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let column = lines[0].find("MEANING").unwrap();
        for line in &lines[1..] {
            assert_eq!(line.find("few bytes"), Some(column), "{text}");
        }
    }

    fn entry() -> FdbRow {
        FdbRow {
            vni: Vni::new(100).unwrap(),
            mac: MacAddr::from_bytes([2, 0, 0, 0, 0, 0xb]),
            dst: Some("192.0.2.2".parse().unwrap()),
            dev: None,
            state: EntryState::Static,
            age_s: None,
            duplicate: false,
            source: Some(Source::Cli),
            other_dst: None,
            other_dev: None,
        }
    }

    fn drops(reason: &str) -> DropsRow {
        DropsRow {
            hook: "xdp_uplink".into(),
            reason: reason.into(),
            packets: 1,
            bytes: 2,
            meaning: "few bytes".into(),
        }
    }
}
