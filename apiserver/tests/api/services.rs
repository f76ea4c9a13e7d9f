//! Virtual IPs of services.

use std::collections::BTreeSet;

use apiserver::{ApiServer, Config};
use serde_json::{Value, json};

use crate::harness::{Api, TABLE};

const SERVICES: &str = "/api/v1/namespaces/default/services";

fn service(name: &str, spec: &Value) -> Value {
    let mut object = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    for (field, value) in spec.as_object().unwrap() {
        object["spec"][field] = value.clone();
    }
    object
}

async fn tiny() -> Api {
    Api::with(Config { service_cidr: "10.9.0.0/29".parse().unwrap(), ..Config::default() }).await
}

#[tokio::test]
async fn every_service_gets_an_address_of_its_own_until_there_are_none() {
    let api = tiny().await;
    let mut taken = BTreeSet::new();
    // Of the six addresses the service `kubernetes` has one.
    for name in ["a", "b", "c", "d", "e"] {
        let created = api.post(SERVICES, &service(name, &json!({}))).await.ok();
        let ip = created["spec"]["clusterIP"].as_str().unwrap().to_owned();
        assert_eq!(created["spec"]["clusterIPs"], json!([ip]));
        assert!(ip.starts_with("10.9.0.") && taken.insert(ip));
    }
    let message = api.post(SERVICES, &service("f", &json!({}))).await.fails(500, "InternalError");
    assert!(message.contains("range 10.9.0.0/29 is full"), "{message}");
    api.delete(&format!("{SERVICES}/c")).await.ok();
    api.post(SERVICES, &service("f", &json!({}))).await.ok();
}

#[tokio::test]
async fn an_address_can_be_wished_for_if_it_is_free_and_in_range() {
    let api = tiny().await;
    let wish = |name: &str, ip: &str| service(name, &json!({"clusterIP": ip}));
    let created = api.post(SERVICES, &wish("a", "10.9.0.5")).await.ok();
    assert_eq!(created["spec"]["clusterIP"], "10.9.0.5");
    let message = api.post(SERVICES, &wish("b", "10.9.0.5")).await.fails(422, "Invalid");
    assert!(message.contains("provided IP is already allocated"), "{message}");
    let message = api.post(SERVICES, &wish("b", "10.8.0.5")).await.fails(422, "Invalid");
    assert!(message.contains("is not in the valid range"), "{message}");
    let headless = api.post(SERVICES, &wish("h", "None")).await.ok();
    assert_eq!(headless["spec"]["clusterIP"], "None");
}

#[tokio::test]
async fn what_is_not_stored_holds_no_address() {
    let api = tiny().await;
    for _ in 0..10 {
        api.post(SERVICES, &service("Wrong_Name", &json!({}))).await.fails(422, "Invalid");
        api.post(&format!("{SERVICES}?dryRun=All"), &service("d", &json!({}))).await.ok();
    }
    api.post(SERVICES, &service("a", &json!({}))).await.ok();
}

#[tokio::test]
async fn an_update_that_does_not_mention_the_address_keeps_it() {
    let api = Api::start().await;
    let created = api.post(SERVICES, &service("a", &json!({}))).await.ok();
    let updated = api
        .put(&format!("{SERVICES}/a"), &service("a", &json!({"selector": {"x": "y"}})))
        .await
        .ok();
    assert_eq!(updated["spec"]["clusterIP"], created["spec"]["clusterIP"]);
}

