//! Which pods go when there are too many: those that are worth least, in Kubernetes' order.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#scaling-a-replicaset>

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use crate::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The `count` pods that are worth least. Nodes are compared by how many of the `related` pods they have.
pub(crate) fn choose(
    pods: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    related
        .iter()
        .filter_map(|pod| pods::node_of(pod))
        .for_each(|node| *on_node.entry(node).or_default() += 1);
    let rank = |pod: &Pod| pods::node_of(pod).and_then(|node| on_node.get(node)).copied();
    let mut ranked: Vec<&Arc<Pod>> = pods.iter().collect();
    ranked.sort_by_cached_key(|pod| worth(pod, rank(pod).unwrap_or_default(), now));
    ranked.into_iter().take(count).cloned().collect()
}

/// Compares like Kubernetes' `ActivePodsWithRanks`: the smallest goes first. Times are compared by the
/// logarithm of the age, so that among pods of about the same age chance (the uid) decides.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    assigned: bool,
    phase: u8,
    ready: bool,
    deletion_cost: i64,
    /// The more related pods on its node, the sooner it goes.
    rank: Reverse<usize>,
    ready_for: i32,
    restarts: Reverse<i32>,
    age: i32,
    uid: String,
}

fn worth(pod: &Pod, rank: usize, now: Timestamp) -> Worth {
    let ready_since = pods::ready_condition(pod).filter(|_| pods::is_ready(pod));
    let ready_since = ready_since.and_then(|condition| condition.last_transition_time.as_ref());
    Worth {
        assigned: pods::node_of(pod).is_some(),
        phase: match pods::phase(pod) {
            "Running" => 2,
            "Unknown" => 1,
            _ => 0,
        },
        ready: pods::is_ready(pod),
        deletion_cost: deletion_cost(pod),
        rank: Reverse(rank),
        ready_for: magnitude(ready_since, now),
        restarts: Reverse(restarts(pod)),
        age: magnitude(pod.metadata.creation_timestamp.as_ref(), now),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
    }
}

fn deletion_cost(pod: &Pod) -> i64 {
    let cost = pod.metadata.annotations.as_ref().and_then(|all| all.get(DELETION_COST));
    cost.and_then(|cost| cost.parse().ok()).unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or_default()
}

/// The binary logarithm of the seconds since then; an unknown time counts as just now.
fn magnitude(since: Option<&Time>, now: Timestamp) -> i32 {
    let seconds = since.map_or(0, |since| now.as_second() - since.0.as_second());
    seconds.max(0).checked_ilog2().map_or(-1, |log| log.try_into().unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A ready, running, day-old pod on a node of its own, with changes merged in.
    fn pod(name: &str, changes: Value) -> Arc<Pod> {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"nodeName": name, "containers": []},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z"}]},
        });
        merge(&mut pod, changes);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn merge(target: &mut Value, changes: Value) {
        match changes {
            Value::Object(fields) => {
                fields.into_iter().for_each(|(name, value)| merge(&mut target[name], value));
            }
            value => *target = value,
        }
    }

    /// Of a usual pod and a changed one, the changed one goes.
    fn check_goes(changes: Value) {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let pods = [pod("a", json!({})), pod("b", changes.clone())];
        let victims = choose(&pods, &pods, 1, now);
        assert_eq!(victims[0].metadata.name.as_deref(), Some("b"), "{changes}");
    }

    #[test]
    fn the_pod_that_is_worth_less_goes() {
        check_goes(json!({"spec": {"nodeName": null}}));
        check_goes(json!({"status": {"phase": "Pending"}}));
        check_goes(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}));
        check_goes(json!({"metadata": {"annotations": {DELETION_COST: "-5"}}}));
        check_goes(json!({"status": {"conditions": [
            {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T23:59:00Z"}]}}));
        check_goes(json!({"status": {"containerStatuses": [
            {"name": "c", "image": "", "imageID": "", "ready": true, "restartCount": 3}]}}));
        check_goes(json!({"metadata": {"creationTimestamp": "2026-01-01T23:59:00Z"}}));
    }

    #[test]
    fn the_fullest_node_gives_first() {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let on = |name: &str, node: &str| pod(name, json!({"spec": {"nodeName": node}}));
        let pods = [on("a", "n1"), on("b", "n2"), on("c", "n2")];
        assert_eq!(choose(&pods, &pods, 1, now)[0].metadata.name.as_deref(), Some("b"));
        let siblings: Vec<_> = pods.iter().cloned().chain([on("d", "n1"), on("e", "n1")]).collect();
        assert_eq!(choose(&pods, &siblings, 1, now)[0].metadata.name.as_deref(), Some("a"));
    }

    #[test]
    fn as_many_go_as_asked_for() {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let pods = [pod("a", json!({})), pod("b", json!({}))];
        assert_eq!(choose(&pods, &pods, 0, now).len(), 0);
        assert_eq!(choose(&pods, &pods, 2, now).len(), 2);
    }
}
