//! `pods/eviction`: a deletion that a PodDisruptionBudget may put off
//! (Kubernetes: `pkg/registry/core/pod/storage/eviction.go`).
//!
//! *Flow*: a pod that serves nobody is deleted. Any other one needs a disruption of its budget, which is taken from the
//! budget's status first: whoever asks next finds less there.

use api_machinery::{
    ApiError, LabelSelector,
    disruption_budget::{DISRUPTION_ALLOWED, SYNC_FAILED, tell_allowed},
};
use api_types::{
    api::{
        core::v1::{Pod, PodCondition},
        policy::v1::{Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    jiff::Timestamp,
    meta::{DeleteOptions, Time},
};
use registry::{AnyObject, Deletion, ResourceDef};
use serde_json::json;

use crate::{
    admission::{Attributes, Operation},
    call::Call,
    objects,
    query::ReadAt,
    respond::{self, Response},
    state::{State, WritePath},
    storage::{Address, Stored, WriteError},
};

const REFUSAL: &str = "Cannot evict pod as it would violate the pod's disruption budget.";
const CAUSE: &str = "DisruptionBudget";

/// So many evicted pods may be there still, before no more are.
const MOST_DISRUPTED: usize = 2000;
/// When to ask again for a budget that is not worked out yet, in seconds.
const RETRY: i32 = 10;

/// Evicts a pod.
pub(crate) async fn evict(
    state: &State,
    call: &Call,
    mut given: AnyObject,
    warnings: &[String],
) -> Result<Response, ApiError> {
    let name = given.metadata().name.clone().unwrap_or_default();
    let at =
        Address { def: &call.info.def, namespace: call.info.namespace.as_deref(), name: &name };
    let dry_run = call.dry_run()?;
    let attributes = Attributes { dry_run, ..call.attributes(Operation::Create, at, "", None) };
    let path = state.write_path();
    path.admission.admit(path.storage, &attributes, Some(&mut given)).await?;
    let eviction = given.get::<Eviction>().ok_or_else(|| ApiError::internal("no Eviction"))?;
    let mut options = eviction.delete_options.clone().unwrap_or_default();
    if dry_run {
        options.dry_run = Some(vec!["All".to_owned()]);
    }
    let pod = Evicted { path, at, options };
    if !pod.delete_if(serves_nobody).await? {
        pod.within_budget(state).await?;
    }
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(respond::created(&status, warnings))
}

/// A pod that is to be evicted.
struct Evicted<'a> {
    path: WritePath<'a>,
    at: Address<'a>,
    options: DeleteOptions,
}

/// Nobody notices that such a pod goes.
fn serves_nobody(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let is_leaving = pod.metadata.deletion_timestamp.is_some();
    matches!(phase, Some("Succeeded" | "Failed" | "Pending")) || is_leaving
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|it| it.type_ == "Ready").any(|it| it.status == "True")
}

/// Whether the budget has nothing to say about a pod that is not ready.
fn is_free(budget: &PodDisruptionBudget) -> bool {
    let policy = budget.spec.as_ref().and_then(|it| it.unhealthy_pod_eviction_policy.as_deref());
    let status = budget.status.as_ref();
    let healthy = status.and_then(|status| status.current_healthy).unwrap_or(0);
    let desired = status.and_then(|status| status.desired_healthy).unwrap_or(0);
    policy == Some("AlwaysAllow") || (healthy >= desired && desired > 0)
}

