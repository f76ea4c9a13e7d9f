//! How many pods of the same controller a node has, and its zone: few are good, so that one failure takes few of them
//! (what Kubernetes' `PodTopologySpread` does by default).

use std::collections::HashMap;

use super::{Plugin, Questions, pod_count::pods, score};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot, zone};

pub(crate) struct FewestOfController {
    /// Whether all of a node's pods count where those of the controller are equal, or there is no controller.
    or_at_all: bool,
}

/// Of one opinion among others: a pod without a controller is none of its business.
pub(crate) const FEWEST_OF_CONTROLLER: FewestOfController = FewestOfController { or_at_all: false };
/// The only opinion.
pub(crate) const FEWEST_OF_CONTROLLER_OR_AT_ALL: FewestOfController =
    FewestOfController { or_at_all: true };

impl Plugin for FewestOfController {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        let controller = pod.controller.as_ref();
        if controller.is_none() && !self.or_at_all {
            return Questions::default();
        }
        Questions::score(move |nodes| {
            let own =
                |node: &&NodeInfo| controller.map_or(0, |controller| node.pods_of(controller));
            let most = nodes.iter().map(pods).max().filter(|_| self.or_at_all);
            let count = |node: &&NodeInfo| match most {
                Some(most) => own(node).saturating_mul(most + 1).saturating_add(pods(node)),
                None => own(node),
            };
            let of_nodes = score::lowest_is_best(nodes.iter().map(count))?;
            let mut zones = HashMap::<_, u32>::new();
            for node in nodes {
                *zones.entry(zone(node)).or_default() += own(node);
            }
            let of_zones = score::lowest_is_best(nodes.iter().map(|node| zones[&zone(node)]));
            let Some(of_zones) = of_zones.filter(|_| zones.len() > 1) else {
                return Some(of_nodes);
            };
            Some(of_nodes.iter().zip(of_zones).map(|(node, zone)| (node + 2 * zone) / 3).collect())
        })
    }

    fn weight(&self) -> i64 {
        2
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::{node, pod};
    use crate::pod::Uid;
    use crate::snapshot::Share;

    /// A node of a zone that has so many pods of the controller, and so many of another.
    fn node_with(name: &str, zone: &str, own: usize, others: usize) -> NodeInfo {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        let mut node = node(json!({"metadata": {"name": name, "labels": labels}}));
        for (count, controller) in [(own, "ours"), (others, "theirs")] {
            for index in 0..count {
                let uid = Uid::from(format!("{controller}{index}").as_str());
                node.place(uid, Share::from(&pod_of(controller)));
            }
        }
        node
    }

    fn pod_of(controller: &str) -> PodInfo {
        PodInfo { controller: Some(Uid::from(controller)), ..pod(json!({})) }
    }

    fn best<'a>(plugin: &FewestOfController, pod: &PodInfo, nodes: &'a [NodeInfo]) -> Vec<&'a str> {
        let cluster = Snapshot::default();
        let all: Vec<_> = nodes.iter().collect();
        let score = plugin.questions(pod, &cluster).score;
        let scores = score.and_then(|score| score(&all)).unwrap_or_else(|| vec![0; all.len()]);
        let best = all.iter().zip(&scores).filter(|(_, score)| Some(*score) == scores.iter().max());
        best.map(|(node, _)| node.name.as_str()).collect()
    }

    #[test]
    fn the_node_with_the_fewest_of_the_controller_in_the_zone_with_the_fewest_is_best() {
        let ours = pod_of("ours");
        let one_zone = [node_with("a", "x", 1, 0), node_with("b", "x", 0, 9)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &ours, &one_zone), ["b"]);
        let zones =
            [node_with("a", "x", 2, 0), node_with("b", "x", 0, 0), node_with("c", "y", 1, 0)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &ours, &zones), ["c"]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &pod(json!({})), &zones), ["a", "b", "c"]);
    }

    #[test]
    fn where_those_of_the_controller_are_equal_all_may_count() {
        let nodes =
            [node_with("a", "x", 1, 1), node_with("b", "x", 0, 9), node_with("c", "x", 0, 8)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &pod_of("ours"), &nodes), ["b", "c"]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER_OR_AT_ALL, &pod_of("ours"), &nodes), ["c"]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER_OR_AT_ALL, &pod(json!({})), &nodes), ["a"]);
    }

    #[test]
    fn pods_that_go_count_no_more() {
        let mut nodes = [node_with("a", "x", 1, 0), node_with("b", "x", 0, 0)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &pod_of("ours"), &nodes), ["b"]);
        nodes[0].remove(&Uid::from("ours0"));
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &pod_of("ours"), &nodes), ["a", "b"]);
    }
}
