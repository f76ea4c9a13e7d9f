//! Keeps the Node object: registers the node, again if it is deleted; reports its status when it
//! changes and at least every five minutes; learns the pod CIDR from it.

use std::{sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Node, NodeSpec, NodeStatus},
    jiff::Timestamp,
};
use component::dual_stack::DualStack;
use futures::StreamExt;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use listwatch::{Lists, News};
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::object::{self, Facts, Health};
use crate::{context::Context, network::Held, runtime::Container};

/// How often the node's state is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often it is looked at while the node is not ready.
const LOOK_NOT_READY: Duration = Duration::from_secs(1);
/// The longest time between two reports.
const REPORT: Duration = Duration::from_secs(300);

/// Keeps the Node object until shutdown.
pub async fn run(
    context: Arc<Context>,
    facts: Facts,
    ready: component::Check,
    shutdown: CancellationToken,
) {
    let keeper = Keeper {
        api: Api::all(context.client.clone()),
        context,
        facts,
        ready,
        seen: None,
        reported: None,
        network_error: None,
        network: None,
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = keeper.run() => {}
    }
}

struct Keeper {
    api: Api<Node>,
    context: Arc<Context>,
    facts: Facts,
    ready: component::Check,
    /// The object as last seen.
    seen: Option<Node>,
    /// What was reported last, and when.
    reported: Option<(Health, Instant)>,
    network_error: Option<String>,
    /// The network that pods get their addresses from.
    network: Option<DualStack>,
}

