//! What is asked of the server over HTTP: `/healthz`, and `/queue`, how the Slurm cluster is doing.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{runtime::Handle, sync::Mutex, time::Instant};

use crate::{args::SshArgs, link::AFTER_REFUSAL, login, remote::Remote, slurm, ssh::Error};

/// How long an answer is everybody's.
const FRESH: Duration = Duration::from_secs(5);

struct Asked {
    args: SshArgs,
    /// The last answer. Who waits for it to be free waits for the same one.
    last: Arc<Mutex<Option<Answer>>>,
}

/// What was said, whatever it is: asking again and again for what is refused may lock the user out.
#[derive(Clone)]
struct Answer {
    said: Result<String, String>,
    until: Instant,
}

impl Answer {
    fn new(said: Result<String, Error>, now: Instant) -> Self {
        let lasts = if matches!(said, Err(Error::Refused(_))) { AFTER_REFUSAL } else { FRESH };
        Self { said: said.map_err(|error| error.to_string()), until: now + lasts }
    }
}

pub(crate) fn router(args: SshArgs) -> Router {
    let asked = Arc::new(Asked { args, last: Arc::default() });
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/queue", get(answer))
        .with_state(asked)
}

async fn answer(State(asked): State<Arc<Asked>>) -> Response {
    let args = asked.args.clone();
    // On a thread of its own, since rustc does not find that the future may go from one to another.
    let ask = async {
        let handle = Handle::current();
        let asking = tokio::task::spawn_blocking(move || handle.block_on(ask(&args))).await;
        asking.unwrap_or_else(|error| Err(Error::failed("the queue", error.to_string())))
    };
    match once(&asked.last, ask).await {
        Ok(text) => json(text),
        Err(words) => (StatusCode::SERVICE_UNAVAILABLE, format!("{words}\n")).into_response(),
    }
}

/// What `ask` says, or has said a short time ago. One asks at a time, and comes to its end though nobody waits for it.
async fn once(
    last: &Arc<Mutex<Option<Answer>>>,
    ask: impl Future<Output = Result<String, Error>> + Send + 'static,
) -> Result<String, String> {
    let mut last = last.clone().lock_owned().await;
    if let Some(answer) = last.as_ref().filter(|answer| answer.until > Instant::now()) {
        return answer.said.clone();
    }
    let asking = tokio::spawn(async move {
        let answer = Answer::new(ask.await, Instant::now());
        *last = Some(answer.clone());
        answer.said
    });
    asking.await.unwrap_or_else(|error| Err(error.to_string()))
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

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    async fn refused() -> Result<String, Error> {
        Err(Error::Refused("no".to_owned()))
    }

    #[tokio::test]
    async fn a_refusal_is_everybodys_for_a_minute() {
        let (last, now) = (Arc::default(), Instant::now());
        assert_eq!(once(&last, refused()).await, Err("no".to_owned()));
        let again = async { Err(Error::Unreachable("asked twice".to_owned())) };
        assert_eq!(once(&last, again).await, Err("no".to_owned()));
        let over = Answer { said: Err("no".to_owned()), until: now };
        *last.lock().await = Some(over);
        assert_eq!(once(&last, async { Ok("yes".to_owned()) }).await, Ok("yes".to_owned()));
        assert_eq!(Answer::new(refused().await, now).until, now + AFTER_REFUSAL);
        assert_eq!(Answer::new(Ok(String::new()), now).until, now + FRESH);
    }

    #[tokio::test]
    async fn who_has_gone_leaves_its_answer_to_others() {
        let (last, (answer, said)) = (Arc::default(), oneshot::channel::<String>());
        let asking = async { Ok(said.await.unwrap()) };
        assert!(once(&last, asking).now_or_never().is_none(), "it waits, and is dropped");
        answer.send("the queue".to_owned()).unwrap();
        let other = async { Err(Error::Unreachable("asked twice".to_owned())) };
        assert_eq!(once(&last, other).await, Ok("the queue".to_owned()));
    }
}
