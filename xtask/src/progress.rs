//! Named steps on the terminal.

use std::{
    io::{self, IsTerminal as _},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use crate::shell::Result;

/// One step under way: a spinner on a terminal, plain lines elsewhere.
pub(crate) struct SetupStep {
    name: String,
    started: Instant,
    spinner: Option<ProgressBar>,
}

impl SetupStep {
    /// Runs `work` as the step `name`; `work` returns what came of it besides a word on it.
    pub(crate) fn run<T>(
        name: impl Into<String>,
        work: impl FnOnce(&Self) -> Result<(T, String)>,
    ) -> Result<T> {
        let step = Self::start(name.into());
        let done = work(&step);
        match &done {
            Ok((_, said)) => step.end("ok", said),
            Err(_) => step.end("FAILED", ""),
        }
        done.map(|(made, _)| made)
    }

    fn start(name: String) -> Self {
        let spinner = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}  {wide_msg:.dim}") {
                bar.set_style(style);
            }
            bar.set_prefix(name.clone());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        if spinner.is_none() {
            eprintln!("     {name} ...");
        }
        Self {
            name,
            started: Instant::now(),
            spinner,
        }
    }

    /// Shows what the step does right now; a new action is also a line of its own off the terminal.
    pub(crate) fn doing(&self, what: &str) {
        match &self.spinner {
            Some(spinner) => spinner.set_message(what.to_owned()),
            None => eprintln!("     {what}"),
        }
    }

    /// Shows a line of some program's output, on a terminal only.
    pub(crate) fn line(&self, line: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(line.trim().to_owned());
        }
    }

    /// Says how a part of the step ended, on a line that stays.
    pub(crate) fn part(&self, sign: &str, word: &str) {
        let line = format!("{sign:>4} {word}");
        match &self.spinner {
            Some(spinner) => spinner.println(line),
            None => eprintln!("{line}"),
        }
    }

    fn end(self, sign: &str, word: &str) {
        let Self {
            name,
            started,
            spinner,
        } = self;
        if let Some(spinner) = spinner {
            spinner.finish_and_clear();
        }
        let seconds = started.elapsed().as_secs();
        let took = if seconds > 1 {
            format!(" ({seconds} s)")
        } else {
            String::new()
        };
        let colon = if word.is_empty() { "" } else { ": " };
        eprintln!("{sign:>4} {name}{colon}{word}{took}");
    }
}
