//! Developer commands: everything that is done with this repository is one of these.

mod arm64;
mod bench;
mod build;
mod ci;
mod demo;
mod dist;
mod fuzz;
mod progress;
mod run;
mod setup;
mod shell;
mod suite;
mod test;
mod toolchain;
mod upgrade;
mod vm;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

/// Set up, build, run, test and measure vtep.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Verb {
    /// Install what building and running needs; what is there already is left alone.
    Setup {
        /// Install nothing: only say what is missing, and fail if anything is.
        #[arg(long)]
        check: bool,
    },
    /// Set up, then build both sides in release mode.
    Build,
    /// Set up, build, and run the daemon: `cargo xtask run --iface eth0`.
    #[command(disable_help_flag = true)]
    Run {
        /// Options of `vtep run`, passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Set up, then run every test; without root those that need it are skipped aloud.
    #[command(args_conflicts_with_subcommands = true)]
    Test {
        /// Run only the tests whose name contains this.
        filter: Option<String>,
        #[command(subcommand)]
        elsewhere: Option<Elsewhere>,
    },
    /// What a change must pass: formatting, lints, documentation, and every test without a skip.
    Ci,
    /// Show hypervisors whose virtual machines share a segment, in network namespaces.
    Demo {
        /// Leave it running, and say how to look around.
        #[arg(long)]
        keep: bool,
        /// Write what it shows to docs/demo.md.
        #[arg(long, conflicts_with = "keep")]
        record: bool,
    },
    /// Measure vtep beside the kernel's own vxlan device and bridge; `--help` lists the cases.
    #[command(disable_help_flag = true)]
    Bench {
        /// Options of the suite, passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Upgrade from an earlier build of vtep to this one under traffic, or keep what it had pinned: `cargo xtask upgrade OLD_VTEP`.
    #[command(disable_help_flag = true)]
    Upgrade {
        /// The earlier build and options, passed on as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<OsString>,
    },
    /// Build what people install, in target/dist: a Debian package, and an archive with a binary that needs no library.
    Dist {
        /// Only try a package of the development build: install, upgrade, remove and purge it in a copy of this system, as root.
        #[arg(long)]
        trial: bool,
    },
    /// Run the fuzz targets; needs a C++ compiler for libFuzzer. A finding fails, and is kept in fuzz/artifacts.
    Fuzz {
        /// Only this target: `outer`, `decide_uplink`, `decide_port` or `path_report`.
        target: Option<String>,
        /// Inputs for each target, generated ones and those of the corpus.
        #[arg(long, default_value_t = 10_000_000)]
        runs: u64,
    },
}

/// Where else tests run.
#[derive(Debug, clap::Subcommand)]
enum Elsewhere {
    /// Run the tests that depend on the kernel in QEMU guests: with other kernels and network cards.
    Vm(vm::Wanted),
    /// Run QEMU's machines as virtual machines of hypervisors on this host, and move one while it runs.
    Machines(vm::machines::Wanted),
    /// Build for 64-bit Arm, and run the unit tests there by emulation (QEMU's user mode).
    Arm64 {
        /// Only build the daemon and its programs, and start it once.
        #[arg(long)]
        build_only: bool,
    },
}

fn main() -> ExitCode {
    let done = match Verb::parse() {
        Verb::Setup { check } => setup::run(check),
        Verb::Build => build::run(),
        Verb::Run { args } => run::run(&args),
        Verb::Test {
            elsewhere: Some(Elsewhere::Vm(wanted)),
            ..
        } => vm::run(&wanted),
        Verb::Test {
            elsewhere: Some(Elsewhere::Machines(wanted)),
            ..
        } => vm::machines::run(&wanted),
        Verb::Test {
            elsewhere: Some(Elsewhere::Arm64 { build_only: true }),
            ..
        } => arm64::build_only(),
        Verb::Test {
            elsewhere: Some(Elsewhere::Arm64 { build_only: false }),
            ..
        } => arm64::run(),
        Verb::Test { filter, .. } => test::run(filter.as_deref()),
        Verb::Ci => ci::run(),
        Verb::Demo { keep, record } => demo::run(keep, record),
        Verb::Bench { args } => bench::run(&args),
        Verb::Upgrade { args } => upgrade::run(&args),
        Verb::Dist { trial: false } => dist::run(),
        Verb::Dist { trial: true } => dist::trial(),
        Verb::Fuzz { target, runs } => fuzz::run(target.as_deref(), runs),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn run_passes_every_option_on() {
        let verb = Verb::parse_from([
            "xtask", "run", "--iface", "eth0", "--local", "::1", "--help",
        ]);

        let Verb::Run { args } = verb else {
            panic!("{verb:?}")
        };
        assert_eq!(args, ["--iface", "eth0", "--local", "::1", "--help"]);
    }

    #[test]
    fn the_command_line_is_sound() {
        <Verb as clap::CommandFactory>::command().debug_assert();
    }
}
