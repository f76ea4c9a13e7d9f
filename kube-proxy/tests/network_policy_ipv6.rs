//! What the kernel makes of NetworkPolicies for pods that have addresses of IPv6. Needs root and nft.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

mod fake;
#[path = "nftables/rig.rs"]
mod rig;

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, SocketAddrV6, TcpStream},
    time::Duration,
};

use api_types::api::networking::v1::NetworkPolicy;
use kube_proxy::{
    family::Family,
    policy::{Cluster, Here, Pod, Policy, compile, table::contents},
};
use packet_filter::nftables::Table;
use rig::{Node, ip, on_a_node};
use serde_json::{Value, json};

/// What does not answer by then is not going to.
const PATIENCE: Duration = Duration::from_millis(500);

/// The pods of the node: `a`, `b` and `server`, each at both of its addresses.
fn pods(node: &Node) -> Vec<Pod> {
    let names = ["a", "b", "server"].into_iter().zip(&node.pods);
    let pod = |(name, pod): (&str, &rig::Pod)| {
        [pod.address, pod.second].map(|address| Pod {
            namespace: "default".to_owned(),
            labels: [("app".to_owned(), name.to_owned())].into(),
            address,
            node: "n1".to_owned(),
            ports: [].into(),
        })
    };
    names.flat_map(pod).collect()
}

/// Has the kernel go by one policy for the server, which lets in these.
async fn let_in(node: &Node, from: &Value) {
    let policy: NetworkPolicy = serde_json::from_value(json!({
        "metadata": {"namespace": "default", "name": "p"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "server"}},
            "policyTypes": ["Ingress"],
            "ingress": [{"from": from}],
        },
    }))
    .unwrap();
    let policies = vec![Policy::read(&policy).unwrap()];
    let namespaces = [("default".to_owned(), [].into())].into();
    let cluster = Cluster { policies, pods: pods(node), namespaces, ..Cluster::default() };
    let networks = ["10.244.0.0/24", "fd00:10:244::/64"].map(|it| it.parse().unwrap()).into();
    let links = ["pods".to_owned()].into();
    let here = Here { nodes: ["n1".to_owned()].into(), networks, links, ..Here::default() };
    let rules = compile(&cluster, &here);
    for family in [Family::Ipv4, Family::Ipv6] {
        let word = if family == Family::Ipv4 { "ip" } else { "ip6" };
        let table = Table { family: word, name: "policies".to_owned() };
        table.ensure(&contents(&rules, family)).await.unwrap();
    }
}

/// Whether these pods connect to the server: `a` by IPv4 and by IPv6, then `b`.
fn connected(node: &Node) -> [bool; 4] {
    let server = &node.pods[2];
    let connects = |client: usize, to: IpAddr| {
        let to = SocketAddr::new(to, 8080);
        node.pods[client].run(move || TcpStream::connect_timeout(&to, PATIENCE).is_ok())
    };
    let [v4, v6] = [server.address, server.second];
    [connects(0, v4), connects(0, v6), connects(1, v4), connects(1, v6)]
}

#[test]
fn a_pod_is_isolated_at_each_of_its_addresses() {
    on_a_node(async |node| {
        assert_eq!(connected(&node), [true; 4]);
        let_in(&node, &json!([{"podSelector": {"matchLabels": {"app": "a"}}}])).await;
        assert_eq!(connected(&node), [true, true, false, false]);
        // A block of one family is nobody of the other.
        let_in(&node, &json!([{"ipBlock": {"cidr": "0.0.0.0/0"}}])).await;
        assert_eq!(connected(&node), [true, false, true, false]);
        let of_b = format!("{}/128", node.pods[1].second);
        let_in(&node, &json!([{"ipBlock": {"cidr": "::/0", "except": [of_b]}}])).await;
        assert_eq!(connected(&node), [false, true, false, false]);
    });
}

#[test]
fn nobody_is_reached_by_an_address_of_a_link_alone() {
    on_a_node(async |node| {
        let there = node.pods[2].run(|| ip("-6 -o address show dev eth0 scope link"));
        let there = there.split_whitespace().find_map(|word| word.strip_suffix("/64"));
        let there = there.unwrap().parse().unwrap();
        let ask = |node: &Node| {
            node.pods[0].run(move || {
                let link = ip("-o link show dev eth0");
                let link = link.split(':').next().unwrap().parse().unwrap();
                let to = SocketAddrV6::new(there, 9, 0, link).into();
                TcpStream::connect_timeout(&to, PATIENCE).unwrap_err().kind()
            })
        };
        // Nobody listens there.
        assert_eq!(ask(&node), ErrorKind::ConnectionRefused);
        let_in(&node, &json!([{"podSelector": {}}])).await;
        assert_eq!(ask(&node), ErrorKind::TimedOut);
        assert_eq!(connected(&node), [true; 4]);
    });
}
