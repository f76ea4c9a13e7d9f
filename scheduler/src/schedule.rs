//! The decision: one pod, the nodes as they are, a strategy, where to begin, and chance, in; a node or the reasons
//! against each, out. Nothing else enters, and nothing happens.

use std::collections::BTreeMap;
use std::fmt;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::plugins::{Asked, PluginSet, Reason};
use crate::pod::PodInfo;
use crate::sample::{self, Rotation};
use crate::snapshot::{NodeInfo, NodeName, Snapshot};
use crate::strategy::Strategy;

/// Chooses a node for the pod.
///
/// # Errors
///
/// No node passes the filters; the error counts why.
pub fn schedule(
    pod: &PodInfo,
    cluster: &Snapshot,
    strategy: &Strategy,
    rotation: &mut Rotation,
    rng: &mut impl Rng,
) -> Result<Choice, FitError> {
    let mut from_the_first = Rotation::default();
    let rotation = if strategy.rotates() { rotation } else { &mut from_the_first };
    let asked = Asked::for_pod(pod, cluster, strategy.scores());
    let (feasible, error) = look_for_nodes(&asked, cluster, rotation);
    let scores = asked.scores(&feasible);
    let highest = scores.highest();
    let best = feasible.iter().zip(&scores.of_nodes).filter(|(_, score)| Some(**score) == highest);
    let best: Vec<&NodeName> = best.map(|(node, _)| &node.name).collect();
    let node = (*best.choose(rng).ok_or(error)?).clone();
    Ok(Choice { node, strategy: strategy.name(), score: scores.highest_of_100() })
}

/// The node for a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name.
    pub node: NodeName,
    /// Of the strategy.
    pub strategy: &'static str,
    /// How good it is, by the strategy and by what the pod prefers, of 100. `None` if all nodes were equally good.
    pub score: Option<i64>,
}

impl fmt::Display for Choice {
    /// The node, and why that one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.node, self.strategy)?;
        self.score.map_or(Ok(()), |score| write!(f, ", score {score}"))?;
        f.write_str(")")
    }
}

/// The nodes that pass the filters, until there are enough; and the reasons against the others.
fn look_for_nodes<'a>(
    asked: &Asked<'_>,
    cluster: &'a Snapshot,
    rotation: &mut Rotation,
) -> (Vec<&'a NodeInfo>, FitError) {
    let enough = sample::enough(cluster.len());
    let (mut feasible, mut error) = (Vec::with_capacity(enough), FitError::new(cluster.len()));
    let (mut against, mut seen) = (Vec::new(), 0);
    for node in cluster.nodes_from(rotation.start()) {
        seen += 1;
        match asked.refusing(node, &mut against) {
            Some(plugin) => error.count(plugin, &mut against),
            None => feasible.push(node),
        }
        if feasible.len() == enough {
            break;
        }
    }
    rotation.advance(seen, cluster.len());
    (feasible, error)
}

/// Why no node takes the pod. Its text is what users see in events and conditions, word for word as
/// Kubernetes writes it: `0/2 nodes are available: 2 Insufficient cpu.`
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FitError {
    nodes: usize,
    reasons: BTreeMap<Reason, usize>,
    refused_by: PluginSet,
}

impl FitError {
    fn new(nodes: usize) -> Self {
        Self { nodes, reasons: BTreeMap::new(), refused_by: PluginSet::default() }
    }

    /// The plugins whose refusals this is made of; without nodes, all of them.
    pub(crate) fn refused_by(&self) -> PluginSet {
        if self.nodes == 0 { PluginSet::all() } else { self.refused_by }
    }

    fn count(&mut self, plugin: PluginSet, reasons: &mut Vec<Reason>) {
        self.refused_by |= plugin;
        for reason in reasons.drain(..) {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        let counted = self.reasons.iter().map(|(reason, count)| format!("{count} {reason}"));
        let mut counted: Vec<String> = counted.collect();
        counted.sort();
        write!(f, "0/{} nodes are available: {}.", self.nodes, counted.join(", "))
    }
}

#[cfg(test)]
mod generated;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::{Value, json};

    use super::*;
    use crate::plugins::tests::pod;
    use crate::pod::Uid;
    use crate::snapshot::{Share, Shares};

