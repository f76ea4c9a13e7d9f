//! Prefers the node with the fewest pods.

use super::Score;
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(crate) struct FewestPods;

impl Score for FewestPods {
    fn name(&self) -> &'static str {
        "FewestPods"
    }

    fn score(&self, _: &PodInfo, node: &NodeInfo) -> i64 {
        i64::try_from(node.pods()).map_or(i64::MIN, |pods| -pods)
    }
}
