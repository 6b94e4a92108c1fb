//! `cargo xtask test machines`: QEMU's machines as the virtual machines of hypervisors on this host, and one that moves.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::Path,
    process::Command,
};

use super::{PROGRAMS, Scratch, build, cpio::Archive, kernel::Kernel, parts, report};
use crate::{
    build::{Profile, vtep},
    setup,
    shell::{Result, doing, need_root, quiet, repository, said, target_dir},
    suite::BINARY,
    test::{self, Tally},
    toolchain::Machine,
};

/// The test target.
const TARGET: &str = "machines";

/// What runs in the machines, beside Debian's programs.
const PEER: &str = "peer";

/// What to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub(crate) struct Wanted {
    /// The machines' kernel: the beginning of a version that Debian has.
    #[arg(default_value = "6.12")]
    kernel: String,
    /// Only the tests whose names have this in them, as `cargo test` takes it.
    #[arg(long)]
    test: Option<String>,
    /// Write the results to docs/results/DATE-NAME.md.
    #[arg(long, value_name = "NAME")]
    record: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(wanted: &Wanted) -> Result<()> {
    need_root("test machines")?;
    setup::ensure()?;
    setup::programs("programs for guests", &PROGRAMS)?;
    setup::bpffs()?;
    let cache = Machine::from_env().cache.join("vm");
    let (roots, kernels) = parts(&cache, &[&wanted.kernel], false)?;
    let [kernel] = &kernels[..] else {
        return said("one kernel is needed");
    };
    let dir = Scratch::new(&target_dir()?.join("machines"))?;
    let vtep = vtep(Profile::Dev)?;
    let built = build::executables(&["--test", TARGET, "--bin", PEER])?;
    let (Some(tests), Some(peer)) = (built.get(TARGET), built.get(PEER)) else {
        return said(format!("cargo has not built {TARGET} and {PEER}"));
    };
    let initrd = dir.0.join("built");
    write(&initrd, &roots.plain, kernel, peer)
        .map_err(doing(format!("write {}", initrd.display())))?;

    let mut command = Command::new(tests);
    command
        .arg("--test-threads=1")
        .args(&wanted.test)
        .env(BINARY, vtep)
        .env("VTEP_MACHINE_KERNEL", &kernel.image)
        .env("VTEP_MACHINE_INITRD", &initrd);
    let notes = dir.0.join("notes");
    let mut lines = Vec::new();
    let (sum, success) = test::watched(command.env("VTEP_NOTES", &notes), |line| {
        lines.extend(line.strip_prefix("test ").map(str::to_owned));
    })?;
    drop(fs::remove_file(&initrd));
    let notes = fs::read_to_string(&notes).unwrap_or_default();
    if let Some(name) = &wanted.record {
        let head = report::Head::now()?;
        let host = quiet(Command::new("uname").arg("-r"))?;
        // Without what its builder calls it.
        let host = host.trim().split('-').next().unwrap_or_default();
        let text = page(&head, host, &kernel.release, &lines, &notes, sum);
        let file = repository().join(format!("docs/results/{}-{name}.md", head.date));
        fs::write(&file, text).map_err(doing(format!("write {}", file.display())))?;
    }
    println!("{sum}");
    if sum.is_good() && success {
        Ok(())
    } else {
        said("not every test passed")
    }
}

/// Writes what a machine starts with.
fn write(to: &Path, root: &Path, kernel: &Kernel, peer: &Path) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(to)?);
    for part in [root, &kernel.modules] {
        io::copy(&mut File::open(part)?, &mut out)?;
    }
    let mut archive = Archive::new(out);
    archive.file("init", 0o755, include_bytes!("machine.sh"))?;
    archive.file("peer", 0o755, &fs::read(peer)?)?;
    archive.end()?.flush()
}

/// The page with the results.
fn page(
    head: &report::Head,
    host: &str,
    release: &str,
    lines: &[String],
    notes: &str,
    sum: Tally,
) -> String {
    let mut page = format!(
        "# Machines, {}\n\n`{}` at {}: hypervisors on Linux {host}, {} without KVM, machines with Linux {release}. {sum}.\n\n",
        head.date, head.command, head.commit, head.qemu
    );
    for line in notes.lines() {
        page.extend(["- ", line, "\n"]);
    }
    page += "\n```text\n";
    for line in lines {
        page.extend([line, "\n"]);
    }
    page + "```\n"
}
