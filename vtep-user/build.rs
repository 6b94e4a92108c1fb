//! Builds the kernel side, so that the `vtep` binary carries it.
//!
//! `VTEP_EBPF_OBJECT` and `VTEP_EBPF_CAPTURE_OBJECT` name the objects for `include_bytes!`. One that is set in the environment
//! of the build was built elsewhere, and is not built here.

#[path = "../xtask/src/toolchain.rs"]
mod toolchain;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use toolchain::{CoreLibrary, Machine, TARGET};

fn main() -> ExitCode {
    for object in [&FORWARDS, &CAPTURES] {
        match find(object) {
            Ok(path) => println!("cargo:rustc-env={}={}", object.variable, path.display()),
            Err(message) => {
                for line in message.lines() {
                    println!("cargo:warning={line}");
                }
                eprintln!("{message}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

/// One build of the kernel side.
struct Object {
    /// What names it for `include_bytes!`, and may name one that was built elsewhere.
    variable: &'static str,
    /// Where it is built, below `OUT_DIR`.
    directory: &'static str,
    features: &'static [&'static str],
}

/// The programs that forward.
const FORWARDS: Object = Object {
    variable: "VTEP_EBPF_OBJECT",
    directory: "ebpf",
    features: &[],
};

/// Those that stand in for them during a capture. They are built apart, so that a capture costs nothing while there is none.
const CAPTURES: Object = Object {
    variable: "VTEP_EBPF_CAPTURE_OBJECT",
    directory: "ebpf-capture",
    features: &["--features", "capture"],
};

fn find(object: &Object) -> Result<PathBuf, String> {
    let variable = object.variable;
    println!("cargo:rerun-if-env-changed={variable}");
    println!("cargo:rerun-if-env-changed=VTEP_CACHE_DIR");
    if let Some(built) = env::var_os(variable).map(PathBuf::from) {
        println!("cargo:rerun-if-changed={}", built.display());
        return built
            .is_file()
            .then_some(built)
            .ok_or_else(|| format!("{variable} names no file"));
    }
    let var = |name| env::var_os(name).ok_or_else(|| format!("{name} is not set"));
    let repository = PathBuf::from(var("CARGO_MANIFEST_DIR")?).join("..");
    for input in [
        "vtep-ebpf/Cargo.toml",
        "vtep-ebpf/Cargo.lock",
        "vtep-ebpf/src",
        "vtep-common/Cargo.toml",
        "vtep-common/src",
        "xtask/src/toolchain.rs",
        "vtep-user/build.rs",
    ] {
        println!(
            "cargo:rerun-if-changed={}",
            repository.join(input).display()
        );
    }
    let target_dir = PathBuf::from(var("OUT_DIR")?).join(object.directory);
    build(&var("CARGO")?, &repository, &target_dir, object.features)
}

fn build(
    cargo: &OsString,
    repository: &Path,
    target_dir: &Path,
    features: &[&str],
) -> Result<PathBuf, String> {
    let machine = Machine::from_env();
    let compiler = toolchain::find_compiler(&machine).ok_or_else(|| {
        format!("no Rust compiler here has `core` for {TARGET}; install it with: cargo xtask setup")
    })?;
    let linker = toolchain::find_linker(&machine)
        .ok_or("bpf-linker is not installed; install it with: cargo xtask setup")?;
    println!("cargo:rerun-if-changed={}", linker.display());
    let (major, minor) = compiler.version.release;
    let llvm = compiler.version.llvm;
    let with = format!("{} {major}.{minor} (LLVM {llvm})", compiler.rustc.display());
    let mut command = Command::new(cargo);
    toolchain::forget_the_host(&mut command);
    command
        .args(["build", "--release", "--target", TARGET])
        .arg("--manifest-path")
        .arg(repository.join("vtep-ebpf/Cargo.toml"))
        .arg("--target-dir")
        .arg(target_dir)
        .args(features)
        .env("RUSTC", compiler.rustc)
        // Stable compilers know the target, but build for it only so.
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker)
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            "-Cdebuginfo=2\u{1f}-Clink-arg=--btf",
        );
    if compiler.core == CoreLibrary::Source {
        command.args(["-Z", "build-std=core"]);
    }
    let status = command
        .status()
        .map_err(|error| format!("cannot start cargo for the kernel side: {error}"))?;
    if status.success() {
        Ok(target_dir.join(TARGET).join("release/vtep-ebpf"))
    } else {
        Err(format!(
            "the kernel side does not build with {with}; cargo says why"
        ))
    }
}
