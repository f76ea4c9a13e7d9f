//! The API server's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<apiserver::Flags>("apiserver", apiserver::main)
}
