//! Which addresses of load balancers a host can serve: a function of what the API server says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use api_machinery::{
    gateway::is_of_gateway,
    load_balancer::{addresses, is_without_class, pool_of},
};
use api_types::api::{
    core::v1::{Node, ObjectReference, Service},
    discovery::v1::EndpointSlice,
};
use ipnet::IpNet;
use kube::Resource;
use netlink::{Address, Link, Mac, host_prefix};

use crate::{
    family::Family,
    plan::{Place, ServicePlan, led_to, plan_service},
    routes,
    world::ServiceAndSlices,
};

/// By which an administrator says that load balancers are not to lead to a node (Kubernetes').
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// An address that the cluster has given to a Service.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    /// Namespace and name of the Service.
    pub(crate) service: String,
    /// The Service.
    pub(crate) object: ObjectReference,
    /// Whether who comes by it meets an endpoint here: there are some, or it does not matter where they are.
    pub(crate) served: bool,
}

/// All that are given: those that others give are theirs to announce. Whoever may write a Service may mark it as ours:
/// what is not to be given (`hosts`) is announced for nobody.
pub(crate) fn given(
    place: &Place,
    services: &[ServiceAndSlices],
    hosts: &BTreeSet<IpAddr>,
) -> BTreeMap<IpAddr, Given> {
    let is_ours = |service: &Service| pool_of(service).is_some() && is_without_class(service);
    let ours = services.iter().filter(|(service, _)| is_ours(service));
    let all = ours.flat_map(|(service, slices)| given_to(place, service, slices));
    all.filter(|(address, _)| !hosts.contains(address)).collect()
}

/// The addresses of nodes, this host's but for what it is lent, and those of its networks that no host may have.
pub(crate) fn of_hosts<'a>(
    nodes: impl Iterator<Item = &'a Node>,
    addresses: &[Address],
) -> BTreeSet<IpAddr> {
    let of_node = |node: &'a Node| node.status.iter().flat_map(|it| it.addresses.iter().flatten());
    let of_nodes = nodes.flat_map(of_node).filter_map(|it| it.address.parse().ok());
    let own = addresses.iter().filter(|it| !is_lent(it));
    of_nodes.chain(own.flat_map(own_and_nobodys)).collect()
}

/// Whether this host has it as a load balancer's.
pub(super) fn is_lent(address: &Address) -> bool {
    address.temporary && address.prefix_len == host_prefix(address.address)
}

fn own_and_nobodys(own: &Address) -> Vec<IpAddr> {
    let network = IpNet::new(own.address, own.prefix_len).ok();
    // Of two addresses both are hosts' (RFC 3021, RFC 6164).
    let network = network.filter(|network| network.prefix_len() + 1 < network.max_prefix_len());
    // The first one of IPv6 is that of all routers, and there is no last one.
    let nobodys = network.map(|it| match it {
        IpNet::V4(_) => vec![it.network(), it.broadcast()],
        IpNet::V6(_) => vec![it.network()],
    });
    nobodys.into_iter().flatten().chain([own.address]).collect()
}

fn given_to(
    place: &Place,
    service: &Service,
    slices: &[Arc<EndpointSlice>],
) -> Vec<(IpAddr, Given)> {
    let plan = plan_service(place, service, slices.iter().map(AsRef::as_ref));
    // That of a Gateway has no endpoints: each host has an nginx for it.
    if plan.is_none() && !is_of_gateway(service) {
        return Vec::new();
    }
    let (object, led_here) = (service.object_ref(&()), led_to(place, service));
    let given = |address: IpAddr| {
        let served = plan.as_ref().is_none_or(|plan| is_served(plan, Family::of(address)));
        (address, Given { service: name(&object), object: object.clone(), served })
    };
    addresses(service).filter(|ip| led_here.contains(ip)).map(given).collect()
}

/// Its namespace and name.
fn name(object: &ObjectReference) -> String {
    [&object.namespace, &object.name].map(|it| it.as_deref().unwrap_or_default()).join("/")
}

fn is_served(plan: &ServicePlan, family: Family) -> bool {
    let mut endpoints = plan.ports.iter().flat_map(|port| &port.outside_endpoints);
    !plan.outside.local_only || endpoints.any(|endpoint| family.has(endpoint.ip()))
}

