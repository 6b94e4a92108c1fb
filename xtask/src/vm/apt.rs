//! Debian packages: an apt of its own, which knows the suites that have the kernels, and installs nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, SystemTime},
};

use crate::shell::{Result, doing, quiet, said};

/// The suites of Debian that have kernels from the oldest that vtep runs on to the newest.
const KERNEL_SUITES: [&str; 3] = ["bookworm", "trixie", "trixie-backports"];

/// How old apt's lists may be.
const LISTS_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where this machine's packages come from.
#[derive(Debug, PartialEq, Eq)]
struct Source {
    uri: String,
    signed_by: Option<String>,
}

/// An apt that has directories, sources and lists of its own.
pub(super) struct Apt {
    dir: PathBuf,
    codename: String,
}

impl Apt {
    /// Sets it up below `cache`, with lists that are at most a day old.
    pub(super) fn new(cache: &Path) -> Result<Self> {
        let release = fs::read_to_string("/etc/os-release").map_err(doing("read os-release"))?;
        let (Some("debian"), Some(codename)) =
            (field(&release, "ID="), field(&release, "VERSION_CODENAME="))
        else {
            return said(
                "the guests are made of Debian's packages; run this on Debian, as root or not",
            );
        };
        let Some(source) = sources()?
            .iter()
            .find_map(|text| Source::find(text, codename))
        else {
            return said(format!(
                "no source below /etc/apt has Debian {codename}; add one, then `apt-get update`"
            ));
        };
        let apt = Self {
            dir: cache.join("apt"),
            codename: codename.to_owned(),
        };
        for dir in ["state/lists/partial", "cache/archives/partial", "none"] {
            fs::create_dir_all(apt.dir.join(dir)).map_err(doing("make apt's directories"))?;
        }
        apt.update(&source.stanza(codename))?;
        Ok(apt)
    }

    /// Reads the lists again where they are old, or of other sources.
    fn update(&self, stanza: &str) -> Result<()> {
        let file = self.dir.join("debian.sources");
        let age = |at| SystemTime::now().duration_since(at).unwrap_or_default();
        let fresh = self.updated().is_some_and(|at| age(at) < LISTS_AGE);
        if fresh && fs::read_to_string(&file).is_ok_and(|had| had == stanza) {
            return Ok(());
        }
        fs::write(&file, stanza).map_err(doing("write apt's sources"))?;
        quiet(self.command("apt-get").arg("update"))?;
        fs::write(self.stamp(), "").map_err(doing("note that apt's lists are new"))
    }

    /// When the lists were read.
    pub(super) fn updated(&self) -> Option<SystemTime> {
        fs::metadata(self.stamp())
            .and_then(|about| about.modified())
            .ok()
    }

    fn stamp(&self) -> PathBuf {
        self.dir.join("updated")
    }

    /// One of apt's programs with its own directories; nothing counts as installed.
    fn command(&self, program: &str) -> Command {
        let dir = self.dir.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::State={dir}/state"),
            format!("Dir::Cache={dir}/cache"),
            "Dir::State::status=/dev/null".to_owned(),
            format!("Dir::Etc::sourcelist={dir}/debian.sources"),
            format!("Dir::Etc::sourceparts={dir}/none"),
            format!("Dir::Etc::preferencesparts={dir}/none"),
            "Acquire::Languages=none".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The packages whose names match a regular expression.
    pub(super) fn names(&self, expression: &str) -> Result<Vec<String>> {
        let found = quiet(
            self.command("apt-cache")
                .args(["search", "--names-only", expression]),
        )?;
        let name = |line: &str| line.split(' ').next().map(str::to_owned);
        Ok(found.lines().filter_map(name).collect())
    }

    /// Downloads one package into `dir`, and returns its file.
    pub(super) fn download(&self, package: &str, dir: &Path) -> Result<PathBuf> {
        fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
        quiet(
            self.command("apt-get")
                .args(["download", package])
                .current_dir(dir),
        )?;
        let files = debs(dir)?;
        let ours = |file: &PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(&format!("{package}_"))
        };
        match files.into_iter().find(ours) {
            Some(file) => Ok(file),
            None => said(format!("apt downloaded {package} to no file that is known")),
        }
    }

    /// Downloads packages of this machine's release and all that they depend on; returns the files.
    pub(super) fn closure(&self, packages: &[&str]) -> Result<Vec<PathBuf>> {
        let archives = self.dir.join("cache/archives");
        for old in debs(&archives)? {
            fs::remove_file(old).map_err(doing("remove an old package"))?;
        }
        quiet(
            self.command("apt-get")
                .args(["install", "--yes", "--download-only"])
                .args(["--no-install-recommends", "-t", &self.codename])
                .args(packages),
        )?;
        let mut files = debs(&archives)?;
        files.sort();
        Ok(files)
    }
}

