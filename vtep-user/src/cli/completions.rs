//! `vtep completions`

use std::io::Write;

use clap::Args;
use clap_complete::Shell;

use super::{Failure, grammar};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut grammar::command_line(),
        "vtep",
        &mut script,
    );
    std::io::stdout().write_all(&script)?;
    Ok(())
}
