//! What the documents repeat of the sources is what the sources say.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use vtep_common::{
    abi::{counter::Hook, reason::Reason},
    testkit::frames::reachable,
};

const BEGIN: &str = "--test documents -->\n";
const END: &str = "<!-- end -->";

/// The table of all reasons.
fn reasons() -> String {
    let mut table =
        String::from("| code | reason | class | hooks | meaning |\n|---:|---|---|---|---|\n");
    for reason in Reason::ALL {
        let at: Vec<_> = Hook::ALL
            .into_iter()
            .filter(|hook| reachable(*hook).contains(reason))
            .map(Hook::name)
            .collect();
        // Helpers and copies fail where they are used.
        let hooks = if at.is_empty() {
            "every hook".to_owned()
        } else {
            at.join(", ")
        };
        let class = format!("{:?}", reason.class()).to_lowercase();
        writeln!(
            table,
            "| {} | `{}` | {class} | {hooks} | {} |",
            reason.code(),
            reason.name(),
            reason.meaning()
        )
        .expect("a string takes what is written to it");
    }
    table
}

#[test]
fn the_table_of_reasons_is_that_of_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reasons.md");
    let text = fs::read_to_string(&path).expect("the document is there");
    let (before, rest) = text.split_once(BEGIN).expect("the table begins somewhere");
    let (table, after) = rest.split_once(END).expect("the table ends somewhere");
    let want = reasons();
    if std::env::var_os("VTEP_BLESS").is_some() {
        fs::write(&path, format!("{before}{BEGIN}{want}{END}{after}"))
            .expect("the document can be written");
        return;
    }
    assert_eq!(
        table, want,
        "make it anew with: VTEP_BLESS=1 cargo test -p vtep-common --test documents"
    );
}

/// The tests that a document names, as `file::test`.
fn named_tests(text: &str) -> Vec<(&str, &str)> {
    let is_name = |name: &str| {
        let mut chars = name.chars();
        chars.next().is_some_and(|first| first.is_ascii_lowercase())
            && chars.all(|char| matches!(char, 'a'..='z' | '0'..='9' | '_'))
    };
    // What stands between backticks is every second part.
    text.split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|code| code.split_once("::"))
        .filter(|(file, test)| is_name(file) && is_name(test))
        .collect()
}

/// All Rust sources below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("read {}: {error}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry of a directory").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![];
    for part in ["vtep-common", "vtep-user", "tests"] {
        sources(&repository.join(part), &mut files);
    }
    let text = fs::read_to_string(repository.join("docs/rfc7348.md")).expect("the document");
    // The first is how tests are named there.
    let named: Vec<_> = named_tests(&text)
        .into_iter()
        .filter(|name| *name != ("file", "test"))
        .collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());

    let missing: Vec<_> = named
        .into_iter()
        .filter(|(file, test)| {
            let function = format!("fn {test}(");
            !files.iter().any(|path| {
                path.file_stem().is_some_and(|stem| stem == *file)
                    && fs::read_to_string(path)
                        .expect("a source can be read")
                        .contains(&function)
            })
        })
        .collect();

    assert_eq!(missing, [], "no such file has such a test");
}

/// The paths that a row of a table names between backticks; `{a,b}` stands for two.
fn named_paths(row: &str) -> Vec<String> {
    let is_path = |code: &&str| {
        let extension = Path::new(code).extension();
        (code.contains('/') || extension.is_some_and(|extension| extension == "rs"))
            && code
                .chars()
                .all(|char| char.is_ascii_alphanumeric() || "/._-{},".contains(char))
    };
    let spans = row.split('`').skip(1).step_by(2).filter(is_path);
    spans
        .flat_map(|path| match (path.split_once('{'), path.split_once('}')) {
            (Some((before, _)), Some((between, after))) => between[before.len() + 1..]
                .split(',')
                .map(|name| format!("{before}{name}{after}"))
                .collect(),
            _ => vec![path.to_owned()],
        })
        .collect()
}

#[test]
fn every_path_in_the_tables_of_the_architecture_is_there() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = fs::read_to_string(repository.join("ARCHITECTURE.md")).expect("the document");
    let mut named = 0;
    let mut missing = vec![];
    for row in text.lines().filter(|line| line.starts_with('|')) {
        // A path may go on from a folder above the one named before it.
        let mut above = vec![PathBuf::new()];
        for path in named_paths(row) {
            named += 1;
            let found = above.iter().map(|folder| folder.join(&path));
            let found = found
                .into_iter()
                .find(|path| repository.join(path).exists());
            match found {
                Some(found) => above = found.ancestors().map(Path::to_owned).collect(),
                None => missing.push(format!("{path} in: {row}")),
            }
        }
    }
    assert!(named > 60, "only {named} paths are named");

    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}