impl Source {
    /// Reads the source of `codename` from a file of `sources.list`'s form or of deb822's.
    fn find(text: &str, codename: &str) -> Option<Self> {
        let line = |line: &str| {
            let mut rest = line.trim().strip_prefix("deb ")?.trim();
            let mut signed_by = None;
            if let Some((options, after)) =
                rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
            {
                signed_by = options
                    .split_whitespace()
                    .find_map(|option| option.strip_prefix("signed-by="))
                    .map(str::to_owned);
                rest = after;
            }
            let mut words = rest.split_whitespace();
            let (uri, suite) = (words.next()?, words.next()?);
            (suite == codename).then(|| Self {
                uri: uri.to_owned(),
                signed_by,
            })
        };
        let stanza = |stanza: &str| {
            let value = |name: &str| {
                stanza
                    .lines()
                    .find_map(|line| line.strip_prefix(name))
                    .map(str::trim)
            };
            let suites = value("Suites:")?;
            let first = |text: &str| text.split_whitespace().next().map(str::to_owned);
            suites.split_whitespace().find(|suite| *suite == codename)?;
            Some(Self {
                uri: first(value("URIs:")?)?,
                signed_by: value("Signed-By:").and_then(first),
            })
        };
        text.lines()
            .find_map(line)
            .or_else(|| text.split("\n\n").find_map(stanza))
    }

    /// The same place with all suites that are needed.
    fn stanza(&self, codename: &str) -> String {
        let mut suites = KERNEL_SUITES.to_vec();
        if !suites.contains(&codename) {
            suites.push(codename);
        }
        let signed_by = self.signed_by.as_deref();
        let signed_by = signed_by.unwrap_or("/usr/share/keyrings/debian-archive-keyring.gpg");
        format!(
            "Types: deb\nURIs: {}\nSuites: {}\nComponents: main\nSigned-By: {signed_by}\n",
            self.uri,
            suites.join(" ")
        )
    }
}

/// The texts of this machine's files of sources.
fn sources() -> Result<Vec<String>> {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(dir) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(dir.flatten().map(|entry| entry.path()));
    }
    files.retain(|file| {
        let end = file.extension().unwrap_or_default();
        (end == "list" || end == "sources") && file.is_file()
    });
    files
        .iter()
        .map(|file| fs::read_to_string(file).map_err(doing(format!("read {}", file.display()))))
        .collect()
}

/// The packages in a directory.
fn debs(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).map_err(doing(format!("read {}", dir.display())))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "deb"));
    Ok(files)
}

/// A value of `os-release`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str, signed_by: Option<&str>) -> Source {
        Source {
            uri: uri.to_owned(),
            signed_by: signed_by.map(str::to_owned),
        }
    }

    #[test]
    fn the_source_is_found_in_either_form() {
        let list = "# deb http://old/debian bookworm main\n\
                    deb http://other/ bookworm-tools main\n\
                    deb [arch=amd64 signed-by=/k.gpg] http://mirror/debian bookworm main\n";
        let stanzas = "Types: deb\nURIs: http://node/\nSuites: nodistro\nComponents: main\n\n\
                       Types: deb\n# a comment\nURIs: http://mirror/debian http://second/debian\n\
                       Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n";

        let want = Some(source("http://mirror/debian", Some("/k.gpg")));
        assert_eq!(Source::find(list, "bookworm"), want);
        assert_eq!(Source::find(stanzas, "bookworm"), want);
        assert_eq!(
            Source::find("deb http://mirror/debian bookworm main", "bookworm"),
            Some(source("http://mirror/debian", None))
        );
        assert_eq!(Source::find(stanzas, "trixie"), None);
    }

    #[test]
    fn a_release_with_kernels_is_no_suite_twice() {
        let source = source("http://mirror/debian", None);

        assert!(
            source
                .stanza("trixie")
                .contains("Suites: bookworm trixie trixie-backports\n")
        );
        assert!(source.stanza("forky").contains("trixie-backports forky\n"));
    }

    #[test]
    fn values_of_os_release_are_read() {
        let text = "PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n";

        assert_eq!(field(text, "ID="), Some("debian"));
        assert_eq!(field(text, "VERSION_ID="), Some("12"));
    }
}
