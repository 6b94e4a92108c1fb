//! What the kernel side is built with: a compiler that has `core` for BPF, and a linker.
//!
//! Only `std`, because the build script of `vtep-user` includes this file too: what `cargo xtask
//! setup` installs and what `cargo build` looks for must be the same thing.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The target of the kernel side.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

/// Oldest rustc that the crates build with: `rust-version` in `Cargo.toml`.
const OLDEST_RUSTC: (u32, u32) = (1, 88);

/// Oldest bpf-linker that is taken where it is found.
const OLDEST_LINKER: (u32, u32) = (0, 13);

/// Where Debian's and Ubuntu's compiler lies, whatever `PATH` says.
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";

/// The places to look in; made from the environment, or by a test.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The directories of `PATH`.
    pub(crate) path: Vec<PathBuf>,
    /// Cargo's own directory, `~/.cargo`.
    pub(crate) cargo_home: PathBuf,
    /// rustup's own directory, `~/.rustup`.
    pub(crate) rustup_home: PathBuf,
    /// Where set-up installs what only vtep needs.
    pub(crate) cache: PathBuf,
    /// The distribution's compiler.
    pub(crate) system_rustc: PathBuf,
}

impl Machine {
    /// Reads the places from the environment.
    pub(crate) fn from_env() -> Self {
        Self::new(|name| env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// Reads the places from `var`, which stands for the environment.
    pub(crate) fn new(var: impl Fn(&str) -> Option<OsString>) -> Self {
        let home = var("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
        let or_home =
            |name, fallback: &str| var(name).map_or_else(|| home.join(fallback), Into::into);
        Self {
            path: env::split_paths(&var("PATH").unwrap_or_default()).collect(),
            cargo_home: or_home("CARGO_HOME", ".cargo"),
            rustup_home: or_home("RUSTUP_HOME", ".rustup"),
            cache: var("VTEP_CACHE_DIR").map_or_else(
                || or_home("XDG_CACHE_HOME", ".cache").join("vtep"),
                Into::into,
            ),
            system_rustc: SYSTEM_RUSTC.into(),
        }
    }

    /// Returns the first file called `name` in `PATH`.
    pub(crate) fn in_path(&self, name: &str) -> Option<PathBuf> {
        self.path
            .iter()
            .map(|dir| dir.join(name))
            .find(|file| file.is_file())
    }
}

/// Where `core` for the BPF target comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CoreLibrary {
    /// From the `rust-src` component, compiled along with the programs.
    Source,
    /// From a package of the distribution that holds it compiled.
    Prebuilt,
}

/// A compiler that can build for BPF.
#[derive(Clone, Debug)]
pub(crate) struct Compiler {
    pub(crate) rustc: PathBuf,
    pub(crate) core: CoreLibrary,
    pub(crate) version: Version,
}

/// What `rustc -vV` says, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// Major and minor number.
    pub(crate) release: (u32, u32),
    /// Major number of its LLVM: a linker with an older one cannot read what it writes.
    pub(crate) llvm: u32,
}

impl Version {
    /// Reads the output of `rustc -vV`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
        };
        Some(Self {
            release: major_minor(field("release:")?)?,
            llvm: major_minor(field("LLVM version:")?)?.0,
        })
    }
}

/// Reads `1.95.0-nightly` as `(1, 95)`.
fn major_minor(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// Finds a compiler: one with `rust-src`, else the distribution's with a prebuilt `core`.
pub(crate) fn find_compiler(machine: &Machine) -> Option<Compiler> {
    let active = machine.in_path("rustc").and_then(|rustc| sysroot(&rustc));
    let mut installed: Vec<_> = fs::read_dir(machine.rustup_home.join("toolchains"))
        .map(|dirs| dirs.flatten().map(|dir| dir.path()).collect())
        .unwrap_or_default();
    installed.sort();
    let with_source = active
        .into_iter()
        .chain(installed)
        .filter(|root| {
            root.join("lib/rustlib/src/rust/library/core/src/lib.rs")
                .is_file()
        })
        .find_map(|root| usable(root.join("bin/rustc"), CoreLibrary::Source));
    with_source.or_else(|| {
        let core = sysroot(&machine.system_rustc)?
            .join("lib/rustlib")
            .join(TARGET);
        core.is_dir()
            .then(|| usable(machine.system_rustc.clone(), CoreLibrary::Prebuilt))?
    })
}

/// Returns the directory that `rustc` takes its libraries from.
pub(crate) fn sysroot(rustc: &Path) -> Option<PathBuf> {
    output(Command::new(rustc).args(["--print", "sysroot"])).map(|text| text.trim().into())
}

fn usable(rustc: PathBuf, core: CoreLibrary) -> Option<Compiler> {
    let version = Version::parse(&output(Command::new(&rustc).arg("-vV"))?)?;
    (version.release >= OLDEST_RUSTC).then_some(Compiler {
        rustc,
        core,
        version,
    })
}

/// Finds a bpf-linker that starts and is new enough: in `PATH`, Cargo's directory, or the cache.
pub(crate) fn find_linker(machine: &Machine) -> Option<PathBuf> {
    machine
        .in_path("bpf-linker")
        .into_iter()
        .chain([&machine.cargo_home, &machine.cache].map(|root| root.join("bin/bpf-linker")))
        .find(|linker| {
            output(Command::new(linker).arg("--version"))
                .and_then(|text| major_minor(text.trim().rsplit(' ').next()?))
                .is_some_and(|version| version >= OLDEST_LINKER)
        })
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Keeps from `command`, a cargo, what the cargo that runs this one was told about the host.
pub(crate) fn forget_the_host(command: &mut Command) {
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_for_the_host)) {
        command.env_remove(name);
    }
}

