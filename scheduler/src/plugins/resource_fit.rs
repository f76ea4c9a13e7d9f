//! The sum of what pods ask for stays within what the node has: CPU, memory, the number of pods, and
//! any other resource. All shortages of a node are named at once.

use super::{Plugin, Questions, Reason};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::Snapshot;

pub(super) struct ResourceFit;

impl Plugin for ResourceFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        Questions::filter(|node, against| {
            let full = i64::try_from(node.pods()).unwrap_or(i64::MAX) >= node.allocatable.pods();
            against.extend(full.then_some(Reason::Plain("Too many pods")));
            let short = pod.requests.short_of(&node.allocatable, &node.requested);
            against.extend(short.map(Reason::Insufficient));
        })
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED | Changes::ALLOCATABLE | Changes::RESOURCES
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, node, pod};
    use super::*;
    use crate::snapshot::{NodeInfo, Share};

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
        on.place(first.uid.clone(), Share::from(&first));
        check(&ResourceFit, wants(json!({"cpu": "500m"})), &on, &[]);
        check(&ResourceFit, wants(json!({"cpu": "501m"})), &on, &["Insufficient cpu"]);
        check(&ResourceFit, wants(json!({"memory": "1Gi"})), &on, &[]);
        check(
            &ResourceFit,
            wants(json!({"cpu": "1", "memory": "2Gi", "example.com/gpu": "1"})),
            &on,
            &["Insufficient cpu", "Insufficient memory", "Insufficient example.com/gpu"],
        );
        check(&ResourceFit, wants(json!({"example.com/gpu": "0"})), &on, &[]);
    }

    #[test]
    fn a_node_has_room_for_so_many_pods() {
        let mut on = small_node("1");
        check(&ResourceFit, json!({}), &on, &[]);
        on.place(pod(json!({})).uid, Share::from(&pod(json!({}))));
        check(&ResourceFit, json!({}), &on, &["Too many pods"]);
    }
}
