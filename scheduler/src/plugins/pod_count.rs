//! How many pods a node has: the fewest to spread them, the most to keep other nodes free.

use super::{Plugin, Questions, score};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub(crate) struct FewestPods;

impl Plugin for FewestPods {
    fn name(&self) -> &'static str {
        "FewestPods"
    }

    fn questions<'a>(&'a self, _: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        Questions::score(|nodes| score::lowest_is_best(nodes.iter().map(pods)))
    }
}

pub(crate) struct MostPods;

impl Plugin for MostPods {
    fn name(&self) -> &'static str {
        "MostPods"
    }

    fn questions<'a>(&'a self, _: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        Questions::score(|nodes| score::highest_is_best(nodes.iter().map(pods)))
    }
}

pub(super) fn pods(node: &&NodeInfo) -> u32 {
    u32::try_from(node.pods()).unwrap_or(u32::MAX)
}
