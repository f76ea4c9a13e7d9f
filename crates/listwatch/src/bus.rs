//! The receiving end of Redis: one connection per program, whatever the number of listeners.
//!
//! The connection is tested with a ping, because a peer that has vanished without a word looks just like
//! one that is silent.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use component::Tasks;
use futures::{FutureExt, Stream, StreamExt, stream};
use redis::{
    Msg,
    aio::{PubSubSink, PubSubStream},
};
use serde::de::DeserializeOwned;
use tokio::{
    sync::{
        broadcast::{self, error::RecvError},
        mpsc, oneshot,
    },
    time::{Instant, MissedTickBehavior, timeout},
};

use crate::outlet::{PATIENCE, RETRY};

/// Messages a listener may lag behind before it loses some.
const BUFFER: usize = 1024;
/// How often to ping.
const PING_PERIOD: Duration = Duration::from_secs(2);

/// What a subscriber hears.
#[derive(Clone, Debug)]
pub(crate) enum Signal {
    /// A message on the topic.
    Message(Arc<[u8]>),
    /// The connection is lost: messages may be missing from here on.
    Lost,
}

/// The messages of a topic. It stays subscribed over lost connections.
#[derive(Debug)]
pub(crate) struct Subscription {
    signals: broadcast::Receiver<Signal>,
    /// Redis has confirmed: whatever is published from now on arrives, or `Lost` does.
    pub(crate) confirmed: bool,
}

