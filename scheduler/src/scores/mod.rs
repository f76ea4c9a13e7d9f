//! The scores: each says how good a node is among those that fit. One file each; a strategy names the
//! scores it adds up.

mod fewest_pods;

use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(crate) use fewest_pods::FewestPods;

/// How good is this node for this pod?
pub trait Score: Sync {
    /// The plugin's name.
    fn name(&self) -> &'static str;

    /// Higher is better.
    fn score(&self, pod: &PodInfo, node: &NodeInfo) -> i64;
}
