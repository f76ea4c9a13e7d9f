//! Collects what is seen of all nodes: over REST, over Redis, and by asking their hosts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::Node;
use api_types::meta::Time;
use component::host_probe::{Answer, Target};
use futures::stream::BoxStream;
use futures::{StreamExt, stream};
use listwatch::{Heartbeat, ListWatch, Testimony, topics};
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::disruption::Eviction;
use super::evidence::Sign;
use super::observations::{NodeHealth, Observations};
use crate::eviction::EvictionArgs;
use crate::frame::{Change, ObjectKey, WorkQueue};
use crate::informers::Informers;
use crate::nodes;

/// How often to look who has fallen silent, and whether Redis is reached: a gap between heartbeats that
/// is Redis' fault must not go unnoticed.
const TICK: Duration = Duration::from_millis(500);
/// How often a host is asked that is heard of.
pub(super) const ASK: Duration = Duration::from_secs(10);
/// How often one is asked that is not.
pub(super) const ASK_SILENT: Duration = Duration::from_secs(1);

/// What is known of the nodes' health, shared by those who act on it.
#[derive(Debug)]
pub(crate) struct Monitor {
    observations: Mutex<Observations>,
}

impl Monitor {
    /// Has the informers report what they see.
    pub(crate) fn watching(informers: &Informers, args: EvictionArgs) -> Arc<Self> {
        let observations = Mutex::new(Observations::new(args, Instant::now()));
        let monitor = Arc::new(Self { observations });
        let (of_nodes, of_leases) = (monitor.clone(), monitor.clone());
        informers.nodes.on_change(move |change| of_nodes.node_changed(change, Instant::now()));
        let on_lease =
            move |change: &Change<Lease>| of_leases.lease_changed(change, Instant::now());
        informers.node_leases.on_change(on_lease);
        monitor
    }

    /// Judges a node; `None` if it is not known.
    pub(crate) fn health(&self, node: &str) -> Option<NodeHealth> {
        self.observations.lock().health(node, Instant::now())
    }

    /// Whether nobody is to be evicted from the node because it is silent or not ready: most nodes are.
    pub(crate) fn is_stopped(&self, node: &str) -> bool {
        self.observations.lock().is_stopped(node, Instant::now())
    }

    /// For how long the node has said that it is not ready.
    pub(super) fn not_ready_for(&self, node: &str) -> Option<Duration> {
        self.observations.lock().not_ready_since(node).map(|since| since.elapsed())
    }

    /// Asks for a node's turn to be given up; if it is not yet, one may ask again after some time.
    pub(super) fn admit(&self, node: &str, eviction: Eviction) -> Result<(), Duration> {
        self.observations.lock().admit(node, eviction, Instant::now())
    }

    /// Listens, asks and keeps the clock, for ever: nodes whose health changes are put into the queue.
    pub(super) async fn run(
        self: Arc<Self>,
        listwatch: ListWatch,
        informers: Informers,
        queue: Arc<WorkQueue>,
    ) {
        let mut heartbeats = messages::<Heartbeat>(&listwatch, topics::NODE_STATUS);
        let mut testimonies = messages::<Testimony>(&listwatch, topics::PROXY_STATUS);
        let mut questions = Questions::default();
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(heartbeat) = heartbeats.next() => self.take(&heartbeat.node, Sign::KubeletBeat),
                Some(testimony) = testimonies.next() => self.testified(&testimony),
                Some((node, answer)) = questions.next() => self.answered(&node, answer),
                _ = clock.tick() => {
                    let (changed, to_be_asked) = self.look(listwatch.redis_connected());
                    changed.into_iter().for_each(|node| queue.add(ObjectKey::cluster(node)));
                    questions.ask(to_be_asked, &informers, Instant::now());
                }
            }
        }
    }

    /// A look at the clock and at Redis. Returns the nodes whose health has changed, and whose hosts are to
    /// be asked, and whether that is urgent.
    pub(super) fn look(&self, redis_connected: bool) -> (Vec<String>, Vec<(String, bool)>) {
        let (now, mut all) = (Instant::now(), self.observations.lock());
        (all.look(redis_connected, now), all.to_be_asked(now))
    }

    pub(super) fn take(&self, node: &str, sign: Sign) {
        self.observations.lock().take(node, sign, Instant::now());
    }

    pub(super) fn testified(&self, testimony: &Testimony) {
        self.take(&testimony.node, Sign::ProxyBeat);
        testimony.reached.iter().for_each(|peer| self.take(peer, Sign::ReachedByPeer));
        testimony.missed.iter().for_each(|peer| self.take(peer, Sign::MissedByPeer));
    }

    pub(super) fn answered(&self, node: &str, answer: Answer) {
        match answer {
            Answer::Answered => self.take(node, Sign::Answered),
            Answer::Silence => self.take(node, Sign::Silence),
            Answer::NotAsked => {}
        }
    }

    pub(super) fn node_changed(&self, change: &Change<Node>, now: Instant) {
        let mut all = self.observations.lock();
        let Some(new) = &change.new else {
            if let Some(old) = &change.old {
                all.forget(nodes::name(old));
            }
            return;
        };
        let name = nodes::name(new);
        let not_ready = nodes::ready_condition(new).is_some_and(|ready| ready.status == "False");
        all.see(name, &nodes::zone(new), not_ready, now);
        if change.old.as_ref().is_some_and(|old| reported(old) != reported(new)) {
            all.take(name, Sign::Renewed, now);
        }
    }

    pub(super) fn lease_changed(&self, change: &Change<Lease>, now: Instant) {
        let time = |lease: &Lease| lease.spec.as_ref().and_then(|spec| spec.renew_time.clone());
        let (old, new) =
            (change.old.as_deref().and_then(time), change.new.as_deref().and_then(time));
        let name = change.latest().and_then(|lease| lease.metadata.name.as_deref());
        if let (Some(name), true) = (name, new.is_some() && old != new) {
            self.observations.lock().take(name, Sign::Renewed, now);
        }
    }
}

