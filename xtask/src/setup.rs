//! `cargo xtask setup`: what building and running needs, installed where it is missing.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
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

/// A program, and the Debian packages that it takes, with blanks between them.
pub(crate) type Program = (&'static str, &'static str);

/// What links the host's side.
const LINKER: [Program; 1] = [("cc", "gcc")];

/// Programs that the verbs and the tests call.
const PROGRAMS: [Program; 7] = [
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("tc", "iproute2"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("mount", "mount"),
    ("nsenter", "util-linux"),
];

/// What reads the files of `vtep capture` in tests.
const READERS: [Program; 2] = [("tcpdump", "tcpdump"), ("tshark", "tshark")];

/// What checks the metrics and the rules in tests. Its package starts a server, so that it is never installed.
const PROMTOOL: Program = ("promtool", "prometheus");

/// The mount point of the BPF file system.
const BPFFS: &str = "/sys/fs/bpf";

/// Runs the verb.
pub(crate) fn run(check: bool) -> Result<()> {
    if !check {
        return ensure();
    }
    let set = Set { install: false };
    let needed = set.needed();
    let of_tests: Vec<_> = [
        set.programs("readers of captures, for tests", &READERS),
        set.promtool(),
    ]
    .into_iter()
    .filter_map(std::result::Result::err)
    .collect();
    if !of_tests.is_empty() {
        eprint!("tests will be skipped:\n{}", texts(&of_tests));
    }
    missing("not set up", &needed)
}

/// Installs what is missing; fails with the commands for what stays missing.
pub(crate) fn ensure() -> Result<()> {
    missing(
        "cannot install everything",
        &(Set { install: true }).needed(),
    )
}

/// Installs what tests need. Where programs of the system cannot be installed, says so, and leaves it to the tests to skip themselves; fails if
/// all of them are required, or nothing can be built.
pub(crate) fn ensure_tests(require_all: bool) -> Result<()> {
    let set = Set { install: true };
    missing("cannot install everything", &set.builders())?;
    let gaps = [
        set.programs("programs of the system", &PROGRAMS),
        set.programs("readers of captures", &READERS),
    ];
    let gaps: Vec<_> = gaps
        .into_iter()
        .filter_map(std::result::Result::err)
        .collect();
    if require_all {
        return missing("cannot install everything", &gaps);
    }
    if !gaps.is_empty() {
        eprint!("tests will be skipped:\n{}", texts(&gaps));
    }
    Ok(())
}

/// Unpacks promtool where only vtep's tests find it.
pub(crate) fn promtool() -> Result<()> {
    let gap = (Set { install: true }).promtool().err();
    missing("cannot install everything", gap.as_slice())
}

/// What tests find programs in: `PATH`, and where [`promtool`] unpacks.
pub(crate) fn path_of_tests() -> Result<OsString> {
    let mut machine = Machine::from_env();
    let dir = programs_of(&unpacked(&machine, PROMTOOL.1));
    machine.path.push(dir);
    match env::join_paths(&machine.path) {
        Ok(path) => Ok(path),
        Err(error) => said(format!("PATH: {error}")),
    }
}

/// Where the package is unpacked.
fn unpacked(machine: &Machine, package: &str) -> PathBuf {
    machine.cache.join("packages").join(package)
}

/// Where the programs of an unpacked package lie.
fn programs_of(dir: &Path) -> PathBuf {
    dir.join("usr/bin")
}

/// Fails if there is any gap.
fn missing(head: &str, gaps: &[Gap]) -> Result<()> {
    if gaps.is_empty() {
        return Ok(());
    }
    said(format!("{head}:\n{}", texts(gaps)))
}

fn texts(gaps: &[Gap]) -> String {
    gaps.iter().map(Gap::text).collect()
}

/// Installs what is missing of other programs than every verb needs.
pub(crate) fn programs(what: &str, programs: &[Program]) -> Result<()> {
    let gap = (Set { install: true }).programs(what, programs).err();
    missing("cannot install everything", gap.as_slice())
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
        let mut text = if commands.is_empty() {
            format!("  {what} is missing. Install it with the package manager of this system.\n")
        } else {
            format!("  {what} is missing. Install it with:\n")
        };
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
    /// It only downloads a package, which is unpacked here.
    unpack: Option<PathBuf>,
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
            unpack: None,
        }
    }

    /// Unpacks a Debian package without installing it.
    fn unpack(package: &str, dir: &Path) -> Self {
        let mut command = Command::new("apt-get");
        command.args(["download", package]);
        Self {
            command,
            environment: format!("mkdir -p {0} && cd {0} && ", dir.display()),
            needs_root: false,
            unpack: Some(dir.to_owned()),
        }
    }

    fn rustup(line: &str) -> Self {
        Self {
            command: shell::command(&format!("rustup {line}")),
            environment: String::new(),
            needs_root: false,
            unpack: None,
        }
    }

    fn text(&self) -> String {
        let sudo = if self.needs_root && !shell::is_root() {
            "sudo "
        } else {
            ""
        };
        let unpack = if self.unpack.is_some() {
            " && dpkg-deb -x *.deb ."
        } else {
            ""
        };
        format!("{sudo}{}{}{unpack}", self.environment, text(&self.command))
    }
}

