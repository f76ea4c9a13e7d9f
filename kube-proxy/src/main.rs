//! kube-proxy's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<kube_proxy::Args>("kube-proxy", kube_proxy::main)
}
