//! How an argument is described: what it is called, what it takes, what its help says, and which field it sets.
//!
//! A [`ArgumentList`] lists the arguments that fill a record, for example all settings of a VNI. The command line, its help, the
//! lines of a batch and the API's bodies all follow from these tables.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{BadValue, Value};

/// An argument of a command.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// `--vni`, or for one that is known by its place, what stands for it in the usage: `VNI`.
    pub name: &'static str,
    /// What stands for its value in the usage; empty for the name in capitals.
    pub value_name: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// What follows it.
    pub takes: Takes,
    /// Whether the command makes no sense without it.
    pub required: bool,
    /// The words that it takes and what they mean; empty if it takes others.
    pub words: &'static [(&'static str, &'static str)],
    /// Whether a value may begin with a `-`, as negative numbers do.
    pub negative: bool,
    /// What it is without being given; empty if that is no value.
    pub default: &'static str,
    /// Its letter: `j` for `-j`.
    pub letter: Option<char>,
    /// The environment variable that is read where it is not given; empty for none.
    pub variable: &'static str,
    /// Whether its value names a file.
    pub file: bool,
    /// Refuses a text that is no value for it.
    pub check: fn(&str) -> Result<(), BadValue>,
}

/// What follows an argument's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing: it is there or not.
    Nothing,
    /// A value.
    Value,
    /// A value, and it may be given several times.
    Values,
}

impl Argument {
    /// The key of a command: what is added, changed or deleted. It is required, and known by its place.
    #[must_use]
    pub const fn key<V: Value>(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            value_name: "",
            help,
            takes: Takes::Value,
            required: true,
            words: V::WORDS,
            negative: false,
            default: "",
            letter: None,
            variable: "",
            file: V::FILE,
            check: check::<V>,
        }
    }

    /// The same, to be left out for all there are.
    #[must_use]
    pub const fn optional(self) -> Self {
        Self {
            required: false,
            ..self
        }
    }

    /// The same, to be left out for `text`.
    #[must_use]
    pub const fn default(self, text: &'static str) -> Self {
        Self {
            default: text,
            ..self.optional()
        }
    }

    /// Whether it is known by its place, and not by its name.
    #[must_use]
    pub fn is_positional(&self) -> bool {
        !self.name.starts_with("--")
    }
}

fn check<V: Value>(text: &str) -> Result<(), BadValue> {
    V::read(text).map(drop)
}

/// An argument that sets a field of the record `T`.
pub struct Setting<T> {
    /// How it is typed.
    pub argument: Argument,
    /// Sets the field to what was typed.
    pub set: fn(&mut T, &str) -> Result<(), BadValue>,
    /// What to type for what the field has; nothing if it has nothing.
    pub get: fn(&T) -> Vec<String>,
}

impl<T> Setting<T> {
    /// Made by [`setting!`](super::setting), which has all from the name of the field; `_field` is there for its type.
    pub(super) const fn new<F: Field>(
        name: &'static str,
        help: &'static str,
        _field: fn(&T) -> &F,
        set: fn(&mut T, &str) -> Result<(), BadValue>,
        get: fn(&T) -> Vec<String>,
    ) -> Self {
        Self {
            argument: Argument {
                name,
                value_name: F::Value::NAME,
                help,
                takes: F::TAKES,
                required: F::REQUIRED,
                words: F::Value::WORDS,
                negative: false,
                default: "",
                letter: None,
                variable: "",
                file: F::Value::FILE,
                check: check::<F::Value>,
            },
            set,
            get,
        }
    }

    /// With another name for its value than its own in capitals.
    pub(super) const fn value_name(mut self, value_name: &'static str) -> Self {
        self.argument.value_name = value_name;
        self
    }

    /// Required on the command line, though the record can be without.
    pub(super) const fn required(mut self) -> Self {
        self.argument.required = true;
        self
    }

    /// With a value that a new record has already, as it is typed.
    pub(super) const fn default(mut self, text: &'static str) -> Self {
        self.argument.default = text;
        self
    }

    /// With a letter for its name.
    pub(super) const fn letter(mut self, letter: char) -> Self {
        self.argument.letter = Some(letter);
        self
    }

    /// With an environment variable that it may come from.
    pub(super) const fn variable(mut self, variable: &'static str) -> Self {
        self.argument.variable = variable;
        self
    }

    /// With values that may begin with a `-`.
    pub(super) const fn negative(mut self) -> Self {
        self.argument.negative = true;
        self
    }

    /// Read in another way than the field's type is. `check` refuses what cannot be read at all; `set` also what can be
    /// read and makes no sense.
    pub(super) const fn read_by(
        mut self,
        check: fn(&str) -> Result<(), BadValue>,
        set: fn(&mut T, &str) -> Result<(), BadValue>,
        get: fn(&T) -> Vec<String>,
    ) -> Self {
        self.argument.check = check;
        self.set = set;
        self.get = get;
        self
    }
}

