//! What the documents repeat of the sources is what the sources say.

use std::{fmt::Write as _, fs, path::Path};

use vtep_common::{host::frames::reachable, maps::Hook, reason::Reason};

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