impl Evicted<'_> {
    fn is_dry_run(&self) -> bool {
        self.options.dry_run.as_ref().is_some_and(|all| !all.is_empty())
    }

    async fn within_budget(&self, state: &State) -> Result<(), ApiError> {
        let stored = self.path.storage.get(self.at).await?;
        let pod = stored.typed(self.at.def)?;
        let pod = pod.get::<Pod>().ok_or_else(|| ApiError::internal("no Pod"))?;
        let catalogue = state.catalogue.load();
        let def = catalogue.find("policy", "v1", "poddisruptionbudgets");
        let def = def.ok_or_else(ApiError::no_such_path)?;
        let budget = self.budget(pod, def).await?;
        let is_unready_and_free = budget.as_ref().is_some_and(|it| !is_ready(pod) && is_free(it));
        if is_unready_and_free {
            // It may have become ready meanwhile.
            let version = pod.metadata.resource_version.clone();
            let is_it = move |pod: &Pod| pod.metadata.resource_version == version;
            let name = budget.and_then(|budget| budget.metadata.name).unwrap_or_default();
            return match self.delete_if(is_it).await? {
                true => Ok(()),
                false => Err(still_processed(&name)),
            };
        }
        if let Some(name) = budget.and_then(|budget| budget.metadata.name) {
            self.take(Address { def, namespace: self.at.namespace, name: &name }).await?;
        }
        self.delete_if(|_| true).await.map(drop)
    }

    /// The pod's budget, if there is one.
    async fn budget(
        &self,
        pod: &Pod,
        def: &ResourceDef,
    ) -> Result<Option<PodDisruptionBudget>, ApiError> {
        self.path.storage.reach(ReadAt::MostRecent).await?;
        let all = objects::read_all(self.path.storage, &def.prefix(self.at.namespace));
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        let selects = |budget: &PodDisruptionBudget| {
            let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            let selector = selector.and_then(|selector| LabelSelector::try_from(selector).ok());
            selector.is_some_and(|selector| selector.matches(&labels))
        };
        let mut budgets: Vec<_> = all.into_iter().filter(selects).collect();
        if budgets.len() > 1 {
            let message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
            return Err(ApiError::new(500, "InternalError", message));
        }
        Ok(budgets.pop())
    }

    /// Takes a disruption from the budget.
    async fn take(&self, budget: Address<'_>) -> Result<(), ApiError> {
        let attempt = |old: Stored| async move {
            let mut object = old.typed(budget.def)?;
            let changed = object.get_mut::<PodDisruptionBudget>();
            let changed = changed.ok_or_else(|| ApiError::internal("no budget"))?;
            disrupt(changed, self.at.name, Timestamp::now())?;
            if self.is_dry_run() {
                return self.path.storage.confirm(budget, &old).await;
            }
            self.path.storage.update(budget, &old, &mut object).await.map(drop)
        };
        self.path.storage.compare_and_swap(budget, attempt).await
    }

    /// Deletes the pod, which says why, if it is like this. Whether it is.
    async fn delete_if(&self, is: impl Fn(&Pod) -> bool + Sync) -> Result<bool, ApiError> {
        let is = &is;
        let attempt = |old: Stored| async move {
            if let Some(wanted) = &self.options.preconditions {
                old.check(self.at, wanted)?;
            }
            let mut object = old.typed(self.at.def)?;
            let pod = object.get_mut::<Pod>().ok_or_else(|| ApiError::internal("no Pod"))?;
            if !is(pod) {
                self.path.storage.confirm(self.at, &old).await?;
                return Ok(false);
            }
            say_why(pod, Timestamp::now());
            self.delete(old, &object).await.map(|()| true)
        };
        self.path.storage.compare_and_swap(self.at, attempt).await
    }

    async fn delete(&self, old: Stored, object: &AnyObject) -> Result<(), WriteError> {
        let Self { path, at, options } = self;
        let deletion = at.def.begin_deletion(object, options, Timestamp::now());
        match deletion {
            _ if self.is_dry_run() => path.storage.confirm(*at, &old).await,
            Deletion::Remove => {
                path.storage.remove(*at, old.revision).await?;
                path.admission.removed(*at, object).await;
                Ok(())
            }
            Deletion::Mark(mut marked) => {
                path.storage.update(*at, &old, &mut marked).await.map(drop)
            }
            Deletion::Pending => path.storage.confirm(*at, &old).await,
        }
    }
}

/// Writes down that the pod is evicted, and one disruption less.
fn disrupt(budget: &mut PodDisruptionBudget, pod: &str, now: Timestamp) -> Result<(), ApiError> {
    let name = budget.metadata.name.clone().unwrap_or_default();
    let status = budget.status.get_or_insert_default();
    if status.observed_generation < budget.metadata.generation {
        return Err(still_processed(&name));
    }
    let forbidden = |why| ApiError::forbidden("policy", "poddisruptionbudgets", &name, why);
    let disrupted = status.disrupted_pods.get_or_insert_default();
    if disrupted.len() > MOST_DISRUPTED {
        let why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller";
        return Err(forbidden(why));
    }
    match status.disruptions_allowed.unwrap_or(0) {
        0 => Err(ApiError::new(429, "TooManyRequests", REFUSAL).because(
            CAUSE,
            why_not(&name, status),
            "",
        )),
        ..0 => Err(forbidden("pdb disruptions allowed is negative")),
        allowed => {
            disrupted.insert(pod.to_owned(), Time(now));
            status.disruptions_allowed = Some(allowed - 1);
            if allowed == 1 {
                tell_allowed(status, now);
            }
            Ok(())
        }
    }
}

