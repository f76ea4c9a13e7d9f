//! Removes nodes of which nothing has been heard for long, if that is wanted: what is bound to them goes with them, by the
//! pod garbage collector. A node that returns registers again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::coordination::v1::Lease;
use api_types::api::core::v1::Node;
use api_types::meta::MicroTime;
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::context::Context;
use crate::eviction::EvictionArgs;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::nodes;

const NAME: &str = "node-removal-controller";
const LEASES: &str = "kube-node-lease";
/// Until it is looked again whether most nodes are heard of.
const AGAIN: Duration = Duration::from_secs(10);

/// `None` if nodes stay.
pub(super) fn register(context: &Context) -> Option<Registered> {
    let after = context.settings.eviction.node_removal_after?;
    let queue = Arc::new(WorkQueue::default());
    let wanted = queue.clone();
    context.informers.nodes.on_change(move |change: &Change<Node>| {
        change.new.iter().for_each(|node| wanted.add(ObjectKey::of(&node.metadata)));
    });
    let controller = NodeRemoval {
        client: context.client(),
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        after,
        eviction: context.settings.eviction,
        silences: Mutex::default(),
    };
    let Informers { nodes, node_leases, .. } = &context.informers;
    Some(Registered::new(controller, queue).reads(nodes).reads(node_leases))
}

struct NodeRemoval {
    client: Client,
    recorder: Recorder,
    informers: Informers,
    after: Duration,
    eviction: EvictionArgs,
    silences: Mutex<Silences>,
}

/// Since when nodes are silent, as far as we have seen ourselves: while we or the whole network were away, nobody was heard.
#[derive(Debug, Default)]
struct Silences {
    /// Whether most nodes were silent at the last look.
    of_most: bool,
    /// Until when they were.
    most_until: Option<Instant>,
    of: HashMap<String, Silence>,
}

#[derive(Debug)]
struct Silence {
    uid: Option<String>,
    /// The node's lease, as it was then.
    renewed: Option<MicroTime>,
    since: Instant,
}

#[async_trait::async_trait]
impl Controller for NodeRemoval {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let node = self.informers.nodes.get(key).filter(|node| is_silent(node));
        let left = self.left(&key.name, node.as_deref());
        let Some(node) = node else { return Ok(Next::Change) };
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        if self.is_heard(&key.name).await? {
            return Ok(Next::After(self.after));
        }
        self.remove(&node).await.map(|()| Next::Change)
    }
}

impl NodeRemoval {
    /// For how much longer a node stays, if it is silent.
    fn left(&self, name: &str, silent: Option<&Node>) -> Duration {
        let now = Instant::now();
        let mut silences = self.silences.lock();
        silences.look(&self.informers.nodes.list(), self.eviction.unhealthy_zone_threshold, now);
        let Some(node) = silent else {
            silences.of.remove(name);
            return Duration::ZERO;
        };
        let lease = self.informers.node_leases.get(&ObjectKey::new(LEASES, name));
        let left = silences.left(node, lease.as_deref().and_then(renewed), self.after, now);
        if silences.of_most { left.max(AGAIN) } else { left }
    }

    /// Whether its lease has been renewed since it fell silent. Then its silence begins anew.
    async fn is_heard(&self, name: &str) -> Result<bool, Error> {
        let api = Api::<Lease>::namespaced(self.client.clone(), LEASES);
        let lease = api.get_opt(name).await.step("reading the lease of a silent node")?;
        let now = lease.as_ref().and_then(renewed);
        Ok(self.silences.lock().hear(name, now, Instant::now()))
    }

    /// If it has been heard of meanwhile, it stays.
    async fn remove(&self, node: &Node) -> Result<(), Error> {
        let name = nodes::name(node);
        let preconditions = Preconditions {
            uid: node.metadata.uid.clone(),
            resource_version: node.metadata.resource_version.clone(),
        };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = Api::<Node>::all(self.client.clone()).delete(name, &params).await;
        if deleted.unless_gone("removing a node")?.is_some() {
            tracing::warn!(node = name, "removed: nothing was heard of it for too long");
            let message = format!("Removing node {name}: it has been Unknown for too long");
            self.recorder.about(node, EventType::Normal, "RemovingNode", message);
        }
        Ok(())
    }
}

