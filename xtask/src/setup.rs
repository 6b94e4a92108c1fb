//! `cargo xtask setup`: what building and running needs, installed where it is missing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    progress::SetupStep,
    shell::{self, Result, doing, quiet, said, text, watched},
    toolchain::{self, Compiler, CoreLibrary, Machine},
};

/// The bpf-linker that is installed where none is found.
const LINKER_VERSION: &str = "0.13.0";

/// The LLVM majors that this bpf-linker can be built against.
const LINKER_LLVM: std::ops::RangeInclusive<u32> = 21..=23;

/// Programs that the verbs and the tests call, and the Debian package of each.
const PROGRAMS: [(&str, &str); 8] = [
    ("cc", "gcc"),
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
];

/// The mount point of the BPF file system.
const BPFFS: &str = "/sys/fs/bpf";

/// Runs the verb.
pub(crate) fn run(check: bool) -> Result<()> {
    if check {
        missing(&Set { install: false })
    } else {
        ensure()
    }
}

/// Installs what is missing.
pub(crate) fn ensure() -> Result<()> {
    missing(&Set { install: true })
}

/// Goes through everything; fails with the commands for what stays missing.
fn missing(set: &Set) -> Result<()> {
    let mut gaps = Vec::new();
    if let Err(gap) = set.programs("programs of the system", &PROGRAMS) {
        gaps.push(gap);
    }
    match set.compiler() {
        Err(gap) => {
            gaps.push(gap);
            if toolchain::find_linker(&Machine::from_env()).is_none() {
                // Which LLVM it needs depends on the compiler.
                gaps.push(Gap {
                    what: "bpf-linker".to_owned(),
                    commands: vec!["cargo xtask setup   # once the compiler is there".to_owned()],
                    why: None,
                });
            }
        }
        Ok(compiler) => {
            if let Err(gap) = set.linker(&compiler) {
                gaps.push(gap);
            }
        }
    }
    if gaps.is_empty() {
        return Ok(());
    }
    let head = if set.install {
        "cannot install everything"
    } else {
        "not set up"
    };
    said(format!(
        "{head}:\n{}",
        gaps.iter().map(Gap::text).collect::<String>()
    ))
}

/// Installs what is missing of other programs than every verb needs; each comes with its Debian package.
pub(crate) fn programs(what: &str, programs: &[(&str, &str)]) -> Result<()> {
    match (Set { install: true }).programs(what, programs) {
        Ok(()) => Ok(()),
        Err(gap) => said(format!("cannot install everything:\n{}", gap.text())),
    }
}

/// Something that is missing and could not be installed.
struct Gap {
    what: String,
    /// The commands that would install it: any one of them.
    commands: Vec<String>,
    /// What the last one that was tried said.
    why: Option<String>,
}

impl Gap {
    fn text(&self) -> String {
        let Self {
            what,
            commands,
            why,
        } = self;
        let mut text = format!("  {what} is missing. Install it with:\n");
        for (nth, command) in commands.iter().enumerate() {
            text.extend(["    ", if nth == 0 { "" } else { "or: " }, command, "\n"]);
        }
        if let Some(why) = why {
            let why = why.trim_end().replace('\n', "\n    ");
            text.extend(["  It was tried, and failed: ", &why, "\n"]);
        }
        text
    }
}

/// A command that installs something.
struct Way {
    command: Command,
    /// Shown before the command where it has to be typed by hand.
    environment: String,
    needs_root: bool,
}

