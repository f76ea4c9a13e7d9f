//! Where events go, by way of a buffer.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// So many events wait at most (Kubernetes: `defaultBatchBufferSize`).
pub(super) const BUFFER: usize = 10_000;

/// So many bytes of events wait at most: one event may be of some megabytes.
const BYTES: usize = 256 << 20;

/// Encoded events, in order.
pub(super) struct Events {
    receiver: mpsc::Receiver<Bytes>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
}

impl Events {
    /// Some more, as soon as there are any; none when all have come after the end.
    pub(super) async fn next(&mut self, most: usize, closing: &CancellationToken) -> Vec<Bytes> {
        let batch = self.take(most, closing).await;
        self.waiting.fetch_sub(batch.iter().map(Bytes::len).sum(), Ordering::Relaxed);
        batch
    }

    async fn take(&mut self, most: usize, closing: &CancellationToken) -> Vec<Bytes> {
        let mut batch = Vec::new();
        tokio::select! {
            _ = self.receiver.recv_many(&mut batch, most) => return batch,
            () = closing.cancelled() => {}
        }
        // What is on its way comes; nobody sends any more.
        self.receiver.close();
        self.receiver.recv_many(&mut batch, most).await;
        batch
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sink {
    name: &'static str,
    sender: mpsc::Sender<Bytes>,
    waiting: Arc<AtomicUsize>,
    worker: Mutex<Option<JoinHandle<()>>>,
    lost: Counter,
}

impl Sink {
    /// One whose events this work takes.
    pub(super) fn begin<W>(
        name: &'static str,
        buffer: usize,
        lost: Counter,
        work: impl FnOnce(Events) -> W,
    ) -> Self
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(buffer);
        let waiting = Arc::<AtomicUsize>::default();
        let worker = tokio::spawn(work(Events { receiver, waiting: waiting.clone() }));
        Self { name, sender, waiting, worker: Mutex::new(Some(worker)), lost }
    }

    pub(super) fn tell(&self, event: Bytes) {
        let length = event.len();
        let before = self.waiting.fetch_add(length, Ordering::Relaxed);
        let sent = match before + length > BYTES {
            true => Err(TrySendError::Full(event)),
            false => self.sender.try_send(event),
        };
        let Err(error) = sent else { return };
        self.waiting.fetch_sub(length, Ordering::Relaxed);
        let lost = self.lost.inc() + 1;
        // Each time there are twice as many; what ends with the server, such as watches, comes too late.
        if matches!(error, TrySendError::Full(_)) && lost.is_power_of_two() {
            tracing::error!(sink = self.name, lost, "audit events are dropped");
        }
    }

    pub(super) async fn ended(&self) {
        let worker = self.worker.lock().take();
        if let Some(worker) = worker
            && let Err(error) = worker.await
        {
            tracing::error!(sink = self.name, %error, "audit events are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_waits_and_what_does_not_fit_is_counted() {
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (seen, mut see) = mpsc::unbounded_channel();
        let held = CancellationToken::new();
        let (release, end) = (held.clone(), closing.clone());
        let sink = Sink::begin("log", 2, lost.clone(), |mut events: Events| async move {
            held.cancelled().await;
            loop {
                let batch = events.next(10, &closing).await;
                if batch.is_empty() {
                    return;
                }
                seen.send(batch).unwrap();
            }
        });
        for event in ["a", "b", "c", "d"] {
            sink.tell(event.into());
        }
        assert_eq!(lost.get(), 2);
        end.cancel();
        release.cancel();
        sink.ended().await;
        assert_eq!(see.recv().await.unwrap(), ["a", "b"]);
        assert_eq!(see.recv().await, None);
        sink.tell("e".into());
        assert_eq!(lost.get(), 3);
    }

    #[tokio::test]
    async fn what_is_long_waits_up_to_so_many_bytes() {
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (seen, mut see) = mpsc::unbounded_channel();
        let end = closing.clone();
        let sink = Sink::begin("log", 1000, lost.clone(), |mut events: Events| async move {
            loop {
                let batch = events.next(1000, &closing).await;
                if batch.is_empty() {
                    return;
                }
                seen.send(batch.len()).unwrap();
            }
        });
        // The same bytes each time.
        let event = Bytes::from(vec![b'x'; 1 << 20]);
        for _ in 0..300 {
            sink.tell(event.clone());
        }
        assert_eq!(lost.get(), 44);
        assert_eq!(see.recv().await.unwrap(), 256);
        sink.tell(event);
        end.cancel();
        sink.ended().await;
        assert_eq!((lost.get(), see.recv().await), (44, Some(1)));
    }
}
