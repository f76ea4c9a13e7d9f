//! What is decided, and when: the cluster as it is known, the pods that wait, and the bindings under way.
//! Events and outcomes go in, decisions come out; nothing else happens here, and time is an argument.
//!
//! *Flow*: a change updates the [`Cache`] and moves pods in the [`Queue`]; each ready pod is decided by
//! [`schedule`](crate::schedule::schedule); a node found is assumed at once and bound in the background.
//!
//! *Guarantees*: decisions are made one after another on a snapshot that contains all earlier ones, so
//! two pods never get the same last room, however many bindings are under way. A pod that fits somewhere
//! is decided as soon as its back-off is over.

use std::collections::HashMap;

use api_types::api::core::v1::{Node, Pod};
use kube::runtime::watcher::Event;
use listwatch::{Heartbeat, Lists, News, gone};
use rand::rngs::StdRng;
use tokio::time::Instant;

use crate::binder::Outcome;
use crate::cache::{Cache, NodeChange};
use crate::changes::Changes;
use crate::plugins::{self, PluginSet};
use crate::pod::{PodInfo, Uid};
use crate::queue::{Pending, Queue, Waited};
use crate::sample::Rotation;
use crate::schedule::{Choice, FitError, schedule};
use crate::snapshot::{NodeName, Usage, VolumeEvent, VolumeLists};
use crate::strategy::Strategy;

#[cfg(test)]
mod simulation;

/// Bindings under way at a time.
const CONCURRENT_BINDINGS: usize = 128;

/// What is to be done about a pod that was tried.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Bind it to this node.
    Bind(PodInfo, Choice),
    /// Write down why it fits nowhere.
    Report(PodInfo, FitError),
    /// It still fits nowhere, for the same reasons.
    Wait,
}

pub(crate) struct Decider {
    pub(crate) strategy: Strategy,
    rng: StdRng,
    cache: Cache,
    queue: Queue,
    rotation: Rotation,
    binding: usize,
    reports: HashMap<Uid, Report>,
    pods: Listing<Pod>,
    nodes: Listing<Node>,
    volumes: VolumeLists,
}

/// Why a pod fits nowhere, as far as that is written down. It is written once per change.
#[derive(Debug)]
enum Report {
    Written(FitError),
    /// With the latest reason, which need not be the one being written. It waits for its turn: of two writes at a
    /// time the older might come last.
    Writing(FitError),
}

struct Listing<K> {
    lists: Lists<K>,
    /// Everything that exists has been seen once.
    complete: bool,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { lists: Lists::default(), complete: false }
    }
}

impl Decider {
    pub(crate) fn new(strategy: Strategy, rng: StdRng, pending: Pending) -> Self {
        Self {
            strategy,
            rng,
            cache: Cache::default(),
            queue: Queue::new(pending),
            rotation: Rotation::default(),
            binding: 0,
            reports: HashMap::new(),
            pods: Listing::default(),
            nodes: Listing::default(),
            volumes: VolumeLists::default(),
        }
    }

    /// Whether everything that exists has been seen. Nothing is decided before.
    pub(crate) fn is_synced(&self) -> bool {
        self.pods.complete && self.nodes.complete
    }

    /// When to decide next, if nothing else happens before.
    pub(crate) fn next_wake(&self, now: Instant) -> Option<Instant> {
        let able = self.is_synced() && self.binding < CONCURRENT_BINDINGS;
        let due = if self.queue.has_ready() { Some(now) } else { self.queue.next_wake() };
        due.filter(|_| able)
    }

    /// Tries the next pod that is ready. `None` if there is none, or too many bindings are under way.
    pub(crate) fn decide(&mut self, now: Instant) -> Option<Decision> {
        while self.is_synced() && self.binding < CONCURRENT_BINDINGS {
            let uid = self.queue.pop(now)?;
            match self.cache.pending(&uid).cloned() {
                Some(pod) => return Some(self.try_pod(pod, now)),
                None => self.queue.remove(&uid),
            }
        }
        None
    }

    fn try_pod(&mut self, pod: PodInfo, now: Instant) -> Decision {
        self.cache.set_time(now);
        let (cluster, rotation) = (self.cache.snapshot(), &mut self.rotation);
        match schedule(&pod, cluster, &self.strategy, rotation, &mut self.rng) {
            Ok(choice) => {
                tracing::debug!(pod = %pod.key(), node = %choice, "binding");
                self.cache.assume(&pod, &choice.node);
                self.binding += 1;
                Decision::Bind(pod, choice)
            }
            Err(why) => self.unschedulable(pod, why, now),
        }
    }

    /// How long a pod has waited for a node.
    pub(crate) fn waited(&self, pod: &Uid) -> Option<Waited> {
        self.queue.waited(pod)
    }

    fn unschedulable(&mut self, pod: PodInfo, why: FitError, now: Instant) -> Decision {
        self.queue.park(&pod.uid, why.refused_by(), now);
        match self.reports.get_mut(&pod.uid) {
            Some(Report::Written(known)) if *known == why => return Decision::Wait,
            Some(Report::Writing(latest)) => {
                *latest = why;
                return Decision::Wait;
            }
            _ => {}
        }
        tracing::info!(pod = %pod.key(), %why, "unschedulable");
        self.reports.insert(pod.uid.clone(), Report::Writing(why.clone()));
        Decision::Report(pod, why)
    }

