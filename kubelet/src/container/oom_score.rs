//! How readily the kernel ends a container when the node is short of memory, by the class of its pod (Kubernetes:
//! `pkg/kubelet/qos/policy.go`). Pure.

use api_types::api::core::v1::{Container, Pod};

use super::resources::memory_request;
use crate::spec;

/// Of pods that take no more than they asked for.
const GUARANTEED: i64 = -997;
/// Of pods that asked for nothing.
const BEST_EFFORT: i64 = 1000;
/// Pods that the node can't do without.
const NODE_CRITICAL: &str = "system-node-critical";
/// The priority of those, and more.
const CRITICAL_PRIORITY: i32 = 2_000_000_000;

/// `oom_score_adj` of a container on a node that has so much memory, in bytes.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory: u64) -> i64 {
    let class = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
    match class {
        _ if is_node_critical(pod) => GUARANTEED,
        Some("Guaranteed") => GUARANTEED,
        Some("BestEffort") => BEST_EFFORT,
        _ => burstable(pod, container, i64::try_from(memory).unwrap_or(i64::MAX).max(1)),
    }
}

fn is_node_critical(pod: &Pod) -> bool {
    spec::spec(pod).is_some_and(|spec| {
        spec.priority_class_name.as_deref() == Some(NODE_CRITICAL)
            && spec.priority.is_some_and(|priority| priority >= CRITICAL_PRIORITY)
    })
}

/// The less it asked for, the sooner; a sidecar no sooner than those that it serves.
fn burstable(pod: &Pod, container: &Container, memory: i64) -> i64 {
    let own = share(memory_request(container), memory);
    let served = spec::containers(pod).map(memory_request).min();
    let score = match served.filter(|_| spec::is_sidecar(container)) {
        Some(served) => own.min(share(served, memory)),
        None => own,
    };
    // Between those of the other classes.
    score.clamp(BEST_EFFORT + GUARANTEED, BEST_EFFORT - 1)
}

fn share(request: i64, memory: i64) -> i64 {
    BEST_EFFORT - request.saturating_mul(BEST_EFFORT) / memory
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const MEMORY: u64 = 4_000_000_000;

    fn pod(class: &str, spec: &Value) -> Pod {
        let pod = json!({"spec": spec, "status": {"qosClass": class}});
        serde_json::from_value(pod).unwrap()
    }

    fn of(pod: &Pod, name: &str) -> i64 {
        oom_score_adj(pod, &spec::container(pod, name).unwrap(), MEMORY)
    }

    fn asking(name: &str, memory: &str) -> Value {
        json!({"name": name, "resources": {"requests": {"memory": memory}}})
    }

    #[test]
    fn a_container_s_score_is_that_of_its_pod_s_class() {
        let spec = json!({"containers": [asking("a", "2G")]});
        assert_eq!(of(&pod("Guaranteed", &spec), "a"), -997);
        assert_eq!(of(&pod("BestEffort", &spec), "a"), 1000);
        assert_eq!(of(&pod("Burstable", &spec), "a"), 500);
    }

    #[test]
    fn between_the_classes_is_what_is_asked_for_of_the_node_s_memory() {
        let check = |memory: &str, expected: i64| {
            let spec = json!({"containers": [asking("a", memory)]});
            assert_eq!(of(&pod("Burstable", &spec), "a"), expected, "{memory}");
        };
        check("0", 999);
        check("1", 999);
        check("400M", 900);
        check("3990M", 3);
        check("400G", 3);
        let limited =
            json!({"containers": [{"name": "a", "resources": {"limits": {"memory": "1G"}}}]});
        assert_eq!(of(&pod("Burstable", &limited), "a"), 750);
    }

    #[test]
    fn a_sidecar_ends_no_sooner_than_those_that_it_serves() {
        let mut sidecar = asking("s", "40M");
        sidecar["restartPolicy"] = json!("Always");
        let spec = json!({
            "initContainers": [sidecar, asking("i", "40M")],
            "containers": [asking("a", "2G"), asking("b", "1G")],
        });
        let pod = pod("Burstable", &spec);
        assert_eq!(["s", "i", "a", "b"].map(|name| of(&pod, name)), [750, 990, 500, 750]);
    }

    #[test]
    fn who_is_critical_for_the_node_is_kept() {
        let check = |class: &str, priority: i32, expected: i64| {
            let spec = json!({
                "containers": [asking("a", "0")], "priorityClassName": class, "priority": priority,
            });
            assert_eq!(of(&pod("BestEffort", &spec), "a"), expected, "{class}");
        };
        check(NODE_CRITICAL, CRITICAL_PRIORITY + 1000, -997);
        check(NODE_CRITICAL, 0, 1000);
        check("system-cluster-critical", CRITICAL_PRIORITY, 1000);
    }
}
