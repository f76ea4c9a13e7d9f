//! The cache beside one that is filled anew from the bare facts after each step of an arbitrary history.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::pod::HostPort;
use crate::resources::Resources;
use crate::snapshot::Zone;

#[derive(Clone, Debug)]
enum Step {
    SeePod(u8, PodShape),
    PodGone(u8),
    SeeNode(u8, u8),
    NodeGone(u8),
    Assume(u8, u8),
    BindingFailed(u8),
}

#[derive(Clone, Debug)]
struct PodShape {
    node: Option<u8>,
    cpu: u8,
    gpus: u8,
    host_port: Option<u16>,
    finished: bool,
    /// One of two controllers.
    controller: Option<bool>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (pod, node) = (|| 0..8_u8, || 0..4_u8);
    let port = prop::option::weighted(0.3, 80..82_u16);
    let controller = prop::option::of(prop::bool::ANY);
    let finished = prop::bool::weighted(0.1);
    let shape = (prop::option::of(node()), 0..3_u8, 0..2_u8, port, finished, controller);
    let shape = shape.prop_map(|(node, cpu, gpus, host_port, finished, controller)| PodShape {
        node,
        cpu,
        gpus,
        host_port,
        finished,
        controller,
    });
    let step = prop_oneof![
        6 => (pod(), shape).prop_map(|(pod, shape)| Step::SeePod(pod, shape)),
        2 => pod().prop_map(Step::PodGone),
        3 => (node(), 0..4_u8).prop_map(|(node, kind)| Step::SeeNode(node, kind)),
        1 => node().prop_map(Step::NodeGone),
        4 => (pod(), node()).prop_map(|(pod, node)| Step::Assume(pod, node)),
        2 => pod().prop_map(Step::BindingFailed),
    ];
    prop::collection::vec(step, 0..60)
}

/// Two pods share each name.
fn pod(index: u8, shape: &PodShape) -> Pod {
    let requests = json!({"cpu": shape.cpu.to_string(), "example.com/gpu": shape.gpus.to_string()});
    let ports = shape.host_port.map(|port| json!({"containerPort": port, "hostPort": port}));
    let container = json!({"name": "c", "resources": {"requests": requests},
        "ports": ports.into_iter().collect::<Vec<_>>()});
    let phase = if shape.finished { "Succeeded" } else { "Running" };
    let owners = shape.controller.map(|one| json!({"uid": one.to_string(), "controller": true, "apiVersion": "", "kind": "", "name": ""}));
    serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": format!("p{}", index / 2), "uid": index.to_string(), "ownerReferences": owners.into_iter().collect::<Vec<_>>()},
        "spec": {"nodeName": shape.node.map(node_name), "containers": [container]},
        "status": {"phase": phase},
    }))
    .unwrap()
}

fn node(index: u8, kind: u8) -> Node {
    serde_json::from_value(json!({
        "metadata": {"name": node_name(index), "labels": {"topology.kubernetes.io/zone": kind.to_string()}},
        "spec": {"taints": [{"key": kind.to_string(), "effect": "NoSchedule"}]},
        "status": {"allocatable": {"cpu": kind.to_string()}},
    }))
    .unwrap()
}

fn node_name(index: u8) -> String {
    format!("n{index}")
}

fn uid(index: u8) -> Uid {
    Uid::from(index.to_string().as_str())
}

/// The bare facts.
#[derive(Debug, Default)]
struct Facts {
    nodes: BTreeMap<u8, Node>,
    pods: BTreeMap<u8, Pod>,
    assumed: BTreeMap<u8, NodeName>,
}

impl Facts {
    fn see(&mut self, index: u8, pod: Pod) {
        if !wants_a_node(&pod) && (is_finished(&pod) || node_of(&pod).is_none()) {
            return self.forget(index);
        }
        if node_of(&pod).is_some() {
            self.assumed.remove(&index);
        }
        self.pods.insert(index, pod);
    }

    fn forget(&mut self, index: u8) {
        self.pods.remove(&index);
        self.assumed.remove(&index);
    }

    fn cache(&self) -> Cache {
        let mut cache = Cache::default();
        self.pods.values().for_each(|pod| drop(cache.pod_applied(pod.clone())));
        self.nodes.values().for_each(|node| drop(cache.node_applied(node.clone())));
        for (pod, node) in &self.assumed {
            cache.assume(&PodInfo::new(Arc::new(self.pods[pod].clone())), node);
        }
        cache
    }
}

