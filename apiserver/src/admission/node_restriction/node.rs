//! What a kubelet says of its own Node: not what leads pods to it that are not meant for it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api_types::api::core::v1::{Node, NodeConfigSource};

use super::why::{Why, ensure};
use crate::admission::Operation;

/// Labels of this namespace, and of those below it, are for who decides which pods a node gets.
const RESTRICTED: &str = "node-restriction.kubernetes.io";
/// Labels of Kubernetes that kubelets set.
const OF_KUBELETS: [&str; 11] = [
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "beta.kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "kubernetes.io/arch",
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone",
];
const NAMESPACES_OF_KUBELETS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

type Labels = BTreeMap<String, String>;

/// Fails if a node may not make its Node so, or make the new of the old one.
pub(super) fn check(
    node: &str,
    operation: Operation,
    new: Option<&Node>,
    old: Option<&Node>,
) -> Result<(), Why> {
    match (operation, new, old) {
        (Operation::Create, Some(new), _) => check_new(node, new),
        (Operation::Update, Some(new), Some(old)) => check_change(node, new, old),
        _ => Ok(()),
    }
}

fn check_new(node: &str, new: &Node) -> Result<(), Why> {
    ensure(source(new).is_none(), || {
        format!("node {node:?} is not allowed to create pods with a non-nil configSource")
    })?;
    ensure(networks(new) == networks(&Node::default()), || {
        format!("node {node:?} is not allowed to set podCIDR and podCIDRs")
    })?;
    let labels = forbidden(new.metadata.labels.as_ref(), None);
    ensure(labels.is_empty(), || {
        format!("node {node:?} is not allowed to set the following labels: {}", list(&labels))
    })
}

fn check_change(node: &str, new: &Node, old: &Node) -> Result<(), Why> {
    ensure(source(new).is_none() || source(new) == source(old), || {
        format!("node {node:?} is not allowed to update configSource to a new non-nil configSource")
    })?;
    // Routes lead there, and pods of a network are believed to be its node's.
    ensure(networks(new) == networks(old), || {
        format!("node {node:?} is not allowed to modify podCIDR and podCIDRs")
    })?;
    ensure(taints(new) == taints(old), || {
        format!("node {node:?} is not allowed to modify taints")
    })?;
    ensure(owners(new) == owners(old), || {
        format!("node {node:?} is not allowed to modify ownerReferences")
    })?;
    let labels = forbidden(new.metadata.labels.as_ref(), old.metadata.labels.as_ref());
    ensure(labels.is_empty(), || format!("is not allowed to modify labels: {}", list(&labels)))
}

fn source(node: &Node) -> Option<&NodeConfigSource> {
    node.spec.as_ref()?.config_source.as_ref()
}

/// Of the node's pods.
fn networks(node: &Node) -> (&str, &[String]) {
    let Some(spec) = &node.spec else { return ("", &[]) };
    (spec.pod_cidr.as_deref().unwrap_or_default(), spec.pod_cidrs.as_deref().unwrap_or_default())
}

