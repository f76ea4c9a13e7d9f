//! What the types of Services have, and what they don't.

use api_types::api::core::v1::ServiceSpec;

use crate::rules::text;

pub(super) fn type_(spec: &ServiceSpec) -> &str {
    text(spec.type_.as_ref())
}

pub(super) fn has_cluster_ip(spec: &ServiceSpec) -> bool {
    type_(spec) != "ExternalName"
}

pub(super) fn ips(spec: &ServiceSpec) -> &[String] {
    spec.cluster_ips.as_deref().unwrap_or_default()
}

pub(super) fn families(spec: &ServiceSpec) -> &[String] {
    spec.ip_families.as_deref().unwrap_or_default()
}

pub(super) fn policy(spec: &ServiceSpec) -> &str {
    text(spec.ip_family_policy.as_ref())
}

/// Whether it has no address of its own.
pub(super) fn is_headless(spec: &ServiceSpec) -> bool {
    ips(spec) == ["None"]
}

/// Whether its ports may have node ports.
#[must_use]
pub fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(type_(spec), "NodePort" | "LoadBalancer")
}

/// Whether a port gets a node port though it names none (Kubernetes: `shouldAllocateNodePorts`).
#[must_use]
pub fn allocates_node_ports(spec: &ServiceSpec) -> bool {
    match type_(spec) {
        "LoadBalancer" => spec.allocate_load_balancer_node_ports.unwrap_or(true),
        type_ => type_ == "NodePort",
    }
}

/// Whether load balancers are told which nodes have endpoints (Kubernetes: `NeedsHealthCheck`).
#[must_use]
pub fn has_health_check(spec: &ServiceSpec) -> bool {
    is_balanced(spec) && spec.external_traffic_policy.as_deref() == Some("Local")
}

pub(super) fn is_balanced(spec: &ServiceSpec) -> bool {
    type_(spec) == "LoadBalancer"
}

/// Whether anything leads to it from outside of the cluster (Kubernetes: `ExternallyAccessible`).
pub(super) fn is_reached_from_outside(spec: &ServiceSpec) -> bool {
    let has_addresses = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    has_node_ports(spec) || type_(spec) == "ClusterIP" && has_addresses
}
