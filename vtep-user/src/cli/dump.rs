//! `vtep dump`

use std::io::{self, Write};

use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use crate::api::client::ClientError;
use crate::daemon::dump_pinned;
use crate::model::config::DumpOptions;
use crate::model::{DumpFilter, DumpRow, Query};

/// Prints what was set as a configuration file.
pub(super) fn run(options: DumpOptions, daemon: Daemon<'_>, output: Output) -> Result<(), Failure> {
    let DumpOptions { filter, pins } = options;
    let rows = match ask(filter, daemon) {
        // A daemon that runs knows what is pinned.
        Err(Failure::NoDaemon(_)) if pins => {
            let rows = dump_pinned(daemon.instance, filter);
            rows.map_err(|error| Failure::Failed(error.into()))?
        }
        asked => asked?,
    };
    let mut out = io::BufWriter::new(io::stdout().lock());
    if output == Output::Json {
        serde_json::to_writer(&mut out, &rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for row in rows {
            writeln!(out, "{}", row.command)?;
        }
    }
    Ok(out.flush()?)
}

fn ask(filter: DumpFilter, daemon: Daemon<'_>) -> Result<Vec<DumpRow>, Failure> {
    block_on(async {
        let mut client = daemon.connect().await?;
        let rows: Result<_, ClientError> = client.rows(Query::Dump(filter)).await;
        Ok(rows?)
    })
}
