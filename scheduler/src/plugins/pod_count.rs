//! How many pods a node has: the fewest to spread them, the most to keep other nodes free.

use super::{Plugin, score};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(crate) struct FewestPods;

impl Plugin for FewestPods {
    fn name(&self) -> &'static str {
        "FewestPods"
    }

    fn score(&self, _: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        score::lowest_is_best(nodes.iter().map(pods))
    }
}

pub(crate) struct MostPods;

impl Plugin for MostPods {
    fn name(&self) -> &'static str {
        "MostPods"
    }

    fn score(&self, _: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        score::highest_is_best(nodes.iter().map(pods))
    }
}

fn pods(node: &&NodeInfo) -> u32 {
    u32::try_from(node.pods()).unwrap_or(u32::MAX)
}
