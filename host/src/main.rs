//! The `galenic` program: parse, run, exit code.

use std::process::ExitCode;

/// A quarter of the time of a paid order went into the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    galenic::cli::main()
}
