//! The sending end of Redis: a bounded queue that never blocks and a task that empties it.
//!
//! While Redis is away, what is sent is dropped: nobody waits for it, and whoever needs to know finds out
//! from what comes later.

use std::{sync::Arc, time::Duration};

use component::Tasks;
use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::timeout,
};

/// Parcels waiting to be sent.
const QUEUE: usize = 8192;
/// Bytes waiting to be sent: objects may have megabytes.
const BYTES: usize = 32 << 20;
/// Parcels sent in one round trip.
const BATCH: usize = 256;
/// How long Redis may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before the next connection.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Sends messages to topics.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Parcel>,
    /// A permit for each byte that may wait.
    bytes: Arc<Semaphore>,
    /// The permit of [`Outlet::send_news`].
    news: Arc<Semaphore>,
}

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Vec<u8>,
}

/// Messages that are sent together, with the right to wait, which others get when it is dropped.
#[derive(Debug)]
struct Parcel {
    messages: Vec<Message>,
    _permits: Vec<OwnedSemaphorePermit>,
}

impl Outlet {
    /// Starts the task; it ends when the last clone is dropped.
    pub(crate) fn start(redis: redis::Client, tasks: &Tasks) -> Self {
        let (outlet, parcels) = Self::new();
        tasks.spawn("sending to Redis", run(redis, parcels));
        outlet
    }

    fn new() -> (Self, mpsc::Receiver<Parcel>) {
        let (queue, parcels) = mpsc::channel(QUEUE);
        let (bytes, news) = (Arc::new(Semaphore::new(BYTES)), Arc::new(Semaphore::new(1)));
        (Self { queue, bytes, news }, parcels)
    }

    /// Sends a message, unless too many are waiting. Says whether it will be tried.
    pub(crate) fn send(&self, topic: &str, payload: Vec<u8>) -> bool {
        let size = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let room = self.bytes.clone().try_acquire_many_owned(size);
        let messages = vec![Message { topic: topic.into(), payload }];
        let sent = room.is_ok_and(|room| self.post(Parcel { messages, _permits: vec![room] }));
        if !sent {
            tracing::warn!(topic, "message dropped: Redis is too slow");
        }
        sent
    }

    /// Sends messages of which only the latest matter: not while those before are still waiting.
    pub(crate) fn send_news(&self, messages: impl FnOnce() -> Vec<Message>) {
        if let Ok(only) = self.news.clone().try_acquire_owned() {
            self.send_together(messages(), vec![only]);
        }
    }

    /// Sends messages that are few and rare.
    pub(crate) fn send_all(&self, messages: Vec<Message>) {
        self.send_together(messages, Vec::new());
    }

    fn send_together(&self, messages: Vec<Message>, permits: Vec<OwnedSemaphorePermit>) {
        // Redis doesn't take a round trip without commands.
        if !messages.is_empty() {
            self.post(Parcel { messages, _permits: permits });
        }
    }

    fn post(&self, parcel: Parcel) -> bool {
        self.queue.try_send(parcel).is_ok()
    }
}

async fn run(redis: redis::Client, mut parcels: mpsc::Receiver<Parcel>) {
    let mut told = false;
    while !parcels.is_closed() {
        match connect(&redis).await {
            Ok(connection) => {
                tracing::info!("connected to Redis for sending");
                told = false;
                send_all(connection, &mut parcels).await;
            }
            Err(error) if !told => {
                tracing::warn!(%error, "Redis cannot be reached for sending");
                told = true;
            }
            Err(_) => {}
        }
        let discard = async { while parcels.recv().await.is_some() {} };
        let _ = timeout(RETRY, discard).await;
    }
}

async fn connect(redis: &redis::Client) -> redis::RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    redis.get_multiplexed_async_connection_with_config(&config).await
}

/// Sends until Redis fails or the last sender is gone.
async fn send_all(mut connection: MultiplexedConnection, parcels: &mut mpsc::Receiver<Parcel>) {
    let mut batch = Vec::with_capacity(BATCH);
    while parcels.recv_many(&mut batch, BATCH).await > 0 {
        let mut pipeline = redis::pipe();
        for message in batch.iter().flat_map(|parcel| &parcel.messages) {
            pipeline.publish(&*message.topic, &message.payload[..]).ignore();
        }
        let sent = pipeline.query_async::<()>(&mut connection).await;
        // Only now others may take their place in memory.
        batch.clear();
        if let Err(error) = sent {
            tracing::warn!(%error, "messages lost: Redis does not take them");
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_bytes_wait_than_there_is_room_for() {
        let (outlet, mut parcels) = Outlet::new();
        let megabyte = || vec![0; 1 << 20];
        let sent = (0..100).filter(|_| outlet.send("topic", megabyte())).count();
        assert_eq!(sent, 32);
        drop(parcels.try_recv());
        assert!(outlet.send("topic", megabyte()));
        assert!(!outlet.send("topic", megabyte()));
    }

    #[test]
    fn news_do_not_queue_up() {
        let (outlet, mut parcels) = Outlet::new();
        let news = |text: &str| vec![Message { topic: "topic".into(), payload: text.into() }];
        for text in ["a", "b", "c"] {
            outlet.send_news(|| news(text));
        }
        let waiting = parcels.try_recv().unwrap();
        assert_eq!(waiting.messages[0].payload, b"a");
        assert!(parcels.try_recv().is_err());
        drop(waiting);
        outlet.send_news(Vec::new);
        outlet.send_news(|| news("d"));
        assert_eq!(parcels.try_recv().unwrap().messages[0].payload, b"d");
    }
}
