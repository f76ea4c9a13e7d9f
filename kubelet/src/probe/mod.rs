//! Readiness, liveness and startup probes of one pod: a task per probe and running container. What
//! they find wakes the pod's worker, which reports it and restarts what is unhealthy.
//!
//! A container outlives the kubelet: what was reported of it holds until it is probed anew.

mod check;
mod grpc;
mod http;
mod request;
pub mod results;
mod tally;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Container as Wanted, Pod, Probe},
    jiff::Timestamp,
};
use component::events::EventType;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, Interval, sleep, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

pub(crate) use self::check::Target;
use self::{
    results::{Probed, Unhealthy},
    tally::Tally,
};
use crate::{
    context::Context,
    recovery::persevere,
    runtime::{Container, State, observed::Observed},
    spec,
};

/// So soon a server that has only just started is asked again; then after a quarter of the time that has passed.
const SOON: Duration = Duration::from_millis(10);

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

    /// Whether a container that fails it is stopped.
    fn stops(self) -> bool {
        self != Self::Readiness
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

    /// Probes exactly the containers that run. Those of a pod that stops are stopped already, so that
    /// only their readiness matters.
    pub fn follow(
        &mut self,
        context: &Arc<Context>,
        wake: &Arc<Notify>,
        pod: &Arc<Pod>,
        observed: &Observed,
        pod_ip: Option<&str>,
        stops: bool,
    ) {
        self.forget(observed, stops);
        for wanted in spec::containers(pod).chain(spec::init_containers(pod)) {
            let latest = observed.latest(&wanted.name).filter(|latest| latest.is_running());
            let Some(latest) = latest else { continue };
            self.recall(pod, wanted, &latest.id);
            let Some(pod_ip) = pod_ip else { continue };
            for kind in self.due(wanted, &latest.id, stops) {
                let (runtime, pod_ip) = (context.runtime.clone(), pod_ip.to_owned());
                let task = Task {
                    context: context.clone(),
                    target: Target { runtime, pod_ip },
                    results: self.results.clone(),
                    wake: wake.clone(),
                    pod: pod.clone(),
                    wanted: wanted.clone(),
                    id: latest.id.clone(),
                    kind,
                };
                self.begin(task, age(latest, Timestamp::now()));
            }
        }
    }

    /// The container is to be stopped as if a probe had found it so.
    pub(crate) fn condemn(&self, id: &str, message: &str) {
        let unhealthy = Unhealthy { message: message.to_owned(), grace: None };
        self.results.lock().unhealthy.insert(id.to_owned(), unhealthy);
    }

    /// Ends the probes of containers that run no more, and those that a stop has made idle.
    fn forget(&mut self, observed: &Observed, stops: bool) {
        let running = |id: &str| observed.running().any(|container| container.id == id);
        self.tasks.retain(|(id, kind), _| running(id) && !(stops && kind.stops()));
        let mut results = self.results.lock();
        results.ready.retain(|id, _| running(id));
        results.started.retain(|id, _| running(id));
        results.unhealthy.retain(|id, _| running(id));
    }

    /// What is known of a container before it is probed: what was reported of this very container, by an
    /// earlier kubelet then. One that had started never gets its startup probe again.
    fn recall(&self, pod: &Pod, wanted: &Wanted, id: &str) {
        let reported = spec::reported(pod, &wanted.name);
        let same = reported.filter(|r| r.container_id.as_ref() == Some(&spec::full_id(id)));
        let mut results = self.results.lock();
        if wanted.readiness_probe.is_some() {
            let ready = || same.is_some_and(|status| status.ready);
            results.ready.entry(id.to_owned()).or_insert_with(ready);
        }
        if wanted.startup_probe.is_some() {
            let started = || same.is_some_and(|status| status.started == Some(true));
            results.started.entry(id.to_owned()).or_insert_with(started);
        }
    }

    /// The probes to begin: those of liveness and readiness wait for startup.
    fn due(&self, wanted: &Wanted, id: &str, stops: bool) -> Vec<Kind> {
        let started = self.results.lock().started.get(id).copied().unwrap_or(true);
        let kinds: &[Kind] =
            if started { &[Kind::Readiness, Kind::Liveness] } else { &[Kind::Startup] };
        let new = |kind: &Kind| !self.tasks.contains_key(&(id.to_owned(), *kind));
        let fits = |kind: &Kind| kind.of(wanted).is_some() && !(stops && kind.stops());
        kinds.iter().copied().filter(fits).filter(new).collect()
    }

    fn begin(&mut self, task: Task, age: Duration) {
        let Some(probe) = task.kind.of(&task.wanted).cloned() else { return };
        let key = (task.id.clone(), task.kind);
        let first = Instant::now() + seconds(probe.initial_delay_seconds, 0).saturating_sub(age);
        let probing = async move {
            let (pod, metrics) = (spec::label(&task.pod), &task.context.metrics);
            persevere("probe", &pod, metrics, || task.run(&probe, first)).await;
        };
        self.tasks.insert(key, AbortOnDropHandle::new(tokio::spawn(probing)));
    }
}

