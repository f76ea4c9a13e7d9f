//! Gives every node its part of the pod addresses (`spec.podCIDR`). What is free is read off the nodes
//! themselves, so a deleted node's part is free again without any bookkeeping.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api_types::api::core::v1::Node;
use component::events::{EventType, Recorder};
use ipnet::Ipv4Net;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Mark, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::network::Network;

const NAME: &str = "node-ipam-controller";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let nodes = context.informers.nodes.clone();
    watch(&nodes, &queue);
    let controller = NodeIpam {
        client: context.client(),
        recorder: context.recorder(NAME),
        network: context.pod_network,
        nodes,
        given: Mutex::default(),
    };
    Registered::new(controller, queue)
}

/// A node that goes may make room for all that have got nothing.
fn watch(nodes: &Arc<Informer<Node>>, queue: &Arc<WorkQueue>) {
    let (queue, all) = (queue.clone(), Arc::downgrade(nodes));
    nodes.on_change(move |change: &Change<Node>| {
        let poor = match &change.new {
            Some(node) if cidr_of(node).is_none() => vec![node.clone()],
            Some(_) => Vec::new(),
            None => all
                .upgrade()
                .map_or_else(Vec::new, |all| all.filter(|node| cidr_of(node).is_none())),
        };
        poor.iter().for_each(|node| queue.add(ObjectKey::of(&node.metadata)));
    });
}

fn cidr_of(node: &Node) -> Option<Ipv4Net> {
    let given: Ipv4Net = node.spec.as_ref()?.pod_cidr.as_deref()?.parse().ok()?;
    Some(given.trunc())
}

struct NodeIpam {
    client: Client,
    recorder: Recorder,
    network: Network,
    nodes: Arc<Informer<Node>>,
    /// What was given away and has not come back through the store yet.
    given: Mutex<HashMap<String, (Ipv4Net, Mark)>>,
}

#[async_trait::async_trait]
impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        NAME
    }

    /// One after another: two workers could give the same part away.
    fn workers(&self) -> usize {
        1
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key) else { return Ok(Next::Change) };
        let used = self.used();
        if cidr_of(&node).is_some() || self.given.lock().contains_key(&key.name) {
            return Ok(Next::Change);
        }
        let Some(part) = self.network.free(&used) else {
            let message = "All pod addresses of the cluster are given away";
            self.recorder.about(&*node, EventType::Warning, "CIDRNotAvailable", message);
            return Ok(Next::Change);
        };
        self.give(key, &node, part).await?;
        Ok(Next::Change)
    }
}

impl NodeIpam {
    fn used(&self) -> BTreeSet<Ipv4Net> {
        let mut given = self.given.lock();
        given.retain(|_, (_, mark)| !self.nodes.has_seen(mark));
        let seen = self.nodes.list();
        seen.iter()
            .filter_map(|node| cidr_of(node))
            .chain(given.values().map(|(part, _)| *part))
            .collect()
    }

    async fn give(&self, key: &ObjectKey, node: &Node, part: Ipv4Net) -> Result<(), Error> {
        let api = Api::<Node>::all(self.client.clone());
        let text = part.to_string();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": text, "podCIDRs": [text]},
        }));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        if let Some(node) = patched.unless_gone("writing a node's pod addresses")? {
            tracing::info!(node = %key, %part, "pod addresses given");
            self.given.lock().insert(key.name.clone(), (part, self.nodes.mark(&node)));
        }
        Ok(())
    }
}
