//! How the value of an argument may go on: VNIs, ports, MACs and VTEPs from the daemon, instances from their sockets.

use std::{
    ffi::OsStr,
    fs,
    time::{Duration, Instant},
};

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;

use super::{
    daemon::Daemon,
    failure::{Failure, block_on},
};
use crate::{
    api::{
        client::{Client, ClientError},
        socket,
    },
    model::{FdbFilter, Query, Status},
};

/// Whoever presses a key waits no longer.
const PATIENCE: Duration = Duration::from_secs(1);
/// The MACs of a larger FDB are not offered: nobody reads them, and asking takes its time.
const FDB_MAX: u64 = 5_000;

/// What stands where an argument's value does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Vni,
    Dev,
    Mac,
    Vtep,
    Instance,
}

/// How the value of an argument with this value name goes on, if there is anything to offer.
pub(super) fn of_value(value_name: &str) -> Option<ArgValueCompleter> {
    let kind = match value_name {
        "VNI" => Kind::Vni,
        "DEV" => Kind::Dev,
        "MAC" => Kind::Mac,
        "IP" | "VTEP_IP" | "PEER" => Kind::Vtep,
        "NAME" => Kind::Instance,
        _ => return None,
    };
    Some(ArgValueCompleter::new(move |typed: &OsStr| {
        let found = match kind {
            Kind::Instance => instances(),
            _ => block_on(ask(kind, Instant::now() + PATIENCE)).unwrap_or_default(),
        };
        begin_with(found, &typed.to_string_lossy())
    }))
}

/// Those that go on from what was typed, each once.
fn begin_with(mut found: Vec<String>, typed: &str) -> Vec<CompletionCandidate> {
    found.retain(|word| word.starts_with(typed));
    found.sort();
    found.dedup();
    found.into_iter().map(CompletionCandidate::new).collect()
}

/// The instances that have a socket.
fn instances() -> Vec<String> {
    let own = socket::path("");
    let files = own
        .parent()
        .and_then(|directory| fs::read_dir(directory).ok());
    let names = files.into_iter().flatten().filter_map(|file| {
        let name = file.ok()?.file_name().into_string().ok()?;
        Some(name.strip_suffix(".sock")?.to_owned())
    });
    names.collect()
}

/// Asks the daemon that the line is for.
async fn ask(kind: Kind, until: Instant) -> Result<Vec<String>, Failure> {
    let instance = instance_in(std::env::args());
    let daemon = Daemon {
        instance: &instance,
        patience: Some(until.saturating_duration_since(Instant::now())),
    };
    let mut client = daemon.connect().await?;
    let mut found = Vec::new();
    match kind {
        Kind::Vni => found.extend(column(&mut client, Query::Vnis(None), "vni").await?),
        Kind::Dev => found.extend(column(&mut client, Query::Ports(None), "dev").await?),
        Kind::Vtep => found.extend(column(&mut client, Query::Peers(None), "ip").await?),
        Kind::Mac => {
            let status = client.show(Query::Status).await?;
            let status: Status = serde_json::from_slice(&status).map_err(ClientError::from)?;
            if status.fdb <= FDB_MAX {
                let all = Query::Fdb(FdbFilter::default());
                found.extend(column(&mut client, all, "mac").await?);
            }
        }
        Kind::Instance => {}
    }
    Ok(found)
}

/// One column of the rows that the daemon shows.
async fn column(client: &mut Client, query: Query, key: &str) -> Result<Vec<String>, Failure> {
    let rows: Vec<Value> = client.rows(query).await?;
    let texts = rows.iter().map(|row| match &row[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(texts.collect())
}

/// The instance that a line is for.
fn instance_in(words: impl Iterator<Item = String>) -> String {
    let mut words = words.skip_while(|word| word != "--").peekable();
    while let Some(word) = words.next() {
        if let Some(name) = word.strip_prefix("--instance=") {
            return name.to_owned();
        }
        if word == "--instance"
            && let Some(name) = words.peek()
        {
            return name.clone();
        }
    }
    std::env::var("VTEP_INSTANCE").unwrap_or_else(|_| "main".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_which_daemon_is_asked() {
        let of = |line: &str| instance_in(line.split(' ').map(str::to_owned));
        assert_eq!(of("vtep -- vtep port show --instance blue"), "blue");
        assert_eq!(of("vtep -- vtep --instance=red port show"), "red");
    }

    #[test]
    fn what_begins_otherwise_is_not_offered_and_nothing_twice() {
        let words = ["tap1", "vnet0", "tap0", "tap1"]
            .map(str::to_owned)
            .to_vec();
        let offered = begin_with(words, "tap");
        let offered: Vec<_> = offered
            .iter()
            .map(|one| one.get_value().to_owned())
            .collect();
        assert_eq!(offered, ["tap0", "tap1"]);
    }
}