    pub(crate) fn call_ended(&mut self, outcome: Outcome, now: Instant) {
        match outcome {
            Outcome::Bound(pod) => {
                self.binding -= 1;
                self.done_with(&pod);
            }
            Outcome::Failed(pod) => {
                self.binding -= 1;
                self.binding_failed(&pod, now);
            }
            Outcome::Reported(pod, why) => self.report_ended(&pod, Some(&why), now),
            Outcome::NotReported(pod) => self.report_ended(&pod, None, now),
        }
    }

    /// Leaves the room it had assumed to others as well.
    fn binding_failed(&mut self, pod: &Uid, now: Instant) {
        if let Some(left) = self.cache.forget(pod) {
            self.queue.retry(pod, now);
            self.node_changed(&left, now);
        }
    }

    /// If the latest reason is not what is written, the pod is tried again, which writes it.
    fn report_ended(&mut self, pod: &Uid, written: Option<&FitError>, now: Instant) {
        let Some(Report::Writing(latest)) = self.reports.remove(pod) else { return };
        if written == Some(&latest) {
            self.reports.insert(pod.clone(), Report::Written(latest));
        } else {
            self.queue.try_again(pod, now);
        }
    }

    fn done_with(&mut self, pod: &Uid) {
        self.queue.remove(pod);
        self.reports.remove(pod);
    }

    pub(crate) fn pod_event(&mut self, event: Event<Pod>, now: Instant) {
        match self.pods.lists.take_in(event) {
            None => {}
            Some(News::Applied(pod)) => self.pod_applied(pod, now),
            Some(News::Deleted(pod)) => self.pod_gone(&Uid::of(&pod), now),
            Some(News::Listed(pods)) => self.pods_listed(pods, now),
        }
    }

    fn pods_listed(&mut self, pods: Vec<Pod>, now: Instant) {
        let gone = gone(self.cache.pods(), pods.iter().map(Uid::of));
        gone.iter().for_each(|pod| self.pod_gone(pod, now));
        pods.into_iter().for_each(|pod| self.pod_applied(pod, now));
        self.pods.complete = true;
    }

    fn pod_applied(&mut self, pod: Pod, now: Instant) {
        if let Some(old) = self.cache.predecessor(&pod).cloned() {
            self.pod_gone(&old, now);
        }
        let uid = Uid::of(&pod);
        let effect = self.cache.pod_applied(pod);
        if effect.wants {
            self.queue.add(&uid, now);
        } else if !self.cache.is_undecided(&uid) {
            self.done_with(&uid);
        }
        let changes = effect.left.into_iter().chain(effect.came);
        changes.for_each(|change| self.node_changed(&change, now));
    }

    fn pod_gone(&mut self, pod: &Uid, now: Instant) {
        self.done_with(pod);
        if let Some(left) = self.cache.pod_deleted(pod) {
            self.node_changed(&left, now);
        }
    }

    pub(crate) fn node_event(&mut self, event: Event<Node>, now: Instant) {
        match self.nodes.lists.take_in(event) {
            None => {}
            Some(News::Applied(node)) => self.node_applied(node, now),
            Some(News::Deleted(node)) => self.cache.node_deleted(&NodeName::of(&node)),
            Some(News::Listed(nodes)) => self.nodes_listed(nodes, now),
        }
    }

    fn node_applied(&mut self, node: Node, now: Instant) {
        let change = self.cache.node_applied(node);
        self.node_changed(&change, now);
    }

    /// What a node uses counts from the next decision on. It makes no room for a pod that has none.
    pub(crate) fn heard(&mut self, heartbeat: &Heartbeat, now: Instant) {
        let share = |percent: f64| (percent / 100.0).clamp(0.0, 1.0);
        let usage =
            Usage { cpu: share(heartbeat.cpu_percent), memory: share(heartbeat.memory_percent) };
        self.cache.heard(&NodeName::from(heartbeat.node.as_str()), usage, now);
    }

    fn nodes_listed(&mut self, nodes: Vec<Node>, now: Instant) {
        let known = self.cache.snapshot().nodes().map(|node| node.name.clone());
        let gone = gone(known, nodes.iter().map(NodeName::of));
        gone.iter().for_each(|name| self.cache.node_deleted(name));
        nodes.into_iter().for_each(|node| self.node_applied(node, now));
        self.nodes.complete = true;
    }

    /// Pods that wait for their volumes are tried again, whichever have changed.
    pub(crate) fn volume_event(&mut self, event: VolumeEvent, now: Instant) {
        if self.volumes.take_in(event, self.cache.volumes_mut()) {
            let turned = plugins::turned_by(Changes::VOLUMES);
            self.queue.wake(|_, refused_by| !(refused_by & turned).is_empty(), now);
        }
    }

    /// Wakes the pods for which a plugin that has refused them nodes has another answer now.
    fn node_changed(&mut self, change: &NodeChange, now: Instant) {
        let (cluster, turned) = (self.cache.snapshot(), plugins::turned_by(change.changes));
        let Some(node) = cluster.get(&change.node).filter(|_| !turned.is_empty()) else { return };
        let helps = |pod: &Uid, refused_by: PluginSet| {
            let asked = refused_by & turned;
            let pod = if asked.is_empty() { None } else { self.cache.pending(pod) };
            pod.is_some_and(|pod| plugins::may_help(asked, pod, node, cluster))
        };
        self.queue.wake(helps, now);
    }
}
