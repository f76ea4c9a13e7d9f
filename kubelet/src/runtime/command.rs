//! Commands that run in a container to their end, nobody looking on.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use futures::TryStreamExt;
use tokio_util::sync::CancellationToken;

use super::{
    Runtime, RuntimeError,
    process::{Command, Exec, Output, Streams},
};

/// How much of a command's output is kept, as Kubernetes does for probes.
const OUTPUT_BYTES: usize = 10 << 10;

/// Runs a command to its end; gives its exit status and what it has written, wherever. One that takes too
/// long, or that nobody waits for any more, is ended.
pub async fn run(
    runtime: Arc<dyn Runtime>,
    id: &str,
    words: &[String],
    timeout: Duration,
) -> Result<(i64, String), RuntimeError> {
    let command = Command { words: words.to_vec(), ..Command::default() };
    let given_up = CancellationToken::new();
    let _waiting = given_up.clone().drop_guard();
    // In a task of its own: one that is given up while it begins is known once it has begun.
    let running = tokio::spawn(to_end(runtime, id.to_owned(), command, given_up));
    let late = |_| RuntimeError::Failed(format!("command timed out after {timeout:?}"));
    match tokio::time::timeout(timeout, running).await.map_err(late)? {
        Ok(outcome) => outcome,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(error) => Err(RuntimeError::Failed(error.to_string())),
        },
    }
}

async fn to_end(
    runtime: Arc<dyn Runtime>,
    id: String,
    command: Command,
    given_up: CancellationToken,
) -> Result<(i64, String), RuntimeError> {
    let Exec { id, streams } = runtime.exec(&id, &command).await?;
    if let Some(outcome) = given_up.run_until_cancelled(outcome(&*runtime, &id, streams)).await {
        return outcome;
    }
    if let Err(error) = runtime.end_exec(&id).await {
        tracing::info!(%error, command = ?command.words, "a command goes on that took too long");
    }
    Err(RuntimeError::Failed("it was given up".to_owned()))
}

async fn outcome(
    runtime: &dyn Runtime,
    exec: &str,
    mut streams: Streams,
) -> Result<(i64, String), RuntimeError> {
    let mut text = Vec::new();
    // Read to its end, or the command would wait for somebody who reads.
    while let Some(Output::Stdout(part) | Output::Stderr(part)) = streams.output.try_next().await? {
        let kept = part.len().min(OUTPUT_BYTES - text.len());
        text.extend_from_slice(&part[..kept]);
    }
    Ok((runtime.exec_status(exec).await?, String::from_utf8_lossy(&text).into_owned()))
}
