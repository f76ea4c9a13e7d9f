//! Prefers the node with the fewest pods.

use super::{Plugin, score};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(crate) struct FewestPods;

impl Plugin for FewestPods {
    fn name(&self) -> &'static str {
        "FewestPods"
    }

    fn score(&self, _: &PodInfo, nodes: &[&NodeInfo]) -> Option<Vec<i64>> {
        let pods = |node: &&NodeInfo| u32::try_from(node.pods()).unwrap_or(u32::MAX);
        score::lowest_is_best(nodes.iter().map(pods))
    }
}
