//! The sending end of Redis: a bounded queue that never blocks and a task that empties it.
//!
//! While Redis is away, what is sent is dropped: nobody waits for it, and whoever needs to know finds out
//! from what comes later.

use std::{sync::Arc, time::Duration};

use redis::{AsyncConnectionConfig, aio::MultiplexedConnection};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::timeout,
};

/// Messages waiting to be sent.
const QUEUE: usize = 8192;
/// Messages sent in one round trip.
const BATCH: usize = 256;
/// How long Redis may take to answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How long to wait before the next connection.
pub(crate) const RETRY: Duration = Duration::from_millis(500);

/// Sends messages to topics.
#[derive(Clone, Debug)]
pub(crate) struct Outlet {
    queue: mpsc::Sender<Parcel>,
}

#[derive(Debug)]
struct Parcel {
    topic: Arc<str>,
    payload: Vec<u8>,
}

impl Outlet {
    /// Starts the task; it ends when the last clone is dropped.
    pub(crate) fn start(redis: redis::Client) -> Self {
        let (queue, parcels) = mpsc::channel(QUEUE);
        tokio::spawn(run(redis, parcels));
        Self { queue }
    }

    /// Sends a message, unless too many are waiting. Says whether it will be tried.
    pub(crate) fn send(&self, topic: &str, payload: Vec<u8>) -> bool {
        match self.queue.try_send(Parcel { topic: topic.into(), payload }) {
            Ok(()) => true,
            Err(TrySendError::Full(parcel)) => {
                tracing::warn!(topic = %parcel.topic, "message dropped: Redis is too slow");
                false
            }
            Err(TrySendError::Closed(_)) => false,
        }
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
        for parcel in batch.drain(..) {
            pipeline.publish(&*parcel.topic, parcel.payload).ignore();
        }
        if let Err(error) = pipeline.query_async::<()>(&mut connection).await {
            tracing::warn!(%error, "messages lost: Redis does not take them");
            return;
        }
    }
}
