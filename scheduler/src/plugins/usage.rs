//! How much of its CPU or memory a node uses, by its heartbeats. What was assigned of late and need not show in them yet
//! counts beside, so that a burst is spread. A node that has sent none lately is the last choice: what it uses is not known,
//! and perhaps it is dead. If none has, all are judged by what their pods ask for.

use super::{Plugin, Questions, score};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot, Usage};

/// The least use of one resource.
pub(crate) struct LeastUsed {
    name: &'static str,
    resource: &'static str,
    used: fn(Usage) -> f64,
}

/// The least use of the processors.
pub(crate) const CPU: LeastUsed =
    LeastUsed { name: "LeastUsedCPU", resource: "cpu", used: |usage| usage.cpu };

/// The least use of the memory.
pub(crate) const MEMORY: LeastUsed =
    LeastUsed { name: "LeastUsedMemory", resource: "memory", used: |usage| usage.memory };

impl Plugin for LeastUsed {
    fn name(&self) -> &'static str {
        self.name
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, cluster: &'a Snapshot) -> Questions<'a> {
        let Self { resource, used, .. } = *self;
        Questions::score(move |nodes| {
            let free = |node: &&NodeInfo, used: f64, to_come: i64| {
                let all = node.allocatable.get(resource).max(1) as f64;
                let to_come = (to_come + pod.expected.get(resource)) as f64 / all;
                // More than all can be asked for, and is worse still.
                score::share(1.0 / (1.0 + used + to_come))
            };
            let heard = |node: &&NodeInfo| {
                let (now, load) = (cluster.now()?, &node.load);
                Some(free(node, used(load.usage(now)?), load.assigned(resource, now)))
            };
            let heard: Vec<_> = nodes.iter().map(heard).collect();
            if heard.iter().all(Option::is_none) {
                let asked = |node| free(node, 0.0, node.expected.get(resource));
                return Some(nodes.iter().map(asked).collect());
            }
            Some(heard.into_iter().map(Option::unwrap_or_default).collect())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use tokio::time::Instant;

    use super::*;
    use crate::plugins::tests::pod;
    use crate::snapshot::{NodeName, Shares};

    fn cluster(nodes: &[(&str, &str)]) -> Snapshot {
        let mut cluster = Snapshot::default();
        for (name, cpu) in nodes {
            let node = json!({"metadata": {"name": name},
                "status": {"allocatable": {"cpu": cpu, "memory": "8Gi"}}});
            cluster.add(Arc::new(serde_json::from_value(node).unwrap()), Shares::new());
        }
        cluster
    }

    fn best(plugin: &LeastUsed, cluster: &Snapshot) -> String {
        let pod = pod(json!({}));
        let nodes: Vec<_> = cluster.nodes().collect();
        let scores = plugin.questions(&pod, cluster).score.unwrap()(&nodes).unwrap();
        let best = nodes.iter().zip(&scores).max_by_key(|(_, score)| **score).unwrap();
        best.0.name.to_string()
    }

    #[test]
    fn the_node_that_uses_least_of_it_is_best_while_that_is_known() {
        let (mut cluster, begin) = (cluster(&[("a", "8"), ("b", "4")]), Instant::now());
        cluster.set_time(begin);
        assert_eq!(best(&CPU, &cluster), "a", "it has more, by what is asked for");
        cluster.heard(&NodeName::from("a"), Usage { cpu: 0.9, memory: 0.1 }, begin);
        cluster.heard(&NodeName::from("b"), Usage { cpu: 0.2, memory: 0.8 }, begin);
        assert_eq!((best(&CPU, &cluster), best(&MEMORY, &cluster)), ("b".into(), "a".into()));
        let later = begin + Duration::from_secs(20);
        cluster.set_time(later);
        assert_eq!(best(&CPU, &cluster), "a", "nothing has been heard for long");
        cluster.heard(&NodeName::from("b"), Usage { cpu: 0.95, memory: 0.95 }, later);
        assert_eq!(best(&CPU, &cluster), "b", "who is silent may be dead");
    }

    #[test]
    fn what_was_just_assigned_counts_though_no_heartbeat_shows_it() {
        let (mut cluster, begin) = (cluster(&[("a", "1"), ("b", "1")]), Instant::now());
        cluster.set_time(begin);
        cluster.heard(&NodeName::from("a"), Usage { cpu: 0.1, memory: 0.1 }, begin);
        cluster.heard(&NodeName::from("b"), Usage { cpu: 0.25, memory: 0.1 }, begin);
        let mut order = Vec::new();
        for index in 0..5 {
            let mut pod = pod(json!({}));
            pod.uid = index.to_string().as_str().into();
            let node = best(&CPU, &cluster);
            cluster.assign(&pod, &NodeName::from(node.as_str()));
            order.push(node);
        }
        assert_eq!(order, ["a", "a", "b", "a", "b"]);
    }
}