/// How to go about it.
struct Set {
    install: bool,
}

impl Set {
    /// Goes through everything that every verb needs; returns what stays missing.
    fn needed(&self) -> Vec<Gap> {
        let mut gaps = self.builders();
        gaps.extend(self.programs("programs of the system", &PROGRAMS).err());
        gaps
    }

    /// Goes through what it takes to build both sides.
    fn builders(&self) -> Vec<Gap> {
        let mut gaps = Vec::new();
        gaps.extend(
            self.programs("the linker of the host's side", &LINKER)
                .err(),
        );
        match self.compiler() {
            Err(gap) => {
                gaps.push(gap);
                if toolchain::find_linker(&Machine::from_env()).is_none() {
                    // Which LLVM it needs depends on the compiler.
                    gaps.push(Gap {
                        what: "bpf-linker".to_owned(),
                        commands: vec![
                            "cargo xtask setup   # once the compiler is there".to_owned(),
                        ],
                        why: None,
                    });
                }
            }
            Ok(compiler) => gaps.extend(self.linker(&compiler).err()),
        }
        gaps
    }

    fn promtool(&self) -> std::result::Result<(), Gap> {
        let (program, package) = PROMTOOL;
        let dir = unpacked(&Machine::from_env(), package);
        let find = |machine: &Machine| {
            let found = find_program(machine, program)
                .or_else(|| Some(programs_of(&dir).join(program)).filter(|file| file.is_file()))?;
            Some(((), found.display().to_string()))
        };
        self.item(program, find, vec![Way::unpack(package, &dir)], |_| None)
    }

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
                match install(step, &mut way) {
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

    fn programs(&self, what: &str, programs: &[Program]) -> std::result::Result<(), Gap> {
        let lacking = |machine: &Machine| -> Vec<Program> {
            let programs = programs.iter().copied();
            programs
                .filter(|(program, _)| find_program(machine, program).is_none())
                .collect()
        };
        let missing = lacking(&Machine::from_env());
        let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
        let what = if missing.is_empty() {
            what.to_owned()
        } else {
            format!("{what} ({})", names.join(", "))
        };
        let packages = missing.iter().flat_map(|(_, packages)| packages.split(' '));
        let packages: BTreeSet<_> = packages.collect();
        let packages: Vec<_> = packages.into_iter().map(str::to_owned).collect();
        let find = |machine: &Machine| {
            lacking(machine).is_empty().then(|| {
                let names: Vec<_> = programs.iter().map(|(name, _)| *name).collect();
                ((), names.join(" "))
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

/// Goes a way to the end.
fn install(step: &SetupStep, way: &mut Way) -> Result<()> {
    let Some(dir) = way.unpack.clone() else {
        return run_installer(step, &mut way.command);
    };
    cleared(&dir)?;
    run_installer(step, way.command.current_dir(&dir))?;
    let reading = || doing(format!("read {}", dir.display()));
    for entry in fs::read_dir(&dir).map_err(reading())? {
        let file = entry.map_err(reading())?.path();
        let mut unpack = Command::new("dpkg-deb");
        quiet(unpack.arg("-x").args([&file, &dir]))?;
        fs::remove_file(&file).map_err(doing(format!("remove {}", file.display())))?;
    }
    Ok(())
}

/// Makes an empty directory.
fn cleared(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(doing(format!("clear {}", dir.display())))?;
    }
    fs::create_dir_all(dir).map_err(doing(format!("make {}", dir.display())))
}

/// Runs an installer; apt's lists are brought up to date if it fails without that.
fn run_installer(step: &SetupStep, command: &mut Command) -> Result<()> {
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
    cleared(dir)?;
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
        unpack: None,
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
    fn a_gap_that_nothing_fills_names_no_command() {
        let gap = Gap {
            what: "ip".to_owned(),
            commands: Vec::new(),
            why: None,
        };

        let text = gap.text();

        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.contains("ip is missing. Install it with the package manager"),
            "{text}"
        );
        assert!(!text.contains("apt"), "{text}");
    }

    #[test]
    fn a_package_that_starts_a_server_is_unpacked_and_not_installed() {
        let way = Way::unpack("prometheus", Path::new("/cache/prometheus"));

        assert!(!way.needs_root);
        assert_eq!(
            way.text(),
            "mkdir -p /cache/prometheus && cd /cache/prometheus && apt-get download prometheus && dpkg-deb -x *.deb ."
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
