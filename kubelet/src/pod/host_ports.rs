//! The ports of the node that lead to a pod: those that it asks for, and those that are chosen for it. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use api_types::api::core::v1::{ContainerPort, Pod};
use serde_json::{Value, json};

use crate::{addresses::PodAddresses, network::PortMapping, spec};

/// On a pod that has a free port of the node for each of its ports.
const PUBLISH: &str = "minik8s.io/publish-ports";
/// On a pod, those that were chosen.
const PUBLISHED: &str = "minik8s.io/published-ports";

/// Those that lead to the pod at these addresses, of each family by itself; with number 0 where any will do. As long as it
/// is not known which addresses it has, it may have some of both families. `all` pods may have such ports.
pub(crate) fn host_ports(
    pod: &Pod,
    addresses: Option<PodAddresses>,
    all: bool,
) -> Vec<PortMapping> {
    let unknown = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let addresses = addresses.map_or(unknown.to_vec(), |addresses| addresses.iter().collect());
    let sidecars = spec::init_containers(pod).filter(|container| spec::is_sidecar(container));
    let publishes = all || annotation_of(pod, PUBLISH) == Some("true");
    spec::containers(pod)
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .flat_map(|port| addresses.iter().filter_map(move |ip| mapping(port, *ip, publishes)))
        .collect()
}

/// Nothing where the port is at an address of the node of the other family.
fn mapping(port: &ContainerPort, pod_ip: IpAddr, publishes: bool) -> Option<PortMapping> {
    let given = port.host_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
    let protocol = port.protocol.as_deref().unwrap_or("TCP").to_lowercase();
    let host_ip = port.host_ip.as_deref().and_then(|ip| ip.parse().ok());
    let pod_port = u16::try_from(port.container_port).ok()?;
    let mapping = PortMapping { protocol, host_ip, host_port: 0, pod_ip, pod_port };
    let mapping = match given {
        Some(host_port) => PortMapping { host_port, ..mapping },
        None if !publishes || mapping.protocol == "sctp" => return None,
        // Nobody has said that other hosts may come in.
        None => PortMapping { host_ip: host_ip.or(Some(Ipv4Addr::LOCALHOST.into())), ..mapping },
    };
    Some(mapping).filter(|port| port.host_ip.is_none_or(|ip| ip.is_ipv4() == pod_ip.is_ipv4()))
}

/// Those of the published ports that were wanted with number 0, as `docker ps` writes ports.
pub(super) fn chosen(wanted: &[PortMapping], published: &[PortMapping]) -> String {
    let chosen = wanted.iter().zip(published).filter(|(wanted, _)| wanted.host_port == 0);
    let chosen = chosen.map(|(_, port)| port).filter(|port| port.host_port > 0);
    let texts: Vec<String> = chosen.map(text).collect();
    texts.join(", ")
}