fn apply(step: &Step, cache: &mut Cache, facts: &mut Facts) {
    match step {
        Step::SeePod(index, shape) => {
            let pod = pod(*index, shape);
            if let Some(old) = cache.predecessor(&pod).cloned() {
                cache.pod_deleted(&old);
                facts.forget(index ^ 1);
            }
            facts.see(*index, pod.clone());
            cache.pod_applied(pod);
        }
        Step::PodGone(index) => {
            facts.forget(*index);
            cache.pod_deleted(&uid(*index));
        }
        Step::SeeNode(index, kind) => {
            facts.nodes.insert(*index, node(*index, *kind));
            cache.node_applied(node(*index, *kind));
        }
        Step::NodeGone(index) => {
            facts.nodes.remove(index);
            cache.node_deleted(&NodeName::from(node_name(*index).as_str()));
        }
        Step::Assume(index, to) => {
            if let Some(pod) = cache.pending(&uid(*index)).cloned() {
                let to = NodeName::from(node_name(*to).as_str());
                cache.assume(&pod, &to);
                facts.assumed.insert(*index, to);
            }
        }
        Step::BindingFailed(index) => {
            cache.forget(&uid(*index));
            facts.assumed.remove(index);
        }
    }
}

/// Everything that a cache holds, in an order of its own.
#[derive(Debug, PartialEq)]
struct Content {
    nodes: BTreeMap<NodeName, NodeContent>,
    homeless: BTreeMap<NodeName, Shares>,
    placed: BTreeMap<Uid, (PodKey, NodeName, Option<Arc<Pod>>)>,
    pending: BTreeMap<Uid, Arc<Pod>>,
    names: BTreeMap<PodKey, Uid>,
    zones: Vec<(Uid, Zone, u32)>,
    looked_at: usize,
}

#[derive(Debug, PartialEq)]
struct NodeContent {
    node: Arc<Node>,
    allocatable: Resources,
    requested: Resources,
    expected: Resources,
    of_controllers: [u32; 2],
    taints: Vec<String>,
    shares: Shares,
    host_ports: Vec<HostPort>,
}

impl From<&NodeInfo> for NodeContent {
    fn from(node: &NodeInfo) -> Self {
        let mut host_ports: Vec<_> = node.host_ports().cloned().collect();
        host_ports.sort();
        Self {
            node: Arc::clone(&node.node),
            allocatable: node.allocatable.clone(),
            requested: node.requested.clone(),
            expected: node.expected.clone(),
            of_controllers: ["true", "false"].map(|one| node.pods_of(&Uid::from(one))),
            taints: node.taints.repelling.iter().map(|taint| taint.text.to_string()).collect(),
            shares: node.shares().clone(),
            host_ports,
        }
    }
}

impl From<&Cache> for Content {
    fn from(cache: &Cache) -> Self {
        let snapshot = cache.snapshot();
        let placed = |placed: &Placed| {
            let assumed = placed.assumed.as_ref().map(|pod| Arc::clone(&pod.pod));
            (placed.name.clone(), placed.node.clone(), assumed)
        };
        Self {
            nodes: snapshot.nodes_from(1).map(|node| (node.name.clone(), node.into())).collect(),
            homeless: cache.homeless.clone().into_iter().collect(),
            placed: cache.placed.iter().map(|(pod, it)| (pod.clone(), placed(it))).collect(),
            pending: cache
                .pending
                .iter()
                .map(|(uid, pod)| (uid.clone(), Arc::clone(&pod.pod)))
                .collect(),
            names: cache.names.clone().into_iter().collect(),
            zones: snapshot.zone_counts(),
            looked_at: snapshot.nodes_from(1).count(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_happens_the_cache_holds_what_one_filled_anew_holds(steps in steps()) {
        let (mut cache, mut facts) = (Cache::default(), Facts::default());
        for step in &steps {
            apply(step, &mut cache, &mut facts);
            prop_assert_eq!(Content::from(&cache), Content::from(&facts.cache()), "{:?}", step);
            for node in facts.nodes.values() {
                prop_assert!(cache.snapshot().get(&NodeName::of(node)).is_some_and(|known| *known.node == *node));
            }
        }
    }
}
