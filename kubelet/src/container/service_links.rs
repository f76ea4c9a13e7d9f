//! The environment variables by which a container finds services (`enableServiceLinks`). Pure.

use std::{borrow::Borrow, collections::BTreeMap};

use api_types::api::core::v1::{Service, ServicePort, ServiceSpec};

/// The service that every container is told of, wherever its pod is.
const MASTER: (&str, &str) = ("default", "kubernetes");

/// The variables for a pod of the namespace: of the API server's service always, of the namespace's
/// own if `all`.
pub fn variables<S: Borrow<Service>>(
    services: &[S],
    namespace: &str,
    all: bool,
) -> Vec<(String, String)> {
    let mut chosen = BTreeMap::new();
    for service in services.iter().map(Borrow::borrow) {
        let metadata = &service.metadata;
        let key = (
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        let own = all && key.0 == namespace;
        if let Some((spec, address)) = reachable(service).filter(|_| own || key == MASTER) {
            // A service of the namespace wins over the API server's.
            let place = chosen.entry(key.1).or_insert((spec, address));
            if own {
                *place = (spec, address);
            }
        }
    }
    chosen.iter().flat_map(|(name, (spec, address))| of_service(name, spec, address)).collect()
}

/// A service that has an address.
fn reachable(service: &Service) -> Option<(&ServiceSpec, &str)> {
    let spec = service.spec.as_ref()?;
    let address = spec.cluster_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "None")?;
    Some((spec, address))
}

fn of_service(name: &str, spec: &ServiceSpec, address: &str) -> Vec<(String, String)> {
    let prefix = variable_name(name);
    let ports = spec.ports.as_deref().unwrap_or_default();
    let mut variables = vec![(format!("{prefix}_SERVICE_HOST"), address.to_owned())];
    if let Some(first) = ports.first() {
        variables.push((format!("{prefix}_SERVICE_PORT"), first.port.to_string()));
        variables.push((format!("{prefix}_PORT"), url(first, address)));
    }
    for port in ports {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            let name = format!("{prefix}_SERVICE_PORT_{}", variable_name(name));
            variables.push((name, port.port.to_string()));
        }
        variables.extend(link(&prefix, port, address));
    }
    variables
}

/// As Docker's links named them.
fn link(prefix: &str, port: &ServicePort, address: &str) -> [(String, String); 4] {
    let protocol = protocol(port);
    let prefix = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
    [
        (prefix.clone(), url(port, address)),
        (format!("{prefix}_PROTO"), protocol),
        (format!("{prefix}_PORT"), port.port.to_string()),
        (format!("{prefix}_ADDR"), address.to_owned()),
    ]
}

/// An address of IPv6 is in brackets.
fn url(port: &ServicePort, address: &str) -> String {
    let (protocol, port) = (protocol(port), port.port);
    match address.contains(':') {
        true => format!("{protocol}://[{address}]:{port}"),
        false => format!("{protocol}://{address}:{port}"),
    }
}

fn protocol(port: &ServicePort) -> String {
    port.protocol.as_deref().unwrap_or("TCP").to_lowercase()
}

fn variable_name(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn service(namespace: &str, name: &str, ip: &str, ports: &Value) -> Service {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name},
            "spec": {"clusterIP": ip, "ports": ports},
        }))
        .unwrap()
    }

    fn check(namespace: &str, all: bool, expected: &Expect) {
        let services = [
            service("default", "kubernetes", "10.96.0.1", &json!([{"name": "https", "port": 443}])),
            service(
                "shop",
                "my-db",
                "10.96.0.7",
                &json!([
                {"name": "sql", "port": 5432}, {"name": "dns-x", "port": 53, "protocol": "UDP"}]),
            ),
            service("shop", "headless", "None", &json!([{"port": 80}])),
            service("other", "web", "10.96.0.8", &json!([{"port": 80}])),
        ];
        let lines: Vec<String> = variables(&services, namespace, all)
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn a_pod_is_told_of_the_services_of_its_namespace() {
        check(
            "shop",
            true,
            &expect![[r"
            KUBERNETES_SERVICE_HOST=10.96.0.1
            KUBERNETES_SERVICE_PORT=443
            KUBERNETES_PORT=tcp://10.96.0.1:443
            KUBERNETES_SERVICE_PORT_HTTPS=443
            KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
            KUBERNETES_PORT_443_TCP_PROTO=tcp
            KUBERNETES_PORT_443_TCP_PORT=443
            KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1
            MY_DB_SERVICE_HOST=10.96.0.7
            MY_DB_SERVICE_PORT=5432
            MY_DB_PORT=tcp://10.96.0.7:5432
            MY_DB_SERVICE_PORT_SQL=5432
            MY_DB_PORT_5432_TCP=tcp://10.96.0.7:5432
            MY_DB_PORT_5432_TCP_PROTO=tcp
            MY_DB_PORT_5432_TCP_PORT=5432
            MY_DB_PORT_5432_TCP_ADDR=10.96.0.7
            MY_DB_SERVICE_PORT_DNS_X=53
            MY_DB_PORT_53_UDP=udp://10.96.0.7:53
            MY_DB_PORT_53_UDP_PROTO=udp
            MY_DB_PORT_53_UDP_PORT=53
            MY_DB_PORT_53_UDP_ADDR=10.96.0.7"]],
        );
    }

    #[test]
    fn without_links_only_the_api_server_is_named() {
        check(
            "empty",
            true,
            &expect![[r"
            KUBERNETES_SERVICE_HOST=10.96.0.1
            KUBERNETES_SERVICE_PORT=443
            KUBERNETES_PORT=tcp://10.96.0.1:443
            KUBERNETES_SERVICE_PORT_HTTPS=443
            KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443
            KUBERNETES_PORT_443_TCP_PROTO=tcp
            KUBERNETES_PORT_443_TCP_PORT=443
            KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1"]],
        );
        let named = |all| variables(&[service("shop", "a", "10.96.0.7", &json!([]))], "shop", all);
        assert!(named(false).is_empty() && !named(true).is_empty());
    }

    #[test]
    fn an_address_of_ipv6_is_in_brackets_before_a_port() {
        let six = service("shop", "six", "fd00:10:96::7", &json!([{"port": 80}]));
        let (spec, address) = reachable(&six).unwrap();
        let variables: BTreeMap<_, _> = of_service("six", spec, address).into_iter().collect();
        assert_eq!(variables["SIX_SERVICE_HOST"], "fd00:10:96::7");
        assert_eq!(variables["SIX_PORT"], "tcp://[fd00:10:96::7]:80");
        assert_eq!(variables["SIX_PORT_80_TCP_ADDR"], "fd00:10:96::7");
    }
}
