//! The plugins: each is one thing that speaks for or against a node. One file each, and one line in the list
//! below.
//!
//! A plugin looks at the pod first, once, and keeps what it finds in the closures that are then asked about each
//! node, whether it may take the pod, and about those that may, how good they are (Kubernetes' PreFilter, Filter and
//! Score). Where the pod gives it nothing to ask for, it is not asked at all.

mod allocation;
mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod plugin;
mod pod_count;
mod reason;
mod resource_fit;
mod score;
mod spread;
mod taint_toleration;
mod turn;
mod usage;
mod volume_binding;

use std::ops::{BitAnd, BitOrAssign};

pub(crate) use allocation::{BalancedAllocation, LeastAllocated};
pub use plugin::{Filter, Plugin, Questions, Score};
pub(crate) use pod_count::{FewestPods, MostPods};
pub use reason::Reason;
pub(crate) use spread::{FEWEST_OF_CONTROLLER, FEWEST_OF_CONTROLLER_OR_AT_ALL};
pub(crate) use turn::LongestWithoutTurn;
pub(crate) use usage::{CPU as LEAST_USED_CPU, MEMORY as LEAST_USED_MEMORY};

use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// The plugins of every strategy, in the order in which the filters are asked.
const ALL: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &resource_fit::ResourceFit,
    &volume_binding::VolumeBinding,
];

/// Some of the plugins in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PluginSet(u32);

impl PluginSet {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn all() -> Self {
        Self(u32::MAX)
    }

    pub(crate) fn of(index: usize) -> Self {
        Self(1 << index)
    }

    fn plugins(self) -> impl Iterator<Item = &'static dyn Plugin> {
        let is_in = move |(index, _): &(usize, _)| !(self & Self::of(*index)).is_empty();
        ALL.iter().enumerate().filter(is_in).map(|(_, plugin)| *plugin)
    }
}

