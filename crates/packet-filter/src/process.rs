//! The tools, as processes.

use std::{
    io,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt, process::Command};

use crate::Error;

/// How much of what a tool says of a refusal is told: it may repeat thousands of elements.
const SAID: usize = 400;

/// Runs it to its end.
pub(crate) async fn output(
    tool: &'static str,
    arguments: &[&str],
    input: &str,
) -> Result<Output, Error> {
    run(tool, arguments, input).await.map_err(|error| Error::Run(tool, error))
}

async fn run(tool: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended before it read all says why.
        match stdin.write_all(input.as_bytes()).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output().await
}

pub(crate) fn refused(command: String, output: &Output) -> Error {
    let said = String::from_utf8_lossy(&output.stderr);
    Error::Refused { command, message: said.trim().chars().take(SAID).collect() }
}
