//! The API server's program.

use std::process::ExitCode;

/// A request makes a few hundred small pieces of memory and some large ones in between, at which glibc's allocator puts
/// together all that were let go: a quarter of the server's time under writes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let as_usual = || component::main::<apiserver::Flags>("apiserver", apiserver::main);
    apiserver::stand_in().unwrap_or_else(as_usual)
}
