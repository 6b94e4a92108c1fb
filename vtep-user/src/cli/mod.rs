//! The command line.
//!
//! The verbs of the daemon are described in `model::operation`; [`grammar`] makes a command of each, and hands what was
//! typed to it. What else there is has a file of its own: `run`, `monitor`, `batch`, `teardown`, `completions`.

mod args;
mod batch;
mod completions;
mod grammar;
mod log;
mod monitor;
mod output;
pub mod run;
mod teardown;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, Args, FromArgMatches};

use crate::api::client::{Client, ClientError};
use crate::causes::with_causes;
use crate::model::BadValue;
use crate::model::request::Request;
use output::Output;

#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
struct Globals {
    /// Print rows as a JSON array of objects, and events as one object a line
    #[arg(short, long, global = true)]
    json: bool,
    /// The daemon to talk to, or to be
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "VTEP_INSTANCE",
        default_value = "main",
        value_parser = args::instance
    )]
    instance: String,
}

/// Why a command ends with an exit code other than 0.
#[derive(Debug)]
enum Failure {
    /// Wrong usage, as clap puts it: exit 2 (or 0, if help was asked for).
    Usage(clap::Error),
    /// Refused or failed: exit 1.
    Failed(Box<dyn Error + Send + Sync>),
    /// Nobody reads the output any more, as in `vtep fdb show | head`.
    Unread,
}

impl Failure {
    /// What was typed can be read but makes no sense.
    fn refused(sentence: impl Into<String>) -> Self {
        Self::Failed(BadValue::new(sentence).into())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            Self::Unread
        } else {
            Self::Failed(error.into())
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the command line `args`, the first of which is the program, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
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
        Err(Failure::Failed(error)) => {
            drop(writeln!(
                std::io::stderr(),
                "error: {}",
                with_causes(error.as_ref())
            ));
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<ArgMatches, clap::Error> {
    grammar::command_line().try_get_matches_from(args)
}

fn run(typed: &ArgMatches) -> Result<(), Failure> {
    let Globals { json, instance } = read(typed)?;
    let output = Output::new(json);
    match typed.subcommand() {
        Some(("run", args)) => run::run(read(args)?, instance),
        Some(("monitor", args)) => monitor::run(&read(args)?, &instance, output),
        Some(("batch", args)) => batch::run(&read(args)?, &instance),
        Some(("teardown", _)) => teardown::run(&instance),
        Some(("completions", args)) => completions::run(&read(args)?),
        _ => ask(&instance, output, grammar::request(typed)?),
    }
}

/// The options of a verb that is not among the operations.
fn read<T: FromArgMatches>(typed: &ArgMatches) -> Result<T, Failure> {
    T::from_arg_matches(typed).map_err(Failure::Usage)
}

/// Sends one request to the daemon and prints what it answers.
fn ask(instance: &str, output: Output, request: Request) -> Result<(), Failure> {
    block_on(async {
        let mut client = Client::connect(instance).await?;
        match request {
            Request::Change(op) => Ok(client.change(op).await?),
            Request::Show(query) => output.show(&mut client, query).await,
        }
    })
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests;
