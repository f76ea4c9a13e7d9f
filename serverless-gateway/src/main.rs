//! The serverless gateway's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    component::main::<serverless_gateway::Args>("serverless-gateway", serverless_gateway::main)
}
