//! Against a second reading of policies, packet by packet over the API's objects, and by examples.

use std::net::Ipv4Addr;

use api_types::{
    IntOrString,
    api::{
        core::v1::Pod as PodObject,
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    meta,
};
use proptest::{prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::policy::{
    Protocol,
    rules::{At, Packet},
};

/// Of this host.
const OWN: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 77));
const OUTSIDE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V4(Ipv4Addr::new(192, 0, 2, 200))];

fn pod(address: &str, namespace: &str, app: &str, node: &str, web: u16) -> PodObject {
    let ports = json!([
        {"name": "web", "containerPort": web},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
    ]);
    let pod = json!({
        "metadata": {"name": address, "namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "podIP": address},
    });
    serde_json::from_value(pod).unwrap()
}

fn pods() -> Vec<PodObject> {
    vec![
        pod("10.244.1.1", "a", "web", "n1", 80),
        pod("10.244.1.2", "a", "db", "n1", 8080),
        pod("10.244.1.3", "b", "web", "n1", 8080),
        pod("10.244.2.1", "a", "web", "n2", 8080),
        pod("10.244.2.2", "b", "db", "n2", 80),
    ]
}

fn cluster(policies: &[NetworkPolicy], pods: &[PodObject]) -> Cluster {
    let namespace =
        |name: &str, labels: Value| (name.to_owned(), serde_json::from_value(labels).unwrap());
    Cluster {
        policies: policies.iter().map(|policy| Policy::read(policy).unwrap()).collect(),
        pods: pods.iter().flat_map(Pod::read).collect(),
        namespaces: [namespace("a", json!({"team": "x"})), namespace("b", json!({}))].into(),
        ..Cluster::default()
    }
}

fn here() -> Here {
    Here {
        nodes: ["n1".to_owned()].into(),
        networks: ["10.244.1.0/24".parse().unwrap()].into(),
        addresses: [OWN].into(),
        node_addresses: [OWN].into(),
        ..Here::default()
    }
}

fn policy(namespace: &str, spec: &Value) -> NetworkPolicy {
    let policy = json!({"metadata": {"name": "p", "namespace": namespace}, "spec": spec});
    serde_json::from_value(policy).unwrap()
}

fn packet(from: &str, to: &str, port: u16) -> Packet {
    let port = Some((Protocol::Tcp, port));
    Packet { from: from.parse().unwrap(), to: to.parse().unwrap(), port }
}

// === the second reading ===

fn labels_match(selector: &meta::LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
}

fn labels(pod: &PodObject) -> &BTreeMap<String, String> {
    pod.metadata.labels.as_ref().unwrap()
}

fn address(pod: &PodObject) -> IpAddr {
    pod.status.as_ref().unwrap().pod_ip.as_ref().unwrap().parse().unwrap()
}

fn is_in(address: IpAddr, cidr: &str) -> bool {
    let (network, length) = cidr.split_once('/').unwrap();
    let (Ok(network), IpAddr::V4(address)) = (network.parse::<Ipv4Addr>(), address) else {
        return false;
    };
    let shift = 32 - length.parse::<u32>().unwrap();
    u64::from(address.to_bits()) >> shift == u64::from(network.to_bits()) >> shift
}

fn peer_matches(
    peer: &NetworkPolicyPeer,
    policy: &NetworkPolicy,
    end: Option<&PodObject>,
    address: IpAddr,
) -> bool {
    if let Some(IPBlock { cidr, except }) = &peer.ip_block {
        return is_in(address, cidr) && !except.iter().flatten().any(|e| is_in(address, e));
    }
    let Some(pod) = end else { return false };
    let in_namespace = match &peer.namespace_selector {
        None => pod.metadata.namespace == policy.metadata.namespace,
        Some(selector) => {
            let labels = match pod.metadata.namespace.as_deref() {
                Some("a") => [("team".to_owned(), "x".to_owned())].into(),
                _ => BTreeMap::new(),
            };
            labels_match(selector, &labels)
        }
    };
    in_namespace && peer.pod_selector.as_ref().is_none_or(|s| labels_match(s, labels(pod)))
}

fn port_matches(
    port: &NetworkPolicyPort,
    to: Option<&PodObject>,
    packet: Option<(Protocol, u16)>,
) -> bool {
    let Some((protocol, number)) = packet else { return false };
    let name = port.protocol.as_deref().unwrap_or("TCP");
    if name.to_lowercase() != protocol.to_string() {
        return false;
    }
    match &port.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            (*first..=port.end_port.unwrap_or(*first)).contains(&i32::from(number))
        }
        Some(IntOrString::String(wanted)) => to.is_some_and(|pod| {
            let containers = &pod.spec.as_ref().unwrap().containers;
            containers.iter().flat_map(|c| c.ports.iter().flatten()).any(|p| {
                p.name.as_ref() == Some(wanted)
                    && p.protocol.as_deref().unwrap_or("TCP") == name
                    && p.container_port == i32::from(number)
            })
        }),
    }
}

