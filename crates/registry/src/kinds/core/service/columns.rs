//! A Service's row.

use std::collections::BTreeSet;

use api_types::api::core::v1::{LoadBalancerIngress, Service, ServicePort, ServiceSpec};

use crate::{
    cells::{NONE, or_none},
    rules::text,
};

pub(super) fn cluster_ip(service: &Service) -> &str {
    let all = service.spec.as_ref().and_then(|s| s.cluster_ips.as_ref());
    let first = all.and_then(|ips| ips.first()).map(String::as_str);
    or_none(first.unwrap_or_else(|| spec_text(service, |s| s.cluster_ip.as_ref())))
}

pub(super) fn external_ip(service: &Service) -> String {
    let spec = service.spec.as_ref();
    let mut ips = spec.and_then(|s| s.external_ips.clone()).unwrap_or_default();
    match spec_text(service, |s| s.type_.as_ref()) {
        "ExternalName" => spec_text(service, |s| s.external_name.as_ref()).to_owned(),
        "LoadBalancer" => {
            ips.splice(0..0, balancers(service));
            if ips.is_empty() { "<pending>".to_owned() } else { ips.join(",") }
        }
        _ => or_none(&ips.join(",")).to_owned(),
    }
}

/// The addresses of the load balancers before the Service.
fn balancers(service: &Service) -> Vec<String> {
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = status.and_then(|l| l.ingress.as_ref()).into_iter().flatten();
    let name = |it: &LoadBalancerIngress| it.ip.clone().or_else(|| it.hostname.clone());
    ingress.filter_map(name).collect::<BTreeSet<_>>().into_iter().collect()
}

/// `80/TCP,443:30443/TCP`.
pub(super) fn ports(service: &Service) -> String {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    if ports.is_empty() {
        return NONE.to_owned();
    }
    ports.iter().map(port).collect::<Vec<_>>().join(",")
}

fn port(port: &ServicePort) -> String {
    let protocol = text(port.protocol.as_ref());
    match port.node_port {
        None | Some(0) => format!("{}/{protocol}", port.port),
        Some(node_port) => format!("{}:{node_port}/{protocol}", port.port),
    }
}

/// A text of the spec, or the empty one.
pub(super) fn spec_text(service: &Service, get: impl Fn(&ServiceSpec) -> Option<&String>) -> &str {
    text(service.spec.as_ref().and_then(get))
}
