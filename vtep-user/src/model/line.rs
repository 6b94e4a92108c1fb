//! The words of a command, as a line of a batch has them.
//!
//! A line is read by the same descriptions from which the command line is made, and many times faster than by a parser that
//! can also explain mistakes. What is not well-formed is left to that one to put into a sentence.

use super::given::{Given, Words};
use super::operation::Syntax;
use super::request::{Described, Request, operations};
use super::{Argument, Rule, Takes};

/// Reads a command. `None` if it is not one with all its arguments in order.
pub fn read<'a>(words: impl Iterator<Item = &'a str>) -> Option<Request> {
    let mut words = words;
    let (operation, command) = find(&mut words)?;
    let arguments = arguments(command, words)?;
    operation.read(&mut Given::Words(arguments)).ok()
}

/// The operation that the first words name.
fn find<'a>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<(&'static dyn Described, &'static Syntax)> {
    let first = words.next()?;
    let mut second = None;
    operations().find_map(|operation| {
        let command = operation.command()?;
        let found = match command.words {
            [only] => *only == first,
            [table, verb] => {
                *table == first
                    && second.or_else(|| {
                        second = words.next();
                        second
                    }) == Some(*verb)
            }
            _ => false,
        };
        found.then_some((operation, command))
    })
}

/// The arguments of a command, `None` if they are not in order.
fn arguments<'a>(command: &Syntax, mut words: impl Iterator<Item = &'a str>) -> Option<Words<'a>> {
    let mut given = Words::default();
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            place(command, word, &mut given)?;
            continue;
        }
        let named = |name| (0..command.takes.len()).find(|&at| command.takes.get(at).name == name);
        let (at, value) = if let Some(at) = named(word) {
            (at, None)
        } else {
            let (name, value) = word.split_once('=')?;
            (named(name)?, Some(value))
        };
        let value = match (command.takes.get(at).takes, value) {
            (Takes::Nothing, None) => "",
            (Takes::Nothing, Some(_)) => return None,
            (Takes::Value | Takes::Values, Some(value)) => value,
            (Takes::Value | Takes::Values, None) => {
                words.next().filter(|value| !value.starts_with('-'))?
            }
        };
        add(command, at, value, &mut given)?;
    }
    complete(command, &given).then_some(given)
}

/// Takes a word that no name stands before: the key, or the first of the others that is known by its place.
fn place<'a>(command: &Syntax, word: &'a str, given: &mut Words<'a>) -> Option<()> {
    if command.key.is_some() && given.key.is_none() {
        given.key = Some(word);
        return Some(());
    }
    let free = |&at: &usize| {
        command.takes.get(at).is_positional()
            && given.arguments.iter().all(|(other, _)| *other != at)
    };
    let at = (0..command.takes.len()).find(free)?;
    add(command, at, word, given)
}

/// Takes an argument; `None` if it is there already and cannot be given again.
fn add<'a>(command: &Syntax, at: usize, value: &'a str, given: &mut Words<'a>) -> Option<()> {
    let again = given.arguments.iter().any(|(other, _)| *other == at);
    if again && command.takes.get(at).takes != Takes::Values {
        return None;
    }
    given.arguments.push((at, value));
    Some(())
}

/// Whether nothing is missing, and nothing is too much.
fn complete(command: &Syntax, given: &Words<'_>) -> bool {
    let key = command.key.as_ref().is_none_or(|key| !key.required) || given.key.is_some();
    let has = |at: usize| given.arguments.iter().any(|(other, _)| *other == at);
    let required = (0..command.takes.len()).all(|at| !command.takes.get(at).required || has(at));
    key && required
        && command
            .takes
            .rules()
            .iter()
            .all(|rule| rule.holds(command, given))
}

impl Rule {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, command: &Syntax, given: &Words<'_>) -> bool {
        let name = |at: usize| -> &Argument { command.takes.get(at) };
        let count = |names: &[&str]| {
            let given = given.arguments.iter();
            given
                .filter(|(at, _)| names.contains(&name(*at).name))
                .count()
        };
        match self {
            Self::One(names) => count(names) == 1,
            Self::Any(names) => count(names) > 0,
            Self::OneAtMost(names) => count(names) < 2,
            Self::NotBoth(one, other) => count(&[one, other]) < 2,
            Self::Something { besides, .. } => given.arguments.len() > count(besides),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_words() {
        for operation in operations() {
            let Some(command) = operation.command() else {
                continue;
            };
            let mut words = command.words.iter().copied();

            let (found, _) = find(&mut words).unwrap();

            assert_eq!(found.id(), operation.id());
            assert_eq!(words.next(), None);
        }
    }

    #[test]
    fn a_line_with_a_mistake_is_left_to_others() {
        let entry = "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2";
        assert!(read(entry.split(' ')).is_some());
        for line in [
            "",
            "fdb",
            "fdb ad 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "fdb add 02:00:00:00:00:0b --dst 192.0.2.2",
            "fdb add 02:00:00:00:00:0b --vni 100",
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2 --dev tap0",
            "fdb add 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2 --dst 192.0.2.2",
            "fdb add 02:00:00:00:00:0b --vni 100 --dst",
            "fdb add 02:00:00:00:00:0b 02:00:00:00:00:0b --vni 100 --dst 192.0.2.2",
            "fdb add 02:00:00:00:00:0b --vni x --dst 192.0.2.2",
            "fdb flush --vni 100 --learned=true",
            "port set tap0 --vlan 10",
            "vni set 100",
            "vni del",
            "nexthop add 10.0.0.1 --vni 1",
        ] {
            assert_eq!(read(line.split_whitespace()), None, "{line}");
        }
    }
}