/// Tells whether the environment variable `name` steers a build for the host.
fn is_for_the_host(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_MAKEFLAGS",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROPPED: [&str; 9] = [
        "CARGO_",
        "CLIPPY_",
        "RUSTC",
        "RUSTDOC",
        "RUSTFLAGS",
        "RUSTUP_TOOLCHAIN",
        "TARGET",
        "HOST",
        "LD_LIBRARY_PATH",
    ];
    let any = |prefixes: &[&str]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    any(&DROPPED) && !any(&KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: &str =
        "rustc 1.95.0 (59807616e 2026-04-14)\nrelease: 1.95.0\nLLVM version: 22.1.2\n";

    #[test]
    fn version_is_read_from_what_rustc_says() {
        assert_eq!(
            Version::parse(STABLE),
            Some(Version {
                release: (1, 95),
                llvm: 22
            })
        );
        let nightly = "release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(
            Version::parse(nightly),
            Some(Version {
                release: (1, 97),
                llvm: 22
            })
        );
        assert_eq!(Version::parse("rustc 1.95.0"), None);
    }

    #[test]
    fn cache_follows_its_variables() {
        let cache = |set: &[(&str, &str)]| {
            Machine::new(|name| {
                set.iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| (*value).into())
            })
            .cache
        };

        assert_eq!(cache(&[("HOME", "/h")]), Path::new("/h/.cache/vtep"));
        assert_eq!(
            cache(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]),
            Path::new("/x/vtep")
        );
        assert_eq!(
            cache(&[("XDG_CACHE_HOME", "/x"), ("VTEP_CACHE_DIR", "/v")]),
            Path::new("/v")
        );
    }

    #[test]
    fn settings_for_the_host_are_told_from_those_for_everybody() {
        for name in [
            "RUSTC",
            "RUSTC_WORKSPACE_WRAPPER",
            "CARGO_ENCODED_RUSTFLAGS",
            "TARGET",
        ] {
            assert!(is_for_the_host(name), "{name}");
        }
        for name in [
            "PATH",
            "RUSTUP_HOME",
            "CARGO_HOME",
            "CARGO_MAKEFLAGS",
            "CARGO_NET_OFFLINE",
        ] {
            assert!(!is_for_the_host(name), "{name}");
        }
    }

    #[test]
    fn a_compiler_with_sources_comes_before_the_systems_prebuilt_core() {
        let lab = FakeMachine::new("both");
        lab.toolchain(
            "toolchains/nightly",
            STABLE,
            "lib/rustlib/src/rust/library/core/src",
        );
        lab.toolchain("usr", STABLE, "lib/rustlib/bpfel-unknown-none");

        let found = find_compiler(&lab.machine()).unwrap();

        assert_eq!(found.core, CoreLibrary::Source);
        assert!(
            found.rustc.ends_with("toolchains/nightly/bin/rustc"),
            "{found:?}"
        );
    }

    #[test]
    fn the_systems_compiler_serves_only_with_its_prebuilt_core() {
        let lab = FakeMachine::new("system");
        lab.toolchain("usr", STABLE, "lib");
        assert!(find_compiler(&lab.machine()).is_none());

        lab.toolchain("usr", STABLE, "lib/rustlib/bpfel-unknown-none");

        assert_eq!(
            find_compiler(&lab.machine()).unwrap().core,
            CoreLibrary::Prebuilt
        );
    }

    #[test]
    fn a_compiler_too_old_for_the_crates_is_passed_over() {
        let lab = FakeMachine::new("old");
        let old = "release: 1.85.0\nLLVM version: 19.1.7\n";
        lab.toolchain("usr", old, "lib/rustlib/bpfel-unknown-none");

        assert!(find_compiler(&lab.machine()).is_none());
    }

    #[test]
    fn a_linker_that_is_too_old_or_does_not_start_is_passed_over() {
        let lab = FakeMachine::new("linker");
        lab.script("path/bpf-linker", "echo bpf-linker 0.9.15");
        lab.script("cargo/bin/bpf-linker", "exit 127");
        assert_eq!(find_linker(&lab.machine()), None);

        lab.script("cache/bin/bpf-linker", "echo bpf-linker 0.13.0");

        assert_eq!(
            find_linker(&lab.machine()),
            Some(lab.0.join("cache/bin/bpf-linker"))
        );
    }

    /// A directory that stands for a machine.
    struct FakeMachine(PathBuf);

    impl FakeMachine {
        fn new(name: &str) -> Self {
            let dir = env::temp_dir().join(format!("vtep-xtask-{}-{name}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Self(dir)
        }

        fn machine(&self) -> Machine {
            Machine {
                path: vec![self.0.join("path")],
                cargo_home: self.0.join("cargo"),
                rustup_home: self.0.clone(),
                cache: self.0.join("cache"),
                system_rustc: self.0.join("usr/bin/rustc"),
            }
        }

        fn toolchain(&self, root: &str, version: &str, holds: &str) {
            let dir = self.0.join(root);
            fs::create_dir_all(dir.join(holds)).unwrap();
            if holds.ends_with("core/src") {
                fs::write(dir.join(holds).join("lib.rs"), "").unwrap();
            }
            let says = format!(
                "[ \"$1\" = -vV ] && echo '{version}' || echo '{}'",
                dir.display()
            );
            self.script(&format!("{root}/bin/rustc"), &says);
        }

        fn script(&self, path: &str, body: &str) {
            let file = self.0.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            // Not written by this process: a file that any thread's child still holds open for
            // writing cannot be executed.
            let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod +x \"$0\"";
            let status = Command::new("sh")
                .arg("-c")
                .arg(write)
                .arg(&file)
                .arg(body)
                .status();
            assert!(status.unwrap().success());
        }
    }

    impl Drop for FakeMachine {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }
}
