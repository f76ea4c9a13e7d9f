//! Which pods of a DaemonSet are made and deleted next (Kubernetes: `podsShouldBeOnNode`, `rollingUpdate`).

mod rolling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api_types::api::apps::v1::{DaemonSet, DaemonSetSpec};
use api_types::api::core::v1::{Node, Pod};
use api_types::jiff::Timestamp;

use super::placement::{Place, Placement, hash_of, node_of};
use crate::{nodes, pods};

/// A set, its pods and all nodes at a time.
pub(super) struct View<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) spec: &'a DaemonSetSpec,
    pub(super) placement: &'a Placement,
    /// Of the revisions that have the template, that of new pods first.
    pub(super) hashes: &'a [String],
    pub(super) places: BTreeMap<String, Place>,
    pub(super) on_node: BTreeMap<String, Vec<Arc<Pod>>>,
    pub(super) now: Timestamp,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Nodes that get a pod.
    pub(super) create: BTreeSet<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Of these, those that have ended, each with its node.
    pub(super) ended: Vec<(String, Arc<Pod>)>,
}

impl<'a> View<'a> {
    pub(super) fn new(
        (set, spec): (&'a DaemonSet, &'a DaemonSetSpec),
        placement: &'a Placement,
        hashes: &'a [String],
        nodes: &[Arc<Node>],
        owned: &[Arc<Pod>],
        now: Timestamp,
    ) -> Self {
        let places = nodes.iter().map(|node| (nodes::name(node).to_owned(), placement.on(node)));
        let mut on_node = BTreeMap::<String, Vec<Arc<Pod>>>::new();
        for pod in owned {
            // One that has ended and is on its way out holds up no other.
            if pods::is_finished(pod) && pods::is_terminating(pod) {
                continue;
            }
            if let Some(node) = node_of(pod) {
                on_node.entry(node.to_owned()).or_default().push(pod.clone());
            }
        }
        on_node.values_mut().for_each(|pods| pods.sort_by_cached_key(|pod| age(pod)));
        Self { set, spec, placement, hashes, places: places.collect(), on_node, now }
    }

    /// How many nodes are to have a pod.
    fn desired(&self) -> usize {
        self.places.values().filter(|place| **place == Place::Runs).count()
    }

    pub(super) fn is_available(&self, pod: &Pod) -> bool {
        let least = self.spec.min_ready_seconds.unwrap_or(0);
        pods::until_available(pod, least, self.now).is_some_and(|left| left <= 0)
    }

    pub(super) fn is_updated(&self, pod: &Pod) -> bool {
        hash_of(pod).is_some_and(|hash| self.hashes.iter().any(|its| its == hash))
    }

    fn on(&self, node: &str) -> &[Arc<Pod>] {
        self.on_node.get(node).map(Vec::as_slice).unwrap_or_default()
    }

    /// What is to be done; pods that have failed on the nodes that are held stay for now.
    pub(super) fn plan(&self, held: &BTreeSet<String>) -> Plan {
        let (mut plan, surges) = (Plan::default(), self.most_surge() > 0);
        for (node, place) in &self.places {
            let pods = self.on(node);
            match place {
                Place::Runs if pods.is_empty() => drop(plan.create.insert(node.clone())),
                Place::Runs | Place::Keeps => {
                    self.tend((node, *place), surges, held, &mut plan);
                }
                Place::None => plan.delete.extend(staying(pods).cloned()),
            }
        }
        self.leave(&mut plan);
        // What is made or deleted here is seen before the template takes over elsewhere.
        if plan == Plan::default() {
            self.roll(&mut plan);
        }
        plan
    }

    /// Pods for nodes that are gone are never scheduled.
    fn leave(&self, plan: &mut Plan) {
        let gone = self.on_node.iter().filter(|(node, _)| !self.places.contains_key(*node));
        let waiting = gone.flat_map(|(_, pods)| staying(pods));
        plan.delete.extend(waiting.filter(|pod| pods::node_of(pod).is_none()).cloned());
    }

    /// What has ended goes, and so do those that are too many.
    fn tend(
        &self,
        (node, place): (&str, Place),
        surges: bool,
        held: &BTreeSet<String>,
        plan: &mut Plan,
    ) {
        let (ended, running): (Vec<_>, Vec<_>) =
            staying(self.on(node)).cloned().partition(|pod| pods::is_finished(pod));
        let is_held = |pod: &Pod| pods::phase(pod) == "Failed" && held.contains(node);
        let (kept, ended): (Vec<_>, Vec<_>) = ended.into_iter().partition(|pod| is_held(pod));
        plan.ended.extend(ended.iter().map(|pod| (node.to_owned(), pod.clone())));
        plan.delete.extend(ended);
        if !surges {
            return plan.delete.extend(running.into_iter().skip(1));
        }
        if running.is_empty() && kept.is_empty() && place == Place::Runs {
            plan.create.insert(node.to_owned());
        }
        let (new, old): (Vec<_>, Vec<_>) =
            running.into_iter().partition(|pod| self.is_updated(pod));
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pods::is_ready(old) || self.is_available(new))
        {
            plan.delete.push(old.clone());
        }
        plan.delete.extend(new.into_iter().skip(1).chain(old.into_iter().skip(1)));
    }
}

fn staying(pods: &[Arc<Pod>]) -> impl Iterator<Item = &Arc<Pod>> {
    pods.iter().filter(|pod| !pods::is_terminating(pod))
}

/// Those on their node before others, the oldest first.
fn age(pod: &Pod) -> (bool, Option<Timestamp>, Option<String>) {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (pods::node_of(pod).is_none(), created, pod.metadata.name.clone())
}

#[cfg(test)]
mod tests;
