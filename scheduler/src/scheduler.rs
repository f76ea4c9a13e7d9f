//! The loop. One task owns all state: it takes in what changes, tries the pods that are ready, and
//! leaves the talking to the [`Binder`].
//!
//! *Flow*: a change updates the [`Cache`] and moves pods in the [`Queue`]; each ready pod is decided by
//! [`schedule`](crate::schedule::schedule); a node found is assumed at once and bound in the background.
//!
//! *Guarantees*: decisions are made one after another on a snapshot that contains all earlier ones, so
//! two pods never get the same last room, however many bindings are under way.

use std::collections::{BTreeSet, HashMap};

use api_types::api::core::v1::{ConfigMap, Node, Pod};
use component::events::{EventType, Recorder};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use kube::Client;
use kube::runtime::watcher::{self, Event};
use listwatch::{ListWatch, Scope};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::binder::{Binder, Outcome};
use crate::cache::{Cache, Effect};
use crate::configuration::{self, Wish};
use crate::pod::{PodInfo, PodKey};
use crate::queue::Queue;
use crate::schedule::{FitError, schedule};
use crate::snapshot::NodeName;
use crate::strategy::{Strategy, UnknownStrategy};

/// Bindings under way at a time.
const CONCURRENT_BINDINGS: usize = 128;

/// The component named in events.
pub const COMPONENT: &str = "default-scheduler";

/// Schedules pods until the program ends.
///
/// `synced` is called once everything that exists has been seen.
pub async fn run(listwatch: &ListWatch, strategy: Strategy, synced: impl FnOnce() + Send) {
    let client = listwatch.client().clone();
    let inputs = Inputs::new(listwatch);
    Scheduler::new(client, strategy).run(inputs, synced).await;
}

/// Everything the scheduler listens to.
struct Inputs {
    pods: BoxStream<'static, watcher::Result<Event<Pod>>>,
    nodes: BoxStream<'static, watcher::Result<Event<Node>>>,
    wishes: BoxStream<'static, Wish>,
}

impl Inputs {
    fn new(listwatch: &ListWatch) -> Self {
        Self {
            pods: listwatch.watch(Scope::All).boxed(),
            nodes: listwatch.watch(Scope::All).boxed(),
            wishes: configuration::watch(listwatch.client().clone()).boxed(),
        }
    }
}

struct Scheduler {
    cache: Cache,
    queue: Queue,
    usual_strategy: Strategy,
    strategy: Strategy,
    rng: StdRng,
    binder: Binder,
    recorder: Recorder,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    binding: usize,
    /// The last reason that was written down for a pod, so that it is written once per change.
    reported: HashMap<PodKey, FitError>,
    pods: Listing<PodKey>,
    nodes: Listing<NodeName>,
}

/// A list in progress: what it has shown so far, to find out what is gone.
struct Listing<K> {
    seen: BTreeSet<K>,
    complete: bool,
}

impl<K> Default for Listing<K> {
    fn default() -> Self {
        Self { seen: BTreeSet::new(), complete: false }
    }
}

