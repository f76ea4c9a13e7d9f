//! The addresses that the cluster itself gives to Services of the type LoadBalancer: for who gives them (the controllers)
//! and who announces them (kube-proxy) alike.

use std::net::IpAddr;

use api_types::api::core::v1::{Service, ServiceSpec};

/// Of which of our ranges a Service's addresses are. It says that they are ours to announce, and to take back.
pub const POOL_ANNOTATION: &str = "minik8s.io/load-balancer-pool";
/// The addresses that a Service is to have, one of a family, with commas between them; as `spec.loadBalancerIP`, which
/// Kubernetes deprecates, says one.
pub const ADDRESS_ANNOTATION: &str = "minik8s.io/load-balancer-ip";

/// Whether it is of the type LoadBalancer.
#[must_use]
pub fn is_balanced(service: &Service) -> bool {
    kind(service) == Some("LoadBalancer")
}

/// Whether its load balancer is whose who serves those without a class.
#[must_use]
pub fn is_without_class(service: &Service) -> bool {
    let class = service.spec.as_ref().and_then(|spec| spec.load_balancer_class.as_deref());
    is_balanced(service) && class.unwrap_or_default().is_empty()
}

/// Our ranges that its addresses are from, if they are.
#[must_use]
pub fn pool_of(service: &Service) -> Option<&str> {
    service.metadata.annotations.as_ref()?.get(POOL_ANNOTATION).map(String::as_str)
}

/// The load balancer's addresses, whoever gave them; none unless it is of that type.
pub fn addresses(service: &Service) -> impl Iterator<Item = IpAddr> {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let balancer = balancer.filter(|_| is_balanced(service));
    let ingress = balancer.and_then(|it| it.ingress.as_ref()).into_iter().flatten();
    ingress.filter_map(|it| it.ip.as_ref()?.parse().ok())
}

fn kind(service: &Service) -> Option<&str> {
    let spec: &ServiceSpec = service.spec.as_ref()?;
    spec.type_.as_deref()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_balanced_service_has_addresses_and_a_class() {
        let check = |spec: serde_json::Value, expected: (bool, usize)| {
            let ingress = json!([{"ip": "192.0.2.1"}, {"hostname": "x"}, {"ip": "fd00::1"}]);
            let service: Service = serde_json::from_value(
                json!({"spec": spec, "status": {"loadBalancer": {"ingress": ingress}}}),
            )
            .unwrap();
            let found = (is_without_class(&service), addresses(&service).count());
            assert_eq!(found, expected, "{spec}");
        };
        check(json!({"type": "LoadBalancer"}), (true, 2));
        check(json!({"type": "LoadBalancer", "loadBalancerClass": "x.example/y"}), (false, 2));
        check(json!({"type": "NodePort"}), (false, 0));
        check(json!({}), (false, 0));
    }
}
