//! `cargo xtask fuzz`: the fuzz targets, for a given number of inputs.

use std::{fs, process::Command};

use crate::{
    progress::SetupStep,
    shell::{Result, cargo_command, doing, quiet, repository, said, shown, watched},
};

/// The targets, in `fuzz/fuzz_targets`.
const TARGETS: [&str; 4] = ["outer", "decide_uplink", "decide_port", "path_report"];

/// Longest input, in bytes: longer than any header that is read.
const MAX_LEN: u32 = 2_000;

/// What libFuzzer needs of the compiler: counters at every edge, and the operands of comparisons. Any stable rustc has them.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];

/// Runs `only` this target, or each one, with so many inputs.
pub(crate) fn run(only: Option<&str>, runs: u64) -> Result<()> {
    let targets: Vec<_> = TARGETS
        .into_iter()
        .filter(|target| only.is_none_or(|only| only == *target))
        .collect();
    if targets.is_empty() {
        return said(format!(
            "there is no target {}; name one of: {}",
            only.unwrap_or_default(),
            TARGETS.join(", ")
        ));
    }
    let host = host()?;
    shown(
        cargo_command(&format!(
            "build --release --manifest-path fuzz/Cargo.toml --target {host}"
        ))
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}")),
    )?;
    let fuzz = repository().join("fuzz");
    for target in targets {
        let (work, artifacts) = (
            fuzz.join("work").join(target),
            fuzz.join("artifacts").join(target),
        );
        for dir in [&work, &artifacts] {
            fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
        }
        let mut command = Command::new(fuzz.join(format!("target/{host}/release/{target}")));
        command
            .args([&work, &fuzz.join("corpus").join(target)])
            .arg(format!("-runs={runs}"))
            .arg(format!("-max_len={MAX_LEN}"))
            // A finding is written there, and named in what is printed.
            .arg(format!("-artifact_prefix={}/", artifacts.display()));
        SetupStep::run(format!("fuzz {target}"), |step| {
            let mut done = None;
            watched(&mut command, |line| {
                step.line(line);
                done = inputs(line).or(done);
            })?;
            match done {
                Some(count) if count >= runs => Ok(((), format!("{count} inputs, none failed"))),
                _ => said(format!("{target} ended early: {done:?} of {runs} inputs")),
            }
        })?;
    }
    Ok(())
}

/// The number of inputs in libFuzzer's last line.
fn inputs(line: &str) -> Option<u64> {
    line.strip_prefix("Done ")?
        .split_once(" runs in ")?
        .0
        .parse()
        .ok()
}

/// The machine's own target: the flags above are for the targets alone, and no build script.
fn host() -> Result<String> {
    let version = quiet(Command::new("rustc").arg("-vV"))?;
    match version.lines().find_map(|line| line.strip_prefix("host: ")) {
        Some(host) => Ok(host.to_owned()),
        None => said("rustc -vV names no host"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_libfuzzer_has_the_inputs() {
        assert_eq!(
            inputs("Done 13115706 runs in 13 second(s)"),
            Some(13_115_706)
        );
        assert_eq!(inputs("#4194304\tpulse  cov: 812 ft: 2604"), None);
        assert_eq!(inputs("Done"), None);
    }

    #[test]
    fn every_target_is_named() {
        let dir = repository().join("fuzz/fuzz_targets");
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut named = TARGETS.map(|target| format!("{target}.rs"));
        named.sort();
        assert_eq!(files, named);
    }

    #[test]
    fn an_unknown_target_is_refused_with_those_there_are() {
        let failure = run(Some("inner"), 1).unwrap_err().to_string();
        assert!(failure.contains("decide_port"), "{failure}");
    }
}
