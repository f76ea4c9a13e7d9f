//! The order in which nodes are looked at. Where a decision looks at some of the nodes only, they should be of all
//! zones.

use std::collections::BTreeMap;

use super::NodeInfo;
use super::zone::{REGION, ZONE};

/// The places of the nodes, so that zones take turns. One that has no more nodes is passed over.
pub(super) fn take_turns(nodes: &[NodeInfo]) -> Vec<usize> {
    let mut sizes: BTreeMap<[Option<&str>; 2], usize> = BTreeMap::new();
    let mut turns: Vec<_> = nodes
        .iter()
        .enumerate()
        .map(|(place, node)| {
            let zone = zone(node);
            let turn = sizes.entry(zone).or_default();
            *turn += 1;
            (*turn, zone, place)
        })
        .collect();
    turns.sort_unstable();
    turns.into_iter().map(|(_, _, place)| place).collect()
}

fn zone(node: &NodeInfo) -> [Option<&str>; 2] {
    [REGION, ZONE].map(|label| node.labels().get(label).map(String::as_str))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::snapshot::Shares;

    fn node(labels: Value) -> NodeInfo {
        let node = json!({"metadata": {"name": "n", "labels": labels}});
        NodeInfo::new(Arc::new(serde_json::from_value(node).unwrap()), Shares::new())
    }

    #[test]
    fn zones_take_turns_until_they_have_no_more_nodes() {
        let in_zone = |region: &str, zone: &str| node(json!({REGION: region, ZONE: zone}));
        let nodes = [
            in_zone("r", "a"),
            in_zone("r", "a"),
            in_zone("r", "a"),
            in_zone("r", "b"),
            in_zone("s", "b"),
            in_zone("s", "b"),
            node(json!({})),
        ];
        assert_eq!(take_turns(&nodes), [6, 0, 3, 4, 1, 5, 2]);
    }
}
