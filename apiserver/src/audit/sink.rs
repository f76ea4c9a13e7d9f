//! Where events go, by way of a buffer.

use std::{collections::VecDeque, future::Future, mem, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::{sync::Notify, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::truncate::Truncation;

/// So many events wait at most (Kubernetes: `defaultBatchBufferSize`).
pub(super) const BUFFER: usize = 10_000;

/// So many bytes of events wait at most: one event may be of some megabytes.
const BYTES: usize = 256 << 20;

/// So many bytes of events have a piece of memory together: one for each would take more time than to copy them.
const CHUNK: usize = 64 << 10;

/// Events, each a line, one after another.
#[derive(Debug, Default)]
struct Chunk {
    lines: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
}

impl Chunk {
    fn has_room(&self, event: &[u8]) -> bool {
        self.lines.len() + event.len() <= self.lines.capacity()
    }

    fn push(&mut self, event: &[u8]) {
        self.lines.extend_from_slice(event);
        self.ends.push(self.lines.len());
    }

    fn events(self) -> impl Iterator<Item = Bytes> {
        let (lines, mut begin) = (Bytes::from(self.lines), 0);
        self.ends.into_iter().map(move |end| lines.slice(mem::replace(&mut begin, end)..end))
    }
}

/// What waits.
#[derive(Debug, Default)]
struct Waiting {
    chunks: Vec<Chunk>,
    /// Of these and of those that are taken but not handed on.
    events: usize,
    bytes: usize,
    /// Nobody takes any more.
    is_closed: bool,
}

impl Waiting {
    /// Whether there was room for it.
    fn push(&mut self, event: &[u8], most: usize) -> bool {
        if self.events == most || self.bytes + event.len() > BYTES {
            return false;
        }
        if !self.chunks.last().is_some_and(|chunk| chunk.has_room(event)) {
            let lines = Vec::with_capacity(CHUNK.max(event.len()));
            self.chunks.push(Chunk { lines, ends: Vec::new() });
        }
        self.chunks.last_mut().expect("one with room").push(event);
        self.events += 1;
        self.bytes += event.len();
        true
    }
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// That there is something where nothing was.
    came: Notify,
}

/// How much there is room for in a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    events: usize,
    bytes: usize,
}

impl Room {
    /// For so many events; each of those that are truncated has room in an empty batch.
    pub(super) fn new(events: usize, truncation: Option<Truncation>) -> Self {
        Self { events, bytes: truncation.map_or(usize::MAX, Truncation::max_batch_size) }
    }

    /// What is left beside these.
    pub(super) fn beside(self, batch: &[Bytes]) -> Self {
        let bytes: usize = batch.iter().map(Bytes::len).sum();
        Self {
            events: self.events.saturating_sub(batch.len()),
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    /// How many of these events it is for, the first of them first.
    fn count<'a>(self, events: impl IntoIterator<Item = &'a Bytes>) -> usize {
        let mut left = Some(self.bytes);
        let has_room = |event: &&Bytes| {
            left = left.and_then(|left| left.checked_sub(event.len()));
            left.is_some()
        };
        events.into_iter().take(self.events).take_while(has_room).count()
    }
}

/// Encoded events, in order.
pub(super) struct Events {
    shared: Arc<Shared>,
    /// Those that are taken.
    taken: VecDeque<Bytes>,
}

impl Events {
    /// Some more, as soon as there are any; none when all have come after the end, or the next has no room.
    pub(super) async fn next(&mut self, room: Room, closing: &CancellationToken) -> Vec<Bytes> {
        let mut is_over = false;
        while self.taken.is_empty() && !is_over {
            tokio::select! {
                () = self.shared.came.notified() => {}
                () = closing.cancelled() => is_over = true,
            }
            self.take(is_over);
        }
        let batch: Vec<_> = self.taken.drain(..room.count(&self.taken)).collect();
        let mut waiting = self.shared.waiting.lock();
        waiting.events -= batch.len();
        waiting.bytes -= batch.iter().map(Bytes::len).sum::<usize>();
        batch
    }

    /// Whether there is some that nobody has to wait for.
    pub(super) fn has_more(&self) -> bool {
        !self.taken.is_empty()
    }

    fn take(&mut self, is_over: bool) {
        let mut waiting = self.shared.waiting.lock();
        waiting.is_closed |= is_over;
        let chunks = mem::take(&mut waiting.chunks);
        drop(waiting);
        self.taken.extend(chunks.into_iter().flat_map(Chunk::events));
    }
}

/// What comes when nobody takes it any more is lost, and counted.
impl Drop for Events {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        waiting.is_closed = true;
        waiting.chunks.clear();
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sink {
    name: &'static str,
    shared: Arc<Shared>,
    /// How many events wait at most.
    buffer: usize,
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
        let shared = Arc::<Shared>::default();
        let events = Events { shared: shared.clone(), taken: VecDeque::new() };
        let worker = tokio::spawn(work(events));
        Self { name, shared, buffer, worker: Mutex::new(Some(worker)), lost }
    }

    /// A line.
    pub(super) fn tell(&self, event: &[u8]) {
        let mut waiting = self.shared.waiting.lock();
        let (is_closed, is_first) = (waiting.is_closed, waiting.chunks.is_empty());
        let is_kept = !is_closed && waiting.push(event, self.buffer);
        drop(waiting);
        if is_kept {
            if is_first {
                self.shared.came.notify_one();
            }
            return;
        }
        let lost = self.lost.inc() + 1;
        // Each time there are twice as many; what ends with the server, such as watches, comes too late.
        if !is_closed && lost.is_power_of_two() {
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
    use tokio::sync::mpsc;

    use super::*;

    #[test]
    fn a_batch_has_room_for_so_many_events_and_so_many_bytes() {
        let events = |lengths: &[usize]| -> Vec<_> {
            lengths.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect()
        };
        let check = |before: &[usize], lengths: &[usize], expected: usize| {
            let room = Room { events: 3, bytes: 10 }.beside(&events(before));
            assert_eq!(room.count(&events(lengths)), expected, "{before:?} {lengths:?}");
        };
        check(&[], &[1, 1, 1, 1], 3);
        check(&[], &[5, 5, 1], 2);
        check(&[], &[5, 6, 1], 1);
        check(&[4, 4], &[2, 1], 1);
        check(&[4, 4], &[3, 1], 0);
        check(&[], &[11], 0);
    }

    #[tokio::test]
    async fn nobody_waits_and_what_does_not_fit_is_counted() {
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (seen, mut see) = mpsc::unbounded_channel();
        let held = CancellationToken::new();
        let (release, end) = (held.clone(), closing.clone());
        let sink = Sink::begin("log", 2, lost.clone(), |mut events: Events| async move {
            held.cancelled().await;
            loop {
                let batch = events.next(Room::new(10, None), &closing).await;
                if batch.is_empty() {
                    return;
                }
                seen.send(batch).unwrap();
            }
        });
        for event in ["a", "b", "c", "d"] {
            sink.tell(event.as_bytes());
        }
        assert_eq!(lost.get(), 2);
        end.cancel();
        release.cancel();
        sink.ended().await;
        assert_eq!(see.recv().await.unwrap(), ["a", "b"]);
        assert_eq!(see.recv().await, None);
        sink.tell(b"e");
        assert_eq!(lost.get(), 3);
    }

    #[tokio::test]
    async fn what_is_long_waits_up_to_so_many_bytes() {
        let (lost, closing) = (Counter::default(), CancellationToken::new());
        let (seen, mut see) = mpsc::unbounded_channel();
        let end = closing.clone();
        let sink = Sink::begin("log", 1000, lost.clone(), |mut events: Events| async move {
            loop {
                let batch = events.next(Room::new(1000, None), &closing).await;
                if batch.is_empty() {
                    return;
                }
                seen.send(batch.len()).unwrap();
            }
        });
        let event = vec![b'x'; 1 << 20];
        for _ in 0..300 {
            sink.tell(&event);
        }
        assert_eq!(lost.get(), 44);
        assert_eq!(see.recv().await.unwrap(), 256);
        sink.tell(&event);
        end.cancel();
        sink.ended().await;
        assert_eq!((lost.get(), see.recv().await), (44, Some(1)));
    }
}
