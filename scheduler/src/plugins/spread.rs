//! How many pods of the same controller a node has, and its zone: few are good, so that one failure takes few of them
//! (what Kubernetes' `PodTopologySpread` does by default).

use super::{Plugin, Questions, pod_count::pods, score};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

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

    fn questions<'a>(&'a self, pod: &'a PodInfo, cluster: &'a Snapshot) -> Questions<'a> {
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
            let of_nodes = score::lowest_is_best(nodes.iter().map(count));
            let in_zone = |node: &&NodeInfo| {
                let (controller, zone) = (controller?, node.zone.as_ref()?);
                Some(cluster.pods_in_zone(controller, zone))
            };
            let in_zones: Option<Vec<u32>> = nodes.iter().map(in_zone).collect();
            match (of_nodes, in_zones.and_then(|pods| score::lowest_is_best(pods.into_iter()))) {
                (Some(nodes), Some(zones)) => Some(
                    nodes.iter().zip(zones).map(|(node, zone)| (node + 2 * zone) / 3).collect(),
                ),
                (nodes, zones) => nodes.or(zones),
            }
        })
    }

    fn weight(&self) -> i64 {
        2
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::plugins::tests::pod;
    use crate::pod::Uid;
    use crate::snapshot::{Share, Shares};

    /// A node of a zone, whether it takes pods, and how many pods of the controller and of another it has.
    type Node<'a> = (&'a str, Option<&'a str>, bool, usize, usize);

    fn cluster(nodes: &[Node<'_>]) -> Snapshot {
        let mut cluster = Snapshot::default();
        for &(name, zone, takes, own, others) in nodes {
            let labels = zone.map(|zone| json!({"topology.kubernetes.io/zone": zone}));
            let node = json!({"metadata": {"name": name, "labels": labels}, "spec": {"unschedulable": !takes}});
            cluster.add(Arc::new(serde_json::from_value(node).unwrap()), Shares::new());
            for (count, controller) in [(own, "ours"), (others, "theirs")] {
                for index in 0..count {
                    let uid = Uid::from(format!("{name}{controller}{index}").as_str());
                    cluster.place(&name.into(), uid, Share::from(&pod_of(controller)));
                }
            }
        }
        cluster
    }

    fn pod_of(controller: &str) -> PodInfo {
        PodInfo { controller: Some(Uid::from(controller)), ..pod(json!({})) }
    }

    fn best(plugin: &FewestOfController, pod: &PodInfo, cluster: &Snapshot) -> Vec<String> {
        let all: Vec<_> = cluster.nodes().filter(|node| !node.is_cordoned()).collect();
        let score = plugin.questions(pod, cluster).score;
        let scores = score.and_then(|score| score(&all)).unwrap_or_else(|| vec![0; all.len()]);
        let best = all.iter().zip(&scores).filter(|(_, score)| Some(*score) == scores.iter().max());
        best.map(|(node, _)| node.name.to_string()).collect()
    }

    #[test]
    fn the_node_with_the_fewest_of_the_controller_in_the_zone_with_the_fewest_is_best() {
        let (ours, x, y) = (pod_of("ours"), Some("x"), Some("y"));
        let one_zone = cluster(&[("a", x, true, 1, 0), ("b", x, true, 0, 9)]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &ours, &one_zone), ["b"]);
        let zones = [("a", x, true, 2, 0), ("b", x, true, 0, 0), ("c", y, true, 1, 0)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &ours, &cluster(&zones)), ["c"]);
        let alone = pod(json!({}));
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &alone, &cluster(&zones)), ["a", "b", "c"]);
        let none = [("a", None, true, 1, 0), ("b", x, true, 0, 0)];
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &ours, &cluster(&none)), ["b"]);
    }

    #[test]
    fn a_zone_is_as_full_as_all_its_nodes_are() {
        let (x, y) = (Some("x"), Some("y"));
        let mut cluster = cluster(&[
            ("full", x, false, 5, 0),
            ("new", x, true, 0, 0),
            ("one", y, true, 1, 0),
            ("another", y, true, 1, 0),
        ]);
        let best = |cluster: &Snapshot| best(&FEWEST_OF_CONTROLLER, &pod_of("ours"), cluster);
        assert_eq!(best(&cluster), ["one", "another"]);
        cluster.displace(&"one".into(), &Uid::from("oneours0"));
        assert_eq!(best(&cluster), ["one"]);
        cluster.remove(&"full".into());
        assert_eq!(best(&cluster), ["new"]);
    }

    #[test]
    fn where_those_of_the_controller_are_equal_all_may_count() {
        let x = Some("x");
        let cluster = cluster(&[("a", x, true, 1, 1), ("b", x, true, 0, 9), ("c", x, true, 0, 8)]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER, &pod_of("ours"), &cluster), ["b", "c"]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER_OR_AT_ALL, &pod_of("ours"), &cluster), ["c"]);
        assert_eq!(best(&FEWEST_OF_CONTROLLER_OR_AT_ALL, &pod(json!({})), &cluster), ["a"]);
    }
}