impl Silences {
    /// A silence of most ends when that is seen, not when it was seen last.
    fn look(&mut self, all: &[Arc<Node>], threshold: f64, now: Instant) {
        let of_most = most_are_silent(all, threshold);
        if of_most || self.of_most {
            self.most_until = Some(now);
        }
        self.of_most = of_most;
    }

    /// For how much longer a silent node stays.
    fn left(
        &mut self,
        node: &Node,
        renewed: Option<MicroTime>,
        after: Duration,
        now: Instant,
    ) -> Duration {
        let uid = node.metadata.uid.clone();
        let name = nodes::name(node);
        if self.of.get(name).is_none_or(|silence| silence.uid != uid) {
            self.of.insert(name.to_owned(), Silence { uid, renewed, since: now });
        }
        let since = self.of.get(name).map(|silence| silence.since).max(self.most_until);
        after.saturating_sub(since.map_or(Duration::ZERO, |since| now - since))
    }

    fn hear(&mut self, name: &str, renewed: Option<MicroTime>, now: Instant) -> bool {
        let Some(silence) = self.of.get_mut(name) else { return false };
        if silence.renewed == renewed {
            return false;
        }
        (silence.renewed, silence.since) = (renewed, now);
        true
    }
}

fn renewed(lease: &Lease) -> Option<MicroTime> {
    lease.spec.as_ref()?.renew_time.clone()
}

/// Whether it may go at all: one that was never heard of is yet to come, and one that is cordoned is somebody's business.
fn counts(node: &Node) -> bool {
    let is_cordoned = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let came = nodes::ready_condition(node)
        .is_some_and(|ready| ready.reason.as_deref() != Some(nodes::STATUS_NEVER_UPDATED));
    came && !is_cordoned
}

fn is_silent(node: &Node) -> bool {
    counts(node) && nodes::ready_status(node) == "Unknown"
}

/// Then it is more likely that we do not hear well.
fn most_are_silent(all: &[Arc<Node>], threshold: f64) -> bool {
    let counted = all.iter().filter(|node| counts(node)).count();
    let silent = all.iter().filter(|node| is_silent(node)).count();
    #[expect(clippy::cast_precision_loss, reason = "there are not that many nodes")]
    let part = silent as f64 / counted.max(1) as f64;
    part > threshold
}

#[cfg(test)]
mod tests {
    use kube::api::PostParams;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::workers::WorkersArgs;

    const AFTER: Duration = Duration::from_secs(60);

    fn node(name: &str, ready: &str) -> Node {
        let condition = json!({"type": "Ready", "status": ready});
        let node = json!({"metadata": {"name": name}, "status": {"conditions": [condition]}});
        serde_json::from_value(node).unwrap()
    }

    fn all(silent: &[&str], heard: &[&str]) -> Vec<Arc<Node>> {
        let some = |names: &[&str], ready| -> Vec<_> {
            names.iter().map(|name| Arc::new(node(name, ready))).collect()
        };
        [some(silent, "Unknown"), some(heard, "True")].concat()
    }

    #[test]
    fn only_a_node_that_was_heard_of_and_is_not_any_more_goes() {
        let check = |change: serde_json::Value, expected| {
            let mut given = serde_json::to_value(node("a", "Unknown")).unwrap();
            json_patch::merge(&mut given, &change);
            let given: Node = serde_json::from_value(given).unwrap();
            assert_eq!(is_silent(&given), expected, "{change}");
        };
        check(json!({}), true);
        check(json!({"spec": {"unschedulable": true}}), false);
        let ready = |status: &str, reason: &str| {
            let ready = json!({"type": "Ready", "status": status, "reason": reason});
            json!({"status": {"conditions": [ready]}})
        };
        check(ready("Unknown", "NodeStatusUnknown"), true);
        check(ready("Unknown", "NodeStatusNeverUpdated"), false);
        check(ready("False", ""), false);
        check(json!({"status": null}), false);
    }

