//! Which functions there are and which instances can be called: plain data, changed by watch events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use api_types::{
    api::core::v1::{Pod, PodStatus},
    meta::ObjectMeta,
    minik8s::{Function, FunctionSpec, FunctionVersionPhase},
};
use kube::runtime::watcher::Event;
use tokio::time::Instant;

use crate::{
    cold_start::{Milestones, condition, is_from_pool},
    dispatch::Uid,
};

/// How long a call may take if the function does not say.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// Namespace and name.
pub(crate) type Key = (String, String);

/// The functions and their pods.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    functions: Listed<Settings>,
    pods: Listed<Instance>,
    /// The pods of each function; made of `pods`.
    of_function: BTreeMap<Key, BTreeSet<Key>>,
}

/// What a function says about its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// How many an instance is given at a time.
    pub(crate) concurrency: Option<NonZeroU32>,
    /// The version that serves.
    version: Option<String>,
    /// Why no version can serve.
    pub(crate) failed: Option<String>,
    /// Why the function is not ready, and will not be by itself.
    unready: Option<String>,
    /// What it is that is being done for it to be ready.
    not_yet: Option<String>,
}

/// A pod of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    pub(crate) uid: Uid,
    function: Key,
    version: Option<String>,
    /// If it can be called.
    pub(crate) address: Option<IpAddr>,
    /// What keeps it from becoming ready.
    fault: Option<String>,
    pub(crate) milestones: Milestones,
}

/// What a watch says of the objects of a kind.
#[derive(Debug)]
struct Listed<T> {
    current: BTreeMap<Key, T>,
    /// A list that is being received; it replaces `current` when it is complete.
    next: Option<BTreeMap<Key, T>>,
    complete: bool,
}

/// What an event changed.
enum Change<T> {
    Nothing,
    /// One object, as it was, and as it is.
    One(Key, Option<T>),
    Everything,
}

// === impl Directory ===

impl Directory {
    /// Whether both first lists have been received.
    pub(crate) fn is_complete(&self) -> bool {
        self.functions.complete && self.pods.complete
    }

    /// All functions.
    pub(crate) fn functions(&self) -> impl Iterator<Item = &Key> {
        self.functions.current.keys()
    }

    /// What a function says about its calls, if it exists.
    pub(crate) fn settings(&self, function: &Key) -> Option<&Settings> {
        self.functions.current.get(function)
    }

    /// The instances that calls of a function may go to: ready ones of the version that serves.
    pub(crate) fn serving(&self, function: &Key) -> impl Iterator<Item = &Instance> {
        let version = self.settings(function).and_then(|settings| settings.version.clone());
        let serves = move |instance: &Instance| {
            instance.address.is_some() && version.is_some() && instance.version == version
        };
        self.instances(function).filter(move |instance| serves(instance))
    }

    /// Why a function has no instance that can be called.
    pub(crate) fn why_not(&self, function: &Key) -> Option<String> {
        let settings = self.settings(function)?;
        let fault = |instance: &Instance| instance.fault.clone();
        let version = &settings.version;
        let pods = self.instances(function).filter(|i| version.is_none() || i.version == *version);
        let told = settings.failed.clone().or(settings.unready.clone());
        told.or(pods.filter_map(fault).next()).or(settings.not_yet.clone())
    }

    /// Takes in news about functions; gives those that changed.
    pub(crate) fn function(&mut self, event: Event<Function>) -> BTreeSet<Key> {
        let before: Vec<Key> = self.functions.current.keys().cloned().collect();
        match self.functions.take(event, |f| &f.metadata, |f, _| Some(settings(f))) {
            Change::Nothing => BTreeSet::new(),
            Change::One(key, _) => BTreeSet::from([key]),
            Change::Everything => before.into_iter().chain(self.functions().cloned()).collect(),
        }
    }

    /// Takes in news about pods, of which only those of functions matter; gives the functions whose pods changed.
    pub(crate) fn pod(&mut self, event: Event<Pod>, now: Instant) -> BTreeSet<Key> {
        let instance = |pod: &Pod, before: Option<&Instance>| instance(pod, before, now);
        match self.pods.take(event, |pod| &pod.metadata, instance) {
            Change::Nothing => BTreeSet::new(),
            Change::One(pod, before) => {
                let after = self.pods.current.get(&pod).map(|after| after.function.clone());
                let before = before.map(|before| before.function);
                if let Some(function) = &before
                    && let Some(pods) = self.of_function.get_mut(function)
                {
                    pods.remove(&pod);
                }
                if let Some(function) = &after {
                    self.of_function.entry(function.clone()).or_default().insert(pod);
                }
                before.into_iter().chain(after).collect()
            }
            Change::Everything => {
                let left = std::mem::take(&mut self.of_function);
                for (pod, instance) in &self.pods.current {
                    let pods = self.of_function.entry(instance.function.clone()).or_default();
                    pods.insert(pod.clone());
                }
                left.into_keys().chain(self.of_function.keys().cloned()).collect()
            }
        }
    }

    fn instances(&self, function: &Key) -> impl Iterator<Item = &Instance> {
        let pods = self.of_function.get(function).into_iter().flatten();
        pods.filter_map(|pod| self.pods.current.get(pod))
    }
}

// === impl Listed ===

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Listed { current: BTreeMap::new(), next: None, complete: false }
    }
}