/// For how long the container runs.
fn age(container: &Container, now: Timestamp) -> Duration {
    match container.state {
        State::Running { started_at } => now.duration_since(started_at).try_into().ok(),
        State::Created | State::Exited(_) => None,
    }
    .unwrap_or_default()
}

/// One probe of one running container.
struct Task {
    context: Arc<Context>,
    target: Target,
    results: Arc<Mutex<Probed>>,
    wake: Arc<Notify>,
    pod: Arc<Pod>,
    wanted: Wanted,
    id: String,
    kind: Kind,
}

impl Task {
    async fn run(&self, probe: &Probe, first: Instant) {
        let mut tally = Tally::new(
            probe.success_threshold.unwrap_or(1),
            probe.failure_threshold.unwrap_or(3),
            self.verdict(),
        );
        sleep_until(first).await;
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let timeout = seconds(probe.timeout_seconds, 1).max(Duration::from_secs(1));
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 0_u64.. {
            if look == 1 && self.may_pass_soon(probe) {
                self.pass_or_tick(probe, timeout, &mut ticks).await;
            } else {
                ticks.tick().await;
            }
            let outcome = self.target.check(probe, &self.wanted, &self.id, timeout).await;
            match &outcome {
                Ok(None) => {}
                Ok(Some(warning)) => self.say("ProbeWarning", &format!("warning: {warning}")),
                Err(why) => self.say("Unhealthy", &format!("failed: {why}")),
            }
            if let Some(healthy) = tally.count(outcome.is_ok())
                && self.conclude(probe, healthy)
            {
                return;
            }
        }
    }

    /// Whether the container has only just started, and it costs little to ask.
    fn may_pass_soon(&self, probe: &Probe) -> bool {
        let results = self.results.lock();
        self.kind != Kind::Liveness
            && probe.exec.is_none()
            // More than one must pass, a period apart.
            && probe.success_threshold.unwrap_or(1) <= 1
            && !results.ready.get(&self.id).is_some_and(|ready| *ready)
    }

