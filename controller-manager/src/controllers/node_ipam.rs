//! Gives every node its part of the pod addresses, one of each family that these have (`spec.podCIDRs`). What is free is read off the nodes
//! themselves, so a deleted node's part is free again without any bookkeeping.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use api_types::api::core::v1::Node;
use component::events::{EventType, Recorder};
use component::network::Networks;
use ipnet::IpNet;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Fault, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::network::Network;
use crate::nodes;

const NAME: &str = "node-ipam-controller";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let nodes = context.informers.nodes.clone();
    watch(&nodes, &queue);
    let controller = NodeIpam {
        client: context.client(),
        recorder: context.recorder(NAME),
        network: context.settings.pod_network,
        nodes: nodes.clone(),
        promised: Mutex::default(),
    };
    Registered::new(controller, queue).reads(&nodes)
}

/// A node that goes may make room for all that have got nothing.
fn watch(nodes: &Arc<Informer<Node>>, queue: &Arc<WorkQueue>) {
    let (queue, all) = (queue.clone(), Arc::downgrade(nodes));
    nodes.on_change(move |change: &Change<Node>| {
        let poor = match &change.new {
            Some(node) if is_without(node) => vec![node.clone()],
            Some(_) => Vec::new(),
            None => all.upgrade().map_or_else(Vec::new, |all| all.filter(is_without)),
        };
        poor.iter().for_each(|node| queue.add(ObjectKey::of(&node.metadata)));
    });
}

/// What was given once stays as it is, whatever families the cluster has by now (Kubernetes: `podCIDRs` can't be changed).
fn is_without(node: &Node) -> bool {
    cidrs_of(node).next().is_none()
}

fn cidrs_of(node: &Node) -> impl Iterator<Item = IpNet> {
    let spec = node.spec.iter();
    let given = spec.flat_map(|spec| spec.pod_cidr.iter().chain(spec.pod_cidrs.iter().flatten()));
    given.filter_map(|cidr| cidr.parse().ok()).map(|cidr: IpNet| cidr.trunc())
}

struct NodeIpam {
    client: Client,
    recorder: Recorder,
    network: Network,
    nodes: Arc<Informer<Node>>,
    /// By the node's uid: what the store does not show yet.
    promised: Mutex<HashMap<String, Promise>>,
}

/// The parts that a node gets, or has got: the write may have arrived even if its answer did not.
#[derive(Clone, Copy, Debug)]
struct Promise {
    parts: Networks,
    written: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("all pod addresses of the cluster are given away")]
struct Exhausted;

impl Fault for Exhausted {
    /// A node that goes is what helps.
    fn may_pass(&self) -> bool {
        false
    }
}

#[async_trait::async_trait]
impl Controller for NodeIpam {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // What is promised and what is stored must be compared at one moment.
        let all = self.nodes.list();
        let used = self.used(&all);
        let node = all.iter().find(|node| nodes::name(node) == key.name);
        let Some(node) = node.filter(|node| is_without(node)) else {
            return Ok(Next::Change);
        };
        match self.promise(node, &used) {
            Some(Promise { written: true, .. }) => {}
            Some(Promise { parts, .. }) => self.give(key, node, parts).await?,
            None => {
                let message = "All pod addresses of the cluster are given away";
                self.recorder.about(&**node, EventType::Warning, "CIDRNotAvailable", message);
                return Err(Exhausted.into());
            }
        }
        Ok(Next::Change)
    }
}

impl NodeIpam {
    /// A promise holds until the store shows the node with a part, or not at all.
    fn used(&self, all: &[Arc<Node>]) -> BTreeSet<IpNet> {
        let waiting: HashSet<&str> =
            all.iter().filter(|node| is_without(node)).map(|node| uid(node)).collect();
        let mut promised = self.promised.lock();
        promised.retain(|uid, _| waiting.contains(uid.as_str()));
        let seen = all.iter().flat_map(|node| cidrs_of(node));
        seen.chain(promised.values().flat_map(|promise| promise.parts.iter())).collect()
    }

    /// What the node was promised, or is from now on; `None` if nothing is free.
    fn promise(&self, node: &Node, used: &BTreeSet<IpNet>) -> Option<Promise> {
        let mut promised = self.promised.lock();
        if let Some(promise) = promised.get(uid(node)) {
            return Some(*promise);
        }
        let promise = Promise { parts: self.network.free(used)?, written: false };
        promised.insert(uid(node).to_owned(), promise);
        Some(promise)
    }

    async fn give(&self, key: &ObjectKey, node: &Node, parts: Networks) -> Result<(), Error> {
        let api = Api::<Node>::all(self.client.clone());
        let texts: Vec<_> = parts.iter().map(|part| part.to_string()).collect();
        let patch = Patch::Merge(json!({
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": texts[0], "podCIDRs": texts},
        }));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.unless_gone("writing a node's pod addresses");
        let mut promised = self.promised.lock();
        match &patched {
            Ok(Some(_)) => {
                tracing::info!(node = %key, %parts, "pod addresses given");
                promised.insert(uid(node).to_owned(), Promise { parts, written: true });
            }
            Err(error) if !error.is_refusal() => {}
            Ok(None) | Err(_) => drop(promised.remove(uid(node))),
        }
        patched.map(|_| ())
    }
}

