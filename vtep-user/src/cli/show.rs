//! How rows are printed: tables, entries of the FDB and the status.

use std::io::{self, Write};

use super::failure::Failure;
use super::output::Output;
use super::{status, table};
use crate::api::client::{Client, ClientError};
use crate::model::endpoint::{Answers, Cells, TableOf};
use crate::model::request::Request;
use crate::model::{FdbRow, Query, Status, printable};

/// How far a line of an entry is indented that found no room on the one before.
const INDENT: usize = 4;

/// Reads rows and prints them.
pub(super) async fn show(output: Output, client: &mut Client, query: Query) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if query == Query::Status {
        let answer = client.show(query).await?;
        let status: Status = serde_json::from_slice(&answer).map_err(ClientError::Unreadable)?;
        if output == Output::Json {
            // An array of rows, where there is one thing as well.
            writeln!(out, "[{}]", String::from_utf8_lossy(&answer))?;
        } else {
            write!(out, "{}", status::text(&status, output))?;
        }
    } else if output == Output::Json {
        client
            .rows_text(query, |piece| out.write_all(piece))
            .await??;
        writeln!(out)?;
    } else if matches!(query, Query::Fdb(_) | Query::FdbGet(_)) {
        for row in client.rows::<FdbRow>(query).await? {
            write!(out, "{}", fdb_line(&row, output))?;
        }
    } else {
        let one = matches!(
            query,
            Query::Vnis(Some(_)) | Query::Ports(Some(_)) | Query::Peers(Some(_))
        );
        let read = table_of(&query);
        let cells = read(&client.show(query).await?).map_err(ClientError::Unreadable)?;
        if one {
            write!(out, "{}", table::lines(&cells, output))?;
        } else if !cells.rows.is_empty() {
            write!(out, "{}", lay_out(&cells, output))?;
        }
    }
    Ok(out.flush()?)
}

/// Lays rows out under a heading: in columns that fit a terminal, and in a pipe whole, separated by tabs.
pub(super) fn lay_out(cells: &Cells, output: Output) -> String {
    if let Output::Terminal { width, .. } = output {
        return table::columns(cells, output, width);
    }
    let heading = cells.heading.join("\t") + "\n";
    cells
        .rows
        .iter()
        .fold(heading, |text, row| text + &row.join("\t") + "\n")
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

/// An FDB entry as `bridge fdb show` would put it.
fn fdb_line(row: &FdbRow, output: Output) -> String {
    let mut words = vec![format!("vni {}", row.vni)];
    words.extend(
        row.dst
            .map(|dst| format!("dst {}", output.paint("35", &dst))),
    );
    words.extend(
        row.dev
            .as_ref()
            .map(|dev| format!("dev {}", output.paint("36", &printable(dev)))),
    );
    words.push(output.state(&row.state));
    words.extend(row.age_s.map(|age| format!("age {age}s")));
    if row.duplicate {
        words.push(output.state(&"duplicate"));
    }
    words.extend(row.other_dst.map(|dst| format!("also dst {dst}")));
    let other_dev = row.other_dev.as_ref();
    words.extend(other_dev.map(|dev| format!("also dev {}", printable(dev))));
    let mac = output.paint("33", &row.mac);
    output.folded(&mac, words.iter().map(String::as_str), INDENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DropsRow, EntryState, MacAddr, Source, Vni, VniRow};

    const TERMINAL: Output = Output::Terminal {
        colour: false,
        width: 80,
    };

    const COLOURED: Output = Output::Terminal {
        colour: true,
        width: 80,
    };

    #[test]
    fn an_fdb_entry_reads_like_that_of_the_bridge_tool() {
        assert_eq!(
            fdb_line(&entry(), Output::Plain),
            "02:00:00:00:00:0b vni 100 dst 192.0.2.2 static\n"
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
            "02:00:00:00:00:0b vni 100 dev tap0 learned age 5s\n"
        );
        let frozen = FdbRow {
            duplicate: true,
            other_dst: Some("192.0.2.3".parse().unwrap()),
            ..local
        };
        assert_eq!(
            fdb_line(&frozen, Output::Plain),
            "02:00:00:00:00:0b vni 100 dev tap0 learned age 5s duplicate also dst 192.0.2.3\n"
        );
    }

    #[test]
    fn only_a_terminal_gets_colour() {
        assert!(!fdb_line(&entry(), Output::Plain).contains('\x1b'));
        assert!(!fdb_line(&entry(), TERMINAL).contains('\x1b'));
        assert!(fdb_line(&entry(), COLOURED).contains('\x1b'));
    }

    #[test]
    fn a_pipe_gets_a_heading_and_one_line_a_row_with_tabs() {
        let text = lay_out(
            &Cells::of(&[drops("truncated"), drops("unknown_vni")]),
            Output::Plain,
        );

        assert_eq!(
            text,
            "hook\treason\tpackets\tbytes\tmeaning\n\
             xdp_uplink\ttruncated\t1\t2\tfew bytes\n\
             xdp_uplink\tunknown_vni\t1\t2\tfew bytes\n"
        );
    }

    #[test]
    fn a_terminal_gets_aligned_columns() {
        let text = lay_out(&Cells::of(&[drops("truncated"), drops("x")]), TERMINAL);

        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        let column = lines[0].find("MEANING").unwrap();
        for line in &lines[1..] {
            assert_eq!(line.find("few bytes"), Some(column), "{text}");
        }
    }

    #[test]
    fn an_entry_that_is_wider_than_the_terminal_goes_on_in_the_next_line() {
        let far = FdbRow {
            dst: Some("2001:db8:1111:2222:3333:4444:5555:6666".parse().unwrap()),
            other_dst: Some("2001:db8::1".parse().unwrap()),
            ..entry()
        };

        assert_eq!(
            fdb_line(&far, TERMINAL),
            "02:00:00:00:00:0b vni 100 dst 2001:db8:1111:2222:3333:4444:5555:6666 static\n\
             \x20   also dst 2001:db8::1\n"
        );
        assert_eq!(fdb_line(&far, Output::Plain).lines().count(), 1);
    }

    #[test]
    fn a_pipe_gets_every_column_and_how_many_there_are_of_what_is_listed() {
        let row: VniRow = serde_json::from_str(
            r#"{"vni":100,"mode":"l2","flood":"her","group":null,"learning":false,"suppress":false,
                "ageing_s":300,"max_macs":null,"inner_vlan":"drop","ports":["tap0"],
                "remotes":["192.0.2.2","192.0.2.3"],"ttl":64,"tos":0,"df":"set","srcport":[49152,65535],
                "reserved":"ignore","over_limit":"flood","sources":"listed","l2cp":"drop","source":"cli","bridge":null,
                "mss_clamp":false}"#,
        )
        .unwrap();
        let cells = Cells::of(&[row]);

        let text = lay_out(&cells, Output::Plain);

        let column = |name: &str| {
            let mut lines = text.lines().map(|line| line.split('\t'));
            let at = lines.next().unwrap().position(|other| other == name);
            lines.next().unwrap().nth(at.expect(name)).unwrap()
        };
        assert_eq!((column("ports"), column("remotes")), ("1", "2"));
        assert_eq!(column("l2cp"), "drop");
        let one = table::lines(&cells, Output::Plain);
        assert!(one.contains(" 192.0.2.2, 192.0.2.3\n"), "{one}");
        let shown = lay_out(&cells, TERMINAL);
        assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
        assert_eq!(shown.lines().count(), 2, "{shown}");
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
