//! The subsets of an Endpoints object: the backends that have the same ports, ready and not ready. Pure.

use std::collections::BTreeMap;

use api_types::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

use super::backends::{Backend, Port};

/// A headless Service without ports still has addresses. A Service with ports that a pod has none of
/// does not have that pod.
pub(super) fn of(backends: &[Backend], service_has_ports: bool) -> Vec<EndpointSubset> {
    let mut by_ports: BTreeMap<&[Port], EndpointSubset> = BTreeMap::new();
    for backend in backends.iter().filter(|backend| belongs(backend, service_has_ports)) {
        let subset = by_ports.entry(&backend.ports).or_insert_with(|| empty(&backend.ports));
        let list =
            if backend.ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        list.get_or_insert_default().push(address(backend));
    }
    by_ports.into_values().collect()
}

/// Endpoints have no way to say "on its way out, but still serving": such pods are left out, unless the
/// Service wants every address.
fn belongs(backend: &Backend, service_has_ports: bool) -> bool {
    (backend.ready || !backend.terminating) && !(service_has_ports && backend.ports.is_empty())
}

fn empty(ports: &[Port]) -> EndpointSubset {
    let ports: Vec<EndpointPort> = ports.iter().map(port).collect();
    EndpointSubset { ports: (!ports.is_empty()).then_some(ports), ..EndpointSubset::default() }
}

fn port(port: &Port) -> EndpointPort {
    EndpointPort {
        name: port.name.clone(),
        port: port.number,
        protocol: Some(port.protocol.clone()),
        app_protocol: port.app_protocol.clone(),
    }
}

fn address(backend: &Backend) -> EndpointAddress {
    EndpointAddress {
        ip: backend.ip.clone(),
        hostname: backend.hostname.clone(),
        node_name: backend.node.clone(),
        target_ref: Some(backend.target.clone()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::backends;
    use super::super::backends::tests::{pod, service, typed};
    use super::*;

    /// Subsets as `ready|not ready:ports`.
    fn check(ports: Value, pods: &[Value], expected: &[&str]) {
        let has_ports = ports.as_array().is_some_and(|ports| !ports.is_empty());
        let subsets = of(&backends::of(&service(ports, json!({})), &typed(pods)), has_ports);
        let ips = |list: &Option<Vec<EndpointAddress>>| {
            list.iter().flatten().map(|address| address.ip.clone()).collect::<Vec<_>>().join(",")
        };
        let describe = |subset: &EndpointSubset| {
            let numbers: Vec<_> =
                subset.ports.iter().flatten().map(|port| port.port.to_string()).collect();
            format!(
                "{}|{}:{}",
                ips(&subset.addresses),
                ips(&subset.not_ready_addresses),
                numbers.join(",")
            )
        };
        assert_eq!(subsets.iter().map(describe).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn addresses_are_ready_or_not_ready() {
        let pods =
            [pod("a", "10.0.0.1", true), pod("b", "10.0.0.2", false), pod("c", "10.0.0.3", true)];
        check(json!([{"port": 80}]), &pods, &["10.0.0.1,10.0.0.3|10.0.0.2:80"]);
        check(json!([{"port": 80}]), &[], &[]);
    }

    #[test]
    fn pods_with_other_port_numbers_form_another_subset() {
        let mut other = pod("b", "10.0.0.2", true);
        other["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9090);
        let pods = [pod("a", "10.0.0.1", true), other];
        check(
            json!([{"port": 80, "targetPort": "http"}]),
            &pods,
            &["10.0.0.1|:8080", "10.0.0.2|:9090"],
        );
        check(json!([{"port": 80, "targetPort": "nothing"}]), &pods, &[]);
        check(json!([]), &[pod("a", "10.0.0.1", true)], &["10.0.0.1|:"]);
    }

    #[test]
    fn pods_on_their_way_out_are_left_out() {
        let mut leaving = pod("a", "10.0.0.1", true);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        check(json!([{"port": 80}]), &[leaving], &[]);
    }
}
