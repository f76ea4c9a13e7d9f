//! Collects the signs of life of all nodes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::Node;
use futures::{StreamExt, stream};
use listwatch::ListWatch;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::health::{self, Signs, Verdict};
use crate::frame::{Change, ObjectKey, WorkQueue};
use crate::informers::Informers;
use crate::nodes;

/// How often to look who has fallen silent, and whether Redis is reached: a gap between heartbeats that
/// is Redis' fault must not go unnoticed.
const TICK: Duration = Duration::from_millis(500);

/// The signs of life.
#[derive(Debug, Default)]
pub(super) struct Monitor {
    signs: Mutex<HashMap<String, Signs>>,
    redis_since: Mutex<Option<Instant>>,
    silent: Mutex<HashSet<String>>,
}

impl Monitor {
    /// Has the informers report what they see.
    pub(super) fn watch(self: &Arc<Self>, informers: &Informers) {
        let monitor = self.clone();
        informers.nodes.on_change(move |change| monitor.node_changed(change, Instant::now()));
        let monitor = self.clone();
        informers
            .node_leases
            .on_change(move |change| monitor.lease_changed(change, Instant::now()));
    }

    /// Listens to heartbeats and keeps the clock, for ever: a node that falls silent is put into the queue.
    pub(super) async fn run(self: Arc<Self>, listwatch: ListWatch, queue: Arc<WorkQueue>) {
        let mut heartbeats = match listwatch.heartbeats() {
            Some(heartbeats) => heartbeats.boxed(),
            None => stream::pending().boxed(),
        };
        let mut clock = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                Some(heartbeat) = heartbeats.next() => self.beat(&heartbeat.node, Instant::now()),
                _ = clock.tick() => {
                    let now = Instant::now();
                    self.redis_is(listwatch.redis_connected(), now);
                    self.fallen_silent(now).into_iter().for_each(|node| queue.add(ObjectKey::cluster(node)));
                }
            }
        }
    }

    /// The nodes that were not silent when this was last asked.
    fn fallen_silent(&self, now: Instant) -> Vec<String> {
        let (signs, redis) = (self.signs.lock(), *self.redis_since.lock());
        let silent = |signs: Signs| matches!(health::judge(signs, redis, now), Verdict::Silent(_));
        let silent =
            signs.iter().filter(|(_, signs)| silent(**signs)).map(|(node, _)| node.clone());
        let silent: HashSet<String> = silent.collect();
        let mut before = self.silent.lock();
        let fallen = silent.difference(&before).cloned().collect();
        *before = silent;
        fallen
    }

    /// Judges a node; `None` if it is not known.
    pub(super) fn judge(&self, node: &str, now: Instant) -> Option<Verdict> {
        let signs = self.signs.lock().get(node).copied()?;
        Some(health::judge(signs, *self.redis_since.lock(), now))
    }

    fn node_changed(&self, change: &Change<Node>, now: Instant) {
        let Some(new) = &change.new else {
            if let Some(old) = &change.old {
                self.signs.lock().remove(nodes::name(old));
            }
            return;
        };
        let old = change.old.as_ref().map(|old| reported(old));
        if old.as_ref() != Some(&reported(new)) {
            self.renewed(nodes::name(new), now);
        }
    }

    fn lease_changed(&self, change: &Change<Lease>, now: Instant) {
        let time = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let (old, new) =
            (change.old.as_deref().and_then(time), change.new.as_deref().and_then(time));
        let name = change.latest().and_then(|lease| lease.metadata.name.as_deref());
        if let (Some(name), true) = (name, new.is_some() && old != new) {
            self.renewed(name, now);
        }
    }

    fn renewed(&self, node: &str, now: Instant) {
        let mut signs = self.signs.lock();
        signs.entry(node.to_owned()).or_insert(Signs { renewed: now, beat: None }).renewed = now;
    }

    fn beat(&self, node: &str, now: Instant) {
        if let Some(signs) = self.signs.lock().get_mut(node) {
            signs.beat = Some(now);
        }
    }

    fn redis_is(&self, connected: bool, now: Instant) {
        let mut since = self.redis_since.lock();
        *since = connected.then(|| since.unwrap_or(now));
    }
}