fn still_processed(name: &str) -> ApiError {
    let why = format!("The disruption budget {name} is still being processed by the server.");
    ApiError::new(429, "TooManyRequests", REFUSAL).because(CAUSE, why, "").retry_after(RETRY)
}

fn why_not(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let (desired, healthy) =
        (status.desired_healthy.unwrap_or(0), status.current_healthy.unwrap_or(0));
    let mut conditions = status.conditions.iter().flatten();
    let told = conditions.find(|it| it.type_ == DISRUPTION_ALLOWED && it.status == "False");
    let told = told.filter(|condition| !condition.message.is_empty());
    let start = format!("The disruption budget {name}");
    match told {
        Some(failed) if failed.reason == SYNC_FAILED => format!(
            "{start} does not allow evicting pods currently because it failed sync: {}",
            failed.message
        ),
        _ if healthy <= desired => {
            format!("{start} needs {desired} healthy pods and has {healthy} currently")
        }
        Some(told) => format!(
            "{start} does not allow evicting pods currently ({}): {}",
            told.reason, told.message
        ),
        None => format!("{start} does not allow evicting pods currently"),
    }
}

/// Whoever counts failures can tell.
fn say_why(pod: &mut Pod, now: Timestamp) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    let type_ = "DisruptionTarget";
    conditions.retain(|condition| condition.type_ != type_);
    conditions.push(PodCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: Some("EvictionByEvictionAPI".to_owned()),
        message: Some("Eviction API: evicting".to_owned()),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn refused(status: &Value) -> (u16, String) {
        let budget = json!({"metadata": {"name": "b", "generation": 2}, "status": status});
        let mut budget = serde_json::from_value(budget).unwrap();
        let error = disrupt(&mut budget, "p", Timestamp::UNIX_EPOCH).unwrap_err();
        let causes = error.status().details.iter().flat_map(|it| it.causes.iter().flatten());
        let cause = causes.filter_map(|cause| cause.message.clone()).next();
        (error.code(), cause.unwrap_or_else(|| error.to_string()))
    }

    #[test]
    fn a_budget_says_why_it_has_nothing_to_give() {
        let check = |status: Value, code: u16, expected: &str| {
            assert_eq!(refused(&status), (code, expected.to_owned()));
        };
        let still = "The disruption budget b is still being processed by the server.";
        check(json!({"observedGeneration": 1, "disruptionsAllowed": 1}), 429, still);
        let needs = "The disruption budget b needs 3 healthy pods and has 2 currently";
        check(
            json!({"observedGeneration": 2, "desiredHealthy": 3, "currentHealthy": 2}),
            429,
            needs,
        );
        let failed = json!([{"type": DISRUPTION_ALLOWED, "status": "False", "reason": SYNC_FAILED,
            "message": "found no controllers", "lastTransitionTime": "2026-01-01T00:00:00Z"}]);
        let why = "The disruption budget b does not allow evicting pods currently because it failed sync: found no controllers";
        check(json!({"observedGeneration": 2, "conditions": failed}), 429, why);
        let plain = "The disruption budget b does not allow evicting pods currently";
        check(
            json!({"observedGeneration": 2, "desiredHealthy": 1, "currentHealthy": 2}),
            429,
            plain,
        );
        let negative = json!({"observedGeneration": 2, "disruptionsAllowed": -1});
        assert_eq!(refused(&negative).0, 403);
    }

    #[test]
    fn a_disruption_is_used_up_and_named() {
        let status = json!({"observedGeneration": 1, "disruptionsAllowed": 1});
        let budget = json!({"metadata": {"name": "b", "generation": 1}, "status": status});
        let mut budget: PodDisruptionBudget = serde_json::from_value(budget).unwrap();
        disrupt(&mut budget, "p", Timestamp::UNIX_EPOCH).unwrap();
        let status = budget.status.unwrap();
        assert_eq!(status.disruptions_allowed, Some(0));
        assert!(status.disrupted_pods.unwrap().contains_key("p"));
        assert_eq!(status.conditions.unwrap()[0].status, "False");
    }
}
