//! How far a file has been read, for people who wait before a terminal.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::terminal;

/// How often it is drawn at most, in times a second.
const DRAWN: u8 = 10;

/// How often a file of unknown length shows a sign of life.
const BEAT: Duration = Duration::from_millis(100);

/// How far a file has been read. Nothing is shown where nobody sits before standard error.
#[derive(Clone, Debug)]
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// Of a file of so many bytes; without a length, how much was read.
    pub(super) fn new(bytes: Option<u64>) -> Self {
        let seen = std::io::stderr().is_terminal() && terminal::moves_its_cursor();
        let target = if seen {
            ProgressDrawTarget::stderr_with_hz(DRAWN)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(bytes, target);
        let template = match bytes {
            Some(_) => "{bar:30} {percent:>3} %  {bytes} of {total_bytes}, {eta} left",
            None => "{spinner} {bytes} in {elapsed}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("a template of ours"));
        if bytes.is_none() && seen {
            bar.enable_steady_tick(BEAT);
        }
        Self(bar)
    }

    /// So many bytes more.
    pub(super) fn read(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    /// Leaves the line to what comes.
    pub(super) fn end(&self) {
        self.0.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_also_where_nobody_sees_it() {
        for bytes in [Some(10), None] {
            let progress = Progress::new(bytes);
            progress.read(3);
            progress.read(4);
            assert_eq!(progress.0.position(), 7);
            progress.end();
        }
    }
}
