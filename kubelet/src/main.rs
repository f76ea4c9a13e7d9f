//! The kubelet program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main("kubelet", kubelet::kubelet::run)
}
