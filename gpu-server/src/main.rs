//! The GPU job server's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<gpu_server::Args>("gpu-server", gpu_server::main)
}
