//! Lets the runs of gateways that are gone go on at once, and tells of runs in events: of what becomes of them, and of
//! those that no gateway drives.
//!
//! A gateway takes over a run when its holder's lease ends, without help from here. But one whose holder has no Lease of
//! its own any more need not wait for that: its holder is cleared. And if nobody takes a run that is anybody's, there is no
//! gateway, or none that can: an event says so, again and again.

mod events;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::coordination::v1::Lease;
use api_types::jiff::Timestamp;
use api_types::meta::MicroTime;
use api_types::minik8s::{WorkflowRun, WorkflowRunStatus};
use component::events::{EventType, Recorder};
use kube::api::PostParams;
use kube::{Api, Client};
use listwatch::demand::{LEASE_NAMESPACE, LEASE_PREFIX};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;

const NAME: &str = "workflow-run-controller";
/// How long a run may be anybody's before that is told. A gateway takes one within a second or two.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is told again.
const PERIOD: Duration = Duration::from_secs(300);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let controller = WorkflowRuns::new(context);
    watch(&context.informers, &queue, controller.recorder.clone());
    let Informers { workflow_runs, gateway_leases, .. } = &context.informers;
    let registered = Registered::new(controller, queue);
    registered.reads(workflow_runs).reads(gateway_leases)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>, recorder: Recorder) {
    let wanted = queue.clone();
    informers.workflow_runs.on_change(move |change: &Change<WorkflowRun>| {
        if let Change { old: Some(old), new: Some(new) } = change
            && let Some((type_, reason, message)) = events::told(old, new)
        {
            recorder.about(&**new, type_, reason, message);
        }
        // Renewals and steps are the holder's business.
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        if old.is_none() || new.is_none() || holder(old) != holder(new) {
            change.latest().into_iter().for_each(|run| wanted.add(ObjectKey::of(&run.metadata)));
        }
    });
    // The Leases' handler must not hold the runs for ever.
    let (wanted, runs) = (queue.clone(), Arc::downgrade(&informers.workflow_runs));
    informers.gateway_leases.on_change(move |change: &Change<Lease>| {
        let Change { old: Some(lease), new: None } = change else { return };
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let (Some(gateway), Some(runs)) = (name.strip_prefix(LEASE_PREFIX), runs.upgrade()) else {
            return;
        };
        for run in runs.filter(|run| holder(Some(run)) == Some(gateway)) {
            wanted.add(ObjectKey::of(&run.metadata));
        }
    });
}

fn holder(run: Option<&WorkflowRun>) -> Option<&str> {
    run?.status.as_ref()?.holder.as_deref()
}

struct WorkflowRuns {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    /// Of the runs that have not ended.
    seen: Mutex<BTreeMap<ObjectKey, Seen>>,
}

/// A run's lease, and since when it is as it is. Its end is not compared with the clock here, which may be another than
/// the holder's.
struct Seen {
    lease: Option<RunLease>,
    since: Timestamp,
}

/// Its holder and end.
type RunLease = (String, Option<MicroTime>);

#[async_trait::async_trait]
impl Controller for WorkflowRuns {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let run = self.informers.workflow_runs.get(key);
        let has_ended =
            |run: &WorkflowRun| run.status.as_ref().is_some_and(|s| s.phase.has_ended());
        let Some(run) = run.filter(|run| !has_ended(run)) else {
            self.seen.lock().remove(key);
            return Ok(Next::Change);
        };
        let status = run.status.clone().unwrap_or_default();
        let (lease, unchanged) = (lease(&status), self.unchanged(key, &status));
        let held = if lease.is_some() { WorkflowRun::LEASE } else { Duration::ZERO };
        if let Some(alone) = unchanged.checked_sub(held) {
            return Ok(self.note_unattended(&run, alone));
        }
        if self.is_gone(status.holder.as_deref().unwrap_or_default()).await? {
            self.release(key, &run, status).await?;
            return Ok(Next::Change);
        }
        Ok(Next::After(held - unchanged))
    }
}

fn lease(status: &WorkflowRunStatus) -> Option<RunLease> {
    let holder = status.holder.clone().filter(|holder| !holder.is_empty())?;
    Some((holder, status.lease_until.clone()))
}

