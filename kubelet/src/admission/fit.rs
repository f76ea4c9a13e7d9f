//! What a node must have for a pod, in the words of Kubernetes' kubelet. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::node_affinity;
use api_types::api::core::v1::{Container, Node, Pod, Taint};

use super::requests::{self, Amounts};
use crate::spec;

/// Why a pod cannot run on the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// `OutOfcpu`, `NodeAffinity`, …
    pub reason: String,
    /// The same as a sentence.
    pub message: String,
}

/// Why a pod does not get another share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// `Deferred`, if it may once others have gone; else `Infeasible`.
    pub reason: &'static str,
    /// The same as a sentence.
    pub message: String,
}

impl Pending {
    /// Whether it may be had later.
    pub(crate) fn is_deferred(&self) -> bool {
        self.reason == DEFERRED
    }
}

const DEFERRED: &str = "Deferred";
const INFEASIBLE: &str = "Infeasible";

/// Checks a pod against the node and the other pods that have a share of it.
pub(super) fn check<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod>,
    node: &Node,
) -> Result<(), Rejection> {
    is_supported(pod)?;
    let others: Vec<&Pod> = others.collect();
    resources(pod, &others, node)?;
    if !is_selected(pod, node) {
        let why = "node(s) didn't match Pod's node affinity/selector";
        return Err(predicate("NodeAffinity", why));
    }
    let taken: BTreeSet<HostPort> = others.iter().copied().flat_map(host_ports).collect();
    if host_ports(pod).any(|wanted| taken.iter().any(|port| port.conflicts_with(&wanted))) {
        let why = "node(s) didn't have free ports for the requested pod ports";
        return Err(predicate("NodePorts", why));
    }
    if !tolerates_all(pod, node) {
        let why = "node(s) had taints that the pod didn't tolerate";
        return Err(predicate("TaintToleration", why));
    }
    Ok(())
}

/// What would not be heeded here is refused: Pod Security Standards let such pods be root, as nodes that heed it make that
/// harmless.
fn is_supported(pod: &Pod) -> Result<(), Rejection> {
    let rejection = |reason: &str, message: &str| {
        Err(Rejection { reason: reason.to_owned(), message: message.to_owned() })
    };
    let Some(spec) = &pod.spec else { return Ok(()) };
    if spec.os.as_ref().is_some_and(|os| os.name != "linux") {
        let why = "Failed to admit pod as the OS field doesn't match node OS";
        return rejection("PodOSNotSupported", why);
    }
    if spec.host_users == Some(false) {
        let why = "Failed to admit pod as this node has no user namespaces (hostUsers: false)";
        return rejection("UserNamespacesNotSupported", why);
    }
    Ok(())
}

/// Checks whether a pod that runs may have what it asks for now.
pub(super) fn check_size<'a>(
    pod: &Pod,
    others: impl Iterator<Item = &'a Pod>,
    node: &Node,
) -> Result<(), Pending> {
    let capacity = capacity(node);
    for (name, requested) in requests::of_pod(pod) {
        if let Some(capacity) = capacity.get(&name).filter(|capacity| requested > **capacity) {
            let message = format!(
                "Node didn't have enough capacity: {name}, requested: {requested}, \
                 capacity: {capacity}"
            );
            return Err(Pending { reason: INFEASIBLE, message });
        }
    }
    let others: Vec<&Pod> = others.collect();
    resources(pod, &others, node)
        .map_err(|Rejection { message, .. }| Pending { reason: DEFERRED, message })
}

fn predicate(name: &str, why: &str) -> Rejection {
    Rejection { reason: name.to_owned(), message: format!("Predicate {name} failed: {why}") }
}

// === Resources ===

/// Resources that the node does not name are not counted here: they may be the business of a plugin that
/// has not registered yet.
fn resources(pod: &Pod, others: &[&Pod], node: &Node) -> Result<(), Rejection> {
    let capacity = capacity(node);
    let slots = capacity.get("pods").copied().unwrap_or_default();
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    enough("pods", 1, count, slots)?;
    let wanted = requests::of_pod(pod);
    let mut used = Amounts::new();
    others.iter().for_each(|other| requests::add(&mut used, &requests::of_pod(other)));
    for (name, amount) in wanted.iter().filter(|(_, amount)| **amount > 0) {
        if let Some(capacity) = capacity.get(name) {
            enough(name, *amount, used.get(name).copied().unwrap_or_default(), *capacity)?;
        }
    }
    Ok(())
}

/// What there is for pods.
fn capacity(node: &Node) -> Amounts {
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    requests::read(allocatable)
}

fn enough(name: &str, requested: i64, used: i64, capacity: i64) -> Result<(), Rejection> {
    if requested <= capacity.saturating_sub(used) {
        return Ok(());
    }
    Err(Rejection {
        reason: format!("OutOf{name}"),
        message: format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, \
             capacity: {capacity}"
        ),
    })
}

// === Ports ===

fn is_selected(pod: &Pod, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    spec::spec(pod).is_none_or(|spec| node_affinity::selects(spec, labels, name))
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct HostPort {
    ip: String,
    protocol: String,
    port: i32,
}

const EVERY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    fn conflicts_with(&self, other: &Self) -> bool {
        let everywhere = self.ip == EVERY_ADDRESS || other.ip == EVERY_ADDRESS;
        self.port == other.port
            && self.protocol == other.protocol
            && (everywhere || self.ip == other.ip)
    }
}

fn host_ports(pod: &Pod) -> impl Iterator<Item = HostPort> {
    let beside = spec::init_containers(pod).filter(|container| spec::is_sidecar(container));
    spec::containers(pod).chain(beside).flat_map(ports)
}

