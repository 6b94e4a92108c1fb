//! The command line.
//!
//! The verbs of the daemon are described in `model::operation`; `grammar` makes a command of each, and hands what was
//! typed to it. What else there is has a file of its own: `run`, `monitor`, `top`, `capture`, `doctor`, `import`, `batch`, `teardown`, `completions`, `describe`.

mod abbreviation;
mod apply;
mod batch;
mod candidates;
mod capture;
mod command_line;
mod completions;
mod config_file;
mod daemon;
mod doctor;
mod dump;
mod failure;
mod grammar;
mod import;
mod journal;
mod lines;
mod live;
mod log;
mod manual;
mod monitor;
mod output;
mod pieces;
mod progress;
mod run;
mod show;
mod status;
mod stream;
mod table;
mod teardown;
mod terminal;
mod top;
mod trace;
mod wildcard;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::ArgMatches;

use crate::causes::with_causes;
use crate::model::command::{
    APPLY, BATCH, CAPTURE, COMPLETIONS, DESCRIBE, GLOBALS, Globals, TRACE,
};
use crate::model::config;
use crate::model::request::Request;
use crate::model::settings::{
    batch as several, capture as captured, filter, import as imported, run as options,
    teardown as removal, top as looks, trace as frames,
};
use daemon::Daemon;
use failure::{Failure, block_on};
use output::Output;

/// Runs the command line `args`, the first of which is the program, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    completions::answer();
    match parse(args)
        .map_err(Failure::Usage)
        .and_then(|typed| run(&typed))
    {
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => {
            // There is nowhere left to say that it could not be said.
            drop(error.print());
            u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(Failure::NoDaemon(error)) => {
            say(&error);
            ExitCode::from(NO_DAEMON)
        }
        Err(Failure::ToDo) => ExitCode::from(TO_DO),
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(Failure::Failed(error)) => {
            say(error.as_ref());
            ExitCode::FAILURE
        }
    }
}

/// The exit code where there is no daemon to talk to.
const NO_DAEMON: u8 = 3;

/// The exit code of a dry run that found something to do.
const TO_DO: u8 = 3;

/// Says what went wrong; there is nowhere left to say that it could not be said.
fn say(error: &(dyn Error + 'static)) {
    drop(writeln!(std::io::stderr(), "error: {}", with_causes(error)));
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    let args: Vec<_> = args.into_iter().collect();
    let mut whole = command_line::whole().color(terminal::colours());
    let typed = whole.try_get_matches_from_mut(&args);
    typed.map_err(|error| abbreviation::explained(error, &whole, &args))
}

fn run(typed: &ArgMatches) -> Result<(), Failure> {
    let Globals {
        json,
        instance,
        timeout_s,
    } = grammar::record(&GLOBALS, typed)?;
    let output = Output::new(json);
    let daemon = Daemon {
        instance: instance.as_str(),
        patience: (timeout_s != 0).then(|| Duration::from_secs(timeout_s.into())),
    };
    match typed.subcommand() {
        Some(("run", args)) => run::run(grammar::given(&options::OPTIONS, args)?, instance),
        Some(("apply", args)) => {
            let options = grammar::record(&config::APPLY, args)?;
            apply::run(grammar::file(&APPLY, args), options, daemon, output)
        }
        Some(("save", _)) => apply::save(daemon, output),
        Some(("dump", args)) => dump::run(
            grammar::record(&config::DUMP_OPTIONS, args)?,
            daemon,
            output,
        ),
        Some(("trace", args)) => {
            let dev = grammar::key(&TRACE, args)?;
            let options = grammar::record(&frames::OPTIONS, args)?;
            match (dev, options.live) {
                (dev, Some(count)) => live::run((dev, count), options, daemon, output),
                (_, None) if options.is_of_live() => Err(grammar::wrong_usage(
                    command_line::whole(),
                    TRACE.words,
                    "--seconds, --vni, --mac, --peer, --reason and --drops are about frames that come; give --live N, too",
                )),
                (Some(dev), None) => trace::run(dev, options, daemon, output),
                (None, None) => Err(grammar::wrong_usage(
                    command_line::whole(),
                    TRACE.words,
                    "it is not said where the frame comes in; give the port or the uplink, as in: vtep trace DEV --dst MAC",
                )),
            }
        }
        Some(("monitor", args)) => {
            let filter = grammar::record(&filter::EVENTS, args)?;
            monitor::run(&filter, daemon, output)
        }
        Some(("top", args)) => top::run(grammar::record(&looks::OPTIONS, args)?, daemon, output),
        Some(("doctor", _)) => doctor::run(daemon, output),
        Some(("import", args)) => import::run(grammar::record(&imported::OPTIONS, args)?, output),
        Some(("capture", args)) => {
            let mut options = grammar::record(&captured::OPTIONS, args)?;
            options.filter.dev = grammar::key(&CAPTURE, args)?.map(str::to_owned);
            capture::run(options, daemon, output)
        }
        Some(("batch", args)) => {
            let options = grammar::record(&several::OPTIONS, args)?;
            batch::run(grammar::file(&BATCH, args), options, daemon)
        }
        Some(("teardown", args)) => {
            let options = grammar::record(&removal::OPTIONS, args)?;
            teardown::run(daemon, options)
        }
        Some(("completions", args)) => completions::run(grammar::key(&COMPLETIONS, args)?),
        Some(("describe", args)) => {
            manual::write(grammar::file(&DESCRIBE, args).expect("clap asks for it"))
        }
        _ => ask(
            daemon,
            output,
            grammar::request(typed, command_line::whole)?,
        ),
    }
}

/// Sends one request to the daemon and prints what it answers.
fn ask(daemon: Daemon<'_>, output: Output, request: Request) -> Result<(), Failure> {
    block_on(async {
        let mut client = daemon.connect().await?;
        match request {
            Request::Change(op) => Ok(client.change(op).await?),
            Request::Show(query) => show::show(output, &mut client, query).await,
        }
    })
}

#[cfg(test)]
mod tests;
