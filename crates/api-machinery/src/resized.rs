//! What pods take while they are resized (Kubernetes: `determineEffectiveRequests`, `determineContainerLimits`). Shared by
//! the scheduler and by what charges pods to ResourceQuotas. Pure.

use std::{borrow::Cow, collections::BTreeMap};

use api_types::{
    Quantity,
    api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus},
};

use crate::Quantity as Amount;

type Given = BTreeMap<String, Quantity>;

/// The pod's spec, in which each container asks for the most of what it wants, was given and has; or for what it has,
/// if it is not going to be given more. Likewise of what it may use.
#[must_use]
pub fn effective(pod: &Pod) -> Option<Cow<'_, PodSpec>> {
    let spec = pod.spec.as_ref()?;
    let Some(status) = pod.status.as_ref().filter(|status| is_resized(spec, status)) else {
        return Some(Cow::Borrowed(spec));
    };
    let (mut spec, infeasible) = (spec.clone(), is_infeasible(pod, status));
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let Some(told) = statuses(status).find(|told| told.name == container.name) else {
            continue;
        };
        if !differs(container, told) {
            continue;
        }
        let resources = container.resources.get_or_insert_default();
        let has = told.resources.as_ref();
        let wanted = resources.requests.take().filter(|_| !infeasible);
        let requests = has.and_then(|has| has.requests.as_ref());
        let others = told.allocated_resources.iter().chain(requests);
        resources.requests = Some(others.fold(wanted.unwrap_or_default(), most));
        let wanted = resources.limits.take().filter(|_| !infeasible);
        let limits = has.and_then(|has| has.limits.as_ref());
        resources.limits = Some(limits.into_iter().fold(wanted.unwrap_or_default(), most));
    }
    Some(Cow::Owned(spec))
}

fn statuses(status: &PodStatus) -> impl Iterator<Item = &ContainerStatus> {
    [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten()
}

fn is_resized(spec: &PodSpec, status: &PodStatus) -> bool {
    let all = || spec.containers.iter().chain(spec.init_containers.iter().flatten());
    statuses(status).any(|told| all().any(|it| it.name == told.name && differs(it, told)))
}

/// Whether the container was told to have something else than it wants.
fn differs(wanted: &Container, told: &ContainerStatus) -> bool {
    let Some(has) = &told.resources else { return false };
    let wanted = wanted.resources.as_ref();
    let requests = wanted.and_then(|wanted| wanted.requests.as_ref());
    let limits = wanted.and_then(|wanted| wanted.limits.as_ref());
    !are_same(requests, has.requests.as_ref())
        || !are_same(requests, told.allocated_resources.as_ref())
        || !are_same(limits, has.limits.as_ref())
}

fn are_same(one: Option<&Given>, other: Option<&Given>) -> bool {
    one.into_iter().flatten().eq(other.into_iter().flatten())
}

fn most(mut amounts: Given, other: &Given) -> Given {
    for (name, amount) in other {
        let parsed = |amount: &Quantity| Amount::try_from(amount).ok();
        let known = amounts.get(name).and_then(parsed);
        let is_more = parsed(amount)
            .is_some_and(|amount| known.is_none_or(|known| amount.compare(known).is_gt()));
        if is_more {
            amounts.insert(name.clone(), amount.clone());
        }
    }
    amounts
}

/// Whether it will never be given what it wants by now: of what it has come to want since, nobody said so yet.
fn is_infeasible(pod: &Pod, status: &PodStatus) -> bool {
    let generation = pod.metadata.generation;
    let is_late =
        |said: &PodCondition| said.observed_generation.is_some_and(|it| Some(it) != generation);
    let mut conditions = status.conditions.iter().flatten();
    let pending = conditions.find(|condition| condition.type_ == "PodResizePending");
    pending.is_some_and(|said| said.reason.as_deref() == Some("Infeasible") && !is_late(said))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::amounts::{self, Side};

    /// A pod whose container wants so much, was given that, and has that.
    fn pod([wants, given, has]: [&Value; 3], reason: &str) -> Pod {
        let told = json!({
            "name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0,
            "allocatedResources": given, "resources": has,
        });
        let pending = json!({"type": "PodResizePending", "status": "True", "reason": reason,
                             "observedGeneration": 2});
        let conditions: Vec<Value> = (!reason.is_empty()).then_some(pending).into_iter().collect();
        serde_json::from_value(json!({
            "metadata": {"name": "p", "generation": 2},
            "spec": {"containers": [{"name": "c", "resources": wants}]},
            "status": {"containerStatuses": [told], "conditions": conditions},
        }))
        .unwrap()
    }

    fn shown(side: Side, pod: &Pod) -> String {
        amounts::shown(&side.of_pod(&effective(pod).unwrap()))
    }

    fn check([wants, given, has]: [&str; 3], reason: &str, expected: &str) {
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let sizes = [&requests(wants), &json!({"cpu": given}), &requests(has)];
        let shown = shown(Side::Requests, &pod(sizes, reason));
        assert_eq!(shown, expected, "{wants} {given} {has} {reason}");
    }

    #[test]
    fn a_pod_takes_the_most_of_what_it_wants_was_given_and_has() {
        check(["1", "1", "1"], "", "cpu=1");
        check(["1", "1", "2"], "", "cpu=2");
        check(["1", "2", "2"], "", "cpu=2");
        check(["500m", "250m", "125m"], "Deferred", "cpu=500m");
        check(["100", "250m", "125m"], "Infeasible", "cpu=250m");
    }

    #[test]
    fn a_pod_may_use_the_most_of_what_it_wants_and_has() {
        let limits = |memory: &str| json!({"limits": {"memory": memory}});
        let check = |[wants, has]: [&str; 2], reason: &str, expected: &str| {
            let pod = pod([&limits(wants), &json!({}), &limits(has)], reason);
            assert_eq!(shown(Side::Limits, &pod), expected, "{wants} {has} {reason}");
        };
        check(["10Mi", "1Gi"], "", "memory=1Gi");
        check(["2Gi", "1Gi"], "Deferred", "memory=2Gi");
        check(["2Gi", "1Gi"], "Infeasible", "memory=1Gi");
    }

    #[test]
    fn what_was_said_of_an_earlier_wish_does_not_hold_for_a_later_one() {
        let requests = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let sizes = [&requests("3"), &json!({"cpu": "1"}), &requests("1")];
        let mut pod = pod(sizes, "Infeasible");
        pod.metadata.generation = Some(3);
        assert_eq!(shown(Side::Requests, &pod), "cpu=3");
    }

    #[test]
    fn a_pod_of_which_nothing_was_told_takes_what_it_wants() {
        let spec = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        let status = json!({"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 0},
        ]});
        let pod = json!({"metadata": {"name": "p"}, "spec": spec, "status": status});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert!(matches!(effective(&pod), Some(Cow::Borrowed(_))));
        assert_eq!(shown(Side::Requests, &pod), "cpu=1");
    }
}
