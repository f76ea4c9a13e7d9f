//! How much of a node's CPU and memory its pods ask for: little is good, and as much of the one as of the other
//! (Kubernetes: `NodeResourcesFit` with `LeastAllocated`, and `NodeResourcesBalancedAllocation`).

use super::{Plugin, Questions, score};
use crate::pod::PodInfo;
use crate::resources::Resources;
use crate::snapshot::{NodeInfo, Snapshot};

const COUNTED: [&str; 2] = ["cpu", "memory"];

/// The most that is left when the pod is there.
pub(crate) struct LeastAllocated;

impl Plugin for LeastAllocated {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        Questions::score(|nodes| {
            let free = |node: &&NodeInfo| {
                let taken = taken(node, &node.expected, &pod.expected);
                score::share(1.0 - taken.iter().sum::<f64>() / taken.len() as f64)
            };
            Some(nodes.iter().map(free).collect())
        })
    }
}

/// As much of the CPU as of the memory is taken when the pod is there. One that asks for neither changes nothing.
pub(crate) struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        if COUNTED.iter().all(|resource| pod.requests.get(resource) == 0) {
            return Questions::default();
        }
        Questions::score(|nodes| {
            let balance = |node: &&NodeInfo| {
                let [cpu, memory] = taken(node, &node.requested, &pod.requests);
                // The standard deviation of two.
                score::share(1.0 - (cpu - memory).abs() / 2.0)
            };
            Some(nodes.iter().map(balance).collect())
        })
    }
}

/// The share of each resource that is taken when that much more is. A node that has none of it has none left.
fn taken(node: &NodeInfo, taken: &Resources, more: &Resources) -> [f64; COUNTED.len()] {
    COUNTED.map(|resource| {
        let (taken, all) =
            (taken.get(resource) + more.get(resource), node.allocatable.get(resource));
        if all == 0 { 1.0 } else { (taken as f64 / all as f64).min(1.0) }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::tests::{check_best, node, pod};
    use crate::pod::Uid;
    use crate::snapshot::Share;

    fn asks(cpu: &str, memory: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}}]})
    }

    fn node_with(name: &str, pods: &[Value]) -> NodeInfo {
        let mut node = node(json!({"metadata": {"name": name},
            "status": {"allocatable": {"cpu": "4", "memory": "4Gi"}}}));
        for (index, spec) in pods.iter().enumerate() {
            let uid = Uid::from(index.to_string().as_str());
            node.place(uid, Share::from(&pod(spec.clone())));
        }
        node
    }

    #[test]
    fn the_node_with_the_most_left_of_both_is_best() {
        let nodes = [
            node_with("cpu", &[asks("2", "1Gi")]),
            node_with("little", &[asks("1", "1Gi")]),
            node_with("memory", &[asks("1", "2Gi")]),
            node(json!({"metadata": {"name": "nothing"}})),
        ];
        check_best(&LeastAllocated, asks("1", "1Gi"), &nodes, &["little"]);
        let silent = json!({});
        let nodes = [
            node_with("two", &[silent.clone(), silent.clone()]),
            node_with("one", std::slice::from_ref(&silent)),
        ];
        check_best(&LeastAllocated, silent, &nodes, &["one"]);
    }

    #[test]
    fn both_are_to_be_taken_alike() {
        let nodes = [
            node_with("cpu", &[asks("2", "1Gi")]),
            node_with("memory", &[asks("1", "3Gi")]),
            node_with("alike", &[asks("3", "3Gi")]),
        ];
        check_best(&BalancedAllocation, asks("1", "1Gi"), &nodes, &["alike"]);
        check_best(&BalancedAllocation, asks("1", "0"), &nodes, &["memory", "alike"]);
        check_best(&BalancedAllocation, json!({}), &nodes, &["cpu", "memory", "alike"]);
    }
}
