//! The ports of the node that lead to a pod: those that it asks for, and those that are chosen for it. Pure.

use std::net::Ipv4Addr;

use api_types::api::core::v1::{ContainerPort, Pod};
use serde_json::{Value, json};

use crate::{network::PortMapping, spec};

/// On a pod that has a free port of the node for each of its ports.
const PUBLISH: &str = "minik8s.io/publish-ports";
/// On a pod, those that were chosen.
const PUBLISHED: &str = "minik8s.io/published-ports";

/// Those that lead to the pod at this address; with number 0 where any will do. `all` pods may have such ports.
pub(crate) fn host_ports(pod: &Pod, address: Ipv4Addr, all: bool) -> Vec<PortMapping> {
    let sidecars = spec::init_containers(pod).filter(|container| spec::is_sidecar(container));
    let publishes = all || annotation_of(pod, PUBLISH) == Some("true");
    spec::containers(pod)
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| mapping(port, address, publishes))
        .collect()
}

fn mapping(port: &ContainerPort, pod_ip: Ipv4Addr, publishes: bool) -> Option<PortMapping> {
    let given = port.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
    let host_ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
    let pod_port = u16::try_from(port.container_port).ok()?;
    let mapping = PortMapping { protocol, host_ip, host_port: 0, pod_ip, pod_port };
    match given {
        Some(host_port) => Some(PortMapping { host_port, ..mapping }),
        None if !publishes || mapping.protocol == "sctp" => None,
        // Nobody has said that other hosts may come in.
        None => Some(PortMapping { host_ip: host_ip.or(Some(Ipv4Addr::LOCALHOST)), ..mapping }),
    }
}

/// Those of the published ports that were wanted with number 0, as `docker ps` writes ports.
pub(super) fn chosen(wanted: &[PortMapping], published: &[PortMapping]) -> String {
    let chosen = wanted.iter().zip(published).filter(|(wanted, _)| wanted.host_port == 0);
    let chosen = chosen.map(|(_, port)| port).filter(|port| port.host_port > 0);
    let texts: Vec<String> = chosen.map(text).collect();
    texts.join(", ")
}

/// Those that lead to the pod by now, with the numbers that were chosen, as far as its annotation tells them.
pub(crate) fn published(pod: &Pod, address: Ipv4Addr, all: bool) -> Vec<PortMapping> {
    let told = annotation_of(pod, PUBLISHED).unwrap_or_default();
    let number = |port: &PortMapping| {
        told.split(", ").find_map(|one| {
            let host_port = number_of(one)?;
            (text(&PortMapping { host_port, ..port.clone() }) == one).then_some(host_port)
        })
    };
    let mut ports = host_ports(pod, address, all);
    for port in ports.iter_mut().filter(|port| port.host_port == 0) {
        port.host_port = number(port).unwrap_or_default();
    }
    ports.retain(|port| port.host_port > 0);
    ports
}

/// Of the node, as `text` has it.
fn number_of(text: &str) -> Option<u16> {
    let (node, _) = text.split_once("->")?;
    node.rsplit_once(':')?.1.parse().ok()
}

fn text(port: &PortMapping) -> String {
    let address = port.host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
    format!("{address}:{}->{}/{}", port.host_port, port.pod_port, port.protocol)
}

/// What the pod's annotation has to say, if it does not.
pub(super) fn news<'a>(pod: &Pod, chosen: Option<&'a str>) -> Option<&'a str> {
    chosen.filter(|chosen| annotation_of(pod, PUBLISHED).unwrap_or_default() != *chosen)
}

/// The annotations that say so.
pub(super) fn annotation(chosen: &str) -> Value {
    json!({PUBLISHED: Some(chosen).filter(|chosen| !chosen.is_empty())})
}

fn annotation_of<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    pod.metadata.annotations.as_ref()?.get(name).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotation: Option<&str>) -> Pod {
        let annotations = annotation.map(|value| json!({PUBLISH: value}));
        serde_json::from_value(json!({
            "metadata": {"name": "p", "annotations": annotations},
            "spec": {"containers": [{"name": "a", "ports": [
                {"containerPort": 80},
                {"containerPort": 53, "protocol": "UDP", "hostIP": "192.0.2.1"},
                {"containerPort": 81, "hostPort": 8081},
                {"containerPort": 90, "protocol": "SCTP"},
            ]}]},
        }))
        .unwrap()
    }

    fn ports(annotation: Option<&str>, all: bool) -> Vec<String> {
        let ports = host_ports(&pod(annotation), [10, 244, 1, 2].into(), all);
        ports.iter().map(text).collect()
    }

    #[test]
    fn ports_without_a_number_are_published_where_the_pod_or_the_node_says_so() {
        let explicit = "0.0.0.0:8081->81/tcp";
        assert_eq!(ports(None, false), [explicit]);
        assert_eq!(ports(Some("false"), false), [explicit]);
        let all = ["127.0.0.1:0->80/tcp", "192.0.2.1:0->53/udp", explicit];
        assert_eq!(ports(Some("true"), false), all);
        assert_eq!(ports(None, true), all);
    }

    #[test]
    fn the_annotation_tells_of_what_was_chosen_until_it_says_so() {
        let wanted = host_ports(&pod(None), [10, 244, 1, 2].into(), true);
        let mut published = wanted.clone();
        (published[0].host_port, published[1].host_port) = (40_001, 40_002);
        let chosen = chosen(&wanted, &published);
        assert_eq!(chosen, "127.0.0.1:40001->80/tcp, 192.0.2.1:40002->53/udp");
        published[1].host_port = 0;
        assert_eq!(super::chosen(&wanted, &published), "127.0.0.1:40001->80/tcp");
        let mut pod = pod(None);
        assert_eq!(news(&pod, Some("")), None);
        assert_eq!(news(&pod, Some(&chosen)), Some(chosen.as_str()));
        let all = || super::published(&pod, [10, 244, 1, 2].into(), true);
        assert_eq!(all().iter().map(text).collect::<Vec<_>>(), ["0.0.0.0:8081->81/tcp"]);
        pod.metadata.annotations = serde_json::from_value(annotation(&chosen)).unwrap();
        let all = || super::published(&pod, [10, 244, 1, 2].into(), true);
        published[1].host_port = 40_002;
        assert_eq!(all(), published);
        assert_eq!(news(&pod, Some(&chosen)), None);
        // None of its ports is published any more.
        assert_eq!(news(&pod, Some("")), Some(""));
        assert_eq!(annotation(""), json!({PUBLISHED: null}));
    }
}