fn uid(node: &Node) -> &str {
    node.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::api::PostParams;
    use kube::runtime::watcher::Event;
    use testkit::{ControlPlane, node};

    use super::*;
    use crate::network::tests::network;

    fn ipam(plane: &ControlPlane) -> NodeIpam {
        NodeIpam {
            client: plane.client(),
            recorder: Recorder::new(&component::Tasks::default(), plane.client(), NAME, ""),
            network: network("10.244.0.0/16"),
            nodes: Arc::default(),
            promised: Mutex::default(),
        }
    }

    async fn create(plane: &ControlPlane, name: &str) -> Node {
        let nodes = Api::<Node>::all(plane.client());
        nodes.create(&PostParams::default(), &node(name).build()).await.unwrap()
    }

    async fn given(plane: &ControlPlane, name: &str) -> Option<String> {
        let node = Api::<Node>::all(plane.client()).get(name).await.unwrap();
        node.spec.and_then(|spec| spec.pod_cidr)
    }

    #[tokio::test]
    async fn a_list_under_way_makes_no_two_nodes_share_their_addresses() {
        let plane = ControlPlane::start().await;
        let ipam = ipam(&plane);
        let (a, b) = (create(&plane, "a").await, create(&plane, "b").await);
        for node in [a, b.clone()] {
            ipam.nodes.take_in(Event::Apply(node));
        }
        ipam.reconcile(&ObjectKey::cluster("a")).await.unwrap();
        // A new list has come by the write, but can't be read yet.
        ipam.nodes.take_in(Event::Init);
        ipam.nodes.take_in(Event::InitApply(create(&plane, "c").await));
        ipam.reconcile(&ObjectKey::cluster("b")).await.unwrap();
        assert_eq!(given(&plane, "a").await.as_deref(), Some("10.244.0.0/24"));
        assert_eq!(given(&plane, "b").await.as_deref(), Some("10.244.1.0/24"));
        ipam.reconcile(&ObjectKey::cluster("a")).await.unwrap();
        assert_eq!(given(&plane, "a").await.as_deref(), Some("10.244.0.0/24"));
    }

    #[tokio::test]
    async fn addresses_whose_writing_was_not_answered_are_nobody_elses() {
        let plane = ControlPlane::start().await;
        let ipam = ipam(&plane);
        for name in ["a", "b"] {
            ipam.nodes.take_in(Event::Apply(create(&plane, name).await));
        }
        let cut = plane.refuse(|request| request.uri().path().ends_with("/nodes/a"));
        ipam.reconcile(&ObjectKey::cluster("a")).await.unwrap_err();
        drop(cut);
        ipam.reconcile(&ObjectKey::cluster("b")).await.unwrap();
        ipam.reconcile(&ObjectKey::cluster("a")).await.unwrap();
        assert_eq!(given(&plane, "b").await.as_deref(), Some("10.244.1.0/24"));
        assert_eq!(given(&plane, "a").await.as_deref(), Some("10.244.0.0/24"));
    }

    #[tokio::test]
    async fn when_all_addresses_are_given_away_a_node_waits_for_another_to_go() {
        let plane = ControlPlane::start().await;
        let ipam = NodeIpam { network: network("10.244.0.0/24"), ..ipam(&plane) };
        let queue = Arc::new(WorkQueue::default());
        let (rich, poor) = (create(&plane, "rich").await, create(&plane, "poor").await);
        ipam.nodes.take_in(Event::Apply(rich.clone()));
        ipam.nodes.take_in(Event::Apply(poor));
        ipam.reconcile(&ObjectKey::cluster("rich")).await.unwrap();
        let error = ipam.reconcile(&ObjectKey::cluster("poor")).await.unwrap_err();
        assert!(!error.may_pass(), "{error}");
        watch(&ipam.nodes, &queue);
        ipam.nodes.take_in(Event::Delete(rich));
        let next = tokio::time::timeout(Duration::from_secs(10), queue.next()).await.unwrap();
        assert_eq!(next, ObjectKey::cluster("poor"));
        ipam.reconcile(&next).await.unwrap();
        assert_eq!(given(&plane, "poor").await.as_deref(), Some("10.244.0.0/24"));
    }

    #[tokio::test]
    async fn addresses_of_a_node_that_is_gone_are_free_again() {
        let plane = ControlPlane::start().await;
        let ipam = ipam(&plane);
        let gone = create(&plane, "gone").await;
        ipam.nodes.take_in(Event::Apply(gone.clone()));
        ipam.reconcile(&ObjectKey::cluster("gone")).await.unwrap();
        ipam.nodes.take_in(Event::Delete(gone));
        ipam.nodes.take_in(Event::Apply(create(&plane, "new").await));
        ipam.reconcile(&ObjectKey::cluster("new")).await.unwrap();
        assert_eq!(given(&plane, "new").await.as_deref(), Some("10.244.0.0/24"));
    }

    #[tokio::test]
    async fn a_node_gets_a_part_of_each_family_once() {
        let plane = ControlPlane::start().await;
        let both = network("10.244.0.0/16,fd00:10:244::/56");
        let ipam = NodeIpam { network: both, ..ipam(&plane) };
        let nodes = Api::<Node>::all(plane.client());
        let mut old = create(&plane, "old").await;
        old.spec.get_or_insert_default().pod_cidr = Some("10.244.0.0/24".to_owned());
        ipam.nodes.take_in(Event::Apply(old));
        ipam.nodes.take_in(Event::Apply(create(&plane, "new").await));
        for name in ["old", "new"] {
            ipam.reconcile(&ObjectKey::cluster(name)).await.unwrap();
        }
        let spec = nodes.get("new").await.unwrap().spec.unwrap();
        let parts = ["10.244.1.0/24", "fd00:10:244::/64"].map(str::to_owned);
        assert_eq!((spec.pod_cidr.as_ref(), spec.pod_cidrs), (parts.first(), Some(parts.to_vec())));
        // One of a cluster of one family keeps what it has.
        assert_eq!(given(&plane, "old").await, None);
    }
}