impl Way {
    fn apt(packages: &[String]) -> Self {
        let mut command = Command::new("apt-get");
        // `--no-remove`: some of these conflict with other Rust packages of the distribution.
        command
            .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
            .args(["-o", "DPkg::Lock::Timeout=300"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive");
        Self {
            command,
            environment: String::new(),
            needs_root: true,
        }
    }

    fn rustup(line: &str) -> Self {
        Self {
            command: shell::command(&format!("rustup {line}")),
            environment: String::new(),
            needs_root: false,
        }
    }

    fn text(&self) -> String {
        let sudo = if self.needs_root && !shell::is_root() {
            "sudo "
        } else {
            ""
        };
        format!("{sudo}{}{}", self.environment, text(&self.command))
    }
}

/// How to go about it.
struct Set {
    install: bool,
}

impl Set {
    /// Returns what `find` finds, after trying `ways` one after the other, or at last `otherwise`.
    fn item<T>(
        &self,
        what: &str,
        find: impl Fn(&Machine) -> Option<(T, String)>,
        ways: Vec<Way>,
        otherwise: impl Fn(&Machine) -> Option<(T, String)>,
    ) -> std::result::Result<T, Gap> {
        let mut why = None;
        let machine = Machine::from_env();
        // A way whose program is not here is no way on this machine.
        let ways: Vec<_> = ways
            .into_iter()
            .filter(|way| {
                let program = Path::new(way.command.get_program());
                program.is_absolute() || machine.in_path(&program.to_string_lossy()).is_some()
            })
            .collect();
        let commands = ways.iter().map(Way::text).collect();
        SetupStep::run(what, |step| {
            if let Some(found) = find(&machine) {
                return Ok(found);
            }
            for mut way in ways
                .into_iter()
                .filter(|way| !way.needs_root || shell::is_root())
            {
                if !self.install {
                    break;
                }
                step.doing(&text(&way.command));
                match install(step, &mut way.command) {
                    Ok(()) => {
                        if let Some(found) = find(&Machine::from_env()) {
                            return Ok(found);
                        }
                        why = Some("it ran, but what it installed does not serve".to_owned());
                    }
                    Err(failure) => why = Some(failure.to_string()),
                }
            }
            otherwise(&machine).map_or_else(|| said("missing"), Ok)
        })
        .map_err(|_| Gap {
            what: what.to_owned(),
            commands,
            why,
        })
    }

    fn programs(&self, what: &str, programs: &[(&str, &str)]) -> std::result::Result<(), Gap> {
        let lacking = |machine: &Machine| -> Vec<String> {
            let mut packages: Vec<_> = programs
                .iter()
                .filter(|(program, _)| find_program(machine, program).is_none())
                .map(|(_, package)| (*package).to_owned())
                .collect();
            packages.dedup();
            packages
        };
        let packages = lacking(&Machine::from_env());
        let what = if packages.is_empty() {
            what.to_owned()
        } else {
            format!("{what} ({})", packages.join(", "))
        };
        let find = |machine: &Machine| {
            lacking(machine).is_empty().then(|| {
                (
                    (),
                    programs
                        .iter()
                        .map(|(name, _)| *name)
                        .collect::<Vec<_>>()
                        .join(" "),
                )
            })
        };
        self.item(&what, find, vec![Way::apt(&packages)], |_| None)
    }

    fn compiler(&self) -> std::result::Result<Compiler, Gap> {
        let find = |machine: &Machine| {
            let found = toolchain::find_compiler(machine)?;
            let (major, minor) = found.version.release;
            let core = match found.core {
                CoreLibrary::Source => "with its source",
                CoreLibrary::Prebuilt => "compiled",
            };
            let word = format!("{core}, for {} {major}.{minor}", found.rustc.display());
            Some((found, word))
        };
        let packages = ["rustc-web", "libstd-rust-web-dev-bpf"].map(str::to_owned);
        let ways = vec![
            Way::apt(&packages),
            Way::rustup("component add rust-src"),
            Way::rustup("toolchain install nightly --profile minimal --component rust-src"),
        ];
        self.item("Rust's core library for BPF", find, ways, |_| None)
    }

    fn linker(&self, compiler: &Compiler) -> std::result::Result<(), Gap> {
        let find = |machine: &Machine| {
            toolchain::find_linker(machine).map(|linker| ((), linker.display().to_string()))
        };
        if find(&Machine::from_env()).is_some() {
            return self.item("bpf-linker", find, Vec::new(), |_| None);
        }
        let oldest = compiler.version.llvm;
        let major = oldest.max(*LINKER_LLVM.start());
        let found = |llvm: Llvm| {
            let word = llvm.prefix.display().to_string();
            (llvm, word)
        };
        let llvm = self.item(
            &format!("LLVM {major} or newer"),
            |machine| installed_llvm(machine, oldest).map(found),
            vec![Way::apt(&[format!("llvm-{major}-dev")])],
            // rustup's compilers bring the same library, only without a name that a linker finds.
            |machine| rustup_llvm(machine, oldest).map(found),
        )?;
        self.item("bpf-linker", find, vec![linker_way(&llvm)], |_| None)
    }
}

/// Runs an installer; apt's lists are brought up to date if it fails without that.
fn install(step: &SetupStep, command: &mut Command) -> Result<()> {
    let first = watched(command, |line| step.line(line));
    if first.is_ok() || command.get_program() != "apt-get" {
        return first;
    }
    let mut update = shell::command("apt-get update");
    step.doing(&text(&update));
    watched(&mut update, |line| step.line(line))?;
    watched(command, |line| step.line(line))
}

/// Finds `program` in `PATH`, or where administrators' programs lie.
fn find_program(machine: &Machine, program: &str) -> Option<PathBuf> {
    machine.in_path(program).or_else(|| {
        ["/usr/sbin", "/sbin"]
            .map(|dir| Path::new(dir).join(program))
            .into_iter()
            .find(|p| p.is_file())
    })
}

/// A directory with an LLVM to link against.
struct Llvm {
    prefix: PathBuf,
    major: u32,
}

/// Finds an LLVM that the distribution installed, and that can read what LLVM `oldest` wrote.
fn installed_llvm(machine: &Machine, oldest: u32) -> Option<Llvm> {
    let debian = LINKER_LLVM
        .filter(|major| *major >= oldest)
        .map(|major| Llvm {
            prefix: format!("/usr/lib/llvm-{major}").into(),
            major,
        });
    let elsewhere = || {
        let config = machine.in_path("llvm-config")?;
        let ask = |what| quiet(Command::new(&config).arg(what)).ok();
        let major = ask("--version")?.split('.').next()?.parse().ok()?;
        let prefix = ask("--prefix")?.trim().into();
        (LINKER_LLVM.contains(&major) && major >= oldest).then_some(Llvm { prefix, major })
    };
    let linkable = |llvm: &Llvm| {
        ["lib", "lib64"]
            .iter()
            .any(|lib| llvm.prefix.join(lib).join("libLLVM.so").exists())
    };
    debian
        .into_iter()
        .find(linkable)
        .or_else(|| elsewhere().filter(linkable))
}

/// Gives the LLVM inside one of rustup's compilers a directory that a linker understands.
fn rustup_llvm(machine: &Machine, oldest: u32) -> Option<Llvm> {
    let toolchains = fs::read_dir(machine.rustup_home.join("toolchains")).ok()?;
    let roots = toolchains.flatten().map(|dir| dir.path());
    roots.into_iter().find_map(|root| {
        let version = quiet(Command::new(root.join("bin/rustc")).arg("-vV")).ok()?;
        let major = toolchain::Version::parse(&version)?.llvm;
        if major < oldest || !LINKER_LLVM.contains(&major) {
            return None;
        }
        let library = fs::read_dir(root.join("lib"))
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .is_some_and(|name| name.to_string_lossy().starts_with("libLLVM.so."))
            })?;
        let prefix = machine.cache.join("llvm");
        expose(&library, &prefix.join("lib")).ok()?;
        Some(Llvm { prefix, major })
    })
}

