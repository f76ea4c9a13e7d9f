//! The sum of what pods ask for stays within what the node has: CPU, memory, the number of pods, and
//! any other resource. All shortages of a node are named at once.

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::resources::PODS;
use crate::snapshot::NodeInfo;

pub(super) struct ResourceFit;

impl Filter for ResourceFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let full = i64::try_from(node.pods()).unwrap_or(i64::MAX) >= node.allocatable.get(PODS);
        let too_many = full.then(|| Reason("Too many pods".to_owned()));
        let short = pod.requests.iter().filter(|(name, amount)| {
            *amount > 0 && *amount > node.allocatable.get(name) - node.requested.get(name)
        });
        too_many
            .into_iter()
            .chain(short.map(|(name, _)| Reason(format!("Insufficient {name}"))))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, node, pod};
    use super::*;
    use crate::snapshot::Share;

    fn wants(requests: Value) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
    }

    fn small_node(pods: &str) -> NodeInfo {
        node(json!({"metadata": {"name": "n1"},
                    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": pods}}}))
    }

    #[test]
    fn requests_are_compared_with_what_is_left() {
        let mut on = small_node("110");
        let first = pod(wants(json!({"cpu": "1500m"})));
        on.place(first.key(), Share::from(&first));
        check(&ResourceFit, wants(json!({"cpu": "500m"})), &on, &[]);
        check(&ResourceFit, wants(json!({"cpu": "501m"})), &on, &["Insufficient cpu"]);
        check(&ResourceFit, wants(json!({"memory": "1Gi"})), &on, &[]);
        check(
            &ResourceFit,
            wants(json!({"cpu": "1", "memory": "2Gi", "example.com/gpu": "1"})),
            &on,
            &["Insufficient cpu", "Insufficient example.com/gpu", "Insufficient memory"],
        );
        check(&ResourceFit, wants(json!({"example.com/gpu": "0"})), &on, &[]);
    }

    #[test]
    fn a_node_has_room_for_so_many_pods() {
        let mut on = small_node("1");
        check(&ResourceFit, json!({}), &on, &[]);
        on.place(pod(json!({})).key(), Share::from(&pod(json!({}))));
        check(&ResourceFit, json!({}), &on, &["Too many pods"]);
    }
}