/// What only the node itself writes into its status: when it last reported each condition.
fn reported(node: &Node) -> Vec<(String, Option<api_types::meta::Time>)> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().map(|c| (c.type_.clone(), c.last_heartbeat_time.clone())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::node_lifecycle::health::LEASE_PATIENCE;

    fn node(conditions: Value) -> Arc<Node> {
        let node = json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn lease(time: &str) -> Arc<Lease> {
        let lease = json!({"metadata": {"name": "n1"}, "spec": {"renewTime": time}});
        Arc::new(serde_json::from_value(lease).unwrap())
    }

    fn alive_until(monitor: &Monitor, now: Instant) -> Instant {
        match monitor.judge("n1", now) {
            Some(Verdict::Alive { until }) => until,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_the_node_writes_is_a_sign_of_life_and_what_others_write_is_not() {
        let (monitor, start) = (Monitor::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let first = node(
            json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]),
        );
        monitor.node_changed(&Change { old: None, new: Some(first.clone()) }, at(0));
        assert_eq!(alive_until(&monitor, at(1)), at(0) + LEASE_PATIENCE);

        let marked = node(
            json!([{"type": "Ready", "status": "Unknown", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]),
        );
        monitor.node_changed(&Change { old: Some(first.clone()), new: Some(marked) }, at(5));
        assert_eq!(alive_until(&monitor, at(6)), at(0) + LEASE_PATIENCE, "we wrote that ourselves");

        let reported = node(
            json!([{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:10Z"}]),
        );
        monitor.node_changed(&Change { old: Some(first), new: Some(reported) }, at(10));
        assert_eq!(alive_until(&monitor, at(11)), at(10) + LEASE_PATIENCE);

        let renewed = Change {
            old: Some(lease("2026-01-01T00:00:00Z")),
            new: Some(lease("2026-01-01T00:00:10Z")),
        };
        monitor.lease_changed(&renewed, at(20));
        assert_eq!(alive_until(&monitor, at(21)), at(20) + LEASE_PATIENCE);
    }

    #[test]
    fn a_deleted_node_is_not_judged() {
        let (monitor, now) = (Monitor::default(), Instant::now());
        monitor.node_changed(&Change { old: None, new: Some(node(json!([]))) }, now);
        monitor.node_changed(&Change { old: Some(node(json!([]))), new: None }, now);
        assert_eq!(monitor.judge("n1", now), None);
    }

    #[test]
    fn redis_counts_from_when_it_was_last_connected() {
        let (monitor, start) = (Monitor::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        monitor.node_changed(&Change { old: None, new: Some(node(json!([]))) }, at(0));
        monitor.redis_is(true, at(0));
        monitor.beat("n1", at(1));
        assert_eq!(alive_until(&monitor, at(2)), at(9));
        monitor.redis_is(false, at(3));
        assert_eq!(alive_until(&monitor, at(4)), at(41));
        monitor.redis_is(true, at(20));
        assert_eq!(alive_until(&monitor, at(21)), at(28));
    }

    #[test]
    fn a_node_falls_silent_once_even_if_its_first_heartbeat_came_late() {
        let (monitor, start) = (Monitor::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        monitor.redis_is(true, at(0));
        monitor.node_changed(&Change { old: None, new: Some(node(json!([]))) }, at(0));
        assert_eq!(monitor.fallen_silent(at(1)), Vec::<String>::new());
        monitor.beat("n1", at(2));
        assert_eq!(monitor.fallen_silent(at(9)), Vec::<String>::new());
        assert_eq!(monitor.fallen_silent(at(10)), ["n1"]);
        assert_eq!(monitor.fallen_silent(at(11)), Vec::<String>::new());
        monitor.beat("n1", at(12));
        assert_eq!(monitor.fallen_silent(at(13)), Vec::<String>::new());
        assert_eq!(monitor.fallen_silent(at(20)), ["n1"]);
    }
}
