//! A server that is sent events, many at once (Kubernetes: `k8s.io/apiserver/plugin/pkg/audit/webhook`).

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::{
    sink::{BUFFER, Events, Room},
    truncate::Truncation,
};
use crate::{kubelet_client::causes, webhook_client::kubeconfig::Remote};

/// How often a batch is sent that is not taken.
const ATTEMPTS: u32 = 5;
/// How long it may take for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// What a stop leaves to a server that does not answer, for all that is left.
pub(super) const FAREWELL: Duration = Duration::from_secs(5);

/// How events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batches {
    /// So many wait at most.
    pub buffer: usize,
    /// So many are sent at once, at most.
    pub most: usize,
    /// For how long the first of them waits for others.
    pub wait: Duration,
    /// After how long a batch is sent again that was not taken; each time it is half as long again.
    pub backoff: Duration,
    /// How long events may be, and how many bytes of them are sent at once; none: any.
    pub truncation: Option<Truncation>,
}

/// Kubernetes' (`defaultWebhookBatchConfig`).
impl Default for Batches {
    fn default() -> Self {
        let (wait, backoff) = (Duration::from_secs(30), Duration::from_secs(10));
        Self { buffer: BUFFER, most: 400, wait, backoff, truncation: None }
    }
}

/// Sends one batch.
async fn post(server: &Remote, body: Bytes) -> Result<(), String> {
    let answer = server.post(body).send().await;
    let answer = answer.map_err(|error| causes(&error.without_url()))?;
    match answer.status().is_success() {
        true => Ok(()),
        false => Err(format!("the server answers {}", answer.status())),
    }
}

/// Sends all events, until there are no more, or the stop has waited long enough.
pub(super) async fn send(
    server: Remote,
    mut events: Events,
    batches: Batches,
    lost: Counter,
    closing: CancellationToken,
) {
    let mut overdue = pin!(async {
        closing.cancelled().await;
        sleep(FAREWELL).await;
    });
    loop {
        let batch = collect(&mut events, batches, &closing).await;
        if batch.is_empty() {
            return;
        }
        tokio::select! {
            is_taken = deliver(&server, list(&batch), batches.backoff, &closing) => if !is_taken {
                lost.inc_by(batch.len() as u64);
            },
            () = &mut overdue => return give_up(events, batch.len(), &lost, &closing).await,
        }
    }
}

/// What is sent together: the first event waits for others. Nothing when all have come after the end.
async fn collect(events: &mut Events, batches: Batches, closing: &CancellationToken) -> Vec<Bytes> {
    let room = Room::new(batches.most, batches.truncation);
    let mut batch = events.next(room, closing).await;
    let due = Instant::now() + batches.wait;
    while !batch.is_empty() && batch.len() < batches.most {
        match timeout_at(due, events.next(room.beside(&batch), closing)).await {
            Ok(more) if !more.is_empty() => batch.extend(more),
            // It is late, there are no more, or the next has no room.
            _ => break,
        }
    }
    batch
}

/// Counts what nobody takes any more, with those of a batch that is on its way.
async fn give_up(mut events: Events, mut left: usize, lost: &Counter, closing: &CancellationToken) {
    loop {
        let more = events.next(Room::new(BUFFER, None), closing).await.len();
        if more == 0 {
            break;
        }
        left += more;
    }
    lost.inc_by(left as u64);
    tracing::error!(
        left,
        "audit events are lost: the webhook does not answer, and the server stops"
    );
}

/// An `EventList` of encoded events.
fn list(events: &[Bytes]) -> Bytes {
    let mut body =
        br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#.to_vec();
    for (i, event) in events.iter().enumerate() {
        if i > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event.trim_ascii_end());
    }
    body.extend_from_slice(b"]}");
    body.into()
}