/// Those that lead to the pod by now, with the numbers that were chosen, as far as its annotation tells them.
pub(crate) fn published(pod: &Pod, addresses: PodAddresses, all: bool) -> Vec<PortMapping> {
    let told = annotation_of(pod, PUBLISHED).unwrap_or_default();
    let number = |port: &PortMapping| {
        told.split(", ").find_map(|one| {
            let host_port = number_of(one)?;
            (text(&PortMapping { host_port, ..port.clone() }) == one).then_some(host_port)
        })
    };
    let mut ports = host_ports(pod, Some(addresses), all);
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
    let everywhere = match port.pod_ip {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let node = SocketAddr::new(port.host_ip.unwrap_or(everywhere), port.host_port);
    format!("{node}->{}/{}", port.pod_port, port.protocol)
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

    const ADDRESS: PodAddresses = PodAddresses { v4: Ipv4Addr::new(10, 244, 1, 2), v6: None };

    fn ports(annotation: Option<&str>, all: bool) -> Vec<String> {
        let ports = host_ports(&pod(annotation), Some(ADDRESS), all);
        ports.iter().map(text).collect()
    }

    #[test]
    fn a_port_at_an_address_of_the_node_leads_to_the_pod_s_address_of_that_family() {
        let port = |host: &str, number: u16| json!({"containerPort": 80, "hostPort": number, "hostIP": host});
        let ports = json!([
            port("", 1), port("0.0.0.0", 2), port("::", 3), port("192.0.2.1", 4),
            port("::1", 5), {"containerPort": 80, "hostIP": "2001:db8::1"},
        ]);
        let pod = json!({"spec": {"containers": [{"name": "a", "ports": ports}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let check = |addresses: Option<PodAddresses>, expected: &[&str]| {
            let found = host_ports(&pod, addresses, true);
            let led = |port: &PortMapping| format!("{} {}", text(port), port.pod_ip);
            assert_eq!(found.iter().map(led).collect::<Vec<_>>(), expected);
        };
        let of_v4 = ["0.0.0.0:1->80/tcp", "0.0.0.0:2->80/tcp", "192.0.2.1:4->80/tcp"];
        let of_v4 = of_v4.map(|port| format!("{port} 10.244.1.2"));
        check(Some(ADDRESS), &of_v4.each_ref().map(String::as_str));
        let both = PodAddresses { v6: Some("fd00::2".parse().unwrap()), ..ADDRESS };
        check(
            Some(both),
            &[
                &of_v4[0],
                "[::]:1->80/tcp fd00::2",
                &of_v4[1],
                "[::]:3->80/tcp fd00::2",
                &of_v4[2],
                "[::1]:5->80/tcp fd00::2",
                "[2001:db8::1]:0->80/tcp fd00::2",
            ],
        );
        assert_eq!(host_ports(&pod, None, true).len(), 7);
    }

    #[test]
    fn a_port_that_was_chosen_at_an_address_of_ipv6_is_known_by_the_annotation() {
        let both = PodAddresses { v6: Some("fd00::2".parse().unwrap()), ..ADDRESS };
        let mut pod: Pod = serde_json::from_value(json!({
            "spec": {"containers": [{"name": "a", "ports": [{"containerPort": 80, "hostIP": "::1"}]}]},
        }))
        .unwrap();
        let wanted = host_ports(&pod, Some(both), true);
        let published = [PortMapping { host_port: 40_001, ..wanted[0].clone() }];
        let chosen = chosen(&wanted, &published);
        assert_eq!(chosen, "[::1]:40001->80/tcp");
        pod.metadata.annotations = serde_json::from_value(annotation(&chosen)).unwrap();
        assert_eq!(super::published(&pod, both, true), published);
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
        let wanted = host_ports(&pod(None), Some(ADDRESS), true);
        let mut published = wanted.clone();
        (published[0].host_port, published[1].host_port) = (40_001, 40_002);
        let chosen = chosen(&wanted, &published);
        assert_eq!(chosen, "127.0.0.1:40001->80/tcp, 192.0.2.1:40002->53/udp");
        published[1].host_port = 0;
        assert_eq!(super::chosen(&wanted, &published), "127.0.0.1:40001->80/tcp");
        let mut pod = pod(None);
        assert_eq!(news(&pod, Some("")), None);
        assert_eq!(news(&pod, Some(&chosen)), Some(chosen.as_str()));
        let all = || super::published(&pod, ADDRESS, true);
        assert_eq!(all().iter().map(text).collect::<Vec<_>>(), ["0.0.0.0:8081->81/tcp"]);
        pod.metadata.annotations = serde_json::from_value(annotation(&chosen)).unwrap();
        let all = || super::published(&pod, ADDRESS, true);
        published[1].host_port = 40_002;
        assert_eq!(all(), published);
        assert_eq!(news(&pod, Some(&chosen)), None);
        // None of its ports is published any more.
        assert_eq!(news(&pod, Some("")), Some(""));
        assert_eq!(annotation(""), json!({PUBLISHED: null}));
    }
}
