use serde_json::{Value, json};

use super::*;

const NODE: &str = "# comment\nnameserver 192.0.2.1\nsearch example.org\n";

fn found(spec: &Value, servers: &[&str], node: &str) -> ResolvConf {
    let metadata = json!({"name": "web", "namespace": "shop"});
    let pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap();
    let cluster = ClusterDns {
        servers: servers.iter().map(ToString::to_string).collect(),
        domain: "cluster.local".into(),
        node_file: PathBuf::new(),
    };
    resolv_conf(&pod, &cluster, node)
}

fn check(spec: &Value, expected: &str) {
    let found = found(spec, &["10.96.0.10"], NODE);
    assert_eq!((found.text.as_str(), found.warnings), (expected, vec![]));
}

const OF_CLUSTER: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local example.org\n\
                          nameserver 10.96.0.10\noptions ndots:5\n";

#[test]
fn cluster_first_asks_the_cluster() {
    check(&json!({"containers": []}), OF_CLUSTER);
    let host =
        json!({"containers": [], "hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"});
    check(&host, OF_CLUSTER);
}

#[test]
fn default_and_the_hosts_network_ask_the_nodes_server() {
    let node = "search example.org\nnameserver 192.0.2.1\n";
    check(&json!({"containers": [], "dnsPolicy": "Default"}), node);
    check(&json!({"containers": [], "hostNetwork": true}), node);
}

#[test]
fn none_takes_only_the_pods_own_configuration() {
    let config =
        json!({"nameservers": ["192.0.2.9"], "options": [{"name": "ndots", "value": "2"}]});
    check(
        &json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config}),
        "nameserver 192.0.2.9\noptions ndots:2\n",
    );
}

#[test]
fn a_pod_is_not_sent_to_a_server_on_the_nodes_loopback() {
    let node = "nameserver 127.0.0.1\nnameserver ::1\nnameserver 192.0.2.1\n";
    let dropped = found(&json!({"containers": []}), &[], node);
    assert_eq!(dropped.text, "nameserver 192.0.2.1\n");
    let warning =
        "Nameservers of the node that a pod cannot reach have been omitted: 127.0.0.1 ::1";
    assert_eq!(dropped.warnings, [warning]);
    let kept = found(&json!({"containers": [], "hostNetwork": true}), &[], node);
    assert_eq!((kept.text.as_str(), kept.warnings), (node, vec![]));
}

#[test]
fn what_resolvers_do_not_read_is_left_out_and_told() {
    let servers: Vec<String> = (1..=4).map(|i| format!("192.0.2.{i}")).collect();
    let searches: Vec<String> = (0..40).map(|i| format!("s{}", i % 35)).collect();
    let config = json!({"nameservers": servers, "searches": searches});
    let spec = json!({"containers": [], "dnsPolicy": "None", "dnsConfig": config});
    let shortened = found(&spec, &[], "");
    assert_eq!(shortened.text.matches("nameserver").count(), 3);
    assert!(shortened.text.contains(" s31\n"), "{}", shortened.text);
    assert_eq!(shortened.warnings.len(), 2);
    let last = "nameserver line is: 192.0.2.1 192.0.2.2 192.0.2.3";
    assert!(shortened.warnings[0].ends_with(last), "{:?}", shortened.warnings);
}