/// Whether the policies of one end let the packet pass.
fn one_end_allows(
    policies: &[NetworkPolicy],
    pods: &[PodObject],
    packet: &Packet,
    inward: bool,
) -> bool {
    let find = |wanted: IpAddr| pods.iter().find(|pod| address(pod) == wanted);
    let (own, other) = if inward { (packet.to, packet.from) } else { (packet.from, packet.to) };
    let Some(pod) = find(own) else { return true };
    let type_ = if inward { "Ingress" } else { "Egress" };
    let mut isolated = false;
    for policy in policies {
        let spec = policy.spec.as_ref().unwrap();
        if policy.metadata.namespace != pod.metadata.namespace
            || !labels_match(spec.pod_selector.as_ref().unwrap(), labels(pod))
            || !spec.policy_types.as_ref().unwrap().iter().any(|t| t == type_)
        {
            continue;
        }
        isolated = true;
        let rules: Vec<_> = if inward {
            let rules = spec.ingress.iter().flatten();
            rules.map(|r| (r.from.clone(), r.ports.clone())).collect()
        } else {
            let rules = spec.egress.iter().flatten();
            rules.map(|r| (r.to.clone(), r.ports.clone())).collect()
        };
        for (peers, ports) in rules {
            let (peers, ports) = (peers.unwrap_or_default(), ports.unwrap_or_default());
            let peer = peers.is_empty()
                || peers.iter().any(|peer| peer_matches(peer, policy, find(other), other));
            let port = ports.is_empty()
                || ports.iter().any(|port| port_matches(port, find(packet.to), packet.port));
            if peer && port {
                return true;
            }
        }
    }
    !isolated
}

// === generated clusters ===

fn a_selector() -> impl Strategy<Value = Value> {
    select(vec![
        json!({}),
        json!({"matchLabels": {"app": "web"}}),
        json!({"matchLabels": {"app": "db"}}),
    ])
}

