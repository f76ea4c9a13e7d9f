//! The nodes with what is placed on them: everything a decision is made from.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use api_types::api::core::v1::Node;
use tokio::time::Instant;

use crate::changes::Changes;
use crate::pod::{PodInfo, Uid};

mod load;
mod node_info;
mod volumes;
mod zone;
mod zone_counts;
mod zones;

use zone_counts::ZoneCounts;

pub use load::{Load, Usage};
pub use node_info::{NodeInfo, NodeName, Share, Shares};
pub(crate) use volumes::{Place, VolumeEvent, VolumeLists, Volumes};
pub(crate) use zone::Zone;

/// All nodes. They have an order in which they are looked at, which stays as it is while no node comes or goes;
/// nodes of different zones take turns in it.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    places: HashMap<NodeName, usize>,
    /// Worked out when it is first asked for after a change.
    order: OnceLock<Vec<usize>>,
    /// When this is, once anybody has said so.
    now: Option<Instant>,
    /// How many pods were assigned so far.
    turns: u64,
    zones: ZoneCounts,
    volumes: Volumes,
}

impl Snapshot {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All nodes, in no order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.iter()
    }

    /// All nodes in their order, beginning somewhere in it and going round.
    pub fn nodes_from(&self, start: usize) -> impl Iterator<Item = &NodeInfo> {
        let order = self.order.get_or_init(|| zones::take_turns(&self.nodes));
        let (before, after) = order.split_at(start.min(order.len()));
        after.iter().chain(before).map(|place| &self.nodes[*place])
    }

    /// One node.
    pub fn get(&self, name: &NodeName) -> Option<&NodeInfo> {
        self.places.get(name).map(|place| &self.nodes[*place])
    }

    /// Time goes on.
    pub fn set_time(&mut self, now: Instant) {
        self.now = Some(now);
    }

    /// What a node says that it uses.
    pub fn heard(&mut self, name: &NodeName, usage: Usage, now: Instant) {
        if let Some(node) = self.get_mut(name) {
            node.load.heard(usage, now);
        }
    }

    /// A node is chosen for a pod, which is placed there beside this.
    pub(crate) fn assign(&mut self, pod: &PodInfo, name: &NodeName) {
        self.turns += 1;
        let (turn, now) = (self.turns, self.now);
        let Some(node) = self.get_mut(name) else { return };
        node.turn = turn;
        if let Some(now) = now {
            node.load.assign(&pod.uid, &pod.expected, now);
        }
    }

    /// That time, if it is known.
    pub(crate) fn now(&self) -> Option<Instant> {
        self.now
    }

    /// What pods store something on.
    pub(crate) fn volumes(&self) -> &Volumes {
        &self.volumes
    }

    pub(crate) fn volumes_mut(&mut self) -> &mut Volumes {
        &mut self.volumes
    }

    /// Adds a node that is not there yet, with the pods that were placed on it before it was known.
    pub fn add(&mut self, node: Arc<Node>, pods: Shares) {
        let info = NodeInfo::new(node, pods);
        self.zones.add_all(info.controllers(), info.zone.as_ref());
        self.places.insert(info.name.clone(), self.nodes.len());
        self.nodes.push(info);
        self.order.take();
    }

    /// Takes over a newer version of a node, if it is there; what has changed.
    pub fn update(&mut self, name: &NodeName, node: &Arc<Node>) -> Option<Changes> {
        let info = &mut self.nodes[*self.places.get(name)?];
        let zone = info.zone.clone();
        let changes = info.update(Arc::clone(node));
        if info.zone != zone {
            self.zones.take_all(info.controllers(), zone.as_ref());
            self.zones.add_all(info.controllers(), info.zone.as_ref());
        }
        if changes.contains(Changes::LABELS) {
            self.order.take();
        }
        Some(changes)
    }

    /// Takes a node out.
    pub fn remove(&mut self, name: &NodeName) -> Option<NodeInfo> {
        let place = self.places.remove(name)?;
        let info = self.nodes.swap_remove(place);
        self.zones.take_all(info.controllers(), info.zone.as_ref());
        if let Some(moved) = self.nodes.get(place) {
            self.places.insert(moved.name.clone(), place);
        }
        self.order.take();
        Some(info)
    }

    /// Counts a pod in on a node, if that is there. Placing it twice replaces the first.
    pub fn place(&mut self, name: &NodeName, pod: Uid, share: Share) {
        self.displace(name, &pod);
        let Some(place) = self.places.get(name) else { return };
        let node = &mut self.nodes[*place];
        if let Some(controller) = &share.controller {
            self.zones.add(controller, node.zone.as_ref(), 1);
        }
        node.place(pod, share);
    }

    /// Counts a pod out; what it had.
    pub(crate) fn displace(&mut self, name: &NodeName, pod: &Uid) -> Option<Share> {
        let node = &mut self.nodes[*self.places.get(name)?];
        let share = node.remove(pod)?;
        if let Some(controller) = &share.controller {
            self.zones.take(controller, node.zone.as_ref(), 1);
        }
        Some(share)
    }

    /// A pod is not to come to the node after all, or goes from it.
    pub(crate) fn withdraw(&mut self, name: &NodeName, pod: &Uid) {
        if let Some(node) = self.get_mut(name) {
            node.load.withdraw(pod);
        }
    }

    /// How many pods of a controller a zone has, on whatever nodes.
    pub(crate) fn pods_in_zone(&self, controller: &Uid, zone: &Zone) -> u32 {
        self.zones.of(controller, zone)
    }

    #[cfg(test)]
    pub(crate) fn zone_counts(&self) -> Vec<(Uid, Zone, u32)> {
        self.zones.sorted()
    }

    fn get_mut(&mut self, name: &NodeName) -> Option<&mut NodeInfo> {
        self.places.get(name).map(|place| &mut self.nodes[*place])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, zone: &str) -> Arc<Node> {
        let labels = json!({"topology.kubernetes.io/zone": zone});
        let node = json!({"metadata": {"name": name, "labels": labels}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    #[test]
    fn the_order_follows_nodes_that_come_change_and_go() {
        let mut snapshot = Snapshot::default();
        let check = |snapshot: &Snapshot, expected: &[&str]| {
            let order: Vec<_> = snapshot.nodes_from(0).map(|node| node.name.as_str()).collect();
            assert_eq!(order, expected);
        };
        for (name, zone) in [("n0", "b"), ("n1", "b"), ("n2", "c")] {
            snapshot.add(node(name, zone), Shares::new());
        }
        check(&snapshot, &["n0", "n2", "n1"]);
        snapshot.update(&NodeName::from("n1"), &node("n1", "a"));
        check(&snapshot, &["n1", "n0", "n2"]);
        snapshot.remove(&NodeName::from("n0"));
        check(&snapshot, &["n1", "n2"]);
        assert!(snapshot.nodes_from(9).count() == 2, "there were more nodes when the search ended");
    }
}