fn messages<T>(listwatch: &ListWatch, topic: &str) -> BoxStream<'static, T>
where
    T: serde::de::DeserializeOwned + Send + 'static,
{
    match listwatch.follow(topic) {
        Some(messages) => messages.boxed(),
        None => stream::pending().boxed(),
    }
}

/// What only the node itself writes into its status: when it last reported each condition. Where a
/// condition stands in the list says nothing, and one that we added is no report.
fn reported(node: &Node) -> [Option<&Time>; 4] {
    nodes::REPORTED_CONDITIONS.map(|kind| {
        let condition = nodes::condition(node, kind)?;
        let is_ours = condition.reason.as_deref() == Some(nodes::STATUS_NEVER_UPDATED);
        condition.last_heartbeat_time.as_ref().filter(|_| !is_ours)
    })
}

/// The questions to hosts that are under way, and when the last ones were put.
#[derive(Debug, Default)]
struct Questions {
    asked: BTreeMap<String, Instant>,
    under_way: JoinSet<(String, Answer)>,
}

impl Questions {
    /// Asks those whose time it is; of each it is told whether it is urgent.
    fn ask(&mut self, hosts: Vec<(String, bool)>, informers: &Informers, now: Instant) {
        let before = std::mem::take(&mut self.asked);
        for (node, urgent) in hosts {
            let last = before.get(&node).copied();
            let period = if urgent { ASK_SILENT } else { ASK };
            let due = last.is_none_or(|last| now >= last + period);
            if due && let Some(target) = target(informers, &node) {
                let name = node.clone();
                self.under_way.spawn(async move { (name, target.probe().await) });
            }
            self.asked.insert(node, last.filter(|_| !due).unwrap_or(now));
        }
    }

    /// The next answer.
    async fn next(&mut self) -> Option<(String, Answer)> {
        // One that panicked is no answer.
        self.under_way.join_next().await?.ok()
    }
}

fn target(informers: &Informers, node: &str) -> Option<Target> {
    Target::of(&*informers.nodes.get(&ObjectKey::cluster(node))?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controllers::node_lifecycle::evidence::{Listening, STATUS_PATIENCE};

    fn node(conditions: Value) -> Arc<Node> {
        let node = json!({"metadata": {"name": "n1"}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    fn ready(status: &str, heartbeat: &str) -> Arc<Node> {
        let time = format!("2026-01-01T00:00:{heartbeat}Z");
        node(json!([{"type": "Ready", "status": status, "lastHeartbeatTime": time},
                    {"type": "Foreign", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]))
    }

    fn lease(time: &str) -> Arc<Lease> {
        let lease = json!({"metadata": {"name": "n1"}, "spec": {"renewTime": time}});
        Arc::new(serde_json::from_value(lease).unwrap())
    }

    #[test]
    fn what_the_node_writes_is_a_sign_of_life_and_what_others_write_is_not() {
        let (monitor, start) =
            (Monitor::watching(&Informers::default(), EvictionArgs::default()), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let check = |last: u64| {
            let evidence = monitor.observations.lock().evidence("n1");
            let listening = Listening { reports: start, hosts: start, redis: None };
            let unknown = at(last) + STATUS_PATIENCE;
            assert!(evidence.is_status_unknown(listening, unknown), "{last}");
            let before = unknown - Duration::from_millis(1);
            assert!(!evidence.is_status_unknown(listening, before), "{last}");
        };
        let change = |old, new, second| {
            monitor.node_changed(&Change { old: Some(old), new: Some(new) }, at(second));
        };
        monitor.node_changed(&Change { old: None, new: Some(ready("True", "00")) }, at(1));
        check(1);
        change(ready("True", "00"), ready("Unknown", "00"), 5);
        check(1);
        let mut foreign = ready("True", "00");
        let conditions = Arc::make_mut(&mut foreign).status.as_mut().unwrap().conditions.as_mut();
        conditions.unwrap()[1].last_heartbeat_time = None;
        change(ready("True", "00"), foreign, 6);
        check(1);
        // As we mark it: the list may be in another order, and conditions may be new in it.
        let mut marked = ready("Unknown", "00");
        let conditions = Arc::make_mut(&mut marked).status.as_mut().unwrap().conditions.as_mut();
        let ours = json!({"type": "PIDPressure", "status": "Unknown", "reason": "NodeStatusNeverUpdated",
            "lastHeartbeatTime": "2026-01-01T00:00:00Z"});
        conditions.unwrap().insert(0, serde_json::from_value(ours).unwrap());
        change(ready("True", "00"), marked, 7);
        check(1);
        change(ready("True", "00"), ready("True", "10"), 10);
        check(10);
        let (old, new) = (lease("2026-01-01T00:00:00Z"), lease("2026-01-01T00:00:10Z"));
        monitor.lease_changed(&Change { old: Some(old), new: Some(new) }, at(20));
        check(20);
        // A clock that jumps back is no worse than one that jumps ahead.
        let (old, new) = (lease("2026-01-01T00:00:10Z"), lease("2020-01-01T00:00:00Z"));
        monitor.lease_changed(&Change { old: Some(old), new: Some(new) }, at(30));
        check(30);
    }
}