/// Whether they were taken.
async fn deliver(
    server: &Remote,
    body: Bytes,
    mut pause: Duration,
    closing: &CancellationToken,
) -> bool {
    for attempt in 1..=ATTEMPTS {
        let Err(why) = post(server, body.clone()).await else { return true };
        if attempt == ATTEMPTS || closing.is_cancelled() {
            tracing::error!(why, "audit events are lost: the webhook does not take them");
            return false;
        }
        tracing::warn!(why, "audit events are sent again");
        tokio::select! {
            () = sleep(pause) => {}
            () = closing.cancelled() => {}
        }
        pause = pause * 3 / 2;
    }
    false
}

#[cfg(test)]
mod tests {
    use std::{fs, net::SocketAddr};

    use axum::{Router, http::StatusCode, routing};
    use serde_json::json;
    use tokio::{
        net::TcpListener,
        sync::{mpsc, watch},
    };

    use super::*;
    use crate::audit::sink::Sink;

    fn remote(address: SocketAddr) -> Remote {
        let directory = tempfile::tempdir().unwrap();
        let kubeconfig = directory.path().join("kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "a", "user": ""}}],
            "clusters": [{"name": "a", "cluster": {"server": format!("http://{address}")}}],
        });
        fs::write(&kubeconfig, config.to_string()).unwrap();
        Remote::of(&kubeconfig, PATIENCE).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_but_a_moment_for_a_server_that_does_not_answer() {
        // Connections are taken by the kernel, and by nobody else.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = remote(listener.local_addr().unwrap());
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (losses, end) = (lost.clone(), closing.clone());
        let batches = Batches { most: 2, ..Batches::default() };
        let sink = Sink::begin("webhook", BUFFER, lost.clone(), move |events| {
            send(server, events, batches, losses, closing)
        });
        for event in ["{}\n"; 7] {
            sink.tell(event.as_bytes());
        }
        end.cancel();
        let begun = Instant::now();
        sink.ended().await;
        assert!(begun.elapsed() <= FAREWELL + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_eq!(lost.get(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn events_that_are_too_long_together_are_sent_one_batch_after_the_other() {
        let closing = CancellationToken::new();
        let (seen, mut see) = mpsc::unbounded_channel();
        let batches = Batches { truncation: Truncation::new(7, 7).ok(), ..Batches::default() };
        let (end, lost) = (closing.clone(), Counter::default());
        let sink = Sink::begin("webhook", BUFFER, lost, move |mut events: Events| async move {
            loop {
                let batch = collect(&mut events, batches, &closing).await;
                if batch.is_empty() {
                    return;
                }
                seen.send(batch.len()).unwrap();
            }
        });
        for event in ["{}\n"; 5] {
            sink.tell(event.as_bytes());
        }
        end.cancel();
        sink.ended().await;
        for expected in [Some(2), Some(2), Some(1), None] {
            assert_eq!(see.recv().await, expected);
        }
    }

    /// A server that refuses so many times is asked so often, and so many events are lost.
    async fn check(refusals: u32, expected: (u32, u64)) {
        let asked = watch::Sender::new(0);
        let asking = asked.clone();
        let answer = async move || {
            asking.send_modify(|times| *times += 1);
            match *asking.borrow() <= refusals {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::OK,
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = remote(listener.local_addr().unwrap());
        let routes = Router::new().route("/", routing::post(answer));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (losses, end) = (lost.clone(), closing.clone());
        let batches = Batches { wait: Duration::ZERO, ..Batches::default() };
        let sink = Sink::begin("webhook", BUFFER, lost.clone(), move |events| {
            send(server, events, batches, losses, closing)
        });
        sink.tell(b"{}\n");
        asked.subscribe().wait_for(|times| *times >= expected.0).await.unwrap();
        end.cancel();
        sink.ended().await;
        assert_eq!((*asked.borrow(), lost.get()), expected, "{refusals} refusals");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_taken_is_sent_again_a_few_times_and_then_counted() {
        check(0, (1, 0)).await;
        check(ATTEMPTS - 1, (ATTEMPTS, 0)).await;
        check(u32::MAX, (ATTEMPTS, 1)).await;
    }
}
