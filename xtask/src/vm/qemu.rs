//! The command that starts a guest.

use std::{path::Path, process::Command};

use super::{card::Card, kernel::Kernel};

/// The program, and the Debian package that has it.
pub(super) const PROGRAM: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

/// A machine that computes as it does wherever it runs: its clock counts instructions, so that no timeout depends on
/// how busy the host is, and waiting takes no time (ADR 20).
const MACHINE: [&str; 22] = [
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
    "-machine",
    "pc",
    "-cpu",
    // Five-level page tables cost the emulator time, and nobody here needs them.
    "max,-la57",
    "-accel",
    "tcg,thread=single",
    "-smp",
    "1",
    "-m",
    "1536",
    "-icount",
    "shift=0,sleep=off",
    "-rtc",
    "clock=vm",
    "-append",
    "console=ttyS0 panic=-1 loglevel=5",
    "-serial",
];

/// The guest's machine: the kernel, what it starts with, and its cards. The console goes to a file, and what its tests say to
/// standard output.
pub(super) fn command(
    kernel: &Kernel,
    initrd: &Path,
    console: &Path,
    card: Option<&Card>,
) -> Command {
    // Whatever ends this process, a guest ends with it.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some(card) = card {
        command.args(card.host());
    }
    command.arg(PROGRAM.0).args(MACHINE);
    command.arg(format!("file:{}", console.display()));
    command.args(["-serial", "stdio"]);
    command.arg("-kernel").arg(&kernel.image);
    command.arg("-initrd").arg(initrd);
    if let Some(card) = card {
        command.args(card.devices());
    }
    command
}
