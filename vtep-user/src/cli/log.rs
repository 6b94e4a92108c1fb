//! The daemon's log: the journal where stderr leads there, otherwise stderr; filtered by `VTEP_LOG`.

use std::ffi::OsStr;
use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::{failure::Failure, journal::Journal, terminal};

/// The environment variable that holds the filter.
const VARIABLE: &str = "VTEP_LOG";

/// The filter where `VTEP_LOG` says nothing.
const DEFAULT: &str = "info";

/// What `vtep run --help` says of the log.
pub(super) const HELP: &str = "\
Environment:
  VTEP_LOG  What the daemon logs, to stderr or the journal: off, error, warn, info (the default), debug or trace.
            One level per module is possible too: VTEP_LOG=info,vtep_user::netlink=debug";

/// Reads the filter and starts to log.
///
/// # Errors
///
/// If `VTEP_LOG` is not a filter.
pub(super) fn start(instance: &str) -> Result<(), Failure> {
    let filter = filter(std::env::var_os(VARIABLE).as_deref())?;
    if let Some(journal) = Journal::of_stderr(instance) {
        tracing_subscriber::registry()
            .with(filter)
            .with(journal)
            .init();
        return Ok(());
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && terminal::has_colours())
        .with_target(false)
        .init();
    Ok(())
}

/// The filter that `value` asks for. An empty value asks for the default.
fn filter(value: Option<&OsStr>) -> Result<EnvFilter, Failure> {
    let value = match value {
        None => DEFAULT,
        Some(value) if value.is_empty() => DEFAULT,
        Some(value) => value.to_str().ok_or_else(|| refused(value, None))?,
    };
    let unknown = value.split(',').find(|part| !is_whole(part));
    let parsed = EnvFilter::try_new(value);
    match (unknown, parsed) {
        (None, Ok(filter)) => Ok(filter),
        (part, _) => Err(refused(OsStr::new(value), part)),
    }
}

/// Whether a part of a filter names its level. The parser takes a lone word that is no level for a module, and
/// then logs next to nothing.
fn is_whole(part: &str) -> bool {
    part.contains(['=', '[']) || part.parse::<LevelFilter>().is_ok()
}

fn refused(value: &OsStr, part: Option<&str>) -> Failure {
    let value = value.to_string_lossy();
    let what = match part {
        Some(part) if part != value => {
            format!("\"{part}\" in {VARIABLE}={value} is not a log level")
        }
        _ => format!("{VARIABLE}={value} is not a log filter"),
    };
    Failure::refused(format!(
        "{what}; set {VARIABLE} to off, error, warn, info, debug or trace, \
         or to a level per module: {VARIABLE}=info,vtep_user::netlink=debug"
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    fn shown(value: &str) -> String {
        match filter(Some(OsStr::new(value))) {
            Ok(filter) => filter.to_string(),
            Err(Failure::Failed(error)) => panic!("{value} is refused: {error}"),
            Err(other) => panic!("{value}: {other:?}"),
        }
    }

    fn refusal(value: &OsStr) -> String {
        match filter(Some(value)) {
            Err(Failure::Failed(error)) => error.to_string(),
            other => panic!("{} is taken: {other:?}", value.display()),
        }
    }

    #[test]
    fn levels_are_taken_alone_and_for_each_module() {
        for level in ["off", "error", "warn", "info", "debug", "trace"] {
            assert_eq!(shown(level), level);
            assert_eq!(shown(&level.to_uppercase()), level);
        }
        assert_eq!(
            shown("info,vtep_user::netlink=debug"),
            "vtep_user::netlink=debug,info"
        );
    }

    #[test]
    fn nothing_asks_for_the_default() {
        assert_eq!(filter(None).expect("the default").to_string(), DEFAULT);
        assert_eq!(shown(""), DEFAULT);
    }

    #[test]
    fn what_is_no_filter_is_refused_with_what_to_set_instead() {
        for value in [
            "loud",
            "warning",
            "vtep_user",
            "info,loud",
            "vtep_user=loud",
            "=",
            "vtep_user=debug=info",
            "info;debug",
            "info, debug",
        ] {
            let sentence = refusal(OsStr::new(value));
            assert!(
                sentence.contains(&format!("VTEP_LOG={value}")),
                "{sentence}"
            );
            assert!(
                sentence.contains("off, error, warn, info, debug or trace"),
                "{sentence}"
            );
        }
        assert!(
            refusal(OsStr::new("info,loud"))
                .starts_with("\"loud\" in VTEP_LOG=info,loud is not a log level")
        );
        assert!(refusal(OsStr::from_bytes(b"in\xfffo")).contains("not a log filter"));
    }
}
