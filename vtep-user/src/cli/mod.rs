//! The command line.
//!
//! The verbs of the daemon are described in `model::operation`; `grammar` makes a command of each, and hands what was
//! typed to it. What else there is has a file of its own: `run`, `monitor`, `batch`, `teardown`, `completions`.

mod batch;
mod command_line;
mod completions;
mod failure;
mod grammar;
mod log;
mod monitor;
mod output;
mod run;
mod teardown;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::ArgMatches;

use crate::api::client::Client;
use crate::causes::with_causes;
use crate::model::command::{BATCH, COMPLETIONS, GLOBALS, Globals};
use crate::model::request::Request;
use crate::model::settings::{filter, run as options, teardown as removal};
use failure::{Failure, block_on};
use output::Output;

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
    command_line::whole().try_get_matches_from(args)
}

fn run(typed: &ArgMatches) -> Result<(), Failure> {
    let Globals { json, instance } = grammar::record(&GLOBALS, typed)?;
    let output = Output::new(json);
    match typed.subcommand() {
        Some(("run", args)) => run::run(grammar::record(&options::OPTIONS, args)?, instance),
        Some(("monitor", args)) => {
            let filter = grammar::record(&filter::EVENTS, args)?;
            monitor::run(&filter, instance.as_str(), output)
        }
        Some(("batch", args)) => batch::run(grammar::file(&BATCH, args), instance.as_str()),
        Some(("teardown", args)) => {
            let options = grammar::record(&removal::OPTIONS, args)?;
            teardown::run(instance.as_str(), options)
        }
        Some(("completions", args)) => completions::run(grammar::key(&COMPLETIONS, args)?),
        _ => ask(
            instance.as_str(),
            output,
            grammar::request(typed, command_line::whole)?,
        ),
    }
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

#[cfg(test)]
mod tests;
