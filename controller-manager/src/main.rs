//! The controller manager's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<controller_manager::Args>("controller-manager", controller_manager::main)
}