fn ports(container: &Container) -> impl Iterator<Item = HostPort> {
    let given = |text: &Option<String>, usual: &str| {
        let text = text.clone().filter(|text| !text.is_empty());
        text.unwrap_or_else(|| usual.to_owned())
    };
    container.ports.iter().flatten().filter_map(move |port| {
        Some(HostPort {
            port: port.host_port.filter(|number| *number > 0)?,
            ip: given(&port.host_ip, EVERY_ADDRESS),
            protocol: given(&port.protocol, "TCP"),
        })
    })
}

// === Taints ===

/// Only those that would have the pod removed at once matter here: who names the node of a pod may
/// overrule `NoSchedule`.
fn tolerates_all(pod: &Pod, node: &Node) -> bool {
    let tolerations = spec::spec(pod).and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    let taints: &[Taint] =
        node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints
        .iter()
        .filter(|taint| taint.effect == "NoExecute")
        .all(|taint| api_machinery::toleration::toleration_of(tolerations, taint).is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(spec: &Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    fn asks(cpu: &str, memory: &str) -> Value {
        let requests = json!({"cpu": cpu, "memory": memory});
        json!({"containers": [{"name": "c", "resources": {"requests": requests}}]})
    }

    fn port(port: i32) -> Value {
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]}]})
    }

    fn node() -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": "n1", "labels": {"disk": "ssd"}},
            "spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "2"}},
        }))
        .unwrap()
    }

    /// The reason and message of a pod beside others.
    fn rejected(spec: &Value, others: &[Value]) -> Option<(String, String)> {
        let others: Vec<Pod> = others.iter().map(pod).collect();
        let verdict = check(&pod(spec), others.iter(), &node());
        verdict.err().map(|rejection| (rejection.reason, rejection.message))
    }

    fn check_reason(spec: &Value, others: &[Value], expected: Option<&str>) {
        let found = rejected(spec, others).map(|(reason, _)| reason);
        assert_eq!(found.as_deref(), expected, "{spec} beside {others:?}");
    }

    #[test]
    fn what_is_left_must_be_enough() {
        check_reason(&asks("2", "1Gi"), &[], None);
        check_reason(&asks("1", "1"), &[asks("1", "1")], None);
        check_reason(&asks("1001m", "1"), &[asks("1", "1")], Some("OutOfcpu"));
        check_reason(&asks("1", "1Gi"), &[asks("1", "1")], Some("OutOfmemory"));
        check_reason(&asks("0", "0"), &[asks("9", "1"), asks("0", "0")], Some("OutOfpods"));
        check_reason(&asks("0", "0"), &[asks("9", "9Gi")], None);
        let message = "Node didn't have enough resource: cpu, requested: 3000, used: 500, \
            capacity: 2000";
        let (_, found) = rejected(&asks("3", "0"), &[asks("500m", "0")]).unwrap();
        assert_eq!(found, message);
    }

    #[test]
    fn what_the_node_does_not_heed_is_refused() {
        let with = |field: &str, value: Value| {
            let mut spec = asks("1", "1");
            spec[field] = value;
            spec
        };
        check_reason(&with("os", json!({"name": "linux"})), &[], None);
        check_reason(&with("os", json!({"name": "windows"})), &[], Some("PodOSNotSupported"));
        check_reason(&with("hostUsers", json!(true)), &[], None);
        check_reason(&with("hostUsers", json!(false)), &[], Some("UserNamespacesNotSupported"));
    }

    #[test]
    fn a_pod_grows_as_far_as_the_node_has_room() {
        let check = |cpu: &str, others: &[Value], expected: Option<(&str, &str)>| {
            let others: Vec<Pod> = others.iter().map(pod).collect();
            let verdict = check_size(&pod(&asks(cpu, "1")), others.iter(), &node());
            let found = verdict.err().map(|pending| (pending.reason, pending.message));
            let found = found.as_ref().map(|(reason, message)| (*reason, message.as_str()));
            assert_eq!(found, expected, "{cpu} beside {others:?}");
        };
        check("2", &[], None);
        check("1", &[asks("1", "1")], None);
        let message = "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000";
        check("3", &[asks("1", "1")], Some((INFEASIBLE, message)));
        let message = "Node didn't have enough resource: cpu, requested: 1500, used: 1000, \
            capacity: 2000";
        check("1500m", &[asks("1", "1")], Some((DEFERRED, message)));
    }

    #[test]
    fn ports_of_the_host_are_had_once() {
        check_reason(&port(80), &[port(81)], None);
        check_reason(&port(80), &[port(80)], Some("NodePorts"));
        let (_, found) = rejected(&port(80), &[port(80)]).unwrap();
        let message = "Predicate NodePorts failed: node(s) didn't have free ports for the requested \
            pod ports";
        assert_eq!(found, message);
    }

    #[test]
    fn the_node_must_be_one_that_the_pod_selects() {
        let selects = |disk: &str| json!({"containers": [], "nodeSelector": {"disk": disk}});
        check_reason(&selects("ssd"), &[], None);
        check_reason(&selects("hdd"), &[], Some("NodeAffinity"));
    }

    #[test]
    fn only_taints_that_evict_matter() {
        let mut tainted = node();
        let taints = tainted.spec.as_mut().unwrap().taints.as_mut().unwrap();
        let reason = |node: &Node, spec: &Value| {
            check(&pod(spec), std::iter::empty(), node).err().map(|rejection| rejection.reason)
        };
        taints[0].effect = "NoExecute".to_owned();
        let intolerant = json!({"containers": []});
        let tolerant = json!({"containers": [], "tolerations": [{"operator": "Exists"}]});
        assert_eq!(reason(&node(), &intolerant), None);
        assert_eq!(reason(&tainted, &intolerant).as_deref(), Some("TaintToleration"));
        assert_eq!(reason(&tainted, &tolerant), None);
    }
}