impl<T: PartialEq> Listed<T> {
    /// Takes in an event; objects of which `value` makes nothing are not kept. It is told what it made of the object
    /// before.
    fn take<K>(
        &mut self,
        event: Event<K>,
        metadata: impl Fn(&K) -> &ObjectMeta,
        value: impl Fn(&K, Option<&T>) -> Option<T>,
    ) -> Change<T> {
        match event {
            Event::Apply(object) => {
                let key = key(metadata(&object));
                let value = value(&object, self.current.get(&key));
                self.put(key, value)
            }
            Event::Delete(object) => self.put(key(metadata(&object)), None),
            Event::Init => {
                self.next = Some(BTreeMap::new());
                Change::Nothing
            }
            Event::InitApply(object) => {
                let key = key(metadata(&object));
                if let Some(value) = value(&object, self.current.get(&key)) {
                    self.next.get_or_insert_default().insert(key, value);
                }
                Change::Nothing
            }
            Event::InitDone => {
                self.current = self.next.take().unwrap_or_default();
                self.complete = true;
                Change::Everything
            }
        }
    }

    fn put(&mut self, key: Key, value: Option<T>) -> Change<T> {
        if self.current.get(&key) == value.as_ref() {
            return Change::Nothing;
        }
        let before = match value {
            Some(value) => self.current.insert(key.clone(), value),
            None => self.current.remove(&key),
        };
        Change::One(key, before)
    }
}

fn key(metadata: &ObjectMeta) -> Key {
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    (part(&metadata.namespace), part(&metadata.name))
}

fn settings(function: &Function) -> Settings {
    let seconds = function.spec.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let status = function.status.as_ref();
    let version = status.and_then(|status| status.version);
    let last = status.and_then(|status| status.versions.last());
    let failed =
        last.filter(|last| version.is_none() && last.phase == FunctionVersionPhase::Failed);
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|c| c.type_ == "Ready");
    let said = |word| ready.filter(|c| c.status == word).map(|c| c.message.clone());
    Settings {
        timeout: seconds.filter(|s| *s > 0).map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        concurrency: concurrency(&function.spec),
        version: version.map(|version| version.to_string()),
        failed: failed.map(|failed| {
            let why = failed.message.as_deref().unwrap_or("it failed");
            format!("version {}: {why}", failed.version)
        }),
        unready: said("False"),
        not_yet: said("Unknown"),
    }
}

/// More than an instance works on at a time waits for another one, rather than in it.
fn concurrency(spec: &FunctionSpec) -> Option<NonZeroU32> {
    let said = spec.container_concurrency.and_then(|most| most.try_into().ok());
    let own = || match spec.runtime.as_deref() {
        None | Some("python") => NonZeroU32::new(Function::PYTHON_CONCURRENCY),
        _ => None,
    };
    said.and_then(NonZeroU32::new).or_else(own)
}

/// A pod of a function. A terminating one gets no new calls.
fn instance(pod: &Pod, before: Option<&Instance>, now: Instant) -> Option<Instance> {
    let metadata = &pod.metadata;
    let labels = metadata.labels.as_ref()?;
    let function = labels.get(Function::LABEL)?.clone();
    let uid = metadata.uid.as_deref().or(metadata.name.as_deref()).unwrap_or_default();
    let before = before.filter(|before| *before.uid == *uid);
    let status = pod.status.as_ref();
    let stays = metadata.deletion_timestamp.is_none() && !has_lost_its_function(pod);
    let callable = status.filter(|_| stays);
    let ready = callable.filter(|status| condition(status, "Ready"));
    Some(Instance {
        uid: before.map_or_else(|| Uid::from(uid), |before| before.uid.clone()),
        function: (metadata.namespace.clone().unwrap_or_default(), function),
        version: labels.get(Function::VERSION_LABEL).cloned(),
        address: ready.and_then(|status| status.pod_ip.as_ref()?.parse().ok()),
        fault: status.and_then(fault),
        milestones: Milestones::of(pod, before.map(|before| &before.milestones), now),
    })
}

/// A function that was loaded is lost with the container. The pod is replaced.
fn has_lost_its_function(pod: &Pod) -> bool {
    let mut containers =
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    is_from_pool(pod) && containers.any(|container| container.restart_count > 0)
}

/// What keeps a pod from becoming ready, in the words of its status.
fn fault(status: &PodStatus) -> Option<String> {
    let told = |reason: Option<&str>, message: Option<&str>| match (reason, message) {
        (Some(reason), Some(message)) => Some(format!("{reason}: {message}")),
        (reason, message) => reason.or(message).map(str::to_owned),
    };
    let containers = status.container_statuses.iter().flatten();
    let waiting = containers.filter_map(|c| c.state.as_ref()?.waiting.as_ref());
    let mut waiting = waiting.filter(|w| w.reason.as_deref() != Some("ContainerCreating"));
    let unbound = status.conditions.iter().flatten();
    let mut unbound = unbound.filter(|c| c.type_ == "PodScheduled" && c.status == "False");
    waiting
        .find_map(|waiting| told(waiting.reason.as_deref(), waiting.message.as_deref()))
        .or_else(|| unbound.find_map(|c| told(c.reason.as_deref(), c.message.as_deref())))
}

#[cfg(test)]
mod tests;
