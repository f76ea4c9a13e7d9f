//! The loop. One task takes in what changes, lets the [`Decider`] decide, and leaves the talking to the
//! [`Binder`]: every call in a task of its own, so that a slow answer holds up no other pod.

use std::time::Duration;

use api_types::api::core::v1::{ConfigMap, Node, Pod};
use component::Tasks;
use component::events::{EventType, Recorder};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, stream};
use kube::Client;
use kube::runtime::watcher::{self, Event};
use listwatch::{Heartbeat, ListWatch, Scope};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout};

use crate::binder::{Binder, Outcome};
use crate::configuration::{self, Wish};
use crate::decider::{Decider, Decision};
use crate::metrics::Metrics;
use crate::snapshot::VolumeEvent;
use crate::strategy::{Strategy, UnknownStrategy};

/// Decisions at a time, before the loop looks again at what has changed.
const DECISIONS: usize = 64;

/// How long nothing is decided because it is not known by which strategy.
const CONFIGURED: Duration = Duration::from_secs(5);

/// The component named in events.
pub const COMPONENT: &str = "default-scheduler";

/// A call about a pod has panicked: what became of the pod is not known.
#[derive(Debug, thiserror::Error)]
#[error("telling the API server about a pod has failed")]
pub struct Failed(#[source] JoinError);

/// Schedules pods until it fails. What writes events is among the `tasks`.
///
/// `synced` is called once everything that exists has been seen.
pub async fn run(
    listwatch: &ListWatch,
    tasks: &Tasks,
    strategy: Strategy,
    metrics: &Metrics,
    synced: impl FnOnce() + Send,
) -> Failed {
    let recorder = Recorder::new(tasks, listwatch.client().clone(), COMPONENT, "");
    let inputs = Inputs::new(listwatch);
    let client = listwatch.client().clone();
    Scheduler::new(client, recorder, strategy, metrics.clone()).run(inputs, synced).await
}

/// Everything the scheduler listens to.
struct Inputs {
    pods: BoxStream<'static, watcher::Result<Event<Pod>>>,
    nodes: BoxStream<'static, watcher::Result<Event<Node>>>,
    volumes: BoxStream<'static, watcher::Result<VolumeEvent>>,
    wishes: BoxStream<'static, Wish>,
    /// Without Redis there are none.
    heartbeats: BoxStream<'static, Heartbeat>,
}

impl Inputs {
    fn new(listwatch: &ListWatch) -> Self {
        Self {
            pods: listwatch.watch(Scope::All).boxed(),
            nodes: listwatch.watch(Scope::All).boxed(),
            volumes: volumes(listwatch),
            wishes: configuration::watch(listwatch.client().clone()).boxed(),
            heartbeats: listwatch
                .heartbeats()
                .map_or_else(|| stream::pending().boxed(), StreamExt::boxed),
        }
    }
}

/// What is said of storage, by three watches.
fn volumes(listwatch: &ListWatch) -> BoxStream<'static, watcher::Result<VolumeEvent>> {
    let claims =
        listwatch.watch(Scope::All).map(|event| event.map(|it| VolumeEvent::Claim(Box::new(it))));
    let volumes =
        listwatch.watch(Scope::All).map(|event| event.map(|it| VolumeEvent::Volume(Box::new(it))));
    let classes =
        listwatch.watch(Scope::All).map(|event| event.map(|it| VolumeEvent::Class(Box::new(it))));
    stream::select(claims, stream::select(volumes, classes)).boxed()
}

struct Scheduler {
    decider: Decider,
    usual_strategy: Strategy,
    binder: Binder,
    recorder: Recorder,
    calls: JoinSet<Outcome>,
    metrics: Metrics,
}

impl Scheduler {
    fn new(client: Client, recorder: Recorder, strategy: Strategy, metrics: Metrics) -> Self {
        let rng = StdRng::from_rng(&mut rand::rng());
        Self {
            decider: Decider::new(strategy, rng, metrics.pending()),
            usual_strategy: strategy,
            binder: Binder::new(client, recorder.clone()),
            recorder,
            calls: JoinSet::new(),
            metrics,
        }
    }

