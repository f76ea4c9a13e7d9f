//! The plugins: each is one thing that speaks for or against a node. One file each, and one line in the list
//! below.
//!
//! A plugin looks at the pod first, once, and keeps what it finds in the closure that is then asked about each
//! node (Kubernetes' PreFilter and Filter). Where the pod gives it nothing to ask for, it is not asked at all.

mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod pod_count;
mod reason;
mod resource_fit;
mod score;
mod taint_toleration;

use std::ops::{BitAnd, BitOrAssign};

pub(crate) use pod_count::{FewestPods, MostPods};
pub use reason::Reason;

use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// Adds the reasons against a node; none means that it may take the pod.
pub type Filter<'a> = Box<dyn Fn(&NodeInfo, &mut Vec<Reason>) + 'a>;

/// What speaks for or against nodes.
pub trait Plugin: Sync {
    /// Kubernetes' name of the plugin.
    fn name(&self) -> &'static str;

    /// What is asked about each node. `None`: it refuses none.
    fn filter<'a>(&self, _: &'a PodInfo, _: &'a Snapshot) -> Option<Filter<'a>> {
        None
    }

    /// The changes of a node that may turn a refusal.
    fn turned_by(&self) -> Changes {
        Changes::all()
    }

    /// Whether a refused pod should be tried again, now that one of those changes has come to the node. The
    /// usual answer is that of the filter: a plugin that looks beyond the node has another.
    fn may_help(&self, pod: &PodInfo, node: &NodeInfo, cluster: &Snapshot) -> bool {
        let mut against = Vec::new();
        if let Some(filter) = self.filter(pod, cluster) {
            filter(node, &mut against);
        }
        against.is_empty()
    }

    /// How good each of the nodes is, from nothing to the full score. `None`: one is as good as the other.
    fn score(&self, _: &PodInfo, _: &[&NodeInfo]) -> Option<Vec<i64>> {
        None
    }

    /// How much the score counts.
    fn weight(&self) -> i64 {
        1
    }
}

/// The plugins of every strategy, in the order in which the filters are asked.
const ALL: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &resource_fit::ResourceFit,
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

/// The filters that a pod gives cause to ask.
pub(crate) struct Filters<'a>(Vec<(PluginSet, Filter<'a>)>);

impl<'a> Filters<'a> {
    /// Lets every plugin look at the pod.
    pub(crate) fn of(pod: &'a PodInfo, cluster: &'a Snapshot) -> Self {
        let filter = |(index, plugin): (usize, &&dyn Plugin)| {
            Some((PluginSet::of(index), plugin.filter(pod, cluster)?))
        };
        Self(ALL.iter().enumerate().filter_map(filter).collect())
    }

    /// Adds the reasons of the first filter that refuses the node. That one's plugin, or none.
    pub(crate) fn refusing(&self, node: &NodeInfo, against: &mut Vec<Reason>) -> Option<PluginSet> {
        let before = against.len();
        let refuses = |(_, filter): &&(_, Filter<'_>)| {
            filter(node, against);
            against.len() > before
        };
        self.0.iter().find(refuses).map(|(plugin, _)| *plugin)
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

/// The scores of each of the nodes, by weight: those of every strategy and that of this one.
pub(crate) fn total_scores(
    strategy: Option<&'static dyn Plugin>,
    pod: &PodInfo,
    nodes: &[&NodeInfo],
) -> Vec<i64> {
    let mut total = vec![0; nodes.len()];
    for plugin in ALL.iter().copied().chain(strategy) {
        let scores = plugin.score(pod, nodes).unwrap_or_default();
        for (total, score) in total.iter_mut().zip(scores) {
            *total += score * plugin.weight();
        }
    }
    total
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;
    use crate::snapshot::Shares;

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
        if let Some(filter) = plugin.filter(&pod, &cluster) {
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
        let (pod, nodes) = (pod(spec.clone()), nodes.iter().collect::<Vec<_>>());
        let scores = plugin.score(&pod, &nodes).unwrap_or_else(|| vec![0; nodes.len()]);
        let best =
            nodes.iter().zip(&scores).filter(|(_, score)| Some(*score) == scores.iter().max());
        let best: Vec<&str> = best.map(|(node, _)| node.name.as_str()).collect();
        assert_eq!(best, expected, "{spec}");
    }
}