fn taints(node: &Node) -> &[api_types::api::core::v1::Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

fn owners(node: &Node) -> &[api_types::meta::OwnerReference] {
    node.metadata.owner_references.as_deref().unwrap_or_default()
}

fn list(labels: &BTreeSet<&str>) -> String {
    labels.iter().copied().collect::<Vec<_>>().join(", ")
}

/// Of the labels that differ, those that a node may not add, change or remove.
fn forbidden<'a>(new: Option<&'a Labels>, old: Option<&'a Labels>) -> BTreeSet<&'a str> {
    let value = |labels: Option<&Labels>, key: &str| labels.and_then(|it| it.get(key)).cloned();
    let keys = new.into_iter().chain(old).flat_map(BTreeMap::keys);
    let changed = keys.filter(|key| value(new, key) != value(old, key));
    changed.map(String::as_str).filter(|key| !may_set(key)).collect()
}

fn may_set(label: &str) -> bool {
    let namespace = label.split_once('/').map_or("", |(namespace, _)| namespace);
    let is_in = |parent: &str| {
        namespace.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let of_kubernetes = is_in("kubernetes.io") || is_in("k8s.io");
    let of_kubelets = OF_KUBELETS.contains(&label) || NAMESPACES_OF_KUBELETS.into_iter().any(is_in);
    !is_in(RESTRICTED) && (!of_kubernetes || of_kubelets)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(change: &Value) -> Node {
        serde_json::from_value(json!({"metadata": change["metadata"], "spec": change["spec"]}))
            .unwrap()
    }

    #[test]
    fn labels_that_lead_pods_are_not_a_nodes_own() {
        for (label, expected) in [
            ("kubernetes.io/hostname", true),
            ("topology.kubernetes.io/zone", true),
            ("node.kubernetes.io/anything", true),
            ("x.kubelet.kubernetes.io/anything", true),
            ("example.com/anything", true),
            ("anything", true),
            ("minik8s.io/gpu", true),
            ("node-restriction.kubernetes.io/x", false),
            ("a.node-restriction.kubernetes.io/x", false),
            ("node-role.kubernetes.io/control-plane", false),
            ("kubernetes.io/other", false),
            ("x.k8s.io/other", false),
            ("xkubernetes.io/other", true),
        ] {
            assert_eq!(may_set(label), expected, "{label}");
        }
    }

    #[test]
    fn what_a_node_may_not_say_of_itself_is_refused() {
        let own = json!({"kubernetes.io/hostname": "n1"});
        let check = |operation, new: Value, expected: Result<(), &str>| {
            let old = node(&json!({"metadata": {"labels": own}, "spec": {}}));
            let found = check("n1", operation, Some(&node(&new)), Some(&old));
            assert_eq!(found, expected.map_err(str::to_owned), "{new}");
        };
        let (create, update) = (Operation::Create, Operation::Update);
        let labelled =
            json!({"labels": {"kubernetes.io/hostname": "n1", "node-role.kubernetes.io/x": ""}});
        let why =
            "node \"n1\" is not allowed to set the following labels: node-role.kubernetes.io/x";
        check(create, json!({"metadata": labelled}), Err(why));
        let why = "is not allowed to modify labels: node-role.kubernetes.io/x";
        check(update, json!({"metadata": labelled}), Err(why));
        let tainted = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
        check(create, json!({"metadata": {"labels": own}, "spec": tainted}), Ok(()));
        let why = "node \"n1\" is not allowed to modify taints";
        check(update, json!({"metadata": {"labels": own}, "spec": tainted}), Err(why));
        let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "x", "uid": "u"}]);
        let why = "node \"n1\" is not allowed to modify ownerReferences";
        check(update, json!({"metadata": {"labels": own, "ownerReferences": owner}}), Err(why));
        let source = json!({"configSource": {"configMap": {"name": "x", "namespace": "x", "kubeletConfigKey": "x"}}});
        let why = "node \"n1\" is not allowed to update configSource to a new non-nil configSource";
        check(update, json!({"metadata": {"labels": own}, "spec": source}), Err(why));
        let why = "node \"n1\" is not allowed to create pods with a non-nil configSource";
        check(create, json!({"metadata": {"labels": own}, "spec": source}), Err(why));
        for networks in
            [json!({"podCIDR": "10.244.9.0/24"}), json!({"podCIDRs": ["10.244.9.0/24"]})]
        {
            let why = "node \"n1\" is not allowed to set podCIDR and podCIDRs";
            check(create, json!({"metadata": {"labels": own}, "spec": networks}), Err(why));
            let why = "node \"n1\" is not allowed to modify podCIDR and podCIDRs";
            check(update, json!({"metadata": {"labels": own}, "spec": networks}), Err(why));
        }
        check(update, json!({"metadata": {"labels": {"example.com/x": ""}}}), Ok(()));
    }
}
