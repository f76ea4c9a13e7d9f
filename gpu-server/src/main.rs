//! The GPU job server's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<gpu_server::Invocation>("gpu-server", gpu_server::main)
}
