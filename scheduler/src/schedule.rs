//! The decision: one pod, the nodes as they are, a strategy, and chance, in; a node or the reasons
//! against each, out. Nothing else enters, and nothing happens.

use std::collections::BTreeMap;
use std::fmt;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::filters::{self, Reason};
use crate::pod::PodInfo;
use crate::snapshot::{NodeName, Snapshot};
use crate::strategy::Strategy;

/// Chooses a node for the pod.
///
/// # Errors
///
/// No node passes the filters; the error counts why.
pub fn schedule(
    pod: &PodInfo,
    snapshot: &Snapshot,
    strategy: &Strategy,
    rng: &mut impl Rng,
) -> Result<NodeName, FitError> {
    let mut error = FitError { nodes: snapshot.nodes.len(), reasons: BTreeMap::new() };
    let (mut best, mut against) = (Best::default(), Vec::new());
    for (name, node) in &snapshot.nodes {
        if filters::pass(pod, node, &mut against) {
            best.consider(name, strategy.score(pod, node));
        }
        error.count(&mut against);
    }
    best.nodes.choose(rng).map(|name| (*name).clone()).ok_or(error)
}

/// The nodes with the highest score so far.
#[derive(Default)]
struct Best<'a> {
    score: i64,
    nodes: Vec<&'a NodeName>,
}

impl<'a> Best<'a> {
    fn consider(&mut self, name: &'a NodeName, score: i64) {
        if self.nodes.is_empty() || score > self.score {
            self.score = score;
            self.nodes.clear();
        }
        if score == self.score {
            self.nodes.push(name);
        }
    }
}

/// Why no node takes the pod. Its text is what users see in events and conditions, word for word as
/// Kubernetes writes it: `0/2 nodes are available: 2 Insufficient cpu.`
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FitError {
    nodes: usize,
    reasons: BTreeMap<Reason, usize>,
}

impl FitError {
    fn count(&mut self, reasons: &mut Vec<Reason>) {
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
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::{Value, json};

    use super::*;
    use crate::filters::tests::{node, pod};
    use crate::pod::Uid;
    use crate::snapshot::Share;

    /// Nodes as (name, allocatable CPUs, pods already there, extra spec).
    fn snapshot(nodes: &[(&str, &str, usize, Value)]) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for (name, cpu, pods, spec) in nodes {
            let mut info = node(json!({"metadata": {"name": name}, "spec": spec, "status": {
                "allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "110"},
                "conditions": [{"type": "Ready", "status": "True"}]}}));
            for index in 0..*pods {
                let uid = Uid::from(index.to_string().as_str());
                info.place(uid, Share::from(&pod(json!({}))));
            }
            snapshot.nodes.insert(NodeName((*name).to_owned()), info);
        }
        snapshot
    }

    fn asks_for(cpu: &str) -> PodInfo {
        pod(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    fn chosen(strategy: &str, pod: &PodInfo, snapshot: &Snapshot) -> BTreeSet<String> {
        let strategy = strategy.parse().unwrap();
        let choose = |seed| schedule(pod, snapshot, &strategy, &mut StdRng::seed_from_u64(seed));
        (0..64).map(|seed| choose(seed).unwrap().0).collect()
    }

    fn check_error(pod: &PodInfo, snapshot: &Snapshot, expected: &str) {
        let strategy = "random".parse().unwrap();
        let error = schedule(pod, snapshot, &strategy, &mut StdRng::seed_from_u64(1)).unwrap_err();
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
}