    /// Waits for the next tick, or until the probe would pass: a server that starts needs less than a period. What fails
    /// meanwhile does not count.
    async fn pass_or_tick(&self, probe: &Probe, timeout: Duration, ticks: &mut Interval) {
        let begun = Instant::now();
        let passes = async {
            loop {
                sleep((begun.elapsed() / 4).max(SOON)).await;
                if self.target.check(probe, &self.wanted, &self.id, timeout).await.is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            () = passes => {}
            _ = ticks.tick() => {}
        }
    }

    /// What holds before the first result.
    fn verdict(&self) -> Option<bool> {
        match self.kind {
            Kind::Liveness => Some(true),
            Kind::Startup => None,
            Kind::Readiness => self.results.lock().ready.get(&self.id).copied().filter(|r| *r),
        }
    }

    fn say(&self, reason: &str, what: &str) {
        let message = format!("{} probe {what}", self.kind.name());
        let name = &self.wanted.name;
        self.context.container_event(&self.pod, name, EventType::Warning, reason, message);
    }

    /// Notes a change; true if the probe has done its work. What stops the container is never taken
    /// back: it is asked to stop, and must not be left half stopped.
    fn conclude(&self, probe: &Probe, healthy: bool) -> bool {
        let mut results = self.results.lock();
        let id = self.id.clone();
        let done = match (self.kind, healthy) {
            (Kind::Readiness, _) => {
                results.ready.insert(id, healthy);
                false
            }
            (Kind::Startup, true) => {
                results.started.insert(id, true);
                true
            }
            (Kind::Liveness, true) => false,
            (Kind::Startup | Kind::Liveness, false) => {
                results.unhealthy.insert(id, self.unhealthy(probe));
                true
            }
        };
        drop(results);
        self.wake.notify_one();
        done
    }

    fn unhealthy(&self, probe: &Probe) -> Unhealthy {
        let (kind, name) = (self.kind.name().to_lowercase(), &self.wanted.name);
        let grace = probe.termination_grace_period_seconds;
        Unhealthy {
            message: format!("Container {name} failed {kind} probe, will be restarted"),
            grace: grace.map(spec::grace_of),
        }
    }
}

fn seconds(value: Option<i32>, usual: u64) -> Duration {
    Duration::from_secs(value.and_then(|v| u64::try_from(v).ok()).unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::ControlPlane;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::runtime::fake::{Fake, blank};

    #[tokio::test]
    async fn a_pod_that_stops_is_probed_for_readiness_only() {
        let (plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
        let runtime = Arc::new(Fake::default());
        let context = Context::fake(plane.client(), runtime, root.path().to_owned());
        let (context, wake) = (Arc::new(context), Arc::default());
        let probe = json!({"tcpSocket": {"port": 80}, "initialDelaySeconds": 3600});
        let container = |name: &str, kinds: &[&str]| {
            let mut container = json!({"name": name});
            kinds.iter().for_each(|kind| container[kind] = probe.clone());
            container
        };
        let containers = [
            container("a", &["readinessProbe", "livenessProbe"]),
            container("b", &["startupProbe"]),
        ];
        let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": containers}});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let runs = |name: &str| Container {
            id: name.to_owned(),
            state: State::Running { started_at: Timestamp::now() },
            ..blank(name)
        };
        let observed = Observed::new(vec![runs("a"), runs("b")]);
        let mut probes = Probes::default();
        let mut probed = |stops: bool| {
            probes.follow(&context, &wake, &pod, &observed, Some("127.0.0.1"), stops);
            probes.tasks.keys().map(|(id, kind)| format!("{id} {kind:?}")).collect::<Vec<_>>()
        };
        assert_eq!(probed(false), ["a Readiness", "a Liveness", "b Startup"]);
        assert_eq!(probed(true), ["a Readiness"]);
        assert_eq!(probed(true), ["a Readiness"]);
    }
    #[tokio::test]
    async fn a_server_that_starts_is_asked_again_before_a_period_is_over() {
        let (plane, root) = (ControlPlane::start().await, tempfile::tempdir().unwrap());
        let runtime = Arc::new(Fake::default());
        let context = Context::fake(plane.client(), runtime, root.path().to_owned());
        let (context, wake) = (Arc::new(context), Arc::<Notify>::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let probe = json!({"httpGet": {"port": port}, "periodSeconds": 3600});
        let container = json!({"name": "a", "readinessProbe": probe});
        let pod = json!({"metadata": {"name": "web"}, "spec": {"containers": [container]}});
        let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
        let state = State::Running { started_at: Timestamp::now() };
        let observed = Observed::new(vec![Container { id: "a".to_owned(), state, ..blank("a") }]);
        let mut probes = Probes::default();
        probes.follow(&context, &wake, &pod, &observed, Some("127.0.0.1"), false);
        // The look that counts comes after one that has passed.
        for status in ["503 Not Yet", "200 OK", "200 OK"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        while probes.results.lock().ready.get("a") != Some(&true) {
            wake.notified().await;
        }
    }
}
