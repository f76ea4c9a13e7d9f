//! The `kubectl` program; everything it does is in the library.

use std::process::ExitCode;

use kubectl::{Environment, Io};

/// One thread is enough for a command that mostly waits, and starts faster.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    kubectl::run(std::env::args_os(), Io::process(), Environment::process()).await
}
