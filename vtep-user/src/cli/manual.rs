//! `vtep describe`: the manual, a page for each command, from the description that the command line is made of.

use std::fs;
use std::io;
use std::path::Path;

use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::command_line;
use super::failure::Failure;

/// The section of the manual that has the commands of administrators.
const SECTION: &str = "8";

/// What the exit statuses mean.
const STATUSES: [(&str, &str); 4] = [
    ("0", "Done."),
    (
        "1",
        "Refused or failed; the message says what to type instead.",
    ),
    ("2", "Wrong usage."),
    (
        "3",
        "No daemon runs; of vtep apply --dry-run: there is something to do.",
    ),
];

/// Where things lie.
const FILES: [(&str, &str); 3] = [
    (
        "/etc/vtep/INSTANCE.conf",
        "The configuration: the options of the daemon behind the word run, then one command a line.",
    ),
    (
        "/run/vtep/INSTANCE.sock",
        "The socket of the daemon: HTTP and JSON.",
    ),
    (
        "/sys/fs/bpf/vtep/INSTANCE/",
        "The programs and tables that forward, with a daemon and without.",
    ),
];

/// Writes every page below `directory`, which is made if need be.
pub(super) fn write(directory: &Path) -> Result<(), Failure> {
    let all = || -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for (name, text) in pages()? {
            fs::write(directory.join(name), text)?;
        }
        Ok(())
    };
    let place = directory.display();
    all().map_err(|why| Failure::refused(format!("cannot write the manual to {place}: {why}")))
}

/// The name of each page's file, and its text.
fn pages() -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut whole = command_line::whole().disable_help_subcommand(true);
    whole.build();
    let mut pages = Vec::new();
    add(&whole, None, &mut pages)?;
    Ok(pages)
}

/// Adds the page of a command, and those of the commands below it.
fn add(
    command: &Command,
    above: Option<&str>,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    let page = Man::new(command.clone())
        .section(SECTION)
        .source(concat!("vtep ", env!("CARGO_PKG_VERSION")))
        .manual("VXLAN tunnel endpoint");
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let below = || {
        let all = command.get_subcommands();
        all.filter(|command| !command.is_hide_set())
    };
    if below().next().is_some() {
        page.render_subcommands_section(&mut text)?;
    }
    let mut rest = Roff::new();
    after_help(&mut rest, command);
    if above.is_none() {
        listed(&mut rest, "EXIT STATUS", &STATUSES, bold);
        listed(&mut rest, "FILES", &FILES, italic);
    }
    rest.control("SH", ["SEE ALSO"]);
    rest.text(match above {
        Some(above) => vec![bold(above), roman(format!("({SECTION})"))],
        None => vec![
            bold("bridge"),
            roman("(8), "),
            bold("ip-link"),
            roman("(8)"),
        ],
    });
    rest.to_writer(&mut text)?;
    pages.push((page.get_filename(), text));
    let name = command.get_display_name().unwrap_or(command.get_name());
    below().try_for_each(|command| add(command, Some(name), pages))
}

/// What the help has at its end, under the heading that stands in its first line.
fn after_help(page: &mut Roff, command: &Command) {
    let text = command.get_after_help().map(ToString::to_string);
    let text = text.unwrap_or_default();
    if let Some((heading, lines)) = text.split_once(":\n") {
        page.control("SH", [heading.to_uppercase().as_str()]);
        page.control("nf", []);
        page.text([roman(lines)]);
        page.control("fi", []);
    }
}

/// A section that says what each of some words means.
fn listed(page: &mut Roff, heading: &str, entries: &[(&str, &str)], style: fn(String) -> Inline) {
    page.control("SH", [heading]);
    for (word, meaning) in entries {
        page.control("TP", []);
        page.text([style((*word).to_owned())]);
        page.text([roman(*meaning)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::command::{DESCRIBE, GLOBALS, GROUPS, commands};

    /// The text of the page for a command of some words.
    fn page<'a>(pages: &'a [(String, Vec<u8>)], words: &[&str]) -> &'a str {
        let name = [&["vtep"], words].concat().join("-") + ".8";
        let (_, text) = pages
            .iter()
            .find(|(file, _)| *file == name)
            .unwrap_or_else(|| panic!("no {name}"));
        std::str::from_utf8(text).unwrap()
    }

    #[test]
    fn every_command_has_a_page_with_its_help_and_options() {
        let pages = pages().unwrap();
        let shown = || commands().filter(|command| command.words != DESCRIBE.words);
        for command in shown() {
            let text = page(&pages, command.words);
            let everywhere = GLOBALS.settings.iter().map(|setting| &setting.argument);
            for argument in command.arguments().chain(everywhere) {
                let name = argument.name.replace('-', "\\-");
                assert!(text.contains(&name), "{:?}: {name}", command.words);
            }
            let help = command.help.split(' ').next().unwrap();
            assert!(text.contains(help), "{:?}: {help}", command.words);
        }
        for group in &GROUPS {
            page(&pages, &[group.word]);
        }
        assert_eq!(pages.len(), shown().count() + GROUPS.len() + 1);
    }

    #[test]
    fn the_first_page_leads_to_the_others() {
        let pages = pages().unwrap();
        let text = page(&pages, &[]);
        for wanted in ["vtep\\-fdb(8)", "EXIT STATUS", "/etc/vtep/INSTANCE.conf"] {
            assert!(text.contains(wanted), "{wanted}: {text}");
        }
        assert!(page(&pages, &["fdb"]).contains("vtep\\-fdb\\-add(8)"));
        assert!(page(&pages, &["run"]).contains("ENVIRONMENT"));
    }
}
