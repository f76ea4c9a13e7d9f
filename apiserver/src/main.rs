//! `apiserver`: see the library.

mod flags;

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main("apiserver", flags::run)
}
