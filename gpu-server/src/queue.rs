//! What is asked of the server over HTTP: `/healthz`, and `/queue`, how the Slurm cluster is doing.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{runtime::Handle, sync::Mutex, task::JoinError, time::Instant};

use crate::{args::SshArgs, login, remote::Remote, slurm, ssh::Error};

/// How long an answer is everybody's.
const FRESH: Duration = Duration::from_secs(5);

struct Asked {
    args: SshArgs,
    /// The last answer. Who waits for it to be free waits for the same one.
    last: Mutex<Option<(Instant, String)>>,
}

pub(crate) fn router(args: SshArgs) -> Router {
    let asked = Arc::new(Asked { args, last: Mutex::default() });
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/queue", get(answer))
        .with_state(asked)
}

async fn answer(State(asked): State<Arc<Asked>>) -> Response {
    let mut last = asked.last.lock().await;
    if let Some((_, text)) = last.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
        return json(text.clone());
    }
    // On a thread of its own, since rustc does not find that the future may go from one to another.
    let (handle, args) = (Handle::current(), asked.args.clone());
    let answer = tokio::task::spawn_blocking(move || handle.block_on(ask(&args))).await;
    let failed = |error: JoinError| Err(Error::failed("the queue", error.to_string()));
    match answer.unwrap_or_else(failed) {
        Ok(text) => {
            *last = Some((Instant::now(), text.clone()));
            json(text)
        }
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

fn json(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Over a connection of its own: a job that has ended has none.
async fn ask(args: &SshArgs) -> Result<String, Error> {
    let remote = Remote::connect(&login::target(args)?).await?;
    let queue = slurm::queue(&remote).await;
    remote.close().await;
    let failed = |error: serde_json::Error| Error::failed("the queue", error.to_string());
    serde_json::to_string(&queue?).map_err(failed)
}
