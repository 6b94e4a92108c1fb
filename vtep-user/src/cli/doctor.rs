//! `vtep doctor`

use std::io::{self, Write};

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use crate::api::client::ClientError;
use crate::doctor::{collect, examine, names};
use crate::model::{CheckRow, CheckState};

/// How wide the column of the states is.
const STATE_WIDTH: usize = 4;

/// Goes through all checks and prints what each found.
pub(super) fn run(daemon: Daemon<'_>, output: Output) -> Result<(), Failure> {
    let facts = block_on(async {
        let client = match daemon.connect().await {
            Ok(client) => Some(client),
            Err(ClientError::NoDaemon { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let facts = collect(daemon.instance, client).await;
        facts.map_err(|error| Failure::Failed(error.into()))
    })?;
    let rows = examine(&facts);
    let mut out = io::BufWriter::new(io::stdout().lock());
    if output == Output::Json {
        serde_json::to_writer(&mut out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        let width = names().map(str::len).max().unwrap_or_default();
        for row in &rows {
            write!(out, "{}", text(row, width, output))?;
        }
    }
    out.flush()?;
    if rows.iter().any(|row| row.state == CheckState::Fail) {
        return Err(Failure::Said);
    }
    Ok(())
}

/// A row as people read it: its state and its check in columns, what was found, and below it what mends it. `width` is that of the checks' names.
fn text(row: &CheckRow, width: usize, output: Output) -> String {
    let CheckRow {
        check,
        state,
        about,
        finding,
        mend,
    } = row;
    let colour = match state {
        CheckState::Ok => "32",
        CheckState::Warn => "33",
        CheckState::Fail => "31",
    };
    let state = output.paint(colour, &format!("{state:<STATE_WIDTH$}"));
    let head = format!("{state}  {check:<width$} ");
    let indent = STATE_WIDTH + width + 4;
    let about = about.as_ref().map(|about| format!("{about}:"));
    let words = about.iter().flat_map(|about| about.split(' '));
    let words = words.chain(finding.split(' '));
    let mut text = output.folded(&head, words, indent);
    if let Some(mend) = mend {
        text.extend(std::iter::repeat_n(' ', indent));
        text.push_str("mend: ");
        text.push_str(mend);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_line_for_what_was_found_and_one_for_the_command() {
        let mut row = CheckRow {
            check: "path_mtu".into(),
            state: CheckState::Fail,
            about: Some("vm0".into()),
            finding: "the MTU is 1500".into(),
            mend: Some("ip link set vm0 mtu 1450".into()),
        };
        assert_eq!(
            text(&row, 9, Output::Plain),
            "FAIL  path_mtu   vm0: the MTU is 1500\n                 mend: ip link set vm0 mtu 1450\n"
        );
        row = CheckRow {
            state: CheckState::Ok,
            about: None,
            mend: None,
            ..row
        };
        assert_eq!(
            text(&row, 9, Output::Plain),
            "ok    path_mtu   the MTU is 1500\n"
        );
    }
}
