//! clap's commands, made from the descriptions of the operations, and what was typed handed to them.

use std::path::{Path, PathBuf};

use clap::builder::{PossibleValue, PossibleValuesParser, ValueParser};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command};

use super::failure::Failure;
use super::{abbreviation, candidates};
use crate::model::command::{CommandGroup, GROUPS};
use crate::model::given::{Given, Words};
use crate::model::operation::Syntax;
use crate::model::request::{Described, Request, operations};
use crate::model::{Argument, ArgumentList, Arguments, Rule, RunOption, Takes};

/// What a line of a batch may hold: no line can name another instance.
pub(super) fn line() -> Command {
    let line = Command::new("vtep")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_help_subcommand(true)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(groups());
    abbreviation::with_short_forms(line)
}

/// The commands of two words.
pub(super) fn groups() -> impl Iterator<Item = Command> {
    GROUPS.iter().map(|group| {
        let CommandGroup { word, help, first } = group;
        let mut verbs: Vec<_> = described()
            .filter_map(|(_, syntax)| match syntax.words {
                [table, verb] if table == word => Some((verb, syntax)),
                _ => None,
            })
            .collect();
        let place = |verb: &str| first.iter().position(|other| *other == verb);
        verbs.sort_by_key(|(verb, _)| place(verb).unwrap_or(first.len()));
        Command::new(*word)
            .about(*help)
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommands(verbs.into_iter().map(|(_, syntax)| command(syntax)))
    })
}

/// The commands of one word.
pub(super) fn single_words() -> impl Iterator<Item = Command> {
    described().filter_map(|(_, syntax)| match syntax.words {
        [_] => Some(command(syntax)),
        _ => None,
    })
}

/// The operations that have a command.
fn described() -> impl Iterator<Item = (&'static dyn Described, &'static Syntax)> {
    operations().filter_map(|operation| Some((operation, operation.command()?)))
}

/// A command by its last word.
pub(super) fn command(syntax: &'static Syntax) -> Command {
    Command::new(*syntax.words.last().expect("a command has words"))
        .about(syntax.help)
        .args(syntax.arguments().map(|described| {
            argument(described).conflicts_with_all(excluded_by(syntax, described.name).map(id))
        }))
        .groups(syntax.takes.rules().iter().filter_map(group))
}

/// The options of a list, for every command.
pub(super) fn everywhere<T>(list: &ArgumentList<T>) -> impl Iterator<Item = Arg> {
    let settings = list.settings.iter();
    settings.map(|setting| {
        argument(&setting.argument)
            .global(true)
            .help_heading("Everywhere")
    })
}

/// What clap knows an argument by, from its name.
fn id(name: &str) -> String {
    name.trim_start_matches('-').to_lowercase()
}

fn ids(names: &'static [&'static str]) -> impl Iterator<Item = String> {
    names.iter().copied().map(id)
}

/// What cannot be given beside the argument of this name.
fn excluded_by(command: &Syntax, name: &str) -> impl Iterator<Item = &'static str> {
    let rules = command.takes.rules().iter();
    rules.filter_map(move |rule| match rule {
        Rule::NotBoth(one, other) if *one == name => Some(*other),
        _ => None,
    })
}

fn argument(described: &'static Argument) -> Arg {
    let Argument {
        name,
        value_name,
        help,
        takes,
        required,
        words,
        negative,
        default,
        letter,
        variable,
        file,
        check,
    } = *described;
    let mut arg = Arg::new(id(name)).help(help).required(required);
    if let Some(letter) = letter {
        arg = arg.short(letter);
    }
    if !variable.is_empty() {
        arg = arg.env(variable);
    }
    if !default.is_empty() {
        arg = arg.default_value(default);
    }
    let default_name;
    if let Some(long) = name.strip_prefix("--") {
        arg = arg.long(long);
        default_name = long.to_uppercase().replace('-', "_");
    } else {
        default_name = name.to_owned();
    }
    if takes == Takes::Nothing {
        // Said twice, it is as true: a unit may have what its user adds to it.
        return arg.action(ArgAction::SetTrue).overrides_with(id(name));
    }
    let value_name = Some(value_name).filter(|name| !name.is_empty());
    let is_named = value_name.is_some();
    let parser = if file {
        ValueParser::path_buf()
    } else if words.is_empty() {
        ValueParser::from(move |text: &str| check(text).map(|()| text.to_owned()))
    } else {
        PossibleValuesParser::new(words.iter().map(possible)).into()
    };
    let value_name = value_name.map_or(default_name, str::to_owned);
    if let Some(completer) = candidates::of_value(&value_name) {
        arg = arg.add(completer);
    }
    arg.action(match takes {
        Takes::Values => ArgAction::Append,
        Takes::Value | Takes::Nothing => ArgAction::Set,
    })
    .hide_possible_values(is_named)
    .value_name(value_name)
    .allow_negative_numbers(negative)
    .value_parser(parser)
}

fn possible((word, meaning): &(&'static str, &'static str)) -> PossibleValue {
    let meaning = meaning.trim();
    let value = PossibleValue::new(*word);
    match meaning.strip_suffix('.').unwrap_or(meaning) {
        "" => value,
        meaning => value.help(meaning),
    }
}

