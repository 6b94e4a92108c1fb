//! The columns that a row has where it is printed as a table.

use std::fmt::Display;

/// A column of a table of rows `R`.
pub struct Column<R> {
    /// Its heading, which is the key of the same in JSON.
    pub name: &'static str,
    /// What a row has in it; of a list, how many things.
    pub cell: fn(&R) -> String,
    /// What a row has in it where it is the only one; of a list, all things.
    pub whole: fn(&R) -> String,
}

/// A row that can stand in a table.
pub trait Row: Sized + 'static {
    /// The columns of a table, in their order.
    const COLUMNS: &'static [Column<Self>];
    /// What is shown besides where it is the only row, or in a pipe.
    const DETAILS: &'static [Column<Self>] = &[];
}

/// The column of a field, and how it is printed: `column!(vni, text)`.
macro_rules! column {
    ($field:ident, text) => {
        column!(@ $field, |row| $crate::model::printable(&row.$field))
    };
    ($field:ident, optional) => {
        column!(@ $field, |row| $crate::model::column::optional(row.$field.as_ref()))
    };
    ($field:ident, list) => {
        $crate::model::column::Column {
            name: stringify!($field),
            cell: |row| row.$field.len().to_string(),
            whole: |row| $crate::model::column::list(&row.$field),
        }
    };
    ($field:ident, on_off) => {
        column!(@ $field, |row| $crate::model::column::on_off(row.$field))
    };
    ($field:ident, optional_on_off) => {
        column!(@ $field, |row| {
            let on = row.$field.map($crate::model::column::on_off);
            $crate::model::column::optional(on.as_ref())
        })
    };
    ($field:ident, yes_no) => {
        column!(@ $field, |row| $crate::model::column::yes_no(row.$field))
    };
    (@ $field:ident, $cell:expr) => {
        $crate::model::column::Column {
            name: stringify!($field),
            cell: $cell,
            whole: $cell,
        }
    };
}
pub(super) use column;

pub(super) fn optional(value: Option<&impl Display>) -> String {
    value.map_or_else(|| "-".into(), printable)
}

pub(super) fn list(values: &[impl Display]) -> String {
    if values.is_empty() {
        return "-".into();
    }
    values.iter().map(printable).collect::<Vec<_>>().join(", ")
}

pub(super) fn on_off(on: bool) -> String {
    if on { "on".into() } else { "off".into() }
}

pub(super) fn yes_no(yes: bool) -> String {
    if yes { "yes".into() } else { "no".into() }
}

/// The text without control characters: a device's name may hold some, and they would reach the terminal.
#[must_use]
pub fn printable(value: &(impl Display + ?Sized)) -> String {
    let text = value.to_string();
    if text.contains(char::is_control) {
        text.escape_debug().to_string()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable("tap\x1b[2J"), "tap\\u{1b}[2J");
        assert_eq!(printable("tap0"), "tap0");
    }
}