/// Links `library` into `dir`, under its own name and the one that `-lLLVM` looks for.
fn expose(library: &Path, dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(doing(format!("clear {}", dir.display())))?;
    }
    fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))?;
    for name in [
        library.file_name().unwrap_or_default(),
        "libLLVM.so".as_ref(),
    ] {
        symlink(library, dir.join(name)).map_err(doing(format!("link {}", library.display())))?;
    }
    Ok(())
}

fn linker_way(llvm: &Llvm) -> Way {
    let Llvm { prefix, major } = llvm;
    let machine = Machine::from_env();
    let mut command = Command::new("cargo");
    toolchain::forget_the_host(&mut command);
    command
        .args([
            "install",
            "bpf-linker",
            "--locked",
            "--version",
            LINKER_VERSION,
        ])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{major}"),
            "--root",
        ])
        .arg(&machine.cache)
        .env("LLVM_PREFIX", prefix);
    let environment = format!("LLVM_PREFIX={} ", prefix.display());
    Way {
        command,
        environment,
        needs_root: false,
    }
}

/// Mounts the BPF file system where it is not, since tables and programs are pinned in it.
pub(crate) fn bpffs() -> Result<()> {
    let mounts = fs::read_to_string("/proc/mounts").map_err(doing("read /proc/mounts"))?;
    if is_bpffs_mounted(&mounts) {
        return Ok(());
    }
    SetupStep::run("BPF file system", |_| {
        quiet(&mut shell::command(&format!("mount -t bpf bpf {BPFFS}")))?;
        Ok(((), format!("mounted at {BPFFS}")))
    })
}

fn is_bpffs_mounted(mounts: &str) -> bool {
    // What was mounted last is what one sees.
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            (fields.next()? == BPFFS).then_some(fields.next()?)
        })
        .next_back()
        == Some("bpf")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bpffs_is_recognised_among_the_mounts() {
        let without = "sysfs /sys sysfs rw 0 0\nbpf /sys/fs/bpf/inner bpf rw 0 0\n";

        assert!(!is_bpffs_mounted(without));
        assert!(is_bpffs_mounted(&format!(
            "{without}none /sys/fs/bpf bpf rw,mode=700 0 0\n"
        )));
    }

    #[test]
    fn a_file_system_mounted_over_bpffs_hides_it() {
        let hidden = "bpf /sys/fs/bpf bpf rw 0 0\ntmpfs /sys/fs/bpf tmpfs rw 0 0\n";

        assert!(!is_bpffs_mounted(hidden));
    }

    #[test]
    fn a_gap_names_every_command_that_would_fill_it() {
        let gap = Gap {
            what: "bpf-linker".to_owned(),
            commands: vec!["one".to_owned(), "two".to_owned()],
            why: None,
        };

        assert_eq!(
            gap.text(),
            "  bpf-linker is missing. Install it with:\n    one\n    or: two\n"
        );
    }

    #[test]
    fn what_apt_installs_never_removes_a_package() {
        let way = Way::apt(&["llvm-22-dev".to_owned()]);

        assert!(way.text().contains("--no-remove") && way.text().ends_with(" llvm-22-dev"));
    }

    #[test]
    fn the_linker_is_built_against_the_llvm_that_was_found() {
        let way = linker_way(&Llvm {
            prefix: "/usr/lib/llvm-22".into(),
            major: 22,
        });

        let said = way.text();
        assert!(
            said.starts_with("LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker"),
            "{said}"
        );
        assert!(said.contains("--features llvm-22"), "{said}");
    }
}