/// Describes the argument for a field: `setting!(VniSpec, mode, "--mode", "What the help says")`.
macro_rules! setting {
    ($record:ty, $($field:ident).+, $name:literal, $help:literal) => {
        $crate::model::Setting::<$record>::new(
            $name,
            $help,
            |record| &record.$($field).+,
            |record, text| $crate::model::Field::set(&mut record.$($field).+, text),
            |record| $crate::model::Field::get(&record.$($field).+),
        )
    };
}
pub(super) use setting;

/// The type of a field that an argument sets; it decides how often the argument is given.
pub trait Field {
    /// What one value is.
    type Value: Value;
    /// What follows the argument.
    const TAKES: Takes = Takes::Value;
    /// Whether the record makes no sense without.
    const REQUIRED: bool = false;

    /// Takes on what was typed.
    ///
    /// # Errors
    ///
    /// If it is no such value.
    fn set(&mut self, text: &str) -> Result<(), BadValue>;

    /// What to type for it.
    fn get(&self) -> Vec<String>;
}

impl<V: Value> Field for Option<V> {
    type Value = V;

    fn set(&mut self, text: &str) -> Result<(), BadValue> {
        *self = Some(V::read(text)?);
        Ok(())
    }

    fn get(&self) -> Vec<String> {
        self.iter().map(Value::write).collect()
    }
}

impl<V: Value> Field for Vec<V> {
    type Value = V;
    const TAKES: Takes = Takes::Values;

    fn set(&mut self, text: &str) -> Result<(), BadValue> {
        self.push(V::read(text)?);
        Ok(())
    }

    fn get(&self) -> Vec<String> {
        self.iter().map(Value::write).collect()
    }
}

impl<V: Value> Field for Option<Vec<V>> {
    type Value = V;
    const TAKES: Takes = Takes::Values;

    fn set(&mut self, text: &str) -> Result<(), BadValue> {
        self.get_or_insert_default().push(V::read(text)?);
        Ok(())
    }

    fn get(&self) -> Vec<String> {
        self.iter().flatten().map(Value::write).collect()
    }
}

/// A flag: on if its name is given.
impl Field for bool {
    type Value = Self;
    const TAKES: Takes = Takes::Nothing;

    fn set(&mut self, _: &str) -> Result<(), BadValue> {
        *self = true;
        Ok(())
    }

    fn get(&self) -> Vec<String> {
        if *self { vec![String::new()] } else { vec![] }
    }
}

/// A field that always has a value: one that has to be given, or that a new record has.
macro_rules! plain_fields {
    ($required:literal: $($value:ty),*) => {$(
        impl Field for $value {
            type Value = Self;
            const REQUIRED: bool = $required;

            fn set(&mut self, text: &str) -> Result<(), BadValue> {
                *self = Value::read(text)?;
                Ok(())
            }

            fn get(&self) -> Vec<String> {
                vec![Value::write(self)]
            }
        }
    )*};
}
plain_fields!(
    true: super::Vni,
    super::MacAddr,
    super::Prefix,
    std::net::IpAddr,
    String
);
plain_fields!(
    false: u32,
    std::num::NonZeroU16,
    std::path::PathBuf,
    super::InstanceName,
    super::UplinkHook,
    super::XdpMode
);

/// A record that arguments fill, and that travels in the body or the query of a request.
pub trait Parameters: Serialize + DeserializeOwned + 'static {
    /// One to which nothing was given yet.
    fn blank() -> Self;
}

/// The arguments that fill a record `T`, in the order of the help, and what holds between them.
pub struct ArgumentList<T: 'static> {
    /// The arguments.
    pub settings: &'static [Setting<T>],
    /// What holds between them.
    pub rules: &'static [Rule],
}

/// What holds between arguments.
#[derive(Clone, Copy, Debug)]
pub enum Rule {
    /// Exactly one of these is given.
    One(&'static [&'static str]),
    /// One of these is given, or several.
    Any(&'static [&'static str]),
    /// No two of these are given.
    OneAtMost(&'static [&'static str]),
    /// These two are not both given.
    NotBoth(&'static str, &'static str),
    /// Something is given besides the key and `besides`; `sentence` says so.
    Something {
        /// What is not enough by itself.
        besides: &'static [&'static str],
        /// The refusal.
        sentence: &'static str,
    },
}

/// The arguments of a [`ArgumentList`], whatever record they fill.
pub trait Arguments: Sync {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One of them.
    fn get(&self, at: usize) -> &'static Argument;

    /// What holds between them.
    fn rules(&self) -> &'static [Rule];
}

impl<T> Arguments for ArgumentList<T> {
    fn len(&self) -> usize {
        self.settings.len()
    }

    fn get(&self, at: usize) -> &'static Argument {
        &self.settings[at].argument
    }

    fn rules(&self) -> &'static [Rule] {
        self.rules
    }
}

/// No arguments.
pub struct Nothing;

impl Arguments for Nothing {
    fn len(&self) -> usize {
        0
    }

    fn get(&self, _: usize) -> &'static Argument {
        unreachable!("there are none")
    }

    fn rules(&self) -> &'static [Rule] {
        &[]
    }
}
