//! Virtual IPs of services.

use std::collections::BTreeSet;

use apiserver::{ApiServer, Config};
use serde_json::{Value, json};

use crate::harness::Api;

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
