//! Readiness, liveness and startup probes of one pod: a task per probe and running container. What
//! they find wakes the pod's worker, which reports it and restarts what is unhealthy.

mod check;
mod tally;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api_types::api::core::v1::{Container as Wanted, Pod, Probe};
use component::events::EventType;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::task::AbortOnDropHandle;

use self::{check::Target, tally::Tally};
use crate::{
    context::Context,
    pod::{observed::Observed, spec, status::Probed},
    runtime::Container,
};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Readiness,
    Liveness,
    Startup,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Readiness => "Readiness",
            Self::Liveness => "Liveness",
            Self::Startup => "Startup",
        }
    }

    fn of(self, container: &Wanted) -> Option<&Probe> {
        match self {
            Self::Readiness => container.readiness_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Startup => container.startup_probe.as_ref(),
        }
    }
}

/// The probes of one pod.
#[derive(Debug, Default)]
pub struct Probes {
    results: Arc<Mutex<Probed>>,
    tasks: BTreeMap<(String, Kind), AbortOnDropHandle<()>>,
}

impl Probes {
    /// What was found up to now.
    pub fn results(&self) -> Probed {
        self.results.lock().clone()
    }

    /// Probes exactly the containers that run.
    pub fn follow(
        &mut self,
        context: &Arc<Context>,
        wake: &Arc<Notify>,
        pod: &Arc<Pod>,
        observed: &Observed,
        pod_ip: Option<&str>,
    ) {
        let running = |id: &str| observed.running().any(|container| container.id == id);
        self.tasks.retain(|(id, _), _| running(id));
        let mut results = self.results.lock();
        results.ready.retain(|id, _| running(id));
        results.started.retain(|id, _| running(id));
        results.unhealthy.retain(|id, _| running(id));
        drop(results);
        let Some(pod_ip) = pod_ip else { return };
        for wanted in spec::containers(pod).chain(spec::init_containers(pod)) {
            let latest = observed.latest(&wanted.name).filter(|latest| latest.is_running());
            let Some(latest) = latest else { continue };
            for kind in self.due(wanted, &latest.id) {
                let target = Target { context: context.clone(), pod_ip: pod_ip.to_owned() };
                self.begin(target, wake, pod, wanted, latest, kind);
            }
        }
    }

    /// The probes to begin: those of liveness and readiness wait for startup.
    fn due(&self, wanted: &Wanted, id: &str) -> Vec<Kind> {
        let started = wanted.startup_probe.is_none()
            || self.results.lock().started.get(id).copied().unwrap_or_default();
        let kinds: &[Kind] =
            if started { &[Kind::Readiness, Kind::Liveness] } else { &[Kind::Startup] };
        let new = |kind: &Kind| !self.tasks.contains_key(&(id.to_owned(), *kind));
        kinds.iter().copied().filter(|kind| kind.of(wanted).is_some()).filter(new).collect()
    }

    fn begin(
        &mut self,
        target: Target,
        wake: &Arc<Notify>,
        pod: &Arc<Pod>,
        wanted: &Wanted,
        container: &Container,
        kind: Kind,
    ) {
        let Some(probe) = kind.of(wanted).cloned() else { return };
        let id = container.id.clone();
        match kind {
            Kind::Readiness => drop(self.results.lock().ready.insert(id.clone(), false)),
            Kind::Startup => drop(self.results.lock().started.insert(id.clone(), false)),
            Kind::Liveness => {}
        }
        let task = Task {
            target,
            results: self.results.clone(),
            wake: wake.clone(),
            pod: pod.clone(),
            wanted: wanted.clone(),
            id: id.clone(),
            kind,
        };
        let handle = AbortOnDropHandle::new(tokio::spawn(task.run(probe)));
        self.tasks.insert((id, kind), handle);
    }
}

/// One probe of one running container.
struct Task {
    target: Target,
    results: Arc<Mutex<Probed>>,
    wake: Arc<Notify>,
    pod: Arc<Pod>,
    wanted: Wanted,
    id: String,
    kind: Kind,
}

impl Task {
    async fn run(self, probe: Probe) {
        let seconds = |value: Option<i32>, usual: u64| {
            Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(usual))
        };
        let mut tally = Tally::new(
            probe.success_threshold.unwrap_or(1),
            probe.failure_threshold.unwrap_or(3),
            self.kind != Kind::Liveness,
        );
        tokio::time::sleep(seconds(probe.initial_delay_seconds, 0)).await;
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let outcome = self.target.check(&probe, &self.wanted, &self.id, timeout).await;
            if let Err(why) = &outcome {
                self.complain(why);
            }
            if let Some(healthy) = tally.count(outcome.is_ok())
                && self.conclude(healthy)
            {
                return;
            }
        }
    }

    fn complain(&self, why: &str) {
        let message = format!("{} probe failed: {why}", self.kind.name());
        let (context, name) = (&self.target.context, &self.wanted.name);
        context.container_event(&self.pod, name, EventType::Warning, "Unhealthy", message);
    }

    /// Notes a change; true if the probe has done its work.
    fn conclude(&self, healthy: bool) -> bool {
        let mut results = self.results.lock();
        let id = self.id.clone();
        match (self.kind, healthy) {
            (Kind::Readiness, _) => drop(results.ready.insert(id, healthy)),
            (Kind::Startup, true) => drop(results.started.insert(id, true)),
            (Kind::Startup | Kind::Liveness, false) => {
                let kind = self.kind.name().to_lowercase();
                let name = &self.wanted.name;
                let message = format!("Container {name} failed {kind} probe, will be restarted");
                results.unhealthy.insert(id, message);
            }
            (Kind::Liveness, true) => drop(results.unhealthy.remove(&id)),
        }
        drop(results);
        self.wake.notify_one();
        self.kind == Kind::Startup
    }
}
