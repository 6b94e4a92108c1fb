//! `cargo xtask ci`: what a change must pass.

use std::process::Command;

use crate::{
    arm64, bench, dist, setup,
    shell::{Result, cargo, cargo_command, cargo_text, command, quiet, shown},
    test, vm,
};

/// Runs the verb.
pub(crate) fn run() -> Result<()> {
    setup::ensure()?;
    lint_tools()?;
    setup::promtool()?;
    for mut command in lints() {
        println!("\n==> {}", cargo_text(&command));
        shown(&mut command)?;
    }
    test::every(None, true)?;
    println!("\n==> cargo xtask dist --trial");
    dist::trial()?;
    println!("\n==> cargo xtask test vm {} --brief", vm::OLDEST);
    vm::run(&vm::Wanted::of_every_change())?;
    println!("\n==> cargo xtask test arm64 --build-only");
    arm64::build_only()?;
    println!("\n==> cargo xtask bench --smoke");
    bench::smoke()
}

/// Installs rustfmt and clippy, which rustup's minimal profile leaves out.
fn lint_tools() -> Result<()> {
    for (tool, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if quiet(Command::new(cargo()).args([tool, "--version"])).is_err() {
            shown(&mut command(&format!("rustup component add {component}")))?;
        }
    }
    Ok(())
}

fn lints() -> Vec<Command> {
    let lines = [
        "fmt --all --check",
        "fmt --manifest-path vtep-ebpf/Cargo.toml --check",
        "clippy --workspace --all-targets -- -D warnings",
        // Which `cargo test` passes over: `cargo xtask test vm` runs them.
        "clippy --package vtep-tests --test wiring --test cards --test installed_service --test machines -- -D warnings",
        // For the host's target: clippy belongs to a compiler, and the one that builds for BPF may
        // come without.
        "clippy --manifest-path vtep-ebpf/Cargo.toml -- -D warnings",
        "clippy --manifest-path vtep-ebpf/Cargo.toml --features capture -- -D warnings",
        "fmt --manifest-path fuzz/Cargo.toml --check",
        "clippy --manifest-path fuzz/Cargo.toml --all-targets -- -D warnings",
    ];
    let mut commands: Vec<_> = lines.into_iter().map(cargo_command).collect();
    for command in &mut commands {
        // Nothing is linked here, so libFuzzer need not be built, which would take a C++ compiler.
        command.env("CUSTOM_LIBFUZZER_PATH", "./libfuzzer.a");
    }
    let mut doc = cargo_command("doc --workspace --no-deps");
    doc.env("RUSTDOCFLAGS", "-D warnings");
    commands.push(doc);
    commands
}
