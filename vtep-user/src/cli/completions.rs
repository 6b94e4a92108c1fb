//! `vtep completions`

use std::io::Write;

use clap_complete::Shell;

use super::command_line;
use super::failure::Failure;

pub(super) fn run(shell: Option<&str>) -> Result<(), Failure> {
    let shell: Shell = shell
        .and_then(|word| word.parse().ok())
        .expect("the model has the shells that scripts can be made for");
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command_line::whole(), "vtep", &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;
    use crate::model::{self, Value as _};

    #[test]
    fn the_model_has_every_shell_that_a_script_can_be_made_for() {
        let known = Shell::value_variants().iter().map(Shell::to_string);
        let described = model::Shell::WORDS.iter().map(|(word, _)| *word);
        assert_eq!(known.collect::<Vec<_>>(), described.collect::<Vec<_>>());
    }
}
