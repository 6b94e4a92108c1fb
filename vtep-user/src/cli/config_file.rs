//! Reading a configuration file: the commands of a batch, a line each, with `run` before them, and other files included.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Command;

use super::failure::Failure;
use super::{grammar, lines, wildcard};
use crate::model::command::RUN;
use crate::model::request::Request;
use crate::model::settings::run;
use crate::model::{ConfigFile, ConfigLine, RunLine};

/// Reads a file and what it includes.
///
/// # Errors
///
/// A sentence that names the file and the line.
pub(super) fn read(path: &Path) -> Result<ConfigFile, String> {
    let mut reader = Reader {
        parser: lines::LineParser::new(),
        run: run_grammar(),
        file: ConfigFile::default(),
        open: Vec::new(),
    };
    let text = read_file(path).map_err(|error| cannot_read(path, &error))?;
    reader.take(path, &text)?;
    Ok(reader.file)
}

struct Reader {
    parser: lines::LineParser,
    run: Command,
    file: ConfigFile,
    /// The files that are being read, each included by the one before.
    open: Vec<PathBuf>,
}

impl Reader {
    fn take(&mut self, path: &Path, text: &str) -> Result<(), String> {
        self.open
            .push(fs::canonicalize(path).unwrap_or(path.into()));
        self.file.files.push(path.into());
        let name: Arc<str> = path.display().to_string().into();
        for (number, text) in (1..).zip(text.lines()) {
            let at = || format!("{name}:{number}");
            let taken = self.line(path, &name, number, text);
            taken.map_err(|error| match error {
                LineError::Here(sentence) => format!("{}: {sentence}", at()),
                LineError::Elsewhere(sentence) => sentence,
            })?;
        }
        self.open.pop();
        Ok(())
    }

    fn line(
        &mut self,
        path: &Path,
        name: &Arc<str>,
        number: u64,
        text: &str,
    ) -> Result<(), LineError> {
        let mut words = lines::words(text);
        match words.next() {
            None => Ok(()),
            Some("run") => {
                if self.file.run.is_some() || !self.file.lines.is_empty() {
                    return Err(here(
                        "`run` is the first command of a configuration, and stands there once; move its options there",
                    ));
                }
                let options = self.run_options(words)?;
                let at = format!("{name}:{number}");
                self.file.run = Some(RunLine { at, options });
                Ok(())
            }
            Some("include") => match (words.next(), words.next()) {
                (Some(pattern), None) => self.include(path, pattern),
                _ => Err(here(
                    "include takes the names of files as one pattern: include conf.d/*.conf",
                )),
            },
            Some(_) => {
                let request = self.parser.request(text).map_err(LineError::Here)?;
                match request {
                    Some(Request::Change(command)) if command.configures() => {
                        let line = ConfigLine {
                            file: Arc::clone(name),
                            line: number,
                            command,
                        };
                        self.file.lines.push(line);
                        Ok(())
                    }
                    Some(Request::Change(_)) => Err(here(
                        "this command configures nothing: a configuration says what there is, so delete the line that makes what is to go",
                    )),
                    Some(Request::Show(_)) => Err(here(
                        "this command configures nothing; type it on the command line",
                    )),
                    None => Ok(()),
                }
            }
        }
    }

    fn run_options<'a>(
        &mut self,
        words: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<run::RunOption>, LineError> {
        let typed = self.run.try_get_matches_from_mut(words);
        let typed = typed.map_err(|error| LineError::Here(lines::sentence(&error)))?;
        let options = grammar::given(&run::OPTIONS, &typed);
        let options = options.map_err(|failure| match failure {
            Failure::Failed(error) => LineError::Here(error.to_string()),
            _ => here("it cannot be read"),
        })?;
        if options.iter().any(|option| option.name == run::CONFIG) {
            return Err(here(
                "a configuration cannot name another one; include it with: include FILE",
            ));
        }
        // What can be read and makes no sense is refused here, where the line is known.
        run::options(&options, &[]).map_err(|bad| LineError::Here(bad.to_string()))?;
        Ok(options)
    }

    fn include(&mut self, path: &Path, pattern: &str) -> Result<(), LineError> {
        let beside = path.parent().unwrap_or(Path::new(""));
        for file in wildcard::matching(beside, pattern) {
            let real = fs::canonicalize(&file).unwrap_or(file.clone());
            if self.open.contains(&real) {
                return Err(LineError::Here(format!(
                    "{} is being read already, and would include itself; take one of the includes out",
                    file.display()
                )));
            }
            let text =
                read_file(&file).map_err(|error| LineError::Here(cannot_read(&file, &error)))?;
            self.take(&file, &text).map_err(LineError::Elsewhere)?;
        }
        Ok(())
    }
}

/// What is wrong with a line.
enum LineError {
    /// It is this line.
    Here(String),
    /// It is in a file that it includes, as the sentence says.
    Elsewhere(String),
}

fn here(sentence: &str) -> LineError {
    LineError::Here(sentence.to_owned())
}

fn read_file(path: &Path) -> io::Result<String> {
    fs::read_to_string(path)
}

