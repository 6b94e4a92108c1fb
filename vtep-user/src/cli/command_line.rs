//! The whole command line as clap has it: the operations, and the verbs that have a file of their own.

use clap::{Args, Command};

use super::{args, batch, completions, grammar, log, monitor, run};

/// The options that stand before or behind any verb.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Globals {
    /// Print rows as a JSON array of objects, and events as one object per line
    #[arg(short, long, global = true)]
    pub(super) json: bool,
    /// The instance: which daemon to talk to, or to run
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "VTEP_INSTANCE",
        default_value = "main",
        value_parser = args::instance
    )]
    pub(super) instance: String,
}

/// The whole command line.
pub(super) fn whole() -> Command {
    // What is said of a command comes after its arguments, whose type may say something of itself.
    Globals::augment_args(Command::new("vtep"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A VXLAN tunnel endpoint whose data path runs in eBPF")
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            run::RunArgs::augment_args(Command::new("run"))
                .about("Run the daemon")
                .after_help(log::HELP),
        )
        .subcommands(grammar::groups())
        .subcommands(grammar::single_words())
        .subcommand(
            monitor::MonitorArgs::augment_args(Command::new("monitor")).about(
                "Print events as they happen: MACs that are learned, move, age, are missed or lost",
            ),
        )
        .subcommand(
            batch::BatchArgs::augment_args(Command::new("batch"))
                .about("Make many changes: one command per line, without the leading `vtep`"),
        )
        .subcommand(
            Command::new("teardown").about("Remove everything from the kernel and end the daemon"),
        )
        .subcommand(
            completions::CompletionsArgs::augment_args(Command::new("completions"))
                .about("Print a completion script for a shell"),
        )
}