fn group(rule: &Rule) -> Option<ArgGroup> {
    match *rule {
        Rule::One(names) => Some(ArgGroup::new("one").args(ids(names)).required(true)),
        Rule::Any(names) => Some(
            ArgGroup::new("any")
                .args(ids(names))
                .required(true)
                .multiple(true),
        ),
        Rule::OneAtMost(names) => Some(ArgGroup::new("one at most").args(ids(names))),
        Rule::NotBoth(..) | Rule::Something { .. } => None,
    }
}

/// What is asked for by a command of the descriptions, which `whole` has: wrong usage that clap cannot find on its own is
/// shown with the usage of the verb.
pub(super) fn request(matches: &ArgMatches, whole: fn() -> Command) -> Result<Request, Failure> {
    let mut path = Vec::new();
    let mut verb = matches;
    while let Some((word, matches)) = verb.subcommand() {
        path.push(word);
        verb = matches;
    }
    let (operation, command) = described()
        .find(|(_, command)| command.words == path)
        .expect("clap knows no others");
    let words = words(command, verb)?;
    for rule in command.takes.rules() {
        if let Rule::Something { sentence, .. } = rule
            && !rule.holds(command, &words)
        {
            return Err(wrong_usage(whole(), command.words, sentence));
        }
    }
    operation
        .read(&mut Given::Words(words))
        .map_err(|refusal| Failure::Failed(refusal.into()))
}

/// The record that the arguments of `list` fill, with what was typed of them.
pub(super) fn record<T: Default>(list: &ArgumentList<T>, typed: &ArgMatches) -> Result<T, Failure> {
    let words = Words {
        key: None,
        arguments: arguments(list, typed)?,
    };
    let record = words.fill(list, T::default());
    record.map_err(|refusal| Failure::Failed(refusal.into()))
}

/// The options of a list that were typed, as they were.
pub(super) fn given<T>(
    list: &ArgumentList<T>,
    typed: &ArgMatches,
) -> Result<Vec<RunOption>, Failure> {
    let was_typed = |argument: &Argument| {
        let source = typed.value_source(&id(argument.name));
        source.is_some_and(|source| source != ValueSource::DefaultValue)
    };
    let mut given = Vec::new();
    for setting in list.settings {
        if was_typed(&setting.argument) {
            let values = texts(&setting.argument, typed)?.into_iter();
            given.extend(values.map(|value| RunOption {
                name: setting.argument.name.to_owned(),
                value: value.to_owned(),
            }));
        }
    }
    Ok(given)
}

/// The key of a command.
pub(super) fn key<'a>(syntax: &Syntax, typed: &'a ArgMatches) -> Result<Option<&'a str>, Failure> {
    match &syntax.key {
        Some(key) => Ok(texts(key, typed)?.first().copied()),
        None => Ok(None),
    }
}

/// The file that is the key of a command, whatever bytes its name has.
pub(super) fn file<'a>(syntax: &Syntax, typed: &'a ArgMatches) -> Option<&'a Path> {
    let key = syntax.key.as_ref()?;
    let path: Option<&PathBuf> = typed.get_one(&id(key.name));
    path.map(PathBuf::as_path)
}

/// What was typed, for the descriptions.
fn words<'a>(command: &Syntax, typed: &'a ArgMatches) -> Result<Words<'a>, Failure> {
    Ok(Words {
        key: key(command, typed)?,
        arguments: arguments(command.takes, typed)?,
    })
}

fn arguments<'a>(
    list: &dyn Arguments,
    typed: &'a ArgMatches,
) -> Result<Vec<(usize, &'a str)>, Failure> {
    let mut arguments = Vec::new();
    for at in 0..list.len() {
        let texts = texts(list.get(at), typed)?;
        arguments.extend(texts.into_iter().map(|text| (at, text)));
    }
    Ok(arguments)
}

/// What was typed for an argument.
fn texts<'a>(argument: &Argument, typed: &'a ArgMatches) -> Result<Vec<&'a str>, Failure> {
    let id = id(argument.name);
    if argument.takes == Takes::Nothing {
        return Ok(if typed.get_flag(&id) {
            vec![""]
        } else {
            vec![]
        });
    }
    if argument.file {
        let paths = typed.get_many::<PathBuf>(&id).into_iter().flatten();
        let text = |path: &'a PathBuf| {
            path.to_str().ok_or_else(|| {
                Failure::refused(format!(
                    "the name of the file {} is not UTF-8; give another with: {}",
                    path.display(),
                    argument.name
                ))
            })
        };
        return paths.map(text).collect();
    }
    let values = typed.get_many::<String>(&id);
    Ok(values.into_iter().flatten().map(String::as_str).collect())
}

/// Wrong usage, shown with the usage of the verb that `path` leads to.
pub(super) fn wrong_usage(mut command: Command, path: &[&str], sentence: &str) -> Failure {
    command.build();
    let verb = path.iter().try_fold(&mut command, |command, name| {
        command.find_subcommand_mut(name)
    });
    let verb = verb.expect("a verb of ours");
    Failure::Usage(verb.error(ErrorKind::MissingRequiredArgument, sentence))
}
