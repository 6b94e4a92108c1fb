//! `vtep completions`, and what a shell then gets where somebody asks how a word may go on: verbs and options from the description of the
//! command line, and the [`candidates`](super::candidates) for values.

use std::io::Write as _;

use clap_complete::{CompleteEnv, env::Shells};

use super::{command_line, failure::Failure};

/// The variable that the scripts set where they ask.
const VARIABLE: &str = "VTEP_COMPLETE";

pub(super) fn run(shell: Option<&str>) -> Result<(), Failure> {
    let shells = Shells::builtins();
    let shell = shell.and_then(|word| shells.completer(word));
    let shell = shell.expect("the model has the shells that scripts can be made for");
    let mut script = Vec::new();
    if shell.name() == "bash" {
        // It would take each part of a MAC or an IPv6 address for a word.
        script.extend(b"COMP_WORDBREAKS=${COMP_WORDBREAKS//:}\n");
    }
    shell.write_registration(VARIABLE, "vtep", "vtep", "vtep", &mut script)?;
    std::io::stdout().write_all(&script)?;
    Ok(())
}

/// Where a shell asks how a word may go on, says so and ends the process.
pub(super) fn answer() {
    CompleteEnv::with_factory(command_line::whole)
        .var(VARIABLE)
        .complete();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Value as _};

    #[test]
    fn the_model_has_every_shell_that_a_script_can_be_made_for() {
        let shells = Shells::builtins();
        let mut known: Vec<_> = shells.names().collect();
        let described = model::Shell::WORDS.iter().map(|(word, _)| *word);
        let mut described: Vec<_> = described.collect();
        known.sort_unstable();
        described.sort_unstable();
        assert_eq!(known, described);
    }
}