impl WorkflowRuns {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client(),
            clock: context.clock,
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            seen: Mutex::default(),
        }
    }

    /// Whether the gateway has no Lease, also as the API server says: a gateway's first run may be known before its Lease.
    async fn is_gone(&self, gateway: &str) -> Result<bool, Error> {
        let name = format!("{LEASE_PREFIX}{gateway}");
        if self.informers.gateway_leases.get(&ObjectKey::new(LEASE_NAMESPACE, &name)).is_some() {
            return Ok(false);
        }
        let leases = Api::<Lease>::namespaced(self.client.clone(), LEASE_NAMESPACE);
        let lease = leases.get_opt(&name).await.step("reading a gateway's Lease")?;
        Ok(lease.is_none())
    }

    /// On condition that nobody has written the run meanwhile.
    async fn release(
        &self,
        key: &ObjectKey,
        run: &WorkflowRun,
        status: WorkflowRunStatus,
    ) -> Result<(), Error> {
        let status = WorkflowRunStatus { holder: None, lease_until: None, ..status };
        let free = WorkflowRun { status: Some(status), ..run.clone() };
        let api = Api::<WorkflowRun>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &free).await;
        written.unless_gone("releasing a run whose gateway is gone").map(drop)
    }

    /// How long the lease has been as it is.
    fn unchanged(&self, key: &ObjectKey, status: &WorkflowRunStatus) -> Duration {
        let (lease, now) = (lease(status), self.clock.now());
        let mut seen = self.seen.lock();
        let seen =
            seen.entry(key.clone()).or_insert_with(|| Seen { lease: lease.clone(), since: now });
        if seen.lease != lease {
            *seen = Seen { lease, since: now };
        }
        Duration::try_from(now.duration_since(seen.since)).unwrap_or_default()
    }

    /// Nobody has had it for so long.
    fn note_unattended(&self, run: &WorkflowRun, alone: Duration) -> Next {
        if let Some(left) = PATIENCE.checked_sub(alone).filter(|left| !left.is_zero()) {
            return Next::After(left);
        }
        let message = match holder(Some(run)) {
            Some(gateway) => format!("gateway {gateway} has gone silent and none has taken over"),
            None => "no gateway has taken it".to_owned(),
        };
        self.recorder.about(run, EventType::Warning, "NoGateway", message);
        Next::After(PERIOD)
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::Event;
    use kube::api::{ListParams, Patch, PatchParams};
    use kube::runtime::watcher;
    use serde_json::{Value, json};
    use testkit::{ControlPlane, wait};

    use super::*;
    use crate::workers::WorkersArgs;

    const START: &str = "2026-01-02T03:04:05Z";

    /// A controller whose stores follow nothing, and the run `r`.
    struct Stage {
        plane: ControlPlane,
        controller: WorkflowRuns,
        runs: Api<WorkflowRun>,
    }

    impl Stage {
        async fn new(status: Value) -> Self {
            let plane = ControlPlane::start().await;
            let context = crate::controllers::tests::context(
                plane.listwatch_as("kube-controller-manager"),
                WorkersArgs::default(),
            );
            let mut controller = WorkflowRuns::new(&context);
            controller.clock = Clock::starting_at(START.parse().unwrap());
            let runs = Api::<WorkflowRun>::default_namespaced(plane.client());
            let run = json!({
                "apiVersion": "minik8s.io/v1", "kind": "WorkflowRun", "metadata": {"name": "r"},
                "spec": {"workflow": "w"},
            });
            let run = serde_json::from_value(run).unwrap();
            runs.create(&PostParams::default(), &run).await.unwrap();
            let stage = Self { plane, controller, runs };
            stage.write(status).await;
            stage
        }

        async fn write(&self, status: Value) {
            let patch = Patch::Merge(json!({"status": status}));
            self.runs.patch_status("r", &PatchParams::default(), &patch).await.unwrap();
            self.see().await;
        }

        /// The store shows the run as it is now.
        async fn see(&self) -> WorkflowRunStatus {
            let run = self.runs.get("r").await.unwrap();
            self.controller.informers.workflow_runs.take_in(watcher::Event::Apply(run.clone()));
            run.status.unwrap_or_default()
        }

        async fn lease(&self, gateway: &str) -> Lease {
            let api = Api::<Lease>::namespaced(self.plane.client(), LEASE_NAMESPACE);
            let name = format!("{LEASE_PREFIX}{gateway}");
            let lease = json!({"metadata": {"name": name}});
            let lease = serde_json::from_value(lease).unwrap();
            api.create(&PostParams::default(), &lease).await.unwrap()
        }

        async fn reconcile(&self) -> Next {
            self.controller.reconcile(&ObjectKey::new("default", "r")).await.unwrap()
        }

        async fn events(&self) -> Vec<String> {
            let api = Api::<Event>::default_namespaced(self.plane.client());
            let events = api.list(&ListParams::default()).await.unwrap().items;
            events.into_iter().filter_map(|event| event.message).collect()
        }
    }

    async fn advance(seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }

    fn held(gateway: &str, until: &str) -> Value {
        json!({"phase": "Running", "holder": gateway, "leaseUntil": until})
    }

    fn is_after(next: Next, seconds: u64) -> bool {
        let Next::After(left) = next else { return false };
        left <= Duration::from_secs(seconds)
            && left + Duration::from_secs(1) > Duration::from_secs(seconds)
    }

    #[tokio::test]
    async fn a_run_is_its_holders_while_that_has_a_lease_of_its_own() {
        let stage = Stage::new(held("a", "2026-01-02T03:04:15.000000Z")).await;
        let lease = stage.lease("a").await;
        assert!(is_after(stage.reconcile().await, 10), "as the API server says");
        stage.controller.informers.gateway_leases.take_in(watcher::Event::Apply(lease));
        assert!(is_after(stage.reconcile().await, 10));
        assert_eq!(stage.see().await.holder.as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn a_lease_has_ended_when_it_has_not_changed_for_its_time_whatever_the_holders_clock_says()
     {
        let stage = Stage::new(held("a", "2016-01-01T00:00:00.000000Z")).await;
        stage.lease("a").await;
        assert!(is_after(stage.reconcile().await, 10));
        advance(9).await;
        assert!(is_after(stage.reconcile().await, 1));
        stage.write(held("a", "2036-01-01T00:00:00.000000Z")).await;
        assert!(is_after(stage.reconcile().await, 10), "it is renewed");
        advance(10).await;
        assert!(is_after(stage.reconcile().await, 30), "nobody has it");
    }

    #[tokio::test]
    async fn a_run_whose_holder_has_no_lease_is_anybodys_at_once() {
        let stage = Stage::new(held("a", "2026-01-02T04:00:00.000000Z")).await;
        stage.lease("b").await;
        assert_eq!(stage.reconcile().await, Next::Change);
        let status = stage.see().await;
        assert_eq!((status.holder, status.lease_until), (None, None));
        assert_eq!(status.phase, api_types::minik8s::RunPhase::Running);
    }

    #[tokio::test]
    async fn a_run_that_was_written_meanwhile_is_not_released() {
        let stage = Stage::new(held("a", "2026-01-02T04:00:00.000000Z")).await;
        let taken = Patch::Merge(json!({"status": {"holder": "b"}}));
        stage.runs.patch_status("r", &PatchParams::default(), &taken).await.unwrap();
        let result = stage.controller.reconcile(&ObjectKey::new("default", "r")).await;
        assert!(result.unwrap_err().is_conflict());
        assert_eq!(stage.see().await.holder.as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn that_no_gateway_takes_a_run_is_told_after_a_while() {
        let stage = Stage::new(held("a", "2026-01-02T03:04:15.000000Z")).await;
        stage.lease("a").await;
        assert!(is_after(stage.reconcile().await, 10));
        advance(10).await;
        assert!(is_after(stage.reconcile().await, 30));
        advance(20).await;
        assert!(is_after(stage.reconcile().await, 10));
        advance(10).await;
        assert_eq!(stage.reconcile().await, Next::After(PERIOD));
        let told = async || match stage.events().await {
            events if events == ["gateway a has gone silent and none has taken over"] => Ok(()),
            other => Err(other),
        };
        wait::until("it is told", told).await;
    }

    #[tokio::test]
    async fn a_run_that_is_taken_in_time_is_not_told_of_and_counts_anew() {
        let stage = Stage::new(json!({})).await;
        stage.lease("a").await;
        assert!(is_after(stage.reconcile().await, 30));
        advance(29).await;
        stage.write(held("a", "2026-01-02T03:04:44.000000Z")).await;
        assert!(is_after(stage.reconcile().await, 10));
        advance(11).await;
        assert!(is_after(stage.reconcile().await, 29), "from when that lease ended");
        stage.write(json!({"phase": "Succeeded"})).await;
        assert_eq!(stage.reconcile().await, Next::Change);
        assert!(stage.controller.seen.lock().is_empty());
        assert_eq!(stage.events().await, Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_becomes_of_a_run_is_told() {
        let stage = Stage::new(json!({})).await;
        watch(&stage.controller.informers, &Arc::default(), stage.controller.recorder.clone());
        stage.write(held("a", "2026-01-02T03:04:15.000000Z")).await;
        stage.write(json!({"phase": "Failed", "error": "E", "holder": null})).await;
        let told = async || match stage.events().await {
            events if events == ["by gateway a", "E"] => Ok(()),
            other => Err(other),
        };
        wait::until("it is told", told).await;
    }
}