fn a_peer() -> impl Strategy<Value = Value> {
    let namespaces = select(vec![json!({}), json!({"matchLabels": {"team": "x"}})]);
    prop_oneof![
        a_selector().prop_map(|pods| json!({"podSelector": pods})),
        namespaces.clone().prop_map(|them| json!({"namespaceSelector": them})),
        (a_selector(), namespaces)
            .prop_map(|(pods, them)| json!({"podSelector": pods, "namespaceSelector": them})),
        select(vec![
            json!({"cidr": "0.0.0.0/0"}),
            json!({"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}),
            json!({"cidr": "10.244.0.0/16", "except": ["10.244.1.2/32", "10.244.2.0/24"]}),
        ])
        .prop_map(|block| json!({"ipBlock": block})),
    ]
}

fn a_port() -> impl Strategy<Value = Value> {
    select(vec![
        json!({"port": 80}),
        json!({"port": 80, "endPort": 8079, "protocol": "TCP"}),
        json!({"port": "web"}),
        json!({"port": "web", "protocol": "UDP"}),
        json!({"port": "dns", "protocol": "UDP"}),
        json!({"port": 53, "protocol": "UDP"}),
        json!({"protocol": "UDP"}),
        json!({"protocol": "SCTP"}),
    ])
}

fn some_rules(peers: &'static str) -> impl Strategy<Value = Value> {
    let rule = (prop::collection::vec(a_peer(), 0..3), prop::collection::vec(a_port(), 0..3));
    let rule = rule.prop_map(move |(them, ports)| json!({peers: them, "ports": ports}));
    prop::collection::vec(rule, 0..3).prop_map(Value::from)
}

fn a_policy() -> impl Strategy<Value = NetworkPolicy> {
    let types = select(vec![json!(["Ingress"]), json!(["Egress"]), json!(["Ingress", "Egress"])]);
    let spec = (a_selector(), types, some_rules("from"), some_rules("to"));
    (select(vec!["a", "b"]), spec, any::<u32>()).prop_map(|(namespace, spec, name)| {
        let (pods, types, ingress, egress) = spec;
        let spec =
            json!({"podSelector": pods, "policyTypes": types, "ingress": ingress, "egress": egress});
        let mut policy = policy(namespace, &spec);
        policy.metadata.name = Some(format!("p{name}"));
        policy
    })
}

fn all_packets() -> Vec<Packet> {
    let ends: Vec<_> = pods().iter().map(address).chain(OUTSIDE).collect();
    let of = |protocol| [53, 80, 81, 8079, 8080].map(|port| Some((protocol, port)));
    let ports = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().flat_map(of);
    let ports: Vec<_> = ports.chain([None]).collect();
    let mut packets = Vec::new();
    for from in &ends {
        for to in ends.iter().filter(|to| *to != from) {
            packets.extend(ports.iter().map(|port| Packet { from: *from, to: *to, port: *port }));
        }
    }
    packets
}

proptest! {
    #[test]
    fn a_host_forwards_what_the_policies_of_its_pods_allow(policies in prop::collection::vec(a_policy(), 0..4)) {
        let pods = pods();
        let rules = compile(&cluster(&policies, &pods), &here());
        let local: Vec<_> = pods.iter().take(3).map(address).collect();
        for packet in all_packets() {
            let by = |end: IpAddr, inward| {
                !local.contains(&end) || one_end_allows(&policies, &pods, &packet, inward)
            };
            let expected = by(packet.from, false) && by(packet.to, true);
            prop_assert_eq!(rules.forwards(&packet), expected, "{:?}", packet);
        }
    }

    #[test]
    fn a_server_of_a_host_does_nothing_for_a_pod_that_it_could_not_do(
        policies in prop::collection::vec(a_policy(), 0..4),
        ends in prop::collection::btree_set((0..6_usize, select(vec![80_u16, 8080])), 0..3),
        at in select(vec![At::Address([10, 96, 0, 7].into()), At::NodesHere, At::NodesElsewhere]),
    ) {
        let pods = pods();
        let endpoints: BTreeSet<_> =
            ends.into_iter().map(|(pod, port)| (pods.get(pod).map_or(OWN, address), port)).collect();
        let mut cluster = cluster(&policies, &pods);
        let service = Service { at, protocol: Protocol::Tcp, port: 7, endpoints };
        cluster.services.push(service.clone());
        let rules = compile(&cluster, &here());
        for client in pods.iter().take(3).map(address) {
            let reached = service.endpoints.iter().all(|(to, port)| {
                let packet =
                    Packet { from: client, to: *to, port: Some((Protocol::Tcp, *port)) };
                client == *to
                    || *to == OWN
                    || [false, true].into_iter().all(|inward| one_end_allows(&policies, &pods, &packet, inward))
            });
            let refused = Refused { client, at, protocol: Protocol::Tcp, port: 7 };
            prop_assert_eq!(rules.refused.contains(&refused), !reached, "{}", client);
        }
    }
}

#[test]
fn without_policies_there_are_no_rules() {
    let rules = compile(&cluster(&[], &pods()), &here());
    assert!(rules.ingress.is_empty() && rules.egress.is_empty() && rules.refused.is_empty());
}

#[test]
fn pods_on_the_hosts_network_and_those_that_have_ended_are_not_meant() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": {}}]}]});
    for (field, value) in
        [("/spec/hostNetwork", json!(true)), ("/status/phase", json!("Succeeded"))]
    {
        let mut pods = pods();
        let mut changed = serde_json::to_value(&pods[0]).unwrap();
        let (parent, name) = field.rsplit_once('/').unwrap();
        changed.pointer_mut(parent).unwrap()[name] = value;
        pods[0] = serde_json::from_value(changed).unwrap();
        let rules = compile(&cluster(&[policy("a", &spec)], &pods), &here());
        let isolated: Vec<_> = rules.ingress.keys().map(IpAddr::to_string).collect();
        assert_eq!(isolated, ["10.244.1.2"], "{field}");
        assert!(!rules.forwards(&packet("10.244.1.1", "10.244.1.2", 80)), "{field}");
    }
}

#[test]
fn what_cant_be_read_allows_nothing() {
    let of = |peers: Value| {
        let spec =
            json!({"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]});
        let rules = compile(&cluster(&[policy("a", &spec)], &pods()), &here());
        rules.forwards(&packet("192.0.2.1", "10.244.1.1", 80))
    };
    assert!(!of(json!([{"ipBlock": {"cidr": "2001:db8::/64"}}])));
    assert!(!of(json!([{"ipBlock": {"cidr": "nonsense"}}])));
    assert!(of(json!([{"ipBlock": {"cidr": "nonsense"}}, {"ipBlock": {"cidr": "192.0.2.0/24"}}])));
}

#[test]
fn servers_of_other_hosts_are_let_in_where_they_lead_to_a_pod() {
    let mut cluster =
        cluster(&[policy("a", &json!({"podSelector": {}, "policyTypes": ["Ingress"]}))], &pods());
    cluster.hosts = ["192.0.2.1".parse().unwrap()].into();
    cluster.led_to = [("10.244.1.1".parse().unwrap(), Protocol::Tcp, 80)].into();
    let rules = compile(&cluster, &here());
    assert!(rules.forwards(&packet("192.0.2.1", "10.244.1.1", 80)));
    assert!(!rules.forwards(&packet("192.0.2.1", "10.244.1.1", 81)));
    assert!(!rules.forwards(&packet("192.0.2.200", "10.244.1.1", 80)));
    assert!(!rules.forwards(&packet("192.0.2.1", "10.244.1.2", 80)), "it leads not there");
}

#[test]
fn pods_that_are_not_known_are_kept_from_servers_that_lead_to_isolated_ones() {
    let spec = json!({"podSelector": {}, "policyTypes": ["Ingress"]});
    let mut cluster = cluster(&[policy("a", &spec)], &pods());
    let service = |at, pod: &str| Service {
        at,
        protocol: Protocol::Tcp,
        port: 7,
        endpoints: [(pod.parse().unwrap(), 80)].into(),
    };
    // One elsewhere, and one of a namespace without policies.
    cluster.services.push(service(At::NodesElsewhere, "10.244.2.1"));
    cluster.services.push(service(At::NodesHere, "10.244.1.3"));
    let rules = compile(&cluster, &here());
    assert_eq!(rules.guarded, [(At::NodesElsewhere, Protocol::Tcp, 7)].into());
}
