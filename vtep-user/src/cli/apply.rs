//! `vtep apply`, and `vtep save`, which is the way back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::config_file;
use super::daemon::Daemon;
use super::failure::{Failure, block_on};
use super::output::Output;
use crate::api::client::{Client, ClientError};
use crate::model::{ApplyOptions, ConfigFile, PlanRow, Query, Status};

/// Where what commands made is saved, beside the configuration file.
const SAVED: &str = "conf.d/90-saved.conf";

/// Makes what is set what a file says, and prints what is done for it.
pub(super) fn run(
    file: Option<&Path>,
    options: ApplyOptions,
    daemon: Daemon<'_>,
    output: Output,
) -> Result<(), Failure> {
    let rows = block_on(async {
        let mut client = daemon.connect().await?;
        let (file, own) = match file {
            Some(path) => (read(path)?, false),
            None => (ConfigFile::default(), true),
        };
        Ok(client.apply(file, &ApplyOptions { own, ..options }).await?)
    })?;
    print(&rows, output)?;
    if options.dry_run && !rows.is_empty() {
        return Err(Failure::ToDo);
    }
    Ok(())
}

/// Adds to a file beside the configuration file what commands made, and prints what that is.
pub(super) fn save(daemon: Daemon<'_>, output: Output) -> Result<(), Failure> {
    let rows = block_on(async {
        let mut client = daemon.connect().await?;
        let path = own_file(&mut client).await?;
        let saved = path.parent().unwrap_or(Path::new("")).join(SAVED);
        let made = make_empty(&saved)?;
        let rows = save_to(&mut client, &path, &saved).await;
        if made && !matches!(&rows, Ok(rows) if !rows.is_empty()) {
            // What was not there before is not left behind empty.
            fs::remove_file(&saved)?;
        }
        rows
    })?;
    print(&rows, output)
}

async fn save_to(client: &mut Client, path: &Path, saved: &Path) -> Result<Vec<PlanRow>, Failure> {
    let file = read(path)?;
    let real = fs::canonicalize(saved)?;
    let is_saved = |file: &PathBuf| fs::canonicalize(file).is_ok_and(|file| file == real);
    if !file.files.iter().any(is_saved) {
        return Err(Failure::refused(format!(
            "{} does not include {SAVED}, and nothing was saved; add the line: include conf.d/*.conf",
            path.display()
        )));
    }
    let drift = ApplyOptions {
        drift: true,
        ..ApplyOptions::default()
    };
    let rows = client.apply(file, &drift).await?;
    if !rows.is_empty() {
        append(saved, &rows)?;
    }
    // From now on all that is the file's.
    client.apply(read(path)?, &ApplyOptions::default()).await?;
    Ok(rows)
}

/// Makes an empty file where there is none; true if it did.
fn make_empty(path: &Path) -> Result<bool, Failure> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match File::create_new(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(cannot_write(path, &error)),
    }
}

/// Appends commands to a file: whoever reads it meanwhile sees the old text or the new one.
fn append(path: &Path, rows: &[PlanRow]) -> Result<(), Failure> {
    let mut text = fs::read_to_string(path)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for row in rows {
        text.push_str(&row.command);
        text.push('\n');
    }
    let fresh = path.with_file_name(".90-saved.conf.new");
    let written = (|| {
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    })();
    written.map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::refused(format!("cannot write {}: {error}", path.display()))
}

fn read(path: &Path) -> Result<ConfigFile, Failure> {
    config_file::read(path).map_err(Failure::refused)
}

/// The file that the daemon was started with.
async fn own_file(client: &mut Client) -> Result<PathBuf, Failure> {
    let answer = client.show(Query::Status).await?;
    let status: Status = serde_json::from_slice(&answer).map_err(ClientError::Unreadable)?;
    let config = status.config.map(|config| PathBuf::from(config.file));
    config.ok_or_else(|| {
        Failure::refused(
            "the daemon was started without a configuration file; start it with: vtep run --config FILE",
        )
    })
}

fn print(rows: &[PlanRow], output: Output) -> Result<(), Failure> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    if output == Output::Json {
        serde_json::to_writer(&mut out, rows).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        for row in rows {
            writeln!(out, "{}", row.line())?;
        }
    }
    Ok(out.flush()?)
}
