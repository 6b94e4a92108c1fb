//! The files that a pattern names, as a shell would expand it.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The files that `pattern` names, below `beside` unless it is absolute, in the order of their names. None is fine.
pub(super) fn matching(beside: &Path, pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![beside.to_owned()];
    for part in Path::new(pattern).components() {
        found = match part {
            Component::Normal(part) => {
                let part = part.to_string_lossy();
                found
                    .iter()
                    .flat_map(|directory| entries(directory, &part))
                    .collect()
            }
            other => found.iter().map(|path| path.join(other)).collect(),
        };
    }
    found.retain(|path| path.is_file());
    found
}

/// The entries of a directory that match one part of a pattern.
fn entries(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?', '[']) {
        return vec![directory.join(pattern)];
    }
    let here = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        directory
    };
    let read = fs::read_dir(here).into_iter().flatten().flatten();
    let mut names: Vec<_> = read
        .map(|entry| entry.file_name())
        .filter(|name| {
            let name = name.to_string_lossy();
            let hidden = name.starts_with('.') && !pattern.starts_with('.');
            !hidden && matches(pattern.as_bytes(), name.as_bytes())
        })
        .collect();
    names.sort();
    names.iter().map(|name| directory.join(name)).collect()
}

/// Whether a name matches: `*` is any text, `?` any character, `[a-z]` one of these, `[!a-z]` one of the others.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let Some((&first, rest)) = pattern.split_first() else {
        return name.is_empty();
    };
    if first == b'*' {
        return (0..=name.len()).any(|skipped| matches(rest, &name[skipped..]));
    }
    let Some((&byte, name)) = name.split_first() else {
        return false;
    };
    match (first, rest.iter().skip(1).position(|&byte| byte == b']')) {
        (b'[', Some(end)) => {
            let (set, rest) = rest.split_at(end + 1);
            is_one_of(set, byte) && matches(&rest[1..], name)
        }
        (b'?', _) => matches(rest, name),
        _ => first == byte && matches(rest, name),
    }
}

fn is_one_of(set: &[u8], byte: u8) -> bool {
    let (wanted, set) = match set.split_first() {
        Some((b'!' | b'^', set)) => (false, set),
        _ => (true, set),
    };
    let mut rest = set;
    let mut found = false;
    while let Some((&from, after)) = rest.split_first() {
        rest = after;
        if let [b'-', to, after @ ..] = after {
            found |= (from..=*to).contains(&byte);
            rest = after;
        } else {
            found |= from == byte;
        }
    }
    found == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_as_in_a_shell() {
        for (pattern, yes, no) in [
            (
                "*.conf",
                &["a.conf", ".conf"][..],
                &["a.con", "a.conf.new"][..],
            ),
            ("?a", &["ba"], &["a", "bba"]),
            ("[0-9][!a]*", &["1b", "9zz"], &["1a", "b1", "1"]),
            ("a*b*c", &["abc", "axxbyyc"], &["acb"]),
            ("[", &["["], &["a"]),
        ] {
            for name in yes {
                assert!(
                    matches(pattern.as_bytes(), name.as_bytes()),
                    "{pattern} {name}"
                );
            }
            for name in no {
                assert!(
                    !matches(pattern.as_bytes(), name.as_bytes()),
                    "{pattern} {name}"
                );
            }
        }
    }
}
