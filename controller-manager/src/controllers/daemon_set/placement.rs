//! On which nodes pods of a DaemonSet run, and what they are like there (Kubernetes: `NodeShouldRunDaemonPod`).

use std::collections::BTreeMap;

use api_machinery::{node_affinity, toleration};
use api_types::api::apps::v1::{DaemonSet, DaemonSetSpec};
use api_types::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, Taint, Toleration,
};

use crate::history::REVISION_LABEL;
use crate::pod_control::pod_of;
use crate::{nodes, pods};

const NODE_NAME: &str = "metadata.name";

/// What a node's daemon bears: it is there to mend it.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
/// What it bears on its node's own network.
const NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// Whether a node has a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has one.
    Runs,
    /// It keeps one that it has.
    Keeps,
    None,
}

/// The template's pod with what each daemon bears.
pub(super) struct Placement(PodSpec);

impl Placement {
    pub(super) fn of(spec: &DaemonSetSpec) -> Self {
        let mut pod = spec.template.spec.clone().unwrap_or_default();
        let network = (pod.host_network == Some(true)).then_some(NETWORK);
        let borne = pod.tolerations.get_or_insert_default();
        for (key, effect) in TOLERATED.into_iter().chain(network) {
            let is_it = |it: &Toleration| {
                (it.key.as_deref(), it.effect.as_deref()) == (Some(key), Some(effect))
            };
            borne.retain(|it| !is_it(it));
            borne.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some(effect.to_owned()),
                ..Toleration::default()
            });
        }
        Self(pod)
    }

    /// Whether this node has a pod.
    pub(super) fn on(&self, node: &Node) -> Place {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        let Self(pod) = self;
        let name = nodes::name(node);
        let named = pod.node_name.as_deref().unwrap_or_default();
        let labels = node.metadata.labels.as_ref().unwrap_or(&NONE);
        let fits = named.is_empty() || named == name;
        if !fits || !node_affinity::selects(pod, labels, name) {
            return Place::None;
        }
        let borne = pod.tolerations.as_deref().unwrap_or_default();
        let bears = |taint: &Taint| toleration::toleration_of(borne, taint).is_some();
        let mut place = Place::Runs;
        for taint in nodes::taints(node).iter().filter(|taint| !bears(taint)) {
            match taint.effect.as_str() {
                "NoExecute" => return Place::None,
                "NoSchedule" => place = Place::Keeps,
                _ => {}
            }
        }
        place
    }

    /// The pod of the set for this node, made of the revision with this hash. The scheduler is told by an affinity.
    pub(super) fn pod(&self, set: &DaemonSet, spec: &DaemonSetSpec, node: &str, hash: &str) -> Pod {
        let mut pod = pod_of(set, &spec.template);
        let labels = pod.metadata.labels.get_or_insert_default();
        labels.insert(REVISION_LABEL.to_owned(), hash.to_owned());
        let mut wanted = self.0.clone();
        let affinity = wanted.affinity.get_or_insert_default();
        let affinity = affinity.node_affinity.get_or_insert_default();
        let required =
            affinity.required_during_scheduling_ignored_during_execution.get_or_insert_default();
        let name = NodeSelectorRequirement {
            key: NODE_NAME.to_owned(),
            operator: "In".to_owned(),
            values: Some(vec![node.to_owned()]),
        };
        required.node_selector_terms =
            vec![NodeSelectorTerm { match_fields: Some(vec![name]), match_expressions: None }];
        pod.spec = Some(wanted);
        pod
    }
}

/// The node that the pod runs on, or is for.
pub(super) fn node_of(pod: &Pod) -> Option<&str> {
    if let Some(node) = pods::node_of(pod) {
        return Some(node);
    }
    let affinity = pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let required = affinity.required_during_scheduling_ignored_during_execution.as_ref()?;
    let fields =
        required.node_selector_terms.iter().flat_map(|it| it.match_fields.iter().flatten());
    let mut names = fields.filter(|it| it.key == NODE_NAME && it.operator == "In");
    names.find_map(|it| it.values.as_ref()?.first()).map(String::as_str)
}

/// The hash of the revision that the pod was made of.
pub(super) fn hash_of(pod: &Pod) -> Option<&str> {
    pod.metadata.labels.as_ref()?.get(REVISION_LABEL).map(String::as_str)
}
