//! The objects that pods of this node use, each kept up to date by a watch of its own.

use std::{
    collections::{BTreeSet, HashMap},
    fmt::Debug,
    pin::pin,
    sync::Arc,
};

use api_types::api::core::v1::{ConfigMap, Secret};
use futures::{Stream, StreamExt};
use kube::{
    Api, Resource,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        watcher::{self, watch_object},
    },
};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::PodIdentity;

/// A kind whose objects are kept.
pub(super) trait Kept:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Send
    + 'static
{
}

impl Kept for ConfigMap {}
impl Kept for Secret {}

/// What was seen last of an object.
pub(super) struct Seen<K> {
    /// `None` if it does not exist.
    pub(super) object: Option<K>,
    /// Whether the pod that asks has used it before.
    pub(super) by_this_pod: bool,
}

#[derive(Debug)]
struct Entry<K> {
    /// What the watch says; `None` if the object does not exist.
    object: Arc<Mutex<Option<K>>>,
    /// The uids of the pods that use it.
    users: BTreeSet<String>,
    _watch: AbortOnDropHandle<()>,
}

impl<K: Kept> Entry<K> {
    fn new(found: Option<K>, api: Api<K>, name: &str) -> Self {
        let object = Arc::new(Mutex::new(found));
        let watch = tokio::spawn(follow(watch_object(api, name).default_backoff(), object.clone()));
        Self { object, users: BTreeSet::new(), _watch: AbortOnDropHandle::new(watch) }
    }

    /// Whether the watch has seen the object in this version.
    fn shows(&self, found: Option<&K>) -> bool {
        let version = |object: &K| object.meta().resource_version.clone();
        self.object.lock().as_ref().map(version) == found.map(version)
    }
}

async fn follow<K>(
    states: impl Stream<Item = Result<Option<K>, watcher::Error>>,
    object: Arc<Mutex<Option<K>>>,
) {
    let mut states = pin!(states);
    while let Some(state) = states.next().await {
        match state {
            Ok(state) => *object.lock() = state,
            Err(error) => tracing::debug!(%error, "cannot watch an object that pods use"),
        }
    }
}

/// Objects by namespace and name.
#[derive(Debug)]
pub(super) struct Known<K>(HashMap<(String, String), Entry<K>>);

impl<K> Default for Known<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Kept> Known<K> {
    pub(super) fn get(&self, pod: &PodIdentity, name: &str) -> Option<Seen<K>> {
        let entry = self.0.get(&(pod.namespace.clone(), name.to_owned()))?;
        let by_this_pod = entry.users.contains(&pod.uid);
        Some(Seen { object: entry.object.lock().clone(), by_this_pod })
    }

    /// The pod uses the object from now on, which the API server has just shown. A watch that says
    /// otherwise may be behind for long: another takes its place, which begins with a list.
    pub(super) fn note(&mut self, pod: &PodIdentity, name: &str, found: Option<&K>, api: Api<K>) {
        let entry = self.0.get_mut(&(pod.namespace.clone(), name.to_owned()));
        if let Some(entry) = entry.filter(|entry| !entry.shows(found)) {
            let users = std::mem::take(&mut entry.users);
            *entry = Entry { users, ..Entry::new(found.cloned(), api.clone(), name) };
        }
        self.join(pod, name, found, api);
    }

    /// The pod uses the object from now on. Of one that is watched the watch knows better.
    pub(super) fn join(&mut self, pod: &PodIdentity, name: &str, found: Option<&K>, api: Api<K>) {
        let key = (pod.namespace.clone(), name.to_owned());
        let entry = self.0.entry(key).or_insert_with(|| Entry::new(found.cloned(), api, name));
        entry.users.insert(pod.uid.clone());
    }

    pub(super) fn release(&mut self, uid: &str) {
        self.0.retain(|_, entry| {
            entry.users.remove(uid);
            !entry.users.is_empty()
        });
    }
}

#[cfg(test)]
impl<K> Known<K> {
    /// The objects that are watched.
    pub(super) fn watched(&self) -> Vec<std::sync::Weak<Mutex<Option<K>>>> {
        self.0.values().map(|entry| Arc::downgrade(&entry.object)).collect()
    }
}