#[tokio::test]
async fn the_server_is_a_service_itself_also_after_a_restart() {
    let api = Api::start().await;
    let before = api.get(&format!("{SERVICES}/kubernetes")).await.ok();
    assert_eq!(before["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = api.get("/api/v1/namespaces/default/endpoints/kubernetes").await.ok();
    assert_eq!(endpoints["subsets"][0]["ports"][0]["port"], 6443);
    api.server.stop().await;
    let again = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(again);
    assert_eq!(api.get(&format!("{SERVICES}/kubernetes")).await.ok(), before);
}

#[tokio::test]
async fn the_type_of_a_service_can_be_changed_with_nothing_else() {
    let api = tiny().await;
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    api.post(SERVICES, &service("a", &json!({"type": "NodePort", "ports": ports}))).await.ok();
    let path = format!("{SERVICES}/a");
    let become_ = async |spec: Value| {
        api.patch(&path, "strategic-merge-patch", &json!({"spec": spec})).await.ok()["spec"].clone()
    };
    let inside = become_(json!({"type": "ClusterIP"})).await;
    assert_eq!(inside["ports"][0].get("nodePort"), None);
    assert_eq!(inside.get("externalTrafficPolicy"), None);
    let ip = inside["clusterIP"].as_str().unwrap().to_owned();
    let name = become_(json!({"type": "ExternalName", "externalName": "example.com"})).await;
    assert_eq!((name.get("clusterIP"), name.get("clusterIPs")), (None, None));
    // Its address is free again.
    api.post(SERVICES, &service("b", &json!({"clusterIP": ip}))).await.ok();
    let back = become_(json!({"type": "ClusterIP", "externalName": null})).await;
    assert!(back["clusterIP"].is_string() && back["clusterIP"] != ip.as_str(), "{back}");
}

#[tokio::test]
async fn no_address_is_stored_that_is_not_claimed() {
    let api = tiny().await;
    for spec in [
        json!({"clusterIP": "fd00::1"}),
        json!({"clusterIP": "10.9.0.3", "clusterIPs": ["10.9.0.4"]}),
        json!({"clusterIP": "10.9.0.3", "clusterIPs": ["10.9.0.3", "10.9.0.4"]}),
    ] {
        api.post(SERVICES, &service("a", &spec)).await.fails(422, "Invalid");
    }
    for ip in ["10.9.0.3", "10.9.0.4"] {
        let name = format!("s{}", &ip[7..]);
        api.post(SERVICES, &service(&name, &json!({"clusterIP": ip}))).await.ok();
    }
}

fn at(ip: &str) -> Config {
    Config { advertise_address: ip.parse().unwrap(), ..Config::default() }
}

/// The addresses of the servers, as Endpoints and as EndpointSlice.
async fn servers(api: &Api) -> Vec<String> {
    let core = "/api/v1/namespaces/default/endpoints/kubernetes";
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let (endpoints, slice) = (api.get(core).await.ok(), api.get(slice).await.ok());
    let addresses = endpoints["subsets"][0]["addresses"].as_array().unwrap().clone();
    let sliced = slice["endpoints"].as_array().unwrap();
    let sliced: Vec<_> = sliced.iter().map(|e| e["addresses"][0].clone()).collect();
    assert_eq!(addresses.iter().map(|a| a["ip"].clone()).collect::<Vec<_>>(), sliced);
    sliced.iter().map(|ip| ip.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn several_servers_are_the_endpoints_of_one_service() {
    let api = Api::with(at("10.0.0.1")).await;
    assert_eq!(servers(&api).await, ["10.0.0.1"]);
    let second = ApiServer::start(at("10.0.0.2"), api.store.clone(), None).await.unwrap();
    assert_eq!(servers(&api).await, ["10.0.0.1", "10.0.0.2"]);
    second.stop().await;
    assert_eq!(servers(&api).await, ["10.0.0.1"]);
    // The last one leaves its address for when it comes back.
    api.server.stop().await;
    assert_eq!(servers(&api).await, ["10.0.0.1"]);
}

fn node_port(name: &str, ports: &Value) -> Value {
    service(name, &json!({"type": "NodePort", "ports": ports}))
}

/// The node ports of a Service, in the order of its ports.
fn numbers(service: &Value) -> Vec<u64> {
    let ports = service["spec"]["ports"].as_array().unwrap();
    ports.iter().map(|port| port["nodePort"].as_u64().unwrap()).collect()
}

/// With three node ports.
async fn few() -> Api {
    let node_ports = "30001-30003".parse().unwrap();
    Api::with(Config { node_ports, ..Config::default() }).await
}

#[tokio::test]
async fn node_ports_are_given_while_there_are_any_and_each_to_one_service() {
    let api = few().await;
    let tcp_and_udp = json!([
        {"name": "dns-tcp", "port": 53}, {"name": "dns", "port": 53, "protocol": "UDP"},
    ]);
    let both = numbers(&api.post(SERVICES, &node_port("a", &tcp_and_udp)).await.ok());
    assert_eq!(both[0], both[1]);
    let one = json!([{"port": 80}]);
    let other = numbers(&api.post(SERVICES, &node_port("b", &one)).await.ok());
    assert!((30001..=30003).contains(&other[0]) && other[0] != both[0]);
    let taken = node_port("c", &json!([{"port": 80, "nodePort": other[0]}]));
    let message = api.post(SERVICES, &taken).await.fails(422, "Invalid");
    let expected = format!(
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: {}: provided port is already allocated",
        other[0]
    );
    assert_eq!(message, expected);
    let outside = node_port("c", &json!([{"port": 80, "nodePort": 80}]));
    let message = api.post(SERVICES, &outside).await.fails(422, "Invalid");
    let why = "provided port is not in the valid range. The range of valid ports is 30001-30003";
    assert!(message.ends_with(why), "{message}");
    api.post(SERVICES, &node_port("c", &one)).await.ok();
    let message = api.post(SERVICES, &node_port("d", &one)).await.fails(500, "InternalError");
    assert!(message.ends_with("failed to allocate a nodePort: range is full"), "{message}");
    api.delete(&format!("{SERVICES}/a")).await.ok();
    assert_eq!(numbers(&api.post(SERVICES, &node_port("d", &one)).await.ok()), both[..1]);
}

#[tokio::test]
async fn what_is_refused_or_dry_holds_no_node_port() {
    let api = few().await;
    let three =
        json!([{"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c", "port": 3}]);
    let four = json!([
        {"name": "a", "port": 1}, {"name": "b", "port": 2}, {"name": "c", "port": 3},
        {"name": "d", "port": 4},
    ]);
    for _ in 0..2 {
        let dry = format!("{SERVICES}?dryRun=All");
        assert_eq!(numbers(&api.post(&dry, &node_port("a", &three)).await.ok()).len(), 3);
        api.post(SERVICES, &node_port("a", &four)).await.fails(500, "InternalError");
        api.post(SERVICES, &node_port("Wrong_Name", &three)).await.fails(422, "Invalid");
    }
    api.post(SERVICES, &node_port("a", &three)).await.ok();
}

#[tokio::test]
async fn node_ports_stay_with_their_ports_and_are_free_when_these_or_the_type_go() {
    let api = few().await;
    let two = json!([{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002}]);
    api.post(SERVICES, &node_port("s", &two)).await.ok();
    let path = format!("{SERVICES}/s");
    let without = json!([{"name": "b", "port": 2}]);
    assert_eq!(numbers(&api.put(&path, &node_port("s", &without)).await.ok()), [30002]);
    // One goes over to another port, and the other one is free.
    let new = json!([{"name": "x", "port": 3, "nodePort": 30002}, {"name": "y", "port": 4, "nodePort": 30001}]);
    assert_eq!(numbers(&api.put(&path, &node_port("s", &new)).await.ok()), [30002, 30001]);
    let inside = json!({"spec": {"type": "ClusterIP"}});
    let inside = api.patch(&path, "strategic-merge-patch", &inside).await.ok();
    assert!(inside["spec"]["ports"][0].get("nodePort").is_none(), "{inside}");
    let three = json!([
        {"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30002},
        {"name": "c", "port": 3, "nodePort": 30003},
    ]);
    api.post(SERVICES, &node_port("t", &three)).await.ok();
}

#[tokio::test]
async fn node_ports_that_the_last_change_of_a_service_gave_up_are_free_with_it() {
    let api = few().await;
    let mut held = node_port("s", &json!([{"port": 1, "nodePort": 30001}]));
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    api.post(SERVICES, &held).await.ok();
    let path = format!("{SERVICES}/s");
    api.delete(&path).await.ok();
    let last = json!({"metadata": {"finalizers": null}, "spec": {"type": "ClusterIP"}});
    api.patch(&path, "merge-patch", &last).await.ok();
    api.get(&path).await.fails(404, "NotFound");
    let again = node_port("t", &json!([{"port": 1, "nodePort": 30001}]));
    api.post(SERVICES, &again).await.ok();
}

#[tokio::test]
async fn a_balanced_service_has_a_health_check_while_its_policy_is_local() {
    let api = few().await;
    let balanced = |policy: &str| {
        service(
            "a",
            &json!({
                "type": "LoadBalancer", "externalTrafficPolicy": policy,
                "allocateLoadBalancerNodePorts": false,
            }),
        )
    };
    let created = api.post(SERVICES, &balanced("Cluster")).await.ok();
    assert!(created["spec"].get("healthCheckNodePort").is_none());
    assert!(created["spec"]["ports"][0].get("nodePort").is_none());
    let path = format!("{SERVICES}/a");
    let local = api.put(&path, &balanced("Local")).await.ok();
    let port = local["spec"]["healthCheckNodePort"].as_u64().unwrap();
    assert!((30001..=30003).contains(&port));
    assert_eq!(api.put(&path, &balanced("Local")).await.ok()["spec"], local["spec"]);
    let mut other = local.clone();
    other["spec"]["healthCheckNodePort"] = json!(if port == 30001 { 30002 } else { 30001 });
    let message = api.put(&path, &other).await.fails(422, "Invalid");
    assert!(
        message.ends_with("spec.healthCheckNodePort: Forbidden: field is immutable"),
        "{message}"
    );
    let one = node_port("b", &json!([{"port": 80, "nodePort": port}]));
    api.post(SERVICES, &one).await.fails(422, "Invalid");
    // Read, changed in one field and sent back, as `kubectl edit` does.
    let mut cluster = local.clone();
    cluster["spec"]["externalTrafficPolicy"] = json!("Cluster");
    let cluster = api.put(&path, &cluster).await.ok();
    assert!(cluster["spec"].get("healthCheckNodePort").is_none(), "{cluster}");
    api.post(SERVICES, &one).await.ok();
}

#[tokio::test]
async fn the_addresses_of_a_load_balancer_go_with_the_type() {
    let api = Api::start().await;
    api.post(SERVICES, &service("a", &json!({"type": "LoadBalancer"}))).await.ok();
    let status = |ingress: Value| json!({"status": {"loadBalancer": {"ingress": [ingress]}}});
    let path = format!("{SERVICES}/a");
    let set =
        async |ingress| api.patch(&format!("{path}/status"), "merge-patch", &status(ingress)).await;
    let message = set(json!({"ip": "nowhere"})).await.fails(422, "Invalid");
    assert!(message.contains("status.loadBalancer.ingress[0].ip: Invalid value"), "{message}");
    let balanced = set(json!({"ip": "203.0.113.9"})).await.ok();
    assert_eq!(balanced["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP");
    let row = api.get_with(&path, TABLE, None).await.ok();
    assert_eq!(row["rows"][0]["cells"][3], "203.0.113.9");
    let inside = json!({"spec": {"type": "ClusterIP"}});
    let inside = api.patch(&path, "strategic-merge-patch", &inside).await.ok();
    assert_eq!(inside["status"], json!({}));
    let message = set(json!({"ip": "203.0.113.9"})).await.fails(422, "Invalid");
    let why =
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is LoadBalancer";
    assert!(message.contains(why), "{message}");
}

#[tokio::test]
async fn external_ips_are_denied_where_a_flag_says_so_but_to_who_has_them() {
    let api = Api::start().await;
    let with = |name: &str, addresses: &[&str]| service(name, &json!({"externalIPs": addresses}));
    api.post(SERVICES, &with("old", &["10.0.0.9"])).await.ok();
    let config = Config { denies_external_ips: true, ..Config::default() };
    let server = ApiServer::start(config, api.store.clone(), None).await.unwrap();
    let api = api.with_server(server);
    let message = api.post(SERVICES, &with("a", &["10.0.0.9"])).await.fails(403, "Forbidden");
    assert!(message.ends_with("Use of external IPs is denied by admission control"), "{message}");
    api.post(SERVICES, &with("a", &[])).await.ok();
    let patch = async |addresses: &[&str]| {
        let patch = json!({"spec": {"externalIPs": addresses, "type": "NodePort"}});
        api.patch(&format!("{SERVICES}/old"), "merge-patch", &patch).await
    };
    patch(&["10.0.0.9"]).await.ok();
    patch(&["10.0.0.9", "10.0.0.8"]).await.fails(403, "Forbidden");
    patch(&[]).await.ok();
    patch(&["10.0.0.9"]).await.fails(403, "Forbidden");
}
