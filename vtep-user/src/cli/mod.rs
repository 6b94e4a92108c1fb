//! The command line.
//!
//! The verbs of the daemon are described in `model::operation`; `grammar` makes a command of each, and hands what was
//! typed to it. What else there is has a file of its own: `run`, `monitor`, `batch`, `teardown`, `completions`.

mod args;
mod batch;
mod command_line;
mod completions;
mod failure;
mod grammar;
mod log;
mod monitor;
mod output;
pub mod run;
mod teardown;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{ArgMatches, FromArgMatches};

use crate::api::client::Client;
use crate::causes::with_causes;
use crate::model::request::Request;
use command_line::Globals;
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
    let Globals { json, instance } = read(typed)?;
    let output = Output::new(json);
    match typed.subcommand() {
        Some(("run", args)) => run::run(read(args)?, instance),
        Some(("monitor", args)) => monitor::run(&read(args)?, &instance, output),
        Some(("batch", args)) => batch::run(&read(args)?, &instance),
        Some(("teardown", _)) => teardown::run(&instance),
        Some(("completions", args)) => completions::run(&read(args)?, &mut command_line::whole()),
        _ => ask(
            &instance,
            output,
            grammar::request(typed, command_line::whole)?,
        ),
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

#[cfg(test)]
mod tests;
