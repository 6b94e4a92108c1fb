//! The whole command line as clap has it: the operations, and the verbs that have a file of their own.

use clap::Command;

use super::{abbreviation, grammar, log};
use crate::model::command::{
    APPLY, BATCH, CAPTURE, COMPLETIONS, DESCRIBE, DOCTOR, DUMP, GLOBALS, IMPORT, MONITOR, RUN,
    SAVE, TEARDOWN, TOP, TRACE,
};

/// The whole command line.
pub(super) fn whole() -> Command {
    let whole = Command::new("vtep")
        .args(grammar::everywhere(&GLOBALS))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A VXLAN tunnel endpoint whose data path runs in eBPF")
        .max_term_width(100)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(grammar::command(&RUN).after_help(log::HELP))
        .subcommands(grammar::groups())
        .subcommands(grammar::single_words())
        .subcommands(
            [
                &APPLY,
                &DUMP,
                &SAVE,
                &TRACE,
                &MONITOR,
                &TOP,
                &CAPTURE,
                &DOCTOR,
                &IMPORT,
                &BATCH,
                &TEARDOWN,
                &COMPLETIONS,
            ]
            .map(grammar::command),
        )
        .subcommand(grammar::command(&DESCRIBE).hide(true));
    abbreviation::with_short_forms(whole)
}
