//! Programs that make links, as processes that end with whoever waits for them.

use std::{
    io,
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{io::AsyncWriteExt, process::Command};

/// How much of what a program says of a failure is told.
const SAID: usize = 400;

/// How long one may take: as long as Kubernetes' kubelet waits for a runtime.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs it to its end, with this on its standard input. One that takes too long is killed.
pub(super) async fn output(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    within(PATIENCE, command, input).await
}

async fn within(limit: Duration, command: &mut Command, input: &[u8]) -> io::Result<Output> {
    tokio::time::timeout(limit, run(command, input)).await.unwrap_or_else(|_| {
        let why = format!("it did not end within {} seconds", limit.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, why))
    })
}

async fn run(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that has ended before it read all says why.
        match stdin.write_all(input).await {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
            _ => {}
        }
    }
    child.wait_with_output().await
}

/// What a program has said, for people.
pub(super) fn said(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().chars().take(SAID).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_does_not_end_is_not_waited_for() {
        let mut command = Command::new("sleep");
        let ended = within(Duration::from_millis(50), command.arg("1000"), &[]).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
