//! What changes, and how one hears of it: the Redis topics, the messages on them, the API server's
//! publisher, and a listener that every other program uses.
//!
//! The listener is a stream of `kube::runtime::watcher::Event`, so reflectors and controllers work on it
//! unchanged. It hears from Redis where it can, and from an HTTP watch where it must: with Redis absent,
//! down, or found to have lost something. Redis may lose anything at any time.
//!
//! Nothing here knows kinds, except that the pods of a node have a topic of their own and that the
//! contents of Secrets and ConfigMaps are not put on a topic.

mod absent;
mod announcements;
mod backoff;
mod bus;
mod decision;
pub mod demand;
mod history;
mod listener;
mod lists;
mod login;
mod message;
mod outlet;
mod publisher;
mod relation;
#[cfg(test)]
mod several;
mod source;
pub mod topics;
pub mod usage;

use std::fmt::{self, Debug};

use component::{RedisServer, Tasks};
use futures::{Stream, StreamExt, stream};
use kube::{
    Client, Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{bus::Bus, listener::Listener, login::open, outlet::Outlet, source::Source};

pub use absent::absent_is_empty;
pub use announcements::Announcements;
pub use demand::{Demand, FunctionDemand};
pub use history::{History, Predecessor};
pub use lists::{Lists, News, gone};
pub use login::Error;
pub use message::{ChangeMessage, ChangeType};
pub use publisher::{BOOKMARK_PERIOD, Change, Publisher};
pub use source::Scope;
pub use usage::{ContainerUsage, PodUsage, PodsUsage, Usage, UsageWanted};

/// A sign of life of a node, with what it has to do. Sent every second over Redis, lost without harm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heartbeat {
    /// The node's name.
    pub node: String,
    /// Use of all its processors together, 0 to 100.
    pub cpu_percent: f64,
    /// Use of its memory, 0 to 100.
    pub memory_percent: f64,
    /// How many pods it runs.
    pub pods: usize,
    /// What the host uses; only with the first heartbeat after a new sample.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

/// A sign of life of a kube-proxy, with what it has found of the hosts next to it. Sent every second over
/// Redis, lost without harm.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Testimony {
    /// The node of the kube-proxy.
    pub node: String,
    /// Nodes whose hosts have answered just now.
    pub reached: Vec<String>,
    /// Nodes whose hosts have answered before, and do not now.
    pub missed: Vec<String>,
}

/// Listens to the API server and to Redis. Clones share their connections.
#[derive(Clone)]
pub struct ListWatch {
    client: Client,
    redis: Option<Redis>,
}

#[derive(Clone, Debug)]
struct Redis {
    bus: Bus,
    outlet: Outlet,
}

impl ListWatch {
    /// A listener that hears over Redis if there is one. It connects in the background, now and whenever
    /// the connection is lost; must be called within a tokio runtime.
    pub fn new(client: Client, redis: Option<&RedisServer>, tasks: &Tasks) -> Result<Self, Error> {
        let redis = redis.map(open).transpose()?.map(|redis| Redis {
            bus: Bus::start(redis.clone(), tasks),
            outlet: Outlet::start(redis, tasks),
        });
        Ok(Self { client, redis })
    }

    /// The client it lists and watches with.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The objects of a kind and their changes. Never ends; errors are told and then retried with back-off,
    /// so a consumer needs none of its own.
    ///
    /// # Guarantees
    /// Applying the events in order gives the server's state, sooner or later. No change is told twice,
    /// and none is told that is older than one told before, except that `Init` begins anew.
    pub fn watch<K>(
        &self,
        scope: Scope,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        K::DynamicType: Default,
    {
        self.watch_kind(&K::DynamicType::default(), scope)
    }

    /// The same for a kind that is known only when it is found.
    pub fn watch_kind<K>(
        &self,
        kind: &K::DynamicType,
        scope: Scope,
    ) -> impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static + use<K>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    {
        let topic = topic::<K>(kind, &scope);
        let bus = self.redis.as_ref().map(|redis| redis.bus.clone());
        let source = Source::new::<K>(kind, self.client.clone(), scope, bus.is_some());
        stream::unfold(Listener::new(source, bus, topic), async |mut listener| {
            let event = listener.next().await;
            Some((event, listener))
        })
        .boxed()
    }

    /// The objects of a kind as a store that is kept up to date while the stream is polled. The stream
    /// gives every object that is listed, changed or deleted.
    pub fn reflect<K>(
        &self,
        scope: Scope,
    ) -> (Store<K>, impl Stream<Item = watcher::Result<K>> + Send + 'static + use<K>)
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        K::DynamicType: Default + Clone + Eq + std::hash::Hash + Send + Sync,
    {
        let (store, writer) = reflector::store();
        (store, self.watch(scope).reflect(writer).touched_objects())
    }

    /// The heartbeats of all nodes; `None` without Redis.
    pub fn heartbeats(&self) -> Option<impl Stream<Item = Heartbeat> + Send + 'static + use<>> {
        self.follow(topics::NODE_STATUS)
    }

    /// Sends a heartbeat, if Redis is there.
    pub async fn beat(&self, heartbeat: &Heartbeat) {
        self.announce(topics::NODE_STATUS, heartbeat);
    }

    /// Tells what a node's pods use, if Redis is there.
    pub fn announce_pods_usage(&self, usage: &PodsUsage) {
        self.announce(topics::POD_STATUS, usage);
    }

    /// What pods use, node by node; `None` without Redis.
    pub fn pods_usage(&self) -> Option<impl Stream<Item = PodsUsage> + Send + 'static + use<>> {
        self.follow(topics::POD_STATUS)
    }

    /// Asks for samples more often, if Redis is there.
    pub fn want_usage(&self, wanted: &UsageWanted) {
        self.announce(topics::USAGE_WANTED, wanted);
    }

    /// Who wants samples more often; `None` without Redis.
    pub fn usage_wanted(&self) -> Option<impl Stream<Item = UsageWanted> + Send + 'static + use<>> {
        self.follow(topics::USAGE_WANTED)
    }

    /// Puts a message on a topic of the ephemeral plane, if Redis is there. Does not wait.
    pub fn announce<T: Serialize>(&self, topic: &str, message: &T) {
        let Some(redis) = &self.redis else { return };
        match serde_json::to_vec(message) {
            Ok(payload) => drop(redis.outlet.send(topic, payload)),
            Err(error) => tracing::error!(%error, topic, "message cannot be encoded"),
        }
    }

    /// The messages on a topic of the ephemeral plane, as far as they arrive; `None` without Redis.
    /// Messages that are no `T` are skipped.
    pub fn follow<T: DeserializeOwned + Send + 'static>(
        &self,
        topic: &str,
    ) -> Option<impl Stream<Item = T> + Send + 'static + use<T>> {
        let bus = self.redis.as_ref()?.bus.clone();
        Some(bus.messages(topic.to_owned()))
    }

    /// Whether Redis is there and reached.
    pub fn redis_connected(&self) -> bool {
        self.redis.as_ref().is_some_and(|redis| redis.bus.is_connected())
    }
}

impl Debug for ListWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListWatch").field("redis", &self.redis).finish_non_exhaustive()
    }
}

fn topic<K: Resource>(kind: &K::DynamicType, scope: &Scope) -> String {
    match scope {
        Scope::PodsOfNode(node) => topics::pods_of_node(node),
        Scope::All | Scope::Namespace(_) => topics::changes(&K::group(kind), &K::plural(kind)),
    }
}
