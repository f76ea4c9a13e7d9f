//! The faults of what leads to a Service, and of whom it leads to.

use std::{collections::BTreeSet, net::IpAddr};

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::core::v1::{LoadBalancerIngress, Service, ServiceSpec},
    meta::ObjectMeta,
};

use super::types::{has_health_check, has_node_ports, is_balanced, is_reached_from_outside, type_};
use crate::rules::{self, text};

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
/// Its name in annotations, from before there was the field.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const KUBELET_PORT: i32 = 10_250;
const POLICIES: [&str; 2] = ["Cluster", "Local"];
const DISTRIBUTIONS: [&str; 3] = ["PreferClose", "PreferSameNode", "PreferSameZone"];

/// All faults of the spec that are of this kind.
pub(super) fn spec(
    service: &Service,
    spec: &ServiceSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (i, ip) in spec.external_ips.iter().flatten().enumerate() {
        external_ip(ip, &path.child("externalIPs").index(i), errors);
    }
    node_ports(spec, &path.child("ports"), errors);
    load_balancer(spec, path, errors);
    source_ranges(&service.metadata, spec, path, errors);
    policies(spec, path, errors);
    health_check(spec, path, errors);
}

/// The faults of a change.
pub(super) fn update(
    new: &ServiceSpec,
    old: &ServiceSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if is_balanced(old) && is_balanced(new) && new.load_balancer_class != old.load_balancer_class {
        let (path, class) = (path.child("loadBalancerClass"), &new.load_balancer_class);
        errors.invalid(&path, text(class.as_ref()), "may not change once set");
    }
    let is_same = new.health_check_node_port == old.health_check_node_port;
    // One of before there were such ports gets its own.
    let had_one = old.health_check_node_port.unwrap_or(0) != 0;
    if has_health_check(old) && has_health_check(new) && had_one && !is_same {
        errors.forbidden(&path.child("healthCheckNodePort"), "field is immutable");
    }
}

/// The faults of a status that is written.
pub(super) fn status(service: &Service, errors: &mut FieldErrors) {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    let path = FieldPath::new("status").child("loadBalancer").child("ingress");
    if !ingress.is_empty() && !service.spec.as_ref().is_some_and(is_balanced) {
        return errors.forbidden(&path, "may only be used when `spec.type` is LoadBalancer");
    }
    for (i, ingress) in ingress.iter().enumerate() {
        let path = path.index(i);
        self::ingress(ingress, &path, errors);
        ip_mode(ingress, &path, errors);
    }
}

fn ingress(ingress: &LoadBalancerIngress, path: &FieldPath, errors: &mut FieldErrors) {
    let ip = text(ingress.ip.as_ref());
    if !ip.is_empty() {
        rules::ip(ip, &path.child("ip"), errors);
    }
    if let Some(host) = ingress.hostname.as_ref().filter(|host| !host.is_empty()) {
        let path = path.child("hostname");
        rules::follows(host, names::dns1123_subdomain, &path, errors);
        if host.parse::<IpAddr>().is_ok() {
            errors.invalid(&path, host, "must be a DNS name, not an IP address");
        }
    }
}

fn ip_mode(ingress: &LoadBalancerIngress, path: &FieldPath, errors: &mut FieldErrors) {
    let (ip, mode) = (text(ingress.ip.as_ref()), ingress.ip_mode.as_ref());
    let of_mode = path.child("ipMode");
    match mode {
        None if !ip.is_empty() => errors.required(&of_mode, "must be specified when `ip` is set"),
        Some(_) if ip.is_empty() => {
            errors.forbidden(&of_mode, "may not be specified when `ip` is not set")
        }
        mode => rules::one_of(mode, &["Proxy", "VIP"], &of_mode, errors),
    }
}

fn external_ip(ip: &str, path: &FieldPath, errors: &mut FieldErrors) {
    rules::ip(ip, path, errors);
    rules::endpoint_ip(ip, path, errors);
}

/// One number may be of several ports if their protocols differ.
fn node_ports(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        let path = path.index(i);
        if is_balanced(spec) && port.port == KUBELET_PORT {
            let why = format!(
                "may not expose port {KUBELET_PORT} externally since it is used by kubelet"
            );
            errors.invalid(&path, port.port, &why);
        }
        let Some(number) = port.node_port.filter(|number| *number != 0) else { continue };
        let path = path.child("nodePort");
        if !has_node_ports(spec) {
            errors.forbidden(&path, &format!("may not be used when `type` is '{}'", type_(spec)));
        }
        rules::port(number, &path, errors);
        if !seen.insert((number, text(port.protocol.as_ref()))) {
            errors.duplicate(&path, number);
        }
    }
}

fn load_balancer(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let class = spec.load_balancer_class.as_ref();
    if !is_balanced(spec) {
        let fields = [
            ("allocateLoadBalancerNodePorts", spec.allocate_load_balancer_node_ports.is_some()),
            ("loadBalancerClass", class.is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_given)| *is_given) {
            errors.forbidden(&path.child(field), ONLY_BALANCED);
        }
    } else if let Some(class) = class {
        rules::follows(class, names::qualified_name, &path.child("loadBalancerClass"), errors);
    }
}

fn source_ranges(
    metadata: &ObjectMeta,
    spec: &ServiceSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let ranges = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let annotation = metadata.annotations.as_ref().and_then(|all| all.get(SOURCE_RANGES));
    // With a capital letter, as Kubernetes has it.
    let field = path.child("LoadBalancerSourceRanges");
    let of_annotation = || FieldPath::new("metadata").child("annotations").key(SOURCE_RANGES);
    if !ranges.is_empty() {
        only_balanced(spec, &field, errors);
        for (i, range) in ranges.iter().enumerate() {
            rules::cidr(range.trim(), &field.index(i), errors);
        }
    } else if let Some(annotation) = annotation {
        only_balanced(spec, &of_annotation(), errors);
        let ranges = annotation.split(',').filter(|_| !annotation.trim().is_empty());
        ranges.for_each(|range| rules::cidr(range.trim(), &of_annotation(), errors));
    }
}

fn only_balanced(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if !is_balanced(spec) {
        errors.forbidden(path, ONLY_BALANCED);
    }
}

fn policies(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let (external, of_external) =
        (spec.external_traffic_policy.as_ref(), path.child("externalTrafficPolicy"));
    match external.filter(|policy| !policy.is_empty()) {
        Some(policy) if !is_reached_from_outside(spec) => {
            errors.invalid(
                &of_external,
                policy,
                "may only be set for externally-accessible services",
            );
        }
        policy => rules::one_of(policy, &POLICIES, &of_external, errors),
    }
    let internal = spec.internal_traffic_policy.as_ref();
    rules::one_of(internal, &POLICIES, &path.child("internalTrafficPolicy"), errors);
    let distribution = spec.traffic_distribution.as_ref();
    rules::one_of(distribution, &DISTRIBUTIONS, &path.child("trafficDistribution"), errors);
}

fn health_check(spec: &ServiceSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(port) = spec.health_check_node_port.filter(|port| *port != 0) else { return };
    let path = path.child("healthCheckNodePort");
    if has_health_check(spec) {
        rules::port(port, &path, errors);
    } else {
        let why =
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        errors.invalid(&path, port, why);
    }
}