/// Whether load balancers may lead to this host, which is these nodes. When no node at all is said to be ready, it is who
/// says so that can't see them.
pub(crate) fn may_serve<'a>(
    here: &BTreeSet<String>,
    nodes: impl Iterator<Item = &'a Node> + Clone,
) -> bool {
    let nobody = !nodes.clone().any(is_ready);
    let mut own = nodes.filter(|node| here.contains(routes::name(node)));
    own.any(|node| !is_excluded(node) && (nobody || is_ready(node)))
}

fn is_excluded(node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    labels.is_some_and(|labels| labels.contains_key(EXCLUDED))
}

fn is_ready(node: &Node) -> bool {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// The link of this host to the segment of its node's address of a family, and its MAC address.
pub(crate) fn segment(
    family: Family,
    node: &Node,
    addresses: &[Address],
    links: &[Link],
) -> Option<(Link, Mac)> {
    let own = routes::addresses(node).filter(|own| family.has(*own));
    let mut held = own.filter_map(|own| addresses.iter().find(|address| address.address == own));
    held.find_map(|address| {
        let link = links.iter().find(|link| link.index == address.link)?;
        // That of `lo` has none that anybody knows.
        let mac = link.mac.filter(|mac| *mac != Mac([0; 6]) && link.up)?;
        Some((link.clone(), mac))
    })
}

#[cfg(test)]
mod tests {
    use api_machinery::{gateway::GATEWAY_LABEL, host_routes::MANAGED_BY};
    use serde_json::{Value, json};

    use super::*;

    const V4: &str = "192.0.2.64";
    const V6: &str = "2001:db8::64";

    fn place() -> Place {
        Place {
            nodes: ["n1".to_owned()].into(),
            service_cidr: "10.96.0.0/16,fd00:96::/112".parse().unwrap(),
            cluster_dns: None,
            zone: None,
            addresses: BTreeSet::new(),
            node_addresses: BTreeSet::new(),
        }
    }

    fn service(policy: &str, annotations: &Value) -> Service {
        let port = json!({"port": 80, "protocol": "TCP", "targetPort": 8080});
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": "web", "uid": "u", "annotations": annotations},
            "spec": {
                "type": "LoadBalancer", "clusterIP": "10.96.0.1",
                "clusterIPs": ["10.96.0.1", "fd00:96::1"],
                "externalTrafficPolicy": policy, "ports": [port],
            },
            "status": {"loadBalancer": {"ingress": [
                {"ip": V4, "ipMode": "VIP"}, {"ip": V6, "ipMode": "VIP"},
            ]}},
        }))
        .unwrap()
    }

    fn slice(node: &str) -> EndpointSlice {
        let endpoint =
            json!({"addresses": ["10.244.0.2"], "conditions": {"ready": true}, "nodeName": node});
        serde_json::from_value(json!({
            "addressType": "IPv4", "metadata": {"namespace": "default", "name": "web-1"},
            "ports": [{"port": 8080, "protocol": "TCP"}], "endpoints": [endpoint],
        }))
        .unwrap()
    }

    #[test]
    fn with_a_local_policy_a_host_with_an_endpoint_of_the_family_serves() {
        let ours = json!({"minik8s.io/load-balancer-pool": "192.0.2.64/28"});
        let check = |policy: &str, node: &str, annotations: &Value, expected: [Option<bool>; 2]| {
            let (service, slice) = (service(policy, annotations), slice(node));
            let services = [(Arc::new(service), vec![Arc::new(slice)])];
            let found = given(&place(), &services, &BTreeSet::new());
            let found = [V4, V6].map(|ip| Some(found.get(&ip.parse().unwrap())?.served));
            assert_eq!(found, expected, "{policy} {node}");
        };
        check("Cluster", "n2", &ours, [Some(true), Some(true)]);
        // Its endpoint has no address of IPv6.
        check("Local", "n1", &ours, [Some(true), Some(false)]);
        check("Local", "n2", &ours, [Some(false), Some(false)]);
        check("Cluster", "n1", &json!({}), [None, None]);
    }

    #[test]
    fn every_host_serves_a_gateway() {
        let mut service =
            service("Local", &json!({"minik8s.io/load-balancer-pool": "192.0.2.64/28"}));
        let labels = [(GATEWAY_LABEL, "web"), MANAGED_BY];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        service.metadata.labels = Some(labels.into());
        let check = |name: &str, expected: bool| {
            let mut service = service.clone();
            service.metadata.name = Some(name.to_owned());
            let found = given(&place(), &[(Arc::new(service), Vec::new())], &BTreeSet::new());
            let found: Vec<_> = found.values().map(|it| (it.service.clone(), it.served)).collect();
            assert_eq!(found, vec![(format!("default/{name}"), expected); 2]);
        };
        check("gateway-web", true);
        // It says no more than that it is one.
        check("web", false);
    }

    #[test]
    fn what_is_anothers_to_announce_or_a_hosts_is_not_announced() {
        let check = |class: Option<&str>, hosts: &[&str], expected: usize| {
            let ours = json!({"minik8s.io/load-balancer-pool": "192.0.2.64/28"});
            let mut service = service("Cluster", &ours);
            service.spec.as_mut().unwrap().load_balancer_class = class.map(str::to_owned);
            let services = [(Arc::new(service), vec![Arc::new(slice("n1"))])];
            let taken = hosts.iter().map(|ip| ip.parse().unwrap()).collect();
            assert_eq!(given(&place(), &services, &taken).len(), expected, "{class:?} {hosts:?}");
        };
        check(None, &["192.0.2.1"], 2);
        check(Some("x.example/y"), &[], 0);
        check(None, &[V4], 1);
        check(None, &[V4, V6], 0);
    }

    #[test]
    fn hosts_have_what_nodes_say_and_what_is_here_for_good() {
        let address = |text: &str, prefix_len, temporary| Address {
            link: 1,
            address: text.parse().unwrap(),
            prefix_len,
            temporary,
        };
        let addresses = [
            address("198.51.100.9", 24, true),
            address("203.0.113.1", 32, false),
            address(V4, 32, true),
            address("2001:db8::9", 64, false),
            address("2001:db8:1::9", 128, false),
            address(V6, 128, true),
        ];
        let nodes = [node("n1", "True", &json!({}))];
        let of_ipv4 =
            ["192.0.2.1", "198.51.100.0", "198.51.100.9", "198.51.100.255", "203.0.113.1"];
        let of_ipv6 = ["2001:db8::", "2001:db8::1", "2001:db8::9", "2001:db8:1::9"];
        let expected = of_ipv4.into_iter().chain(of_ipv6).map(|text| text.parse().unwrap());
        assert_eq!(of_hosts(nodes.iter(), &addresses), expected.collect());
    }

    fn node(name: &str, ready: &str, labels: &Value) -> Node {
        serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "status": {"conditions": [{"type": "Ready", "status": ready}],
                "addresses": [
                    {"type": "InternalIP", "address": "192.0.2.1"},
                    {"type": "InternalIP", "address": "2001:db8::1"},
                ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_host_serves_while_a_node_of_it_is_ready_and_not_excluded() {
        let here = ["n1".to_owned(), "n1-2".to_owned()].into();
        let check = |nodes: &[Node], expected| assert_eq!(may_serve(&here, nodes.iter()), expected);
        let node = |name: &str, ready: &str| node(name, ready, &json!({}));
        check(&[node("n1", "True"), node("n2", "True")], true);
        check(&[node("n1", "Unknown"), node("n2", "True")], false);
        check(&[node("n1", "False"), node("n1-2", "True")], true);
        check(&[node("n1", "Unknown"), node("n2", "Unknown")], true);
        check(&[node("n2", "True")], false);
        check(&[super::tests::node("n1", "True", &json!({EXCLUDED: ""}))], false);
    }

    #[test]
    fn the_segment_is_behind_the_link_that_has_the_nodes_address() {
        let link = |index, mac: u8, up| Link {
            index,
            name: format!("eth{index}"),
            bridge: None,
            hairpin: false,
            mtu: 1500,
            up,
            mac: Some(Mac([mac; 6])),
            vxlan: None,
        };
        let check = |family: Family, links: &[Link], of: &str, expected: Option<u32>| {
            let address = |link, text: &str| Address {
                link,
                address: text.parse().unwrap(),
                prefix_len: 24,
                temporary: false,
            };
            let addresses = [address(1, "198.51.100.1"), address(2, of)];
            let found = segment(family, &node("n1", "True", &json!({})), &addresses, links);
            assert_eq!(found.map(|(link, _)| link.index), expected);
        };
        let both = [link(1, 1, true), link(2, 2, true)];
        check(Family::Ipv4, &both, "192.0.2.1", Some(2));
        check(Family::Ipv4, &both, "192.0.2.2", None);
        check(Family::Ipv4, &[link(2, 0, true)], "192.0.2.1", None);
        check(Family::Ipv4, &[link(2, 2, false)], "192.0.2.1", None);
        check(Family::Ipv6, &both, "192.0.2.1", None);
        check(Family::Ipv6, &both, "2001:db8::1", Some(2));
    }
}
