//! Which functions there are and which instances can be called: plain data, changed by watch events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{PoisonError, RwLock},
    time::Duration,
};

use api_types::{api::core::v1::Pod, meta::ObjectMeta, minik8s::Function};
use kube::runtime::watcher::Event;

/// The label by which a pod names the function that it is an instance of.
pub const FUNCTION_LABEL: &str = "minik8s.io/function";
/// How long a call may take if the function does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Namespace and name.
pub type Key = (String, String);

/// What calling a function takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// How long one call may take.
    pub timeout: Duration,
    /// The addresses of the instances that are ready.
    pub instances: Vec<IpAddr>,
}

/// Why there is nothing to call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The first lists are not complete, so nothing is known to be absent.
    NotYetKnown,
    /// There is no such function.
    Unknown,
}

/// A directory that is read by requests while watches write it.
#[derive(Debug, Default)]
pub struct SharedDirectory(RwLock<Directory>);

/// The functions and their instances.
#[derive(Debug, Default)]
pub struct Directory {
    functions: Listed<Duration>,
    instances: Listed<(Key, IpAddr)>,
    /// By function; made of `instances`.
    by_function: BTreeMap<Key, BTreeSet<IpAddr>>,
}

/// What a watch says of the objects of a kind.
#[derive(Debug)]
struct Listed<T> {
    current: BTreeMap<Key, T>,
    /// A list that is being received; it replaces `current` when it is complete.
    next: Option<BTreeMap<Key, T>>,
    complete: bool,
}

// === impl SharedDirectory ===

impl SharedDirectory {
    /// What calling the function takes.
    pub fn target(&self, namespace: &str, name: &str) -> Result<Target, Missing> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).target(namespace, name)
    }

    /// Changes it; a change cannot leave it half done, so a poisoned lock is as good as another.
    pub fn change<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Directory ===

impl Directory {
    /// What calling the function takes.
    pub fn target(&self, namespace: &str, name: &str) -> Result<Target, Missing> {
        let key = (namespace.to_owned(), name.to_owned());
        if !self.is_complete() {
            return Err(Missing::NotYetKnown);
        }
        let timeout = *self.functions.current.get(&key).ok_or(Missing::Unknown)?;
        let instances = self.by_function.get(&key).into_iter().flatten().copied().collect();
        Ok(Target { timeout, instances })
    }

    /// Whether both first lists have been received.
    pub fn is_complete(&self) -> bool {
        self.functions.complete && self.instances.complete
    }

    /// Takes in news about functions.
    pub fn function(&mut self, event: Event<Function>) {
        self.functions.take(event, |function| &function.metadata, |f| Some(timeout(f)));
    }

    /// Takes in news about pods, of which only ready instances of functions matter.
    pub fn pod(&mut self, event: Event<Pod>) {
        if self.instances.take(event, |pod| &pod.metadata, instance) {
            self.by_function = BTreeMap::new();
            for (function, address) in self.instances.current.values() {
                self.by_function.entry(function.clone()).or_default().insert(*address);
            }
        }
    }
}

// === impl Listed ===

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed { current: BTreeMap::new(), next: None, complete: false }
    }
}

impl<T: PartialEq> Listed<T> {
    /// Takes in an event; objects of which `value` makes nothing are not kept. Tells whether `current`
    /// may have changed.
    fn take<K>(
        &mut self,
        event: Event<K>,
        metadata: impl Fn(&K) -> &ObjectMeta,
        value: impl Fn(&K) -> Option<T>,
    ) -> bool {
        match event {
            Event::Apply(object) => put(&mut self.current, key(metadata(&object)), value(&object)),
            Event::Delete(object) => put(&mut self.current, key(metadata(&object)), None),
            Event::Init => {
                self.next = Some(BTreeMap::new());
                false
            }
            Event::InitApply(object) => {
                let next = self.next.get_or_insert_default();
                put(next, key(metadata(&object)), value(&object));
                false
            }
            Event::InitDone => {
                self.current = self.next.take().unwrap_or_default();
                self.complete = true;
                true
            }
        }
    }
}

fn put<T: PartialEq>(map: &mut BTreeMap<Key, T>, key: Key, value: Option<T>) -> bool {
    match value {
        Some(value) if map.get(&key) == Some(&value) => false,
        Some(value) => {
            map.insert(key, value);
            true
        }
        None => map.remove(&key).is_some(),
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (part(&metadata.namespace), part(&metadata.name))
}

fn timeout(function: &Function) -> Duration {
    let seconds = function.spec.timeout_seconds.and_then(|seconds| seconds.try_into().ok());
    seconds.filter(|seconds| *seconds > 0).map_or(DEFAULT_TIMEOUT, Duration::from_secs)
}

/// The function and the address, if the pod is an instance that can be called. A terminating pod gets
/// no new calls.
fn instance(pod: &Pod) -> Option<(Key, IpAddr)> {
    let metadata = &pod.metadata;
    let function = metadata.labels.as_ref()?.get(FUNCTION_LABEL)?.clone();
    let status = pod.status.as_ref().filter(|_| metadata.deletion_timestamp.is_none())?;
    let ready = |kind: &str, status: &str| kind == "Ready" && status == "True";
    let mut conditions = status.conditions.iter().flatten();
    conditions.find(|condition| ready(&condition.type_, &condition.status))?;
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    Some(((metadata.namespace.clone().unwrap_or_default(), function), address))
}

#[cfg(test)]
mod tests;
