//! `cargo xtask test arm64`: the daemon and its programs built for 64-bit Arm, and the unit tests run there by emulation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    progress::SetupStep,
    setup::{self, Program},
    shell::{Result, cargo_command, cargo_text, doing, quiet, said, shown, target_dir},
    suite::BINARY,
    toolchain::{self, Machine},
};

/// The target of the daemon.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// The beginning of what cargo calls this target's settings.
const SETTINGS: &str = "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU";

/// The linker, the emulator, and the Debian packages of each.
const PROGRAMS: [Program; 2] = [
    (
        "aarch64-linux-gnu-gcc",
        "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    ),
    ("qemu-aarch64-static", "qemu-user-static"),
];

/// Where Debian's cross packages put the C library.
const C_LIBRARY: &str = "/usr/aarch64-linux-gnu";

/// How the development profile differs here: nothing is measured, so it is built as quickly as it can be.
const UNMEASURED: [&str; 4] = [
    "debug=0",
    "package.'*'.opt-level=0",
    "package.vtep-user.opt-level=0",
    "package.vtep-common.opt-level=0",
];

/// Runs the verb: builds, and runs the unit tests.
pub(crate) fn run() -> Result<()> {
    let cross = build()?;
    shown(&mut cross.cargo("test --no-fail-fast --package vtep-common --package vtep-user --lib"))
}

/// Builds the daemon with its programs, and starts it once.
pub(crate) fn build_only() -> Result<()> {
    build().map(drop)
}

fn build() -> Result<Cross> {
    setup::ensure()?;
    setup::programs("programs for arm64", &PROGRAMS)?;
    let machine = Machine::from_env();
    let installed = Cross::installed(&machine)?;
    if installed.is_none() {
        setup::programs("a compiler of Debian's", &[("/usr/bin/rustc", "rustc-web")])?;
    }
    let cross = SetupStep::run("Rust's standard library for arm64", |_| {
        let cross = installed.map_or_else(|| Cross::of_debian(&machine), Ok)?;
        let word = format!("in {}", cross.sysroot.display());
        Ok((cross, word))
    })?;
    let mut command = cross.cargo("build --package vtep-user --bin vtep");
    println!("\n==> {}", cargo_text(&command));
    shown(&mut command)?;
    let vtep = cross.target_dir.join(TARGET).join("debug/vtep");
    let mut version = emulated(&vtep);
    version.arg("--version");
    println!("{} of {TARGET}", quiet(&mut version)?.trim());
    Ok(cross)
}

/// Runs a program of this target.
fn emulated(program: &Path) -> Command {
    let mut command = Command::new(PROGRAMS[1].0);
    command.args(["-L", C_LIBRARY]).arg(program);
    command
}

/// A compiler with a standard library for the target.
struct Cross {
    rustc: PathBuf,
    /// The directory with the library, in the compiler's own layout.
    sysroot: PathBuf,
    target_dir: PathBuf,
}

impl Cross {
    /// A compiler that has the library: the one in use where rustup has given it the target, or the distribution's.
    fn installed(machine: &Machine) -> Result<Option<Self>> {
        let active = machine.in_path("rustc");
        for rustc in active.into_iter().chain([machine.system_rustc.clone()]) {
            match toolchain::sysroot(&rustc) {
                Some(sysroot) if has_library(&sysroot) => {
                    return Self::with(rustc, sysroot).map(Some);
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// The distribution's compiler, with the library from the cache.
    fn of_debian(machine: &Machine) -> Result<Self> {
        let sysroot = debian_library(machine)?;
        Self::with(machine.system_rustc.clone(), sysroot)
    }

    fn with(rustc: PathBuf, sysroot: PathBuf) -> Result<Self> {
        let target_dir = target_dir()?.join("arm64");
        Ok(Self {
            rustc,
            sysroot,
            target_dir,
        })
    }

    /// A cargo command that builds for the target.
    fn cargo(&self, line: &str) -> Command {
        let mut command = cargo_command(line);
        toolchain::forget_the_host(&mut command);
        let emulator = emulated(Path::new(""));
        let runner: Vec<_> = [emulator.get_program()]
            .into_iter()
            .chain(emulator.get_args())
            .map(|word| word.to_string_lossy())
            .collect();
        let flags = format!("--sysroot={}", self.sysroot.display());
        command
            .args(["--target", TARGET, "--target-dir"])
            .arg(&self.target_dir)
            .args(UNMEASURED.map(|setting| format!("--config=profile.dev.{setting}")))
            .env("RUSTC", &self.rustc)
            .env(format!("{SETTINGS}_LINKER"), PROGRAMS[0].0)
            .env(format!("{SETTINGS}_RUNNER"), runner.join(" ").trim_end())
            .env(format!("{SETTINGS}_RUSTFLAGS"), flags)
            .env_remove(BINARY);
        command
    }
}

/// Whether the directory of a compiler holds the standard library for the target.
fn has_library(sysroot: &Path) -> bool {
    let Ok(files) = fs::read_dir(sysroot.join("lib/rustlib").join(TARGET).join("lib")) else {
        return false;
    };
    files
        .flatten()
        .any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
}

/// Unpacks Debian's standard library for the target, of the very version of the distribution's compiler, into the cache; installs nothing.
fn debian_library(machine: &Machine) -> Result<PathBuf> {
    let owner = quiet(Command::new("dpkg-query").args(["--search", "/usr/bin/rustc"]));
    let package = match owner.as_deref().map(|line| line.split(':').next()) {
        Ok(Some("rustc-web")) => "libstd-rust-web-dev",
        Ok(Some("rustc")) => "libstd-rust-dev",
        _ => {
            return said(format!(
                "no compiler here has a standard library for arm64; type: rustup target add {TARGET}"
            ));
        }
    };
    let version = quiet(Command::new("dpkg-query").args(["--show", "-f", "${Version}", package]))?;
    let name = version.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    let dir = machine.cache.join("arm64").join(name);
    if has_library(&dir.join("usr")) {
        return Ok(dir.join("usr"));
    }
    fs::create_dir_all(&dir).map_err(doing(format!("make {}", dir.display())))?;
    let apt = dir.join("apt");
    for part in ["state/lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(part)).map_err(doing("make apt's directories"))?;
    }
    quiet(apt_get(&apt).arg("update"))?;
    let wanted = format!("{package}={version}");
    quiet(apt_get(&apt).args(["download", &wanted]).current_dir(&apt))?;
    for file in fs::read_dir(&apt).map_err(doing("read what apt downloaded"))? {
        let file = file.map_err(doing("read what apt downloaded"))?.path();
        if file.extension().is_some_and(|end| end == "deb") {
            quiet(
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .args([&file, &dir]),
            )?;
        }
    }
    fs::remove_dir_all(&apt).map_err(doing("remove apt's directories"))?;
    if has_library(&dir.join("usr")) {
        Ok(dir.join("usr"))
    } else {
        said(format!("{wanted} for arm64 holds no standard library"))
    }
}

/// apt with this machine's sources and directories of its own: what is installed here does not count, and nothing becomes so.
fn apt_get(dir: &Path) -> Command {
    let dir = dir.display();
    let mut command = Command::new("apt-get");
    for option in [
        "APT::Architecture=arm64".to_owned(),
        "APT::Architectures=arm64".to_owned(),
        format!("Dir::State={dir}/state"),
        "Dir::State::status=/dev/null".to_owned(),
        format!("Dir::Cache={dir}/cache"),
        "Acquire::Languages=none".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
    ] {
        command.args(["-o", &option]);
    }
    command
}
