//! The command line: one file for each verb.
//!
//! A verb is parsed into checked values first; only then is anything done. What changes something becomes an
//! [`Op`], what shows something a [`Show`], and both go to the daemon by its API.

mod args;
mod batch;
mod completions;
mod drops;
mod fdb;
mod log;
mod monitor;
mod neigh;
mod nexthop;
mod output;
mod peer;
mod port;
mod rows;
pub mod run;
mod stats;
mod teardown;
mod vni;

use std::error::Error;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, error::ErrorKind};

use crate::api::client::{Client, ClientError, Show};
use crate::causes::with_causes;
use crate::model::BadValue;
use crate::model::Op;
use output::Output;

/// A VXLAN tunnel endpoint whose data path runs in eBPF.
#[derive(Debug, Parser)]
#[command(name = "vtep", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    verb: Verb,
}

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

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the daemon
    #[command(after_help = log::HELP)]
    Run(run::RunArgs),
    /// Segments
    #[command(subcommand)]
    Vni(vni::VniVerb),
    /// Access interfaces: taps, veths, NICs, or VLANs on them
    #[command(subcommand)]
    Port(port::PortVerb),
    /// The forwarding database: which MAC is behind which VTEP or port
    #[command(subcommand)]
    Fdb(fdb::FdbVerb),
    /// Hosts that ARP and ND are answered for
    #[command(subcommand)]
    Neigh(neigh::NeighVerb),
    /// The nexthop table: which host or prefix is behind which VTEP
    #[command(subcommand)]
    Nexthop(nexthop::NexthopVerb),
    /// Remote VTEPs
    #[command(subcommand)]
    Peer(peer::PeerVerb),
    /// Show counters
    Stats(stats::StatsArgs),
    /// Show counters of dropped frames and what they mean
    Drops,
    /// Print what happens as it happens: what is learned, moves, ages, is missed or lost
    Monitor(monitor::MonitorArgs),
    /// Make many changes: one command a line, without the leading `vtep`
    Batch(batch::BatchArgs),
    /// Remove everything from the kernel and end the daemon
    Teardown,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
}

/// What a verb of a table asks for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// To change something.
    Change(Op),
    /// To show something.
    Show(Show),
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

    /// Wrong usage that clap cannot find on its own, told with the usage of the verb that `path` leads to.
    fn usage(path: [&str; 2], sentence: &str) -> Self {
        let mut command = Cli::command();
        command.build();
        let verb = path.iter().try_fold(&mut command, |command, name| {
            command.find_subcommand_mut(name)
        });
        let verb = verb.expect("a verb of ours");
        Self::Usage(verb.error(ErrorKind::MissingRequiredArgument, sentence))
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
    match Cli::try_parse_from(args)
        .map_err(Failure::Usage)
        .and_then(run)
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

fn run(cli: Cli) -> Result<(), Failure> {
    let Globals { json, instance } = cli.globals;
    let output = Output::new(json);
    match cli.verb {
        Verb::Run(args) => run::run(args, instance),
        Verb::Vni(verb) => ask(&instance, output, verb.request()?),
        Verb::Port(verb) => ask(&instance, output, verb.request()?),
        Verb::Fdb(verb) => ask(&instance, output, verb.request()),
        Verb::Neigh(verb) => ask(&instance, output, verb.request()),
        Verb::Nexthop(verb) => ask(&instance, output, verb.request()),
        Verb::Peer(verb) => ask(&instance, output, verb.request()?),
        Verb::Stats(args) => ask(&instance, output, args.request()),
        Verb::Drops => ask(&instance, output, drops::request()),
        Verb::Monitor(args) => monitor::run(&args, &instance, output),
        Verb::Batch(args) => batch::run(&args, &instance),
        Verb::Teardown => teardown::run(&instance),
        Verb::Completions(args) => completions::run(&args),
    }
}

/// Sends one request to the daemon and prints what it answers.
fn ask(instance: &str, output: Output, request: Request) -> Result<(), Failure> {
    block_on(async {
        let mut client = Client::connect(instance).await?;
        match request {
            Request::Change(op) => Ok(client.change(&op).await?),
            Request::Show(show) => output.show(&mut client, &show).await,
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
