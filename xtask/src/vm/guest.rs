//! A guest that runs: what it says, and its end.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use crate::shell::{Result, said, starting};

/// A process that does not outlive what started it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Runs a guest until it turns itself off, and hands each line that it says to `seen`. Ends it after `limit`.
pub(super) fn run(
    command: &mut Command,
    limit: Duration,
    mut seen: impl FnMut(&str),
) -> Result<()> {
    let end = Instant::now() + limit;
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().map_err(starting(command))?;
    let mut guest = Running(child);
    let (to, lines) = mpsc::channel();
    let (out, err) = (guest.0.stdout.take(), guest.0.stderr.take());
    let complaints = thread::spawn(move || {
        let lines = err
            .into_iter()
            .flat_map(|pipe| BufReader::new(pipe).lines());
        lines
            .map_while(std::io::Result::ok)
            .filter(|line| !line.contains(": warning: "))
            .collect::<Vec<_>>()
    });
    thread::spawn(move || {
        for mut pipe in out.into_iter().map(BufReader::new) {
            let mut line = Vec::new();
            while pipe
                .read_until(b'\n', &mut line)
                .is_ok_and(|count| count > 0)
            {
                let text = String::from_utf8_lossy(&line);
                if to.send(text.trim_end().to_owned()).is_err() {
                    return;
                }
                line.clear();
            }
        }
    });
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => seen(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                return said(format!("ended after {} s", limit.as_secs()));
            }
        }
    }
    drop(guest);
    match complaints.join() {
        Ok(complaints) if !complaints.is_empty() => said(complaints.join("\n")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_says_is_seen_line_by_line() {
        let mut seen = Vec::new();

        let mut guest = Command::new("printf");
        guest.arg("one\\r\\ntwo");
        run(&mut guest, Duration::from_secs(60), |line| {
            seen.push(line.to_owned());
        })
        .unwrap();

        assert_eq!(seen, ["one", "two"]);
    }

    #[test]
    fn a_guest_that_does_not_end_is_ended() {
        let mut pid = String::new();
        let mut guest = Command::new("sh");
        guest.args(["-c", "echo $$; exec sleep 1000"]);

        let failure = run(&mut guest, Duration::from_secs(1), |line| {
            line.clone_into(&mut pid);
        });

        assert!(failure.unwrap_err().to_string().contains("ended after 1 s"));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
}
