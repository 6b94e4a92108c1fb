//! Running other programs.

use std::{
    env, fs, io,
    io::{BufRead as _, BufReader, Read},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

/// Why a verb stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandFailure {
    /// A program could not be started, or waited for.
    #[error("cannot run `{command}`: {source}")]
    Start { command: String, source: io::Error },
    /// A program ran and failed.
    #[error("`{command}` failed ({status})\n{output}")]
    Status {
        command: String,
        status: String,
        output: String,
    },
    /// Something on this machine could not be read or written.
    #[error("{what}: {source}")]
    Io { what: String, source: io::Error },
    /// Anything else, as a sentence.
    #[error("{0}")]
    Said(String),
}

/// What most functions here return.
pub(crate) type Result<T> = std::result::Result<T, CommandFailure>;

/// Returns a [`CommandFailure::Said`].
pub(crate) fn said<T>(sentence: impl Into<String>) -> Result<T> {
    Err(CommandFailure::Said(sentence.into()))
}

/// Returns a closure that says `what` was done when an I/O error came.
pub(crate) fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> CommandFailure {
    move |source| CommandFailure::Io {
        what: what.into(),
        source,
    }
}

/// Returns a closure that says that `command` could not be started or waited for.
pub(crate) fn starting(command: &Command) -> impl Fn(io::Error) -> CommandFailure + use<> {
    let command = text(command);
    move |source| CommandFailure::Start {
        command: command.clone(),
        source,
    }
}

/// Makes a command of a program and its arguments, separated by blanks.
pub(crate) fn command(line: &str) -> Command {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words);
    command
}

/// Writes `command` as one would type it.
pub(crate) fn text(command: &Command) -> String {
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Writes a command of [`cargo_command`] as one would type it.
pub(crate) fn cargo_text(command: &Command) -> String {
    let words = text(command);
    format!(
        "cargo{}",
        words.trim_start_matches(&*cargo().to_string_lossy())
    )
}

/// Runs `command` without showing its output, and returns what it printed to stdout.
pub(crate) fn quiet(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(starting(command))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = [output.stdout, output.stderr].concat();
    failed(
        command,
        &output.status.to_string(),
        &String::from_utf8_lossy(&said),
    )
}

/// Runs `command`, and hands each line of its output to `seen` as it comes.
pub(crate) fn watched(command: &mut Command, mut seen: impl FnMut(&str)) -> Result<()> {
    let start = starting(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(&start)?;
    let (to, lines) = mpsc::channel();
    let pipes: [Option<Box<dyn Read + Send>>; 2] = [
        child.stdout.take().map(|pipe| Box::new(pipe) as _),
        child.stderr.take().map(|pipe| Box::new(pipe) as _),
    ];
    for pipe in pipes.into_iter().flatten() {
        let to = to.clone();
        thread::spawn(move || {
            BufReader::new(pipe)
                .lines()
                .map_while(io::Result::ok)
                .try_for_each(|line| to.send(line))
        });
    }
    drop(to);
    let mut kept = String::new();
    for line in lines {
        seen(&line);
        kept.push_str(&line);
        kept.push('\n');
    }
    let status = child.wait().map_err(start)?;
    if status.success() {
        Ok(())
    } else {
        failed(command, &status.to_string(), &kept)
    }
}

/// Runs `command` on this terminal.
pub(crate) fn shown(command: &mut Command) -> Result<()> {
    let status = command.status().map_err(starting(command))?;
    if status.success() {
        Ok(())
    } else {
        failed(command, &status.to_string(), "")
    }
}

fn failed<T>(command: &Command, status: &str, output: &str) -> Result<T> {
    Err(CommandFailure::Status {
        command: text(command),
        status: status.to_owned(),
        output: last_lines(output, 30).to_owned(),
    })
}

/// Returns the last `count` lines of `text`.
fn last_lines(text: &str, count: usize) -> &str {
    let text = text.trim_end();
    let from = text
        .rmatch_indices('\n')
        .nth(count.saturating_sub(1))
        .map_or(0, |(at, _)| at + 1);
    &text[from..]
}

/// Tells whether this process runs as root.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// Fails unless this process runs as root, with the command that does.
pub(crate) fn need_root(verb: &str) -> Result<()> {
    if is_root() {
        return Ok(());
    }
    said(format!(
        "this needs root; type: sudo -E env PATH=\"$PATH\" cargo xtask {verb}"
    ))
}

/// Returns the cargo that runs this.
pub(crate) fn cargo() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// Returns a cargo command that works on this repository.
pub(crate) fn cargo_command(line: &str) -> Command {
    let mut command = Command::new(cargo());
    command
        .args(line.split_whitespace())
        .current_dir(repository());
    command
}

/// Returns the root of this repository.
pub(crate) fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// Returns the directory that cargo builds into: this program lies in it.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let me = env::current_exe().map_err(doing("find this program"))?;
    match me.ancestors().nth(2) {
        Some(dir) => Ok(dir.to_owned()),
        None => said(format!("{} lies in no target directory", me.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_says_what_it_printed() {
        let failure = quiet(Command::new("sh").args(["-c", "echo spoken; exit 3"])).unwrap_err();

        let said = failure.to_string();
        assert!(
            said.contains("spoken") && said.contains("exit status: 3"),
            "{said}"
        );
    }

    #[test]
    fn lines_of_both_streams_are_seen() {
        let mut seen = Vec::new();

        watched(
            Command::new("sh").args(["-c", "echo out; echo err >&2"]),
            |line| {
                seen.push(line.to_owned());
            },
        )
        .unwrap();

        seen.sort();
        assert_eq!(seen, ["err", "out"]);
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a\nb\n", 5), "a\nb");
    }
}
