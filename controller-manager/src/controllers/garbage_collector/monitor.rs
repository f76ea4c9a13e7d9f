//! Follows the metadata of every object of every kind and keeps the graph up to date.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api_types::meta::ObjectMeta;
use futures::StreamExt;
use kube::Client;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinSet;

use super::graph::{Graph, Object, Uid};
use crate::discovery::{self, Discovered};
use crate::frame::{ObjectKey, WorkQueue};

/// How often to look for new resources.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// How soon to ask again when the API server did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The graph, and the resources it is made of.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    pub(super) graph: Mutex<Graph>,
    /// By apiVersion and kind.
    resources: RwLock<HashMap<(String, String), Discovered>>,
}

impl Monitor {
    /// The resource of objects with this apiVersion and kind. Another version of the group will do.
    pub(super) fn resource(&self, api_version: &str, kind: &str) -> Option<Discovered> {
        let resources = self.resources.read();
        let exact = resources.get(&(api_version.to_owned(), kind.to_owned()));
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let similar = || {
            resources
                .values()
                .find(|found| found.resource.kind == kind && found.resource.group == group)
        };
        exact.or_else(similar).cloned()
    }

    /// Discovers and follows, for ever.
    pub(super) async fn run(self: Arc<Self>, client: Client, queue: Arc<WorkQueue>) {
        let mut followed = HashSet::new();
        let mut watches = JoinSet::new();
        loop {
            let found = match discovery::resources(client.clone()).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "discovering resources"
                    );
                    tokio::time::sleep(RETRY).await;
                    continue;
                }
            };
            for resource in found {
                let name = (resource.resource.api_version.clone(), resource.resource.kind.clone());
                self.resources.write().insert(name.clone(), resource.clone());
                if resource.is_collectable() && followed.insert(name) {
                    watches.spawn(self.clone().follow(resource, client.clone(), queue.clone()));
                }
            }
            tokio::time::sleep(DISCOVERY_PERIOD).await;
        }
    }

    async fn follow(self: Arc<Self>, found: Discovered, client: Client, queue: Arc<WorkQueue>) {
        let events = watcher(found.api(client, ""), Config::default()).default_backoff();
        let mut events = std::pin::pin!(events);
        let mut known = Known::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    let event = known.take_in(event, |object| object.metadata);
                    self.take_in(&found, event, &queue);
                }
                Err(error) => {
                    let kind = &found.resource.kind;
                    tracing::debug!(kind, error = &error as &dyn std::error::Error, "watching");
                }
            }
        }
    }

    fn take_in(&self, found: &Discovered, news: News, queue: &WorkQueue) {
        let mut graph = self.graph.lock();
        let mut affected = Vec::new();
        if let Some(metadata) = news.applied {
            let object = Object::new(&found.resource.api_version, &found.resource.kind, &metadata);
            affected.extend(graph.apply(metadata.uid.as_deref().unwrap_or_default(), object));
        }
        for uid in news.gone {
            affected.extend(graph.remove(&uid));
        }
        affected.into_iter().for_each(|uid| queue.add(ObjectKey::cluster(uid)));
    }
}

/// The objects of one resource that are in the graph, to find out at a new list which are gone.
#[derive(Debug, Default)]
struct Known {
    uids: HashSet<Uid>,
    listed: HashSet<Uid>,
}

/// What an event says.
#[derive(Debug, Default)]
struct News {
    applied: Option<ObjectMeta>,
    gone: Vec<Uid>,
}

impl Known {
    fn take_in<T>(&mut self, event: Event<T>, metadata: impl Fn(T) -> ObjectMeta) -> News {
        match event {
            Event::Apply(object) => self.applied(metadata(object)),
            Event::Delete(object) => self.deleted(&metadata(object)),
            Event::Init => {
                self.listed.clear();
                News::default()
            }
            Event::InitApply(object) => {
                let metadata = metadata(object);
                self.listed.insert(metadata.uid.clone().unwrap_or_default());
                self.applied(metadata)
            }
            Event::InitDone => self.end_of_list(),
        }
    }

    fn applied(&mut self, metadata: ObjectMeta) -> News {
        self.uids.insert(metadata.uid.clone().unwrap_or_default());
        News { applied: Some(metadata), gone: Vec::new() }
    }

    fn deleted(&mut self, metadata: &ObjectMeta) -> News {
        let uid = metadata.uid.clone().unwrap_or_default();
        self.uids.remove(&uid);
        News { applied: None, gone: vec![uid] }
    }

    fn end_of_list(&mut self) -> News {
        let before = std::mem::replace(&mut self.uids, std::mem::take(&mut self.listed));
        News { applied: None, gone: before.difference(&self.uids).cloned().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_list_does_not_show_is_gone() {
        let object = |uid: &str| ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() };
        let mut known = Known::default();
        let mut gone = |event| known.take_in(event, |metadata| metadata).gone;
        gone(Event::Apply(object("a")));
        gone(Event::Apply(object("b")));
        gone(Event::Init);
        gone(Event::InitApply(object("b")));
        assert_eq!(gone(Event::InitDone), ["a"]);
        assert_eq!(gone(Event::Delete(object("b"))), ["b"]);
    }
}
