//! The `galenic` program: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    galenic::cli::main()
}
