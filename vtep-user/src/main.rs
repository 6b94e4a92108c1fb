//! The `vtep` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    vtep_user::cli::main(std::env::args_os())
}