fn cannot_read(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// The options of the line `run`.
fn run_grammar() -> Command {
    grammar::command(&RUN)
        .no_binary_name(true)
        .disable_help_flag(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::write;

    /// A directory with files.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let place = format!("vtep-config-{}-{name}", std::process::id());
            let place = std::env::temp_dir().join(place);
            drop(fs::remove_dir_all(&place));
            for (name, text) in files {
                let path = place.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(place)
        }

        fn read(&self) -> Result<ConfigFile, String> {
            read(&self.0.join("main.conf"))
        }

        /// The refusal, with the directory left out.
        fn refusal(&self) -> String {
            let sentence = self.read().unwrap_err();
            sentence.replace(&format!("{}/", self.0.display()), "")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    fn commands(file: &ConfigFile) -> Vec<(String, String)> {
        let lines = file.lines.iter().map(|line| {
            let name = Path::new(&*line.file).file_name().unwrap();
            let at = format!("{}:{}", name.display(), line.line);
            (at, write::command(&line.command))
        });
        lines.collect()
    }

    #[test]
    fn a_file_has_run_first_and_then_commands_and_includes_in_their_order() {
        let place = Place::new(
            "order",
            &[
                (
                    "main.conf",
                    "# a host\n\nrun --iface eth0 --metrics 127.0.0.1:9472\n\nvni add 100 --mode l2 # green\n  \
                     peer set ::1 --csum6 off\n\tinclude conf.d/*.conf\ninclude none/*.conf\ninclude missing.conf\n\
                     vtep vni add 300",
                ),
                ("conf.d/20-b.conf", "vni add 202\n"),
                ("conf.d/10-a.conf", "\nvni add 201\n"),
                ("conf.d/.hidden.conf", "nonsense\n"),
                ("conf.d/README", "nonsense\n"),
            ],
        );

        let file = place.read().unwrap();

        let run = file.run.as_ref().unwrap();
        assert!(run.at.ends_with("main.conf:3"), "{}", run.at);
        let options: Vec<_> = run
            .options
            .iter()
            .map(|it| (&*it.name, &*it.value))
            .collect();
        assert_eq!(
            options,
            [("--iface", "eth0"), ("--metrics", "127.0.0.1:9472")]
        );
        let expected = [
            ("main.conf:5", "vni add 100 --mode l2"),
            ("main.conf:6", "peer set ::1 --csum6 off"),
            ("10-a.conf:2", "vni add 201"),
            ("20-b.conf:1", "vni add 202"),
            ("main.conf:10", "vni add 300"),
        ];
        let expected = expected.map(|(at, command)| (at.to_owned(), command.to_owned()));
        assert_eq!(commands(&file), expected);
        assert_eq!(file.files.len(), 3);
    }

    #[test]
    fn a_mistake_is_named_with_its_file_and_line() {
        for (text, expected) in [
            ("vni add 1\nvni add x", "main.conf:2: "),
            (
                "\nfrobnicate",
                "main.conf:2: unrecognized subcommand 'frobnicate'",
            ),
            (
                "vni add 1\nrun --iface eth0",
                "main.conf:2: `run` is the first",
            ),
            (
                "run --iface eth0\nrun --iface eth0",
                "main.conf:2: `run` is the first",
            ),
            (
                "run --iface eth0 --nonsense",
                "main.conf:1: unexpected argument '--nonsense'",
            ),
            (
                "run --iface eth0 --fdb-max 0",
                "main.conf:1: an FDB of 0 entries",
            ),
            (
                "run --iface eth0 --config x",
                "main.conf:1: a configuration cannot name another",
            ),
            ("vni del 1", "main.conf:1: this command configures nothing"),
            (
                "fdb flush --vni 1",
                "main.conf:1: this command configures nothing",
            ),
            ("vni show", "main.conf:1: this command configures nothing"),
            ("include", "main.conf:1: include takes"),
            ("include a b", "main.conf:1: include takes"),
            (
                "vni add 1 --instance blue",
                "main.conf:1: unexpected argument '--instance'",
            ),
        ] {
            let refusal = Place::new("mistake", &[("main.conf", text)]).refusal();
            assert!(refusal.starts_with(expected), "{text}: {refusal}");
            assert!(!refusal.contains('\n'), "{refusal}");
        }
    }

    #[test]
    fn a_mistake_in_an_included_file_is_named_there() {
        let place = Place::new(
            "included",
            &[
                ("main.conf", "include a.conf"),
                ("a.conf", "\nrun --iface x\nvni"),
            ],
        );
        assert!(
            place.refusal().starts_with("a.conf:3: "),
            "{}",
            place.refusal()
        );
    }

    #[test]
    fn files_that_include_each_other_in_a_ring_are_refused() {
        let place = Place::new(
            "ring",
            &[
                ("main.conf", "include a.conf"),
                ("a.conf", "vni add 1\ninclude *.conf"),
            ],
        );
        let refusal = place.refusal();
        assert!(refusal.starts_with("a.conf:2: "), "{refusal}");
        assert!(refusal.contains("would include itself"), "{refusal}");
    }

    #[test]
    fn a_file_that_is_not_there_is_said_to_be_missing() {
        let refusal = Place::new("missing", &[]).refusal();
        assert!(refusal.starts_with("cannot read main.conf"), "{refusal}");
    }
}
