//! Which files are installed, and where they go.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::shell::{CommandFailure, Result, doing, quiet, repository, starting, text};

/// Files of this repository that are installed as they are.
const PLAIN: [(&str, &str); 8] = [
    (
        "dist/systemd/vtep@.service",
        "usr/lib/systemd/system/vtep@.service",
    ),
    ("dist/sysusers/vtep.conf", "usr/lib/sysusers.d/vtep.conf"),
    (
        "dist/prometheus/vtep.rules.yml",
        "usr/share/vtep/prometheus/vtep.rules.yml",
    ),
    ("dist/grafana/vtep.json", "usr/share/vtep/grafana/vtep.json"),
    ("dist/config/main.conf", CONFIGURATION),
    ("README.md", "usr/share/doc/vtep/README.md"),
    ("LICENSE-MIT", "usr/share/doc/vtep/LICENSE-MIT"),
    ("LICENSE-APACHE", "usr/share/doc/vtep/LICENSE-APACHE"),
];

/// The example of a configuration, which belongs to the user once it is installed.
pub(super) const CONFIGURATION: &str = "etc/vtep/main.conf";

/// Where each shell looks for completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/vtep"),
    ("fish", "usr/share/fish/vendor_completions.d/vtep.fish"),
    ("zsh", "usr/share/zsh/vendor-completions/_vtep"),
];

/// The binary's place.
pub(super) const BINARY: &str = "usr/bin/vtep";

/// Files by their paths below the root.
pub(super) struct Tree {
    files: BTreeMap<String, File>,
}

struct File {
    mode: u32,
    bytes: Vec<u8>,
}

impl Tree {
    /// Everything that belongs to the binary `vtep`. `here` is one that runs on this machine, and tells of its manual and its completions.
    pub(super) fn new(vtep: &Path, here: &Path) -> Result<Self> {
        let mut tree = Self {
            files: BTreeMap::new(),
        };
        tree.add(BINARY, 0o755, stripped(vtep)?);
        for (from, to) in PLAIN {
            tree.add(to, 0o644, read(&repository().join(from))?);
        }
        for (shell, to) in COMPLETIONS {
            let script = quiet(Command::new(here).args(["completions", shell]))?;
            tree.add(to, 0o644, script.into_bytes());
        }
        tree.manual(here)?;
        Ok(tree)
    }

    /// What Debian wants to be beside a package.
    pub(super) fn add_debian_documents(&mut self) -> Result<()> {
        let copyright = read(&repository().join("dist/debian/copyright"))?;
        self.add("usr/share/doc/vtep/copyright", 0o644, copyright);
        let changes = read(&repository().join("CHANGELOG.md"))?;
        let changes = compressed(&changes)?;
        self.add("usr/share/doc/vtep/changelog.gz", 0o644, changes);
        Ok(())
    }

    fn add(&mut self, path: &str, mode: u32, bytes: Vec<u8>) {
        self.files.insert(path.to_owned(), File { mode, bytes });
    }

    /// Adds the pages that the binary writes of its commands.
    fn manual(&mut self, vtep: &Path) -> Result<()> {
        let dir = super::cleared("manual")?;
        quiet(Command::new(vtep).arg("describe").arg(&dir))?;
        let pages = fs::read_dir(&dir).map_err(doing("read the manual"))?;
        for page in pages.flatten() {
            let name = page.file_name().to_string_lossy().into_owned();
            let page = compressed(&read(&page.path())?)?;
            self.add(&format!("usr/share/man/man8/{name}.gz"), 0o644, page);
        }
        fs::remove_dir_all(&dir).map_err(doing("remove the manual"))
    }

    /// Writes all files below `root`, and makes their directories, with the modes that they have when installed.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        let all = || -> std::io::Result<()> {
            for (name, File { mode, bytes }) in &self.files {
                let path = root.join(name);
                fs::create_dir_all(path.parent().unwrap_or(root))?;
                fs::write(&path, bytes)?;
                set(&path, *mode)?;
                for dir in Path::new(name).ancestors().skip(1) {
                    set(&root.join(dir), 0o755)?;
                }
            }
            Ok(())
        };
        all().map_err(doing(format!("write below {}", root.display())))
    }

    /// The paths of the files.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// How many KiB the files take, each for itself.
    pub(super) fn kib(&self) -> usize {
        let sizes = self.files.values().map(|file| file.bytes.len());
        sizes.map(|len| len.div_ceil(1024)).sum()
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(doing(format!("read {}", path.display())))
}

/// A binary without what only debuggers read.
fn stripped(file: &Path) -> Result<Vec<u8>> {
    let to = file.with_extension("stripped");
    quiet(Command::new("strip").arg("-o").arg(&to).arg(file))?;
    let bytes = read(&to)?;
    fs::remove_file(&to).map_err(doing("remove the stripped binary"))?;
    Ok(bytes)
}

/// What gzip makes of some bytes, alike at any time.
fn compressed(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = Command::new("gzip");
    gzip.args(["-9", "--no-name"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let start = starting(&gzip);
    let mut running = gzip.spawn().map_err(&start)?;
    let pipe = running.stdin.take();
    let out = std::thread::scope(|scope| {
        let fed = scope.spawn(move || pipe.map_or(Ok(()), |mut pipe| pipe.write_all(bytes)));
        let out = running.wait_with_output();
        fed.join().unwrap_or(Ok(())).and(out)
    });
    let out = out.map_err(start)?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    Err(CommandFailure::Status {
        command: text(&gzip),
        status: out.status.to_string(),
        output: String::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_is_alike_each_time_and_can_be_read() {
        let words = b"one line\n".repeat(1000);
        let first = compressed(&words).unwrap();

        assert_eq!(first, compressed(&words).unwrap());
        assert!(first.len() < words.len());
        // RFC 1952: the two bytes that it begins with; four that hold no time.
        assert_eq!(first[..2], [0x1f, 0x8b]);
        assert_eq!(first[4..8], [0; 4]);
    }

    #[test]
    fn files_have_the_modes_that_they_are_given_and_directories_are_open() {
        let root = super::super::cleared("tree-test").unwrap();
        let mut tree = Tree {
            files: BTreeMap::new(),
        };
        tree.add("etc/a/b", 0o600, b"x".to_vec());

        tree.write(&root).unwrap();

        let mode = |path: &str| {
            let about = fs::metadata(root.join(path)).unwrap();
            about.permissions().mode() & 0o777
        };
        assert_eq!((mode("etc/a/b"), mode("etc/a")), (0o600, 0o755));
        assert_eq!(tree.kib(), 1);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_is_installed_as_it_is_is_there() {
        for (from, _) in PLAIN {
            assert!(repository().join(from).is_file(), "{from}");
        }
    }
}