    async fn run(mut self, mut inputs: Inputs, synced: impl FnOnce() + Send) -> Failed {
        if let Ok(Some(wish)) = timeout(CONFIGURED, inputs.wishes.next()).await {
            self.configure(&wish);
        }
        let mut synced = Some(synced);
        loop {
            if let Err(error) = self.take_in(&mut inputs).await {
                return Failed(error);
            }
            if let Some(synced) = synced.take_if(|_| self.decider.is_synced()) {
                synced();
            }
            self.decide();
        }
    }

    /// Waits for the next thing to happen.
    async fn take_in(&mut self, inputs: &mut Inputs) -> Result<(), JoinError> {
        let due = self.decider.next_wake(Instant::now()).map_or_else(
            || futures::future::pending().boxed(),
            |due| tokio::time::sleep_until(due).boxed(),
        );
        tokio::select! {
            Some(event) = inputs.pods.next() => self.pod_event(event),
            Some(event) = inputs.nodes.next() => self.node_event(event),
            Some(event) = inputs.volumes.next() => self.volume_event(event),
            Some(heartbeat) = inputs.heartbeats.next() => self.decider.heard(&heartbeat, Instant::now()),
            Some(wish) = inputs.wishes.next() => self.configure(&wish),
            Some(outcome) = self.calls.join_next() => self.decider.call_ended(outcome?, Instant::now()),
            () = due => {}
        }
        Ok(())
    }

    fn decide(&mut self) {
        for _ in 0..DECISIONS {
            let binder = self.binder.clone();
            let begun = Instant::now();
            match self.decider.decide(begun) {
                Some(Decision::Bind(pod, choice)) => {
                    let (metrics, waited) = (self.metrics.clone(), self.decider.waited(&pod.uid));
                    self.calls.spawn(async move {
                        let outcome = binder.bind(pod, choice).await;
                        metrics.binding_ended(&outcome, begun, waited);
                        outcome
                    });
                }
                Some(Decision::Report(pod, why)) => {
                    self.metrics.unschedulable(begun);
                    self.calls.spawn(binder.report_unschedulable(pod, why));
                }
                Some(Decision::Wait) => self.metrics.unschedulable(begun),
                None => return,
            }
        }
    }

    fn pod_event(&mut self, event: watcher::Result<Event<Pod>>) {
        match event {
            Ok(event) => self.decider.pod_event(event, Instant::now()),
            Err(error) => log(&error, "watching pods"),
        }
    }

    fn node_event(&mut self, event: watcher::Result<Event<Node>>) {
        match event {
            Ok(event) => self.decider.node_event(event, Instant::now()),
            Err(error) => log(&error, "watching nodes"),
        }
    }

    fn volume_event(&mut self, event: watcher::Result<VolumeEvent>) {
        match event {
            Ok(event) => self.decider.volume_event(event, Instant::now()),
            Err(error) => log(&error, "watching storage"),
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
        if strategy != self.decider.strategy {
            tracing::info!(strategy = strategy.name(), "strategy changed");
            self.decider.strategy = strategy;
        }
    }

    fn confirm(&self, map: &ConfigMap, strategy: Strategy) {
        if strategy != self.decider.strategy {
            let message = format!("Using {} from now on", strategy.name());
            self.recorder.about(map, EventType::Normal, "StrategyChanged", message);
        }
    }

    fn complain(&self, map: &ConfigMap, error: &UnknownStrategy) {
        tracing::warn!(%error, strategy = self.decider.strategy.name(), "keeping the strategy");
        let message = format!("{error}; keeping {}", self.decider.strategy.name());
        self.recorder.about(map, EventType::Warning, "InvalidStrategy", message);
    }
}

fn log(error: &watcher::Error, doing: &str) {
    tracing::debug!(error = error as &dyn std::error::Error, "{doing}");
}