impl Keeper {
    async fn run(mut self) {
        let name = format!("metadata.name={}", self.facts.name);
        let config = watcher::Config::default().fields(&name);
        let mut events = watcher(self.api.clone(), config).default_backoff().boxed();
        let mut lists = Lists::default();
        loop {
            let pause = if self.is_ready() { LOOK } else { LOOK_NOT_READY };
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => if let Some(news) = lists.take_in(event) {
                        self.observe(news);
                    },
                    Some(Err(error)) => tracing::debug!(%error, "cannot watch the node"),
                    None => return,
                },
                () = tokio::time::sleep(pause) => {}
            }
            let kept = self.keep().await;
            if let Some(node) = &self.seen {
                self.context.ledger.note_node(node);
            }
            if let Err(error) = kept {
                self.ready.failed(format!("cannot report to the API server: {error}"));
                tracing::warn!(%error, "cannot report the node yet");
            }
        }
    }

    /// Of the only object that is watched.
    fn observe(&mut self, news: News<Node>) {
        match news {
            News::Applied(node) => self.seen = Some(node),
            News::Listed(nodes) => self.seen = nodes.into_iter().next(),
            News::Deleted(_) => {
                self.seen = None;
                self.reported = None;
            }
        }
    }

    fn is_ready(&self) -> bool {
        self.reported.as_ref().is_some_and(|(health, _)| health.not_ready.is_none())
    }

    async fn keep(&mut self) -> Result<(), kube::Error> {
        self.network().await;
        let health = self.health().await;
        let due = self
            .reported
            .as_ref()
            .is_none_or(|(last, at)| *last != health || at.elapsed() >= REPORT);
        if self.seen.is_none() {
            self.register(&health).await?;
        } else if !due && self.agrees() {
            return Ok(());
        }
        self.report(&health).await?;
        match &health.not_ready {
            None => self.ready.ready(),
            Some(why) => self.ready.failed(why),
        }
        self.reported = Some((health, Instant::now()));
        Ok(())
    }

    /// Whether the object says what was reported: the node controller marks silent nodes.
    fn agrees(&self) -> bool {
        let wanted = if self.is_ready() { "True" } else { "False" };
        let status = self.seen.as_ref().and_then(|node| node.status.as_ref());
        let conditions = status.and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|c| c.type_ == "Ready" && c.status == wanted)
    }

    /// Creates the object. One that exists keeps the labels that users gave it.
    async fn register(&mut self, health: &Health) -> Result<(), kube::Error> {
        let node = object::node(&self.facts, health, Timestamp::now());
        match self.api.create(&PostParams::default(), &node).await {
            Ok(created) => {
                tracing::info!(node = self.facts.name, "registered");
                self.seen = Some(created);
            }
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let labels = json!({"metadata": {"labels": object::labels(&self.facts)}});
                let parameters = PatchParams::default();
                let known =
                    self.api.patch(&self.facts.name, &parameters, &Patch::Merge(labels)).await?;
                self.seen = Some(known);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn report(&mut self, health: &Health) -> Result<(), kube::Error> {
        let old = self.seen.as_ref().and_then(|node| node.status.clone()).unwrap_or_default();
        let status: NodeStatus = object::status(&self.facts, health, &old, Timestamp::now());
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        match self.api.patch_status(&self.facts.name, &parameters, &patch).await {
            Ok(node) => self.seen = Some(node),
            Err(kube::Error::Api(status)) if status.code == 404 => self.seen = None,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    // --- The node's state ---

    async fn health(&mut self) -> Health {
        let not_ready = match self.context.runtime.info().await {
            Err(error) => Some(error.to_string()),
            Ok(info) => {
                self.facts.runtime = info;
                self.network_reason()
            }
        };
        let thresholds = self.facts.thresholds;
        Health {
            not_ready,
            memory_short: thresholds.memory_is_short(),
            disk_short: thresholds.disk_is_short(&self.context.root),
        }
    }

    fn network_reason(&self) -> Option<String> {
        if self.context.network.is_ready() {
            return None;
        }
        let why = self.network_error.as_deref().unwrap_or("the node has no pod CIDR yet");
        Some(format!("container runtime network not ready: NetworkReady=false message:{why}"))
    }

    /// Starts the pod network as soon as the node has a pod CIDR; again if it gets another one.
    async fn network(&mut self) {
        let spec = self.seen.as_ref().and_then(|node| node.spec.as_ref());
        let Some(text) = spec.and_then(pod_cidrs) else { return };
        let wanted = match text.parse::<DualStack>() {
            Ok(cidr) if self.network == Some(cidr) => return,
            Ok(cidr) => cidr,
            Err(error) => {
                self.network_error = Some(error.to_string());
                return;
            }
        };
        self.network_error = self.start_network(wanted).await.err();
        match &self.network_error {
            None => self.network = Some(wanted),
            Some(error) => tracing::warn!(error, "cannot start the pod network yet"),
        }
    }

    async fn start_network(&self, cidr: DualStack) -> Result<(), String> {
        let found = self.context.runtime.list(None).await.map_err(|error| error.to_string())?;
        let started = self.context.network.start(cidr, &sandboxes(&found)).await;
        started.map_err(|error| crate::describe::describe(&error))?;
        tracing::info!(%cidr, "pod network is up");
        Ok(())
    }
}

/// The node's networks for pods, one or one of each family, as a flag would give them.
pub(crate) fn pod_cidrs(spec: &NodeSpec) -> Option<String> {
    let all = spec.pod_cidrs.as_ref().filter(|all| !all.is_empty());
    all.map(|all| all.join(",")).or_else(|| spec.pod_cidr.clone())
}

/// The sandboxes, dead ones included: their pods get the addresses back that they were made for.
pub fn sandboxes(containers: &[Container]) -> Vec<Held> {
    let held = |it: &Container| Held::new(&it.pod.uid, &it.id, it.pid, it.addresses);
    containers.iter().filter(|container| container.is_sandbox()).map(held).collect()
}

#[cfg(test)]
mod tests {
    use testkit::{ControlPlane, wait};

    use super::*;
    use crate::{fake_node, runtime::fake::Fake};

    #[tokio::test]
    async fn a_node_that_was_made_beforehand_is_taken_over_and_what_was_decided_of_it_stays() {
        let plane = ControlPlane::start().await;
        let api = Api::<Node>::all(plane.client());
        let made = json!({
            "metadata": {"name": "n1", "labels": {"zone": "a"}},
            "spec": {"unschedulable": true, "taints": [{"key": "gpu", "effect": "NoSchedule"}]},
        });
        let made = serde_json::from_value(made).unwrap();
        let made = api.create(&PostParams::default(), &made).await.unwrap();
        let node = fake_node::Node::deaf(plane, Fake::with_images(&[]));
        let facts = Facts { name: "n1".to_owned(), ip: "10.0.0.1".to_owned(), ..Facts::default() };
        let (ready, stop) = (component::Health::default().check("node"), CancellationToken::new());
        let keeping = tokio::spawn(run(node.context(), facts, ready, stop.clone()));
        let has_address =
            |node: &Node| node.status.as_ref().is_some_and(|status| status.addresses.is_some());
        let known = wait::until_is(&api, "n1", "it says where it is", has_address).await;
        assert_eq!(known.metadata.uid, made.metadata.uid);
        let labels = known.metadata.labels.unwrap_or_default();
        assert!(labels["zone"] == "a" && labels["kubernetes.io/hostname"] == "n1", "{labels:?}");
        let spec = known.spec.unwrap_or_default();
        assert_eq!(spec.unschedulable, Some(true));
        assert!(spec.taints.unwrap_or_default().iter().any(|taint| taint.key == "gpu"));
        stop.cancel();
        keeping.await.unwrap();
    }

    #[tokio::test]
    async fn a_node_says_what_it_is_short_of_by_what_it_was_told_to_have() {
        let node = fake_node::Node::deaf(ControlPlane::start().await, Fake::with_images(&[]));
        let api = Api::<Node>::all(node.control_plane.client());
        let stop = CancellationToken::new();
        for (name, thresholds, expected) in [
            ("short", "nodefs.available<1Ei", ["False", "True"]),
            ("enough", "memory.available<1,nodefs.available<1", ["False", "False"]),
        ] {
            let thresholds = thresholds.parse().unwrap();
            let facts = Facts { name: name.to_owned(), thresholds, ..Facts::default() };
            let ready = component::Health::default().check("node");
            tokio::spawn(run(node.context(), facts, ready, stop.clone()));
            let has_status = |node: &Node| node.status.is_some();
            let known = wait::until_is(&api, name, "it says how it is", has_status).await;
            let conditions = known.status.unwrap().conditions.unwrap();
            let said = ["MemoryPressure", "DiskPressure"]
                .map(|kind| conditions.iter().find(|it| it.type_ == kind).unwrap().status.clone());
            assert_eq!(said, expected, "{name}");
        }
        stop.cancel();
    }
}
