//! Which functions there are and which instances can be called: plain data, changed by watch events.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    num::NonZeroU32,
    time::Duration,
};

use api_machinery::PodTrouble;
use api_types::{
    api::core::v1::Pod,
    meta::ObjectMeta,
    minik8s::{Function, FunctionVersion, FunctionVersionPhase},
};
use kube::runtime::watcher::Event;
use listwatch::{Lists, News};
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
    functions: Listed<Function, Settings>,
    pods: Listed<Pod, Instance>,
    /// The pods of each function; made of `pods`.
    of_function: BTreeMap<Key, BTreeSet<Key>>,
}

/// What a function says about its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) uid: Option<String>,
    /// How long one may take.
    pub(crate) timeout: Duration,
    /// How many an instance is given at a time. More than it works on waits for another one, rather than in it.
    pub(crate) concurrency: Option<NonZeroU32>,
    /// The version that serves.
    version: Option<String>,
    /// Why no version can serve.
    failed: Option<String>,
    /// Whether the version that serves has never been ready, and no other one is being made.
    is_unproven: bool,
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
    trouble: Option<PodTrouble>,
    /// Whether it is on its way out.
    leaves: bool,
    pub(crate) milestones: Milestones,
}

/// What a watch says of the objects of a kind.
#[derive(Debug)]
struct Listed<K, T> {
    current: BTreeMap<Key, T>,
    lists: Lists<K>,
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
        let version = &settings.version;
        let pods = self.instances(function).filter(|i| version.is_none() || i.version == *version);
        let mut troubles = pods.filter_map(|instance| instance.trouble.as_ref());
        let trouble = troubles.next().map(|trouble| trouble.message().to_owned());
        let told = settings.failed.clone().or(settings.unready.clone());
        told.or(trouble).or(settings.not_yet.clone())
    }

    /// Whether there will be no instance to wait for, as far as it is known now: no version could be made, or one that was
    /// never ready does not start. An instance that is made, or is tried once more, may do better.
    pub(crate) fn is_hopeless(&self, function: &Key) -> bool {
        let Some(settings) = self.settings(function) else { return false };
        let cannot_start = |i: &Instance| matches!(i.trouble, Some(PodTrouble::Container(_)));
        let own = |i: &&Instance| !i.leaves && i.version == settings.version;
        let mut instances = self.instances(function).filter(own).peekable();
        let fail = instances.peek().is_some() && instances.all(cannot_start);
        settings.failed.is_some() || settings.is_unproven && fail
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

impl<K, T> Default for Listed<K, T> {
    fn default() -> Self {
        Listed { current: BTreeMap::new(), lists: Lists::default(), complete: false }
    }
}

impl<K, T: PartialEq> Listed<K, T> {
    /// Takes in an event; objects of which `value` makes nothing are not kept. It is told what it made of the object
    /// before.
    fn take(
        &mut self,
        event: Event<K>,
        metadata: impl Fn(&K) -> &ObjectMeta,
        value: impl Fn(&K, Option<&T>) -> Option<T>,
    ) -> Change<T> {
        let keyed = |object: &K, current: &BTreeMap<Key, T>| {
            let key = key(metadata(object));
            let value = value(object, current.get(&key));
            (key, value)
        };
        match self.lists.take_in(event) {
            None => Change::Nothing,
            Some(News::Applied(object)) => {
                let (key, value) = keyed(&object, &self.current);
                self.put(key, value)
            }
            Some(News::Deleted(object)) => self.put(key(metadata(&object)), None),
            Some(News::Listed(objects)) => {
                let listed = objects.iter().map(|object| keyed(object, &self.current));
                let kept = listed.filter_map(|(key, value)| Some((key, value?)));
                self.current = kept.collect();
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
    let limits = function.call_limits();
    let seconds = limits.timeout_seconds.map(|seconds| Duration::from_secs(seconds.get().into()));
    let status = function.status.as_ref();
    let version = status.and_then(|status| status.version);
    let last = status.and_then(|status| status.versions.last());
    let failed =
        last.filter(|last| version.is_none() && last.phase == FunctionVersionPhase::Failed);
    let unready = |version: &&FunctionVersion| version.phase != FunctionVersionPhase::Ready;
    let is_being_made = |last: &FunctionVersion| {
        Some(last.version) != version && last.phase == FunctionVersionPhase::Building
    };
    let mut conditions = status.into_iter().flat_map(|status| &status.conditions);
    let ready = conditions.find(|c| c.type_ == "Ready");
    let said = |word| ready.filter(|c| c.status == word).map(|c| c.message.clone());
    Settings {
        uid: function.metadata.uid.clone(),
        timeout: seconds.unwrap_or(DEFAULT_TIMEOUT),
        concurrency: limits.concurrency,
        version: version.map(|version| version.to_string()),
        failed: failed.map(|failed| {
            let why = failed.message.as_deref().unwrap_or("it failed");
            format!("version {}: {why}", failed.version)
        }),
        is_unproven: function.serving().filter(unready).is_some()
            && !last.is_some_and(is_being_made),
        unready: said("False"),
        not_yet: said("Unknown"),
    }
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
        trouble: PodTrouble::of(pod),
        leaves: !stays,
        milestones: Milestones::of(pod, before.map(|before| &before.milestones), now),
    })
}

/// A function that was loaded is lost with the container. The pod is replaced.
fn has_lost_its_function(pod: &Pod) -> bool {
    let mut containers =
        pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    is_from_pool(pod) && containers.any(|container| container.restart_count > 0)
}

#[cfg(test)]
mod tests;
