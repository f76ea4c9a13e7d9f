//! The scheduler's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<scheduler::Args>("scheduler", scheduler::main)
}