impl BitAnd for PluginSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOrAssign for PluginSet {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What the plugins of every strategy and that of one ask for a pod.
pub(crate) struct Asked<'a> {
    filters: Vec<(PluginSet, Filter<'a>)>,
    /// With their weights.
    scores: Vec<(i64, Score<'a>)>,
}

impl<'a> Asked<'a> {
    /// Lets every plugin look at the pod.
    pub(crate) fn for_pod(
        pod: &'a PodInfo,
        cluster: &'a Snapshot,
        strategy: &[&'static dyn Plugin],
    ) -> Self {
        let (mut filters, mut scores) = (Vec::with_capacity(ALL.len()), Vec::new());
        for (index, plugin) in ALL.iter().chain(strategy).enumerate() {
            let Questions { filter, score } = plugin.questions(pod, cluster);
            filters.extend(filter.map(|filter| (PluginSet::of(index), filter)));
            scores.extend(score.map(|score| (plugin.weight(), score)));
        }
        Self { filters, scores }
    }

    /// Adds the reasons of the first filter that refuses the node. That one's plugin, or none.
    pub(crate) fn refusing(&self, node: &NodeInfo, against: &mut Vec<Reason>) -> Option<PluginSet> {
        let before = against.len();
        let refuses = |(_, filter): &&(_, Filter<'_>)| {
            filter(node, against);
            against.len() > before
        };
        self.filters.iter().find(refuses).map(|(plugin, _)| *plugin)
    }

    /// How good each of the nodes is.
    pub(crate) fn scores(&self, nodes: &[&NodeInfo]) -> Scores {
        let (mut of_nodes, mut full) = (vec![0; nodes.len()], 0);
        for (weight, score) in &self.scores {
            let Some(scores) = score(nodes) else { continue };
            full += weight * score::FULL;
            for (total, score) in of_nodes.iter_mut().zip(scores) {
                *total += score * weight;
            }
        }
        Scores { of_nodes, full }
    }
}

/// How good nodes are, by all that was asked about them and by weight.
pub(crate) struct Scores {
    pub(crate) of_nodes: Vec<i64>,
    /// The most that one could have. Nothing, if one is as good as the other.
    full: i64,
}

impl Scores {
    pub(crate) fn highest(&self) -> Option<i64> {
        self.of_nodes.iter().copied().max()
    }

    /// The highest, of 100. `None` if one is as good as the other.
    pub(crate) fn highest_of_100(&self) -> Option<i64> {
        (self.highest()? * 100).checked_div(self.full)
    }
}

/// The plugins whose refusals such changes of a node may turn.
pub(crate) fn turned_by(changes: Changes) -> PluginSet {
    let mut set = PluginSet::default();
    for (index, plugin) in ALL.iter().enumerate() {
        if plugin.turned_by().intersects(changes) {
            set |= PluginSet::of(index);
        }
    }
    set
}

/// Whether one of these plugins, which have refused the pod, says that the change of the node may help it.
pub(crate) fn may_help(
    these: PluginSet,
    pod: &PodInfo,
    node: &NodeInfo,
    cluster: &Snapshot,
) -> bool {
    these.plugins().any(|plugin| plugin.may_help(pod, node, cluster))
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::snapshot::Shares;

    #[test]
    fn a_change_concerns_the_plugins_whose_refusals_it_may_turn() {
        let check = |changes: Changes, expected: &[&str]| {
            let concerned: Vec<_> = turned_by(changes).plugins().map(Plugin::name).collect();
            assert_eq!(concerned, expected, "{changes:?}");
        };
        check(Changes::RESOURCES, &["NodeResourcesFit", "VolumeBinding"]);
        check(Changes::PORTS, &["NodePorts"]);
        check(Changes::POD, &[]);
        check(Changes::LABELS, &["NodeAffinity", "VolumeBinding"]);
        check(Changes::VOLUMES, &["VolumeBinding"]);
        check(Changes::TAINTS | Changes::CORDON, &["NodeUnschedulable", "TaintToleration"]);
        check(Changes::ADDED, &ALL.iter().map(|plugin| plugin.name()).collect::<Vec<_>>());
    }

    /// A node out of JSON.
    pub(crate) fn node(node: Value) -> NodeInfo {
        NodeInfo::new(Arc::new(serde_json::from_value(node).unwrap()), Shares::new())
    }

    /// A pod with this spec; containers may be left out.
    pub(crate) fn pod(mut spec: Value) -> PodInfo {
        if spec.get("containers").is_none() {
            spec["containers"] = serde_json::json!([{"name": "c"}]);
        }
        let pod =
            serde_json::json!({"metadata": {"namespace": "default", "name": "p"}, "spec": spec});
        PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    /// What one filter says about a pod with this spec on a node.
    pub(crate) fn check(plugin: &dyn Plugin, spec: Value, on: &NodeInfo, expected: &[&str]) {
        let (pod, cluster, mut against) = (pod(spec.clone()), Snapshot::default(), Vec::new());
        if let Some(filter) = plugin.questions(&pod, &cluster).filter {
            filter(on, &mut against);
        }
        let reasons: Vec<String> = against.iter().map(Reason::to_string).collect();
        assert_eq!(reasons, expected, "{spec} on {:?}", on.node);
    }

    /// Which of the nodes has the best score.
    pub(crate) fn check_best(
        plugin: &dyn Plugin,
        spec: Value,
        nodes: &[NodeInfo],
        expected: &[&str],
    ) {
        let (pod, cluster) = (pod(spec.clone()), Snapshot::default());
        let nodes = nodes.iter().collect::<Vec<_>>();
        let score = plugin.questions(&pod, &cluster).score.and_then(|score| score(&nodes));
        let scores = score.unwrap_or_else(|| vec![0; nodes.len()]);
        let best =
            nodes.iter().zip(&scores).filter(|(_, score)| Some(*score) == scores.iter().max());
        let best: Vec<&str> = best.map(|(node, _)| node.name.as_str()).collect();
        assert_eq!(best, expected, "{spec}");
    }
}