impl Subscription {
    /// The next signal. Messages lost by lagging behind are skipped: what comes next shows the hole.
    pub(crate) async fn next(&mut self) -> Signal {
        loop {
            match self.signals.recv().await {
                Ok(signal) => return signal,
                Err(RecvError::Lagged(lost)) => tracing::debug!(lost, "listener lags behind"),
                // The bus's task ends only with the last handle, or with the program.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// A handle of the connection.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    requests: mpsc::Sender<Request>,
    connected: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Request {
    topic: String,
    reply: oneshot::Sender<Subscription>,
}

impl Bus {
    /// Starts the task; it ends when the last handle is dropped.
    pub(crate) fn start(redis: redis::Client, tasks: &Tasks) -> Self {
        let (sender, requests) = mpsc::channel(64);
        let connected = Arc::new(AtomicBool::new(false));
        let hub = Hub { redis, requests, connected: connected.clone(), topics: HashMap::new() };
        tasks.spawn("listening to Redis", hub.run());
        Self { requests: sender, connected }
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Subscribes to a topic; waits for Redis' confirmation if Redis is there.
    pub(crate) async fn subscribe(&self, topic: &str) -> Subscription {
        let (reply, subscription) = oneshot::channel();
        // The task lives as long as this handle; if it has panicked, the program ends.
        let _ = self.requests.send(Request { topic: topic.to_owned(), reply }).await;
        match subscription.await {
            Ok(subscription) => subscription,
            Err(_) => Subscription { signals: broadcast::channel(1).1, confirmed: false },
        }
    }

    /// The messages of a topic that are a `T`.
    pub(crate) fn messages<T>(
        self,
        topic: String,
    ) -> impl Stream<Item = T> + Send + 'static + use<T>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let subscription = async move {
            let subscription = self.subscribe(&topic).await;
            // The handle is kept with the subscription, so that the task goes on.
            stream::unfold((subscription, self), async |(mut subscription, bus)| {
                let signal = subscription.next().await;
                Some((signal, (subscription, bus)))
            })
        };
        subscription.flatten_stream().filter_map(async |signal| match signal {
            Signal::Message(payload) => serde_json::from_slice(&payload).ok(),
            Signal::Lost => None,
        })
    }
}

/// Why the hub stopped serving a connection.
enum End {
    Lost(String),
    /// Nobody needs it any more.
    Unused,
}

struct Hub {
    redis: redis::Client,
    requests: mpsc::Receiver<Request>,
    connected: Arc<AtomicBool>,
    topics: HashMap<String, broadcast::Sender<Signal>>,
}

impl Hub {
    async fn run(mut self) {
        let mut told = false;
        loop {
            let end = match self.connect().await {
                Ok((sink, messages)) => {
                    tracing::info!("connected to Redis for listening");
                    told = false;
                    self.serve(sink, messages).await
                }
                Err(why) => End::Lost(why),
            };
            let End::Lost(why) = end else { return };
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(why, "Redis cannot be reached for listening");
            }
            if !self.wait().await {
                return;
            }
        }
    }

    /// Connects and renews all subscriptions.
    async fn connect(&mut self) -> Result<(PubSubSink, PubSubStream), String> {
        let (mut sink, messages) = within(self.redis.get_async_pubsub()).await?.split();
        self.topics.retain(|_, topic| topic.receiver_count() > 0);
        for topic in self.topics.keys() {
            within(sink.subscribe(topic)).await?;
        }
        Ok((sink, messages))
    }

    async fn serve(&mut self, sink: PubSubSink, messages: PubSubStream) -> End {
        self.connected.store(true, Ordering::Relaxed);
        let end = self.listen(sink, messages).await;
        self.connected.store(false, Ordering::Relaxed);
        for topic in self.topics.values() {
            let _ = topic.send(Signal::Lost);
        }
        end
    }

    async fn listen(&mut self, mut sink: PubSubSink, mut messages: PubSubStream) -> End {
        let mut pings = tokio::time::interval_at(Instant::now() + PING_PERIOD, PING_PERIOD);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.deliver(&mut sink, &message).await,
                    None => Err("the connection was closed".to_owned()),
                },
                request = self.requests.recv() => match request {
                    Some(request) => self.subscribe(&mut sink, request).await,
                    None => return End::Unused,
                },
                _ = pings.tick() => within(sink.ping::<redis::Value>()).await.map(drop),
            };
            if let Err(why) = done {
                return End::Lost(why);
            }
        }
    }

    async fn deliver(&mut self, sink: &mut PubSubSink, message: &Msg) -> Result<(), String> {
        let name = message.get_channel_name();
        let signal = Signal::Message(message.get_payload_bytes().into());
        let heard = self.topics.get(name).is_some_and(|topic| topic.send(signal).is_ok());
        if !heard {
            self.topics.remove(name);
            within(sink.unsubscribe(name)).await?;
        }
        Ok(())
    }

    async fn subscribe(&mut self, sink: &mut PubSubSink, request: Request) -> Result<(), String> {
        let result = within(sink.subscribe(&request.topic)).await;
        self.grant(request, result.is_ok());
        result
    }

    /// Lets some time pass without a connection. False if nobody needs one any more.
    async fn wait(&mut self) -> bool {
        let deadline = Instant::now() + RETRY;
        loop {
            match tokio::time::timeout_at(deadline, self.requests.recv()).await {
                Ok(Some(request)) => self.grant(request, false),
                Ok(None) => return false,
                Err(_) => return true,
            }
        }
    }

    fn grant(&mut self, request: Request, confirmed: bool) {
        let topic =
            self.topics.entry(request.topic).or_insert_with(|| broadcast::channel(BUFFER).0);
        let _ = request.reply.send(Subscription { signals: topic.subscribe(), confirmed });
    }
}

/// An answer of Redis, if it comes in time.
async fn within<T>(answer: impl Future<Output = redis::RedisResult<T>>) -> Result<T, String> {
    match timeout(PATIENCE, answer).await {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Wake},
    };

    use super::*;

    struct Panicking;

    impl Wake for Panicking {
        fn wake(self: Arc<Self>) {
            panic!("within whoever answers");
        }
    }

    #[tokio::test]
    async fn a_panic_of_the_one_who_listens_is_told() {
        let tasks = Tasks::default();
        let nobody = redis::Client::open("redis://127.0.0.1:1").unwrap();
        let bus = Bus::start(nobody, &tasks);
        let mut subscribing = pin!(bus.subscribe("topic"));
        let waker = Arc::new(Panicking).into();
        assert!(subscribing.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let told = timeout(Duration::from_secs(10), tasks.panicked()).await;
        assert_eq!(told.unwrap().to_string(), "listening to Redis has failed");
    }
}