    #[test]
    fn a_silence_counts_from_when_we_saw_it_and_not_while_most_are_silent() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut silences = Silences::default();
        let mut look = |silent: &[&str], heard: &[&str], now| {
            silences.look(&all(silent, heard), 0.55, at(now));
            silences.left(&node("a", "Unknown"), None, AFTER, at(now))
        };
        assert_eq!(look(&["a"], &["b"], 0), AFTER);
        assert_eq!(look(&["a"], &["b"], 50), Duration::from_secs(10));
        look(&["a", "b"], &[], 55);
        // All of them were silent until now; half of them are back.
        assert_eq!(look(&["a"], &["b"], 1000), AFTER);
        assert_eq!(look(&["a"], &["b"], 1030), Duration::from_secs(30));
        assert_eq!(look(&["a"], &["b"], 1060), Duration::ZERO);
    }

    #[test]
    fn another_node_of_the_name_has_a_silence_of_its_own() {
        let start = Instant::now();
        let mut silences = Silences::default();
        let mut given = node("a", "Unknown");
        silences.left(&given, None, AFTER, start);
        assert_eq!(silences.left(&given, None, AFTER, start + AFTER), Duration::ZERO);
        given.metadata.uid = Some("another".to_owned());
        assert_eq!(silences.left(&given, None, AFTER, start + AFTER), AFTER);
    }

    #[test]
    fn nobody_goes_while_most_are_silent() {
        let check = |silent: usize, heard: usize, expected| {
            let some = |count, ready| (0..count).map(move |_| Arc::new(node("a", ready)));
            let all: Vec<_> = some(silent, "Unknown").chain(some(heard, "True")).collect();
            assert_eq!(most_are_silent(&all, 0.55), expected, "{silent} of {}", all.len());
        };
        check(1, 1, false);
        check(2, 1, true);
        check(1, 0, true);
    }

    #[tokio::test]
    async fn a_node_that_is_heard_of_meanwhile_stays() {
        let plane = testkit::ControlPlane::start().await;
        let mut context = super::super::tests::context(
            plane.listwatch_as("kube-controller-manager"),
            WorkersArgs::default(),
        );
        assert!(register(&context).is_none());
        context.settings.eviction.node_removal_after = Some(Duration::from_secs(60));
        let controller = NodeRemoval {
            client: context.client(),
            recorder: context.recorder(NAME),
            informers: context.informers.clone(),
            after: Duration::ZERO,
            eviction: context.settings.eviction,
            silences: Mutex::default(),
        };
        let all = Api::<Node>::all(plane.client());
        for (name, ready) in [("gone", "Unknown"), ("here", "True")] {
            let made = all.create(&PostParams::default(), &node(name, ready)).await.unwrap();
            context.informers.nodes.take_in(Event::Apply(made));
        }
        let key = ObjectKey::cluster("gone");
        let lease = json!({
            "metadata": {"name": "gone"}, "spec": {"renewTime": "2026-01-01T00:00:00.000000Z"},
        });
        let lease: Lease = serde_json::from_value(lease).unwrap();
        let leases = Api::<Lease>::namespaced(plane.client(), LEASES);
        leases.create(&PostParams::default(), &lease).await.unwrap();
        let renewed = Next::After(Duration::ZERO);
        assert_eq!(controller.reconcile(&key).await.unwrap(), renewed, "its lease is new to us");
        let mut heard = all.get("gone").await.unwrap();
        heard.metadata.labels.get_or_insert_default().insert("seen".to_owned(), "yes".to_owned());
        let heard = all.replace("gone", &PostParams::default(), &heard).await.unwrap();
        assert!(controller.reconcile(&key).await.unwrap_err().is_conflict());
        context.informers.nodes.take_in(Event::Apply(heard));
        assert_eq!(controller.reconcile(&key).await.unwrap(), Next::Change);
        assert!(all.get_opt("gone").await.unwrap().is_none());
        assert_eq!(controller.reconcile(&ObjectKey::cluster("here")).await.unwrap(), Next::Change);
        all.get("here").await.unwrap();
    }
}
