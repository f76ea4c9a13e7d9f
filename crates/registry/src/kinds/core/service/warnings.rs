//! What is told of Services that are taken (Kubernetes: `pkg/api/service/warnings.go`).

use api_machinery::FieldPath;
use api_types::api::core::v1::{Service, ServiceSpec, ServiceStatus};

use crate::{
    addresses::{warn_of_cidr, warn_of_ip},
    rules::text,
    warnings::tell,
};

const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const EXTERNAL_NAME: &str = "ExternalName";

/// What has no effect, is not to be used any more, or is not in the form that it should have.
pub(super) fn of(service: &Service) -> Vec<String> {
    let mut warnings = Vec::new();
    if service.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(HINTS)) {
        warnings
            .push(format!("annotation {HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"));
    }
    if let Some(spec) = &service.spec {
        addresses_in(spec, &FieldPath::new("spec"), &mut warnings);
        names(spec, &FieldPath::new("spec"), &mut warnings);
    }
    warnings
}

/// What is told of the addresses of load balancers.
pub(super) fn of_status(status: &ServiceStatus) -> Vec<String> {
    let (mut warnings, path) = (Vec::new(), FieldPath::new("status").child("loadBalancer.ingress"));
    let points = status.load_balancer.iter().flat_map(|it| it.ingress.iter().flatten());
    for (index, point) in points.enumerate() {
        point.ip.iter().for_each(|ip| warn_of_ip(ip, &path.index(index), &mut warnings));
    }
    warnings
}

fn addresses_in(spec: &ServiceSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let type_ = text(spec.type_.as_ref());
    let is_headless = type_ == "ClusterIP" && text(spec.cluster_ip.as_ref()) == "None";
    let external_ips = spec.external_ips.as_deref().unwrap_or_default();
    let cluster_ips = spec.cluster_ips.iter().flatten().enumerate();
    // `None` is no address.
    cluster_ips.for_each(|(index, ip)| {
        warn_of_ip(ip, &path.child("clusterIPs").index(index), warnings);
    });
    if is_headless {
        ignored_if_headless(spec, warnings);
    }
    for (index, ip) in external_ips.iter().enumerate() {
        warn_of_ip(ip, &path.child("externalIPs").index(index), warnings);
    }
    if !external_ips.is_empty() && !is_headless && type_ != EXTERNAL_NAME {
        let what =
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters";
        warnings.push(what.to_owned());
    }
    let balancer = text(spec.load_balancer_ip.as_ref());
    warn_of_ip(balancer, &path.child("loadBalancerIP"), warnings);
    let ranges = spec.load_balancer_source_ranges.iter().flatten().enumerate();
    ranges.for_each(|(index, range)| {
        warn_of_cidr(range, &path.child("loadBalancerSourceRanges").index(index), warnings);
    });
}

fn ignored_if_headless(spec: &ServiceSpec, warnings: &mut Vec<String>) {
    let has_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    for (field, is_set) in [
        ("loadBalancerIP", !text(spec.load_balancer_ip.as_ref()).is_empty()),
        ("externalIPs", has_ips),
        ("SessionAffinity", text(spec.session_affinity.as_ref()) == "ClientIP"),
    ] {
        if is_set {
            warnings.push(format!("spec.{field} is ignored for headless services"));
        }
    }
}

fn names(spec: &ServiceSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    let is_external = text(spec.type_.as_ref()) == EXTERNAL_NAME;
    let has_ips = spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    if is_external && has_ips {
        warnings.push(format!("spec.externalIPs is ignored when spec.type is {EXTERNAL_NAME:?}"));
    }
    if !is_external && !text(spec.external_name.as_ref()).is_empty() {
        warnings
            .push(format!("spec.externalName is ignored when spec.type is not {EXTERNAL_NAME:?}"));
    }
    if text(spec.traffic_distribution.as_ref()) == "PreferClose" {
        let what = "\"PreferClose\" is deprecated; use \"PreferSameZone\"";
        tell(&path.child("trafficDistribution"), what, warnings);
    }
}
