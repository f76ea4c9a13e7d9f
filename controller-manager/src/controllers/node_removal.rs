//! Removes nodes of which nothing has been heard for long, if that is wanted: what is bound to them goes with them, by the
//! pod garbage collector. A node that returns registers again.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::Node;
use api_types::jiff::Timestamp;
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use crate::clock::Clock;
use crate::context::Context;
use crate::eviction::EvictionArgs;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::nodes;

const NAME: &str = "node-removal-controller";
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
        clock: context.clock,
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        after,
        eviction: context.settings.eviction,
    };
    Some(Registered::new(controller, queue).reads(&*context.informers.nodes))
}

struct NodeRemoval {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    after: Duration,
    eviction: EvictionArgs,
}

#[async_trait::async_trait]
impl Controller for NodeRemoval {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(key) else { return Ok(Next::Change) };
        let Some(left) = left(&node, self.after, self.clock.now()) else { return Ok(Next::Change) };
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        if most_are_silent(&self.informers.nodes.list(), self.eviction.unhealthy_zone_threshold) {
            return Ok(Next::After(AGAIN));
        }
        self.remove(&node).await.map(|()| Next::Change)
    }
}

impl NodeRemoval {
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

/// For how much longer a node that is not heard of stays; `None` if it is heard of.
fn left(node: &Node, after: Duration, now: Timestamp) -> Option<Duration> {
    let ready = nodes::ready_condition(node).filter(|ready| ready.status == "Unknown")?;
    let since = ready.last_transition_time.as_ref()?.0;
    let silent = Duration::try_from(now.duration_since(since)).unwrap_or_default();
    Some(after.saturating_sub(silent))
}

/// Then it is more likely that we do not hear well.
fn most_are_silent(all: &[Arc<Node>], threshold: f64) -> bool {
    let silent = all.iter().filter(|node| nodes::ready_status(node) == "Unknown").count();
    #[expect(clippy::cast_precision_loss, reason = "there are not that many nodes")]
    let part = silent as f64 / all.len().max(1) as f64;
    part > threshold
}

#[cfg(test)]
mod tests {
    use kube::api::PostParams;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;
    use crate::workers::WorkersArgs;

    const THEN: &str = "2026-01-01T00:00:00Z";

    fn node(name: &str, ready: &str) -> Node {
        let condition = json!({"type": "Ready", "status": ready, "lastTransitionTime": THEN});
        let node = json!({"metadata": {"name": name}, "status": {"conditions": [condition]}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn only_a_node_that_is_not_heard_of_goes_and_not_at_once() {
        let check = |ready: &str, seconds: i64, expected: Option<u64>| {
            let now =
                THEN.parse::<Timestamp>().unwrap() + Duration::from_secs(seconds.unsigned_abs());
            let found = left(&node("a", ready), Duration::from_secs(60), now);
            assert_eq!(found, expected.map(Duration::from_secs), "{ready} {seconds}");
        };
        check("True", 100, None);
        check("False", 100, None);
        check("Unknown", 20, Some(40));
        check("Unknown", 100, Some(0));
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
        let mut context = super::super::tests::context(plane.listwatch(), WorkersArgs::default());
        assert!(register(&context).is_none());
        context.settings.eviction.node_removal_after = Some(Duration::from_secs(60));
        let controller = NodeRemoval {
            client: context.client(),
            clock: context.clock,
            recorder: context.recorder(NAME),
            informers: context.informers.clone(),
            after: Duration::from_secs(60),
            eviction: context.settings.eviction,
        };
        let all = Api::<Node>::all(plane.client());
        for (name, ready) in [("gone", "Unknown"), ("here", "True")] {
            let made = all.create(&PostParams::default(), &node(name, ready)).await.unwrap();
            context.informers.nodes.take_in(Event::Apply(made));
        }
        let key = ObjectKey::cluster("gone");
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
