//! How a pod of a warm pool becomes one of a version's ReplicaSet, without the set making one of its own meanwhile, or
//! deleting it. Pure.
//!
//! Two objects change, and nobody sees that at once, nor in one order. So each of the two writes says what is to be
//! known of the other.
//!
//! 1. The set is made larger and, by the same write, is promised pods by their names. It counts those among what it
//!    wants for as long as they wait in their pool.
//! 2. Once the function is loaded into it, the pod gets the labels of the set, and the set as its controller, and by the
//!    same write says at which generation of the set that is. A set that is seen as it was before waits.
//!
//! A promise that cannot be kept is taken back by deleting the pod: then it counts no more, whoever sees that first, and
//! whether or not the one who promised is still there.

use std::sync::Arc;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::minik8s::Function;

use crate::pods;

/// On a ReplicaSet: the names of pods that it is about to get, with commas between them. Names of pods that it has, or
/// that are gone, mean nothing.
pub(crate) const PROMISED: &str = "minik8s.io/promised-pods";

/// The promised pods that still wait in their pool.
pub(crate) fn outstanding(
    set: &ReplicaSet,
    find: impl Fn(&str) -> Option<Arc<Pod>>,
) -> Vec<Arc<Pod>> {
    let names = set.metadata.annotations.as_ref().and_then(|all| all.get(PROMISED));
    let pods = names.into_iter().flat_map(|names| names.split(',')).filter_map(find);
    pods.filter(|pod| pods::is_active(pod) && waits(pod)).collect()
}

/// Whether pods were ever promised to the set.
pub(crate) fn has_promises(set: &ReplicaSet) -> bool {
    set.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(PROMISED))
}

/// Whether a pod waits in a pool.
pub(crate) fn waits(pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(Function::POOL_LABEL))
}

/// Whether the pod is not what it is taken for: with its container, a function that was loaded is lost. One that waits and
/// is ready has lost nothing, but would be taken for such a pod.
pub(crate) fn is_spent(pod: &Pod) -> bool {
    let is_concerned = adopted_at(pod).is_some() || waits(pod) && pods::is_ready(pod);
    is_concerned && pods::has_restarted(pod)
}

/// Whether the set is seen as it was before it was to have one of its pods.
pub(crate) fn is_behind(set: &ReplicaSet, own: &[Arc<Pod>]) -> bool {
    let generation = set.metadata.generation.unwrap_or_default();
    own.iter().filter_map(|pod| adopted_at(pod)).any(|at| at > generation)
}

fn adopted_at(pod: &Pod) -> Option<i64> {
    pod.metadata.annotations.as_ref()?.get(Function::ADOPTED_ANNOTATION)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_pod_is_spent_once_its_first_container_has_ended() {
        let check = |ready: &str, restarts: u32, state: Value, expected: (bool, bool)| {
            let pod = |metadata: Value| -> Pod {
                let container = json!({"name": "function", "image": "", "imageID": "",
                    "ready": true, "restartCount": restarts, "state": state});
                let condition = json!({"type": "Ready", "status": ready});
                let status = json!({"conditions": [condition], "containerStatuses": [container]});
                serde_json::from_value(json!({"metadata": metadata, "status": status})).unwrap()
            };
            let adopted = pod(json!({"annotations": {Function::ADOPTED_ANNOTATION: "2"}}));
            let waiting = pod(json!({"labels": {Function::POOL_LABEL: "python"}}));
            assert_eq!((is_spent(&adopted), is_spent(&waiting)), expected, "{restarts} {state}");
            assert!(!is_spent(&pod(json!({}))), "it starts with its function");
        };
        let ended = json!({"terminated": {"exitCode": 137}});
        let refused = json!({"waiting": {"reason": "CreateContainerConfigError"}});
        check("True", 0, json!({"running": {}}), (false, false));
        check("True", 1, json!({"running": {}}), (true, true));
        check("False", 0, ended, (true, false));
        check("False", 0, refused, (true, false));
    }
}