    /// Nodes as (name, allocatable CPUs, pods already there, extra spec).
    fn snapshot(nodes: &[(&str, &str, usize, Value)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, cpu, pods, spec) in nodes {
            let node = json!({"metadata": {"name": name}, "spec": spec, "status": {
                "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}]}});
            let share = |index: usize| {
                (Uid::from(index.to_string().as_str()), Share::from(&pod(json!({}))))
            };
            let node = Arc::new(serde_json::from_value(node).unwrap());
            snapshot.add(node, (0..*pods).map(share).collect());
        }
        snapshot
    }

    fn asks_for(cpu: &str) -> PodInfo {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    fn chosen(strategy: &str, pod: &PodInfo, snapshot: &Snapshot) -> BTreeSet<String> {
        let strategy = strategy.parse().unwrap();
        let choose = |seed| {
            let (mut rotation, mut rng) = (Rotation::default(), StdRng::seed_from_u64(seed));
            schedule(pod, snapshot, &strategy, &mut rotation, &mut rng).unwrap().node
        };
        (0..64).map(|seed| choose(seed).to_string()).collect()
    }

    fn check_error(pod: &PodInfo, snapshot: &Snapshot, expected: &str) {
        let strategy = "random".parse().unwrap();
        let (mut rotation, mut rng) = (Rotation::default(), StdRng::seed_from_u64(1));
        let error = schedule(pod, snapshot, &strategy, &mut rotation, &mut rng).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn random_uses_every_node_that_fits_and_no_other() {
        let nodes = snapshot(&[
            ("a", "4", 9, json!({})),
            ("b", "4", 0, json!({})),
            ("c", "1", 0, json!({})),
        ]);
        assert_eq!(
            chosen("random", &asks_for("2"), &nodes),
            BTreeSet::from(["a".into(), "b".into()])
        );
    }

    #[test]
    fn min_pods_takes_the_emptiest_and_lets_chance_decide_ties() {
        let nodes = snapshot(&[
            ("a", "4", 2, json!({})),
            ("b", "4", 1, json!({})),
            ("c", "4", 1, json!({})),
        ]);
        assert_eq!(
            chosen("min-pods", &asks_for("1"), &nodes),
            BTreeSet::from(["b".into(), "c".into()])
        );
    }

    #[test]
    fn max_pods_takes_the_fullest_that_has_room() {
        let nodes = snapshot(&[
            ("a", "4", 2, json!({})),
            ("b", "4", 1, json!({})),
            ("c", "1", 9, json!({})),
        ]);
        assert_eq!(chosen("max-pods", &asks_for("2"), &nodes), BTreeSet::from(["a".into()]));
    }

    #[test]
    fn the_message_is_worded_as_in_kubernetes() {
        check_error(&asks_for("1"), &Snapshot::default(), "no nodes available to schedule pods");
        let tainted = json!({"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]});
        let nodes =
            snapshot(&[("a", "1", 0, json!({})), ("b", "1", 0, json!({})), ("c", "8", 0, tainted)]);
        check_error(
            &asks_for("2"),
            &nodes,
            "0/3 nodes are available: 1 node(s) had untolerated taint {gpu: yes}, 2 Insufficient cpu.",
        );
    }

    #[test]
    fn what_the_pod_prefers_counts_more_than_the_strategy() {
        let slow = json!({"taints": [{"key": "slow", "effect": "PreferNoSchedule"}]});
        let nodes = snapshot(&[("full", "4", 9, json!({})), ("slow", "4", 0, slow.clone())]);
        assert_eq!(chosen("min-pods", &asks_for("1"), &nodes), BTreeSet::from(["full".into()]));
        assert_eq!(chosen("random", &asks_for("1"), &nodes), BTreeSet::from(["full".into()]));
        let name = json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["slow"]}]});
        let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution":
            [{"weight": 1, "preference": name}]});
        let wants_slow = pod(json!({"affinity": {"nodeAffinity": preferred}}));
        assert_eq!(
            chosen("random", &wants_slow, &nodes),
            BTreeSet::from(["full".into()]),
            "taints count more than affinity"
        );
    }

    /// So many nodes of which each takes any pod.
    fn large_cluster(nodes: usize) -> Snapshot {
        let names: Vec<String> = (0..nodes).map(|index| format!("n{index}")).collect();
        let nodes = names.iter().map(|name| (name.as_str(), "4", 0, json!({})));
        snapshot(&nodes.collect::<Vec<_>>())
    }

    /// So many pods, one after another.
    fn place(pods: usize, strategy: &str, nodes: &mut Snapshot) {
        let strategy = strategy.parse().unwrap();
        let (mut rotation, mut rng) = (Rotation::default(), StdRng::seed_from_u64(1));
        for index in 0..pods {
            let pod = pod(json!({}));
            let node = schedule(&pod, nodes, &strategy, &mut rotation, &mut rng).unwrap().node;
            let uid = Uid::from(index.to_string().as_str());
            nodes.place(&node, uid, Share::from(&pod));
        }
    }

    #[test]
    fn a_burst_is_spread_evenly_though_each_decision_looks_at_some_nodes_only() {
        let mut nodes = large_cluster(200);
        place(400, "min-pods", &mut nodes);
        assert!(nodes.nodes().all(|node| node.pods() == 2));
    }

    #[test]
    fn nodes_are_filled_one_after_another_in_a_large_cluster_too() {
        let mut nodes = large_cluster(200);
        place(150, "max-pods", &mut nodes);
        let mut pods: Vec<_> = nodes.nodes().map(NodeInfo::pods).filter(|pods| *pods > 0).collect();
        pods.sort_unstable();
        assert_eq!(pods, [40, 110]);
    }

    #[test]
    fn the_search_goes_on_until_a_node_fits_and_comes_back_to_those_before() {
        let mut nodes = large_cluster(250);
        let last = json!({"metadata": {"name": "last", "labels": {"disk": "ssd"}}, "status": {
            "allocatable": {"pods": "1"}, "conditions": [{"type": "Ready", "status": "True"}]}});
        nodes.add(Arc::new(serde_json::from_value(last).unwrap()), Shares::new());
        let ssd = pod(json!({"nodeSelector": {"disk": "ssd"}}));
        let (mut rotation, strategy) = (Rotation::default(), "random".parse().unwrap());
        for pod in [&ssd, &asks_for("1"), &ssd, &asks_for("1"), &ssd] {
            let mut rng = StdRng::seed_from_u64(1);
            let node = schedule(pod, &nodes, &strategy, &mut rotation, &mut rng).unwrap().node;
            assert_eq!(node.as_str() == "last", pod.pod.spec == ssd.pod.spec);
        }
    }
}
