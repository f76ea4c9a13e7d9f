//! A pod as the scheduler sees it: its identity, and what it asks for, worked out once.

use std::fmt;
use std::sync::Arc;

use api_machinery::resized;
use api_types::api::core::v1::{Container, ContainerPort, Pod, PodSpec, Toleration};

use crate::resources::Resources;

/// The scheduler whose pods are ours.
pub const SCHEDULER_NAME: &str = "default-scheduler";

/// The identity of a pod. A name may be taken again by another pod, while the end of the first is still
/// under way; so whatever is kept about a pod is kept under this.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

impl Uid {
    /// The identity of a pod that came from the API server.
    pub fn of(pod: &Pod) -> Self {
        Self::from(pod.metadata.uid.as_deref().unwrap_or_default())
    }
}

impl From<&str> for Uid {
    fn from(uid: &str) -> Self {
        Self(uid.into())
    }
}

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodKey {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
}

impl PodKey {
    /// The key of a pod that came from the API server.
    pub fn of(pod: &Pod) -> Self {
        let metadata = &pod.metadata;
        Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
        }
    }
}

impl fmt::Display for PodKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A port of the host that a pod wants to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPort {
    /// The host's address; `0.0.0.0` is all of them.
    pub ip: String,
    /// TCP, UDP or SCTP.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

const EVERY_ADDRESS: &str = "0.0.0.0";

impl HostPort {
    /// Whether both cannot be had on one node.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.ip == other.ip || self.ip == EVERY_ADDRESS || other.ip == EVERY_ADDRESS)
    }

    fn of(port: &ContainerPort) -> Option<Self> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let number = port.host_port.filter(|number| *number > 0)?;
        Some(Self {
            ip: given(&port.host_ip).unwrap_or_else(|| EVERY_ADDRESS.to_owned()),
            protocol: given(&port.protocol).unwrap_or_else(|| "TCP".to_owned()),
            port: number,
        })
    }
}

/// A pod with what the plugins ask about it.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// The pod itself.
    pub pod: Arc<Pod>,
    /// Its identity.
    pub uid: Uid,
    /// What it asks for.
    pub requests: Resources,
    /// What it may be expected to take, which is something even if it asks for nothing.
    pub expected: Resources,
    /// The host's ports it wants.
    pub host_ports: Vec<HostPort>,
    /// What it is one of several of, such as its ReplicaSet.
    pub controller: Option<Uid>,
}

impl PodInfo {
    /// Works out what the pod asks for.
    pub fn new(pod: Arc<Pod>) -> Self {
        let spec = pod.spec.as_ref();
        let takes = resized::effective(&pod);
        let requests = takes.as_deref().map(Resources::requested_by).unwrap_or_default();
        let ports = spec.into_iter().flat_map(lasting).flat_map(|c| c.ports.iter().flatten());
        let host_ports = ports.filter_map(HostPort::of).collect();
        let expected = takes.as_deref().map(Resources::expected_of).unwrap_or_default();
        let mut owners = pod.metadata.owner_references.iter().flatten();
        let controller = owners.find(|owner| owner.controller == Some(true));
        let controller = controller.map(|owner| Uid::from(owner.uid.as_str()));
        drop(takes);
        Self { uid: Uid::of(&pod), requests, expected, host_ports, controller, pod }
    }

    /// The taints that it tolerates.
    pub fn tolerations(&self) -> &[Toleration] {
        self.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
    }

    /// The names of the claims that it uses.
    pub fn claims(&self) -> impl Iterator<Item = &str> {
        let volumes = self.pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let claims = volumes.filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.map(|claim| claim.claim_name.as_str())
    }

    /// Namespace and name of a claim that it uses.
    pub(crate) fn claim_key(&self, claim: &str) -> String {
        format!("{}/{claim}", self.pod.metadata.namespace.as_deref().unwrap_or_default())
    }

    /// Its namespace and name.
    pub fn key(&self) -> PodKey {
        PodKey::of(&self.pod)
    }
}

/// The containers that run as long as the pod does: sidecars too.
fn lasting(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    let starting = spec.init_containers.iter().flatten();
    let sidecars = starting.filter(|c| c.restart_policy.as_deref() == Some("Always"));
    spec.containers.iter().chain(sidecars)
}

/// The node a pod is bound to.
pub fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}

/// Whether all containers have ended for good: it then holds nothing on its node.
pub fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether it is for us to find a node for this pod.
pub fn wants_a_node(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == SCHEDULER_NAME);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    ours && !gated
        && node_of(pod).is_none()
        && pod.metadata.deletion_timestamp.is_none()
        && !is_finished(pod)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(pod: Value) -> Pod {
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn only_unbound_living_pods_of_ours_want_a_node() {
        let check = |value: Value, expected| {
            assert_eq!(wants_a_node(&pod(value.clone())), expected, "{value}");
        };
        check(json!({"spec": {"containers": []}}), true);
        check(json!({"spec": {"containers": [], "schedulerName": "default-scheduler"}}), true);
        check(json!({"spec": {"containers": [], "schedulerName": "other"}}), false);
        check(json!({"spec": {"containers": [], "nodeName": "n1"}}), false);
        check(json!({"spec": {"containers": [], "schedulingGates": [{"name": "wait"}]}}), false);
        check(json!({"spec": {"containers": []}, "status": {"phase": "Failed"}}), false);
        check(
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": {"containers": []}}),
            false,
        );
    }

    #[test]
    fn sidecars_hold_ports_of_the_host_and_containers_that_end_do_not() {
        let container = |port: u16| serde_json::json!({"name": "c", "ports": [{"containerPort": 80, "hostPort": port}]});
        let mut sidecar = container(2);
        sidecar["restartPolicy"] = "Always".into();
        let pod = serde_json::json!({"metadata": {}, "spec": {
            "initContainers": [sidecar, container(3)], "containers": [container(1)],
        }});
        let pod = PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()));
        assert_eq!(pod.host_ports.iter().map(|port| port.port).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn host_ports_conflict_on_the_same_address_or_on_all() {
        let port = |ip: &str, protocol: &str, port| HostPort {
            ip: ip.to_owned(),
            protocol: protocol.to_owned(),
            port,
        };
        let check = |a: HostPort, b: HostPort, expected| {
            assert_eq!(a.conflicts_with(&b), expected, "{a:?} {b:?}");
            assert_eq!(b.conflicts_with(&a), expected, "{b:?} {a:?}");
        };
        check(port("0.0.0.0", "TCP", 80), port("127.0.0.1", "TCP", 80), true);
        check(port("127.0.0.2", "TCP", 80), port("127.0.0.1", "TCP", 80), false);
        check(port("0.0.0.0", "TCP", 80), port("0.0.0.0", "UDP", 80), false);
        check(port("0.0.0.0", "TCP", 80), port("0.0.0.0", "TCP", 81), false);
    }
}