impl Scheduler {
    fn new(client: Client, strategy: Strategy) -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let recorder = Recorder::new(client.clone(), COMPONENT, "");
        Self {
            cache: Cache::default(),
            queue: Queue::default(),
            usual_strategy: strategy,
            strategy,
            rng: StdRng::from_rng(&mut rand::rng()),
            binder: Binder::new(client, recorder.clone(), sender),
            recorder,
            outcomes,
            binding: 0,
            reported: HashMap::new(),
            pods: Listing::default(),
            nodes: Listing::default(),
        }
    }

    async fn run(mut self, mut inputs: Inputs, synced: impl FnOnce() + Send) {
        let mut synced = Some(synced);
        loop {
            self.take_in(&mut inputs).await;
            if !(self.pods.complete && self.nodes.complete) {
                continue;
            }
            if let Some(synced) = synced.take() {
                synced();
            }
            self.try_ready_pods();
        }
    }

    /// Waits for the next thing to happen.
    async fn take_in(&mut self, inputs: &mut Inputs) {
        let free = self.binding < CONCURRENT_BINDINGS;
        let wake = self.queue.next_wake().filter(|_| free);
        let due = wake.map_or_else(
            || futures::future::pending().boxed(),
            |due| tokio::time::sleep_until(due).boxed(),
        );
        tokio::select! {
            Some(event) = inputs.pods.next() => self.pod_event(event),
            Some(event) = inputs.nodes.next() => self.node_event(event),
            Some(wish) = inputs.wishes.next() => self.configure(&wish),
            Some(outcome) = self.outcomes.recv() => self.binding_ended(outcome),
            () = due => {}
        }
    }

    fn try_ready_pods(&mut self) {
        while self.binding < CONCURRENT_BINDINGS {
            let Some(key) = self.queue.pop(Instant::now()) else { return };
            match self.cache.pending(&key) {
                Some(pod) => self.try_pod(PodInfo::new(pod.clone())),
                None => self.queue.remove(&key),
            }
        }
    }

    fn try_pod(&mut self, pod: PodInfo) {
        match schedule(&pod, self.cache.snapshot(), &self.strategy, &mut self.rng) {
            Ok(node) => {
                tracing::debug!(pod = %pod.key(), %node, "binding");
                self.cache.assume(&pod, &node);
                self.binding += 1;
                self.binder.bind(pod, node);
            }
            Err(why) => self.unschedulable(pod, why),
        }
    }

    fn unschedulable(&mut self, pod: PodInfo, why: FitError) {
        let key = pod.key();
        self.queue.park(&key, Instant::now());
        let news = self.reported.insert(key.clone(), why.clone()).as_ref() != Some(&why);
        if news {
            tracing::info!(pod = %key, %why, "unschedulable");
            self.binder.report_unschedulable(pod, why);
        }
    }

    fn binding_ended(&mut self, outcome: Outcome) {
        self.binding -= 1;
        match outcome {
            Outcome::Bound(pod) => self.done_with(&pod.key()),
            Outcome::Failed(pod) => {
                self.cache.forget(&pod);
                if self.cache.pending(&pod.key()).is_some() {
                    self.queue.retry(&pod.key(), Instant::now());
                }
            }
        }
    }

    fn done_with(&mut self, pod: &PodKey) {
        self.queue.remove(pod);
        self.reported.remove(pod);
    }

    fn pod_event(&mut self, event: watcher::Result<Event<Pod>>) {
        match event {
            Ok(Event::Apply(pod)) => self.pod_applied(pod),
            Ok(Event::Delete(pod)) => self.pod_deleted(&PodKey::of(&pod)),
            Ok(Event::Init) => self.pods.seen.clear(),
            Ok(Event::InitApply(pod)) => {
                self.pods.seen.insert(PodKey::of(&pod));
                self.pod_applied(pod);
            }
            Ok(Event::InitDone) => self.pods_listed(),
            Err(error) => log(&error, "watching pods"),
        }
    }

    fn pods_listed(&mut self) {
        let seen = std::mem::take(&mut self.pods.seen);
        let gone: Vec<PodKey> = self.cache.pods().difference(&seen).cloned().collect();
        gone.iter().for_each(|pod| self.pod_deleted(pod));
        self.pods.complete = true;
    }

    fn pod_applied(&mut self, pod: Pod) {
        let key = PodKey::of(&pod);
        let effect = self.cache.pod_applied(pod);
        if effect == Effect::Wants {
            self.queue.add(&key);
        } else if self.cache.pending(&key).is_none() {
            self.done_with(&key);
        }
        self.after(effect);
    }

    fn pod_deleted(&mut self, key: &PodKey) {
        self.done_with(key);
        let effect = self.cache.pod_deleted(key);
        self.after(effect);
    }

    fn node_event(&mut self, event: watcher::Result<Event<Node>>) {
        match event {
            Ok(Event::Apply(node)) => self.node_applied(node),
            Ok(Event::Delete(node)) => self.cache.node_deleted(&name_of(&node)),
            Ok(Event::Init) => self.nodes.seen.clear(),
            Ok(Event::InitApply(node)) => {
                self.nodes.seen.insert(name_of(&node));
                self.node_applied(node);
            }
            Ok(Event::InitDone) => self.nodes_listed(),
            Err(error) => log(&error, "watching nodes"),
        }
    }

    fn node_applied(&mut self, node: Node) {
        let effect = self.cache.node_applied(node);
        self.after(effect);
    }

    fn nodes_listed(&mut self) {
        let seen = std::mem::take(&mut self.nodes.seen);
        let known = self.cache.snapshot().nodes.keys();
        let gone: Vec<NodeName> = known.filter(|name| !seen.contains(name)).cloned().collect();
        gone.iter().for_each(|name| self.cache.node_deleted(name));
        self.nodes.complete = true;
    }

    fn after(&mut self, effect: Effect) {
        if effect == Effect::MayHelp {
            self.queue.world_changed(Instant::now());
        }
    }

    fn configure(&mut self, wish: &Wish) {
        let strategy = match wish {
            Wish::Nothing => self.usual_strategy,
            Wish::Use(map, strategy) => {
                self.confirm(map, *strategy);
                *strategy
            }
            Wish::Wrong(map, error) => return self.complain(map, error),
        };
        if strategy != self.strategy {
            tracing::info!(strategy = strategy.name(), "strategy changed");
            self.strategy = strategy;
        }
    }

    fn confirm(&self, map: &ConfigMap, strategy: Strategy) {
        if strategy != self.strategy {
            let message = format!("Using {} from now on", strategy.name());
            self.recorder.about(map, EventType::Normal, "StrategyChanged", message);
        }
    }

    fn complain(&self, map: &ConfigMap, error: &UnknownStrategy) {
        tracing::warn!(%error, strategy = self.strategy.name(), "keeping the strategy");
        let message = format!("{error}; keeping {}", self.strategy.name());
        self.recorder.about(map, EventType::Warning, "InvalidStrategy", message);
    }
}

fn name_of(node: &Node) -> NodeName {
    NodeName(node.metadata.name.clone().unwrap_or_default())
}

fn log(error: &watcher::Error, doing: &str) {
    tracing::debug!(error = error as &dyn std::error::Error, "{doing}");
}
