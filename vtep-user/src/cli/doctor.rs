//! `vtep doctor`

use std::io::{self, Write};

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use crate::api::client::ClientError;
use crate::doctor::{collect, examine};
use crate::model::{CheckRow, CheckState};

/// How far the command that mends something is indented.
const INDENT: usize = 6;

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
        for row in &rows {
            write!(out, "{}", text(row, output))?;
        }
    }
    out.flush()?;
    if rows.iter().any(|row| row.state == CheckState::Fail) {
        return Err(Failure::Said);
    }
    Ok(())
}

/// A row as people read it: a line for what was found, and one for what mends it.
fn text(row: &CheckRow, output: Output) -> String {
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
    let state = output.paint(colour, &format!("{state:<5}"));
    let about = about.as_ref().map(|about| format!("{about}:"));
    let words = about.iter().flat_map(|about| about.split(' '));
    let words = std::iter::once(check.as_str())
        .chain(words)
        .chain(finding.split(' '));
    let mut text = output.folded(&state, words, INDENT);
    if let Some(mend) = mend {
        text.extend(std::iter::repeat_n(' ', INDENT));
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
            text(&row, Output::Plain),
            "FAIL  path_mtu vm0: the MTU is 1500\n      mend: ip link set vm0 mtu 1450\n"
        );
        row = CheckRow {
            state: CheckState::Ok,
            about: None,
            mend: None,
            ..row
        };
        assert_eq!(
            text(&row, Output::Plain),
            "ok    path_mtu the MTU is 1500\n"
        );
    }
}
