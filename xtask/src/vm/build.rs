//! What guests run: the test binaries and `vtep`, built, without what only debuggers read.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    build::{self, Profile},
    dist,
    shell::{CommandFailure, Result, cargo_command, doing, quiet, said, starting, text},
};

/// What was built, stripped.
pub(super) struct Built {
    /// The `vtep` binary.
    pub(super) vtep: PathBuf,
    /// The Debian package of it, where a guest wants it.
    pub(super) package: Option<PathBuf>,
    tests: BTreeMap<String, PathBuf>,
}

impl Built {
    /// Builds the test targets `names`, and keeps them and `vtep` in `dir`; if asked for, also packed.
    pub(super) fn new(names: &[&str], is_packed: bool, dir: &Path) -> Result<Self> {
        let vtep = stripped(&build::vtep(Profile::Dev)?, dir, "vtep")?;
        let package = is_packed
            .then(|| dist::package(&vtep, dist::VERSION, &dist::stamp()?, dir))
            .transpose()?;
        let tests: Vec<_> = names.iter().flat_map(|name| ["--test", name]).collect();
        let mut kept = BTreeMap::new();
        for (name, path) in executables(&tests)? {
            let path = stripped(&path, dir, &name)?;
            kept.insert(name, path);
        }
        Ok(Self {
            vtep,
            package,
            tests: kept,
        })
    }

    /// The binary of a test target.
    pub(super) fn test(&self, target: &str) -> Result<&Path> {
        match self.tests.get(target) {
            Some(path) => Ok(path),
            None => said(format!("cargo has built no test {target}")),
        }
    }
}

/// Builds targets of `vtep-tests`; returns the file of each.
pub(super) fn executables(targets: &[&str]) -> Result<BTreeMap<String, PathBuf>> {
    let mut command = cargo_command("build --package vtep-tests --message-format=json");
    command.args(targets);
    // What the compiler has to say goes to the terminal.
    command.stderr(std::process::Stdio::inherit());
    let out = command.output().map_err(starting(&command))?;
    if !out.status.success() {
        return Err(CommandFailure::Status {
            command: text(&command),
            status: out.status.to_string(),
            output: String::new(),
        });
    }
    let said = String::from_utf8_lossy(&out.stdout);
    let files = said.lines().filter_map(executable);
    Ok(files.map(|file| (target(&file), file)).collect())
}

/// The file that one of cargo's messages names.
fn executable(message: &str) -> Option<PathBuf> {
    let path = message.split_once("\"executable\":\"")?.1;
    Some(path.split_once('"')?.0.into())
}

/// The target of a test binary: its name without the hash that cargo puts behind it.
fn target(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = name.rsplit_once('-').map_or(&*name, |(target, _)| target);
    target.to_owned()
}

fn stripped(file: &Path, dir: &Path, name: &str) -> Result<PathBuf> {
    fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
    let to = dir.join(name);
    quiet(Command::new("strip").arg("-o").arg(&to).arg(file))?;
    Ok(to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_is_read_from_cargos_message() {
        let message = r#"{"reason":"compiler-artifact","target":{"name":"wire"},"executable":"/t/debug/deps/kernel_budget-3d86","fresh":true}"#;

        let path = executable(message).unwrap();

        assert_eq!(path, Path::new("/t/debug/deps/kernel_budget-3d86"));
        assert_eq!(target(&path), "kernel_budget");
        assert_eq!(executable(r#"{"executable":null}"#), None);
    }
}
