//! Works out how many pods of a PodDisruptionBudget may be evicted.
//!
//! *Guarantees*: an eviction takes what it uses from the status by itself, and names the pod there; the status is written
//! at the version from which it was worked out, so no eviction is forgotten. What can't be worked out allows none.

mod decision;
mod scale;

use std::sync::Arc;
use std::time::Duration;

use api_machinery::disruption_budget::{SYNC_FAILED, tell};
use api_types::api::core::v1::Pod;
use api_types::api::policy::v1::{
    PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus,
};
use api_types::jiff::Timestamp;
use component::events::{EventType, Recorder};
use kube::api::PostParams;
use kube::{Api, Client, Resource};

use self::scale::{Scales, Unscaled};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::indexes::Selecting;
use crate::informers::Informers;

const NAME: &str = "disruption-controller";

/// Owners of any kind may come, or come to say how many pods they want, and are not followed: they are asked this often.
const ASK_AGAIN: Duration = Duration::from_secs(30);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, pod_disruption_budgets: budgets, .. } = &context.informers;
    let changed = queue.clone();
    budgets.on_change(move |change: &Change<PodDisruptionBudget>| {
        change.latest().into_iter().for_each(|it| changed.add(ObjectKey::of(&it.metadata)));
    });
    let (of_pod, changed) = (budgets.clone(), queue.clone());
    pods.on_change(move |change: &Change<Pod>| {
        for pod in change.versions() {
            let all = of_pod.selecting(&pod.metadata);
            all.iter().for_each(|it| changed.add(ObjectKey::of(&it.metadata)));
        }
    });
    let Informers { replica_sets, deployments, .. } = &context.informers;
    Registered::new(Disruptions::new(context), queue)
        .reads(pods)
        .reads(budgets)
        .reads(replica_sets)
        .reads(deployments)
}

struct Disruptions {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    scales: Scales,
}

#[async_trait::async_trait]
impl Controller for Disruptions {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(budget) = self.informers.pod_disruption_budgets.get(key) else {
            return Ok(Next::Change);
        };
        let spec = budget.spec.clone().unwrap_or_default();
        let selected = budget
            .selector()
            .map(|selector| self.informers.pods.selected(&key.namespace, &selector))
            .unwrap_or_default();
        if selected.is_empty() {
            let message = "No matching pods found";
            self.tell(&budget, EventType::Normal, "NoPods", message.to_owned());
        }
        let now = self.clock.now();
        match self.expected(&budget, &spec, &selected).await {
            Ok(expected) => {
                let (status, next) = decision::status(&budget, &selected, expected, now);
                self.write(key, &budget, status).await?;
                Ok(next.map_or(Next::Change, Next::After))
            }
            Err(Unscaled::Unknown(why)) => {
                let message = format!("Failed to calculate the number of expected pods: {why}");
                let reason = "CalculateExpectedPodCountFailed";
                self.tell(&budget, EventType::Warning, reason, message);
                self.write(key, &budget, failed(&budget, &why, now)).await?;
                Ok(Next::After(ASK_AGAIN))
            }
            Err(Unscaled::Call(error)) => {
                if !error.is_conflict() {
                    self.write(key, &budget, failed(&budget, &error.reason(), now)).await?;
                }
                Err(error)
            }
        }
    }
}

/// None may be evicted.
fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    status.disruptions_allowed = Some(0);
    tell(&mut status, "False", SYNC_FAILED, why, now);
    status
}

impl Disruptions {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client(),
            clock: context.clock,
            recorder: context.recorder(NAME),
            informers: context.informers.clone(),
            scales: Scales::new(context),
        }
    }

    /// How many pods there ought to be.
    async fn expected(
        &self,
        budget: &PodDisruptionBudget,
        spec: &PodDisruptionBudgetSpec,
        selected: &[Arc<Pod>],
    ) -> Result<i32, Unscaled> {
        if !decision::needs_scale(spec) {
            return Ok(decision::number(selected.len()));
        }
        let scale = self.scales.of(selected).await?;
        if scale.has_unmanaged {
            let message = "Pods selected by this PodDisruptionBudget were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \".spec.minAvailable\" field of the PDB to an integer value.";
            self.tell(budget, EventType::Warning, "UnmanagedPods", message.to_owned());
        }
        Ok(scale.replicas)
    }

    async fn write(
        &self,
        key: &ObjectKey,
        budget: &PodDisruptionBudget,
        status: PodDisruptionBudgetStatus,
    ) -> Result<(), Error> {
        if budget.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<PodDisruptionBudget>::namespaced(self.client.clone(), &key.namespace);
        let changed = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        let written = api.replace_status(&key.name, &PostParams::default(), &changed).await;
        written.unless_gone("writing the status").map(drop)
    }

    fn tell(&self, of: &PodDisruptionBudget, type_: EventType, reason: &str, message: String) {
        self.recorder.record(&of.object_ref(&()), type_, reason, message);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use testkit::ControlPlane;

    use super::*;
    use crate::workers::WorkersArgs;

    fn key() -> ObjectKey {
        ObjectKey::new("default", "web")
    }

    fn budgets(plane: &ControlPlane) -> Api<PodDisruptionBudget> {
        Api::namespaced(plane.client(), "default")
    }

    /// A controller that sees a budget, and a pod of a Deployment that is not there. Its stores follow nothing.
    async fn controller(plane: &ControlPlane) -> Disruptions {
        let context = crate::controllers::tests::context(plane.listwatch(), WorkersArgs::default());
        let controller = Disruptions::new(&context);
        let selector = json!({"matchLabels": {"app": "web"}});
        let budget = json!({"metadata": {"name": "web"}, "spec": {"minAvailable": "50%", "selector": selector}});
        let budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
        let budget = budgets(plane).create(&PostParams::default(), &budget).await.unwrap();
        controller.informers.pod_disruption_budgets.take_in(Event::Apply(budget));
        let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "u", "controller": true}]);
        let pod = json!({"metadata": {"namespace": "default", "name": "a", "uid": "a",
            "labels": {"app": "web"}, "ownerReferences": owner}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        controller.informers.pods.take_in(Event::Apply(pod));
        controller
    }

    /// Why none may be evicted.
    async fn told(plane: &ControlPlane) -> (String, String) {
        let status = budgets(plane).get("web").await.unwrap().status.unwrap();
        assert_eq!(status.disruptions_allowed, Some(0));
        let condition = status.conditions.unwrap().remove(0);
        (condition.reason, condition.message)
    }

    #[tokio::test]
    async fn an_owner_that_is_not_there_is_asked_again() {
        let plane = ControlPlane::start().await;
        let controller = controller(&plane).await;
        let next = controller.reconcile(&key()).await.unwrap();
        assert_eq!(next, Next::After(ASK_AGAIN));
        let why = "found no controllers for pod \"a\"".to_owned();
        assert_eq!(told(&plane).await, (SYNC_FAILED.to_owned(), why));
    }

    #[tokio::test]
    async fn while_owners_can_not_be_asked_none_may_be_evicted() {
        let plane = ControlPlane::start().await;
        let controller = controller(&plane).await;
        let failing = StatusCode::INTERNAL_SERVER_ERROR;
        let _failing = plane.answer(failing, |request| request.uri().path().ends_with("/scale"));
        controller.reconcile(&key()).await.unwrap_err();
        assert_eq!(told(&plane).await.0, SYNC_FAILED);
    }
}
