//! Ranges of virtual IPs as objects, and the objects of these.

use apiserver::Config;
use serde_json::{Value, json};

use crate::harness::{Api, names};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const ADDRESSES: &str = "/apis/networking.k8s.io/v1/ipaddresses";
const RANGES: &str = "/apis/networking.k8s.io/v1/servicecidrs";

fn service(name: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["ports"] = json!([{"port": 80}]);
    json!({"metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn an_address_of_a_service_is_an_object_as_long_as_the_service_has_it() {
    let api = Api::start().await;
    api.post(SERVICES, &service("a", &json!({"clusterIP": "10.96.0.9"}))).await.ok();
    let path = format!("{ADDRESSES}/10.96.0.9");
    let address = api.get(&path).await.ok();
    assert_eq!(
        address["spec"]["parentRef"],
        json!({"resource": "services", "namespace": "default", "name": "a"})
    );
    let query = "?labelSelector=ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io,ipaddress.kubernetes.io/ip-family=IPv4";
    let list = api.get(&format!("{ADDRESSES}{query}")).await.ok();
    assert_eq!(names(&list), ["10.96.0.1", "10.96.0.9"]);
    api.delete(&format!("{SERVICES}/a")).await.ok();
    api.get(&path).await.fails(404, "NotFound");

    let parent = json!({"resource": "gateways", "group": "example.com", "name": "g"});
    let held = json!({"metadata": {"name": "10.96.0.9"}, "spec": {"parentRef": parent}});
    api.post(ADDRESSES, &held).await.ok();
    let refused = api.post(SERVICES, &service("b", &json!({"clusterIP": "10.96.0.9"}))).await;
    assert!(refused.fails(422, "Invalid").contains("provided IP is already allocated"));
}

#[tokio::test]
async fn a_claim_of_before_there_were_objects_becomes_one() {
    let api = Api::start().await;
    let claim = json!({"namespace": "default", "name": "a", "uid": "u", "attempt": "x"});
    let key = "/registry/ranges/serviceips/10.96.0.9";
    api.store.put(key, claim.to_string().into(), None).await.unwrap();
    api.server.stop().await;
    let next = apiserver::ApiServer::start(Config::default(), api.store.clone(), None);
    let api = api.with_server(next.await.unwrap());
    let address = api.get(&format!("{ADDRESSES}/10.96.0.9")).await.ok();
    assert_eq!(address["spec"]["parentRef"]["name"], "a");
    assert_eq!(address["metadata"]["annotations"]["minik8s.io/service-uid"], "u");
}

#[tokio::test]
async fn a_claim_that_can_not_be_read_stays_as_it_is() {
    let api = Api::start().await;
    let (key, sealed) = ("/registry/ranges/serviceips/10.96.0.9", "k8s:enc:secretbox:v1:one:x");
    let written = api.store.put(key, sealed.into(), None).await.unwrap();
    api.server.stop().await;
    let next = apiserver::ApiServer::start(Config::default(), api.store.clone(), None);
    let api = api.with_server(next.await.unwrap());
    api.get(&format!("{ADDRESSES}/10.96.0.9")).await.fails(500, "StoreReadError");
    assert_eq!(api.store.get(key).await.unwrap().unwrap().revision, written);
}

#[tokio::test]
async fn another_range_that_is_ready_gives_addresses_too() {
    let config = Config {
        service_cidr: "10.9.0.0/30".parse().unwrap(),
        cluster_dns: None,
        ..Config::default()
    };
    let api = Api::with(config).await;
    let own = api.get(&format!("{RANGES}/kubernetes")).await.ok();
    assert_eq!(own["spec"]["cidrs"], json!(["10.9.0.0/30"]));
    api.post(SERVICES, &service("last", &json!({}))).await.ok();
    api.post(SERVICES, &service("more", &json!({}))).await.fails(500, "InternalError");

    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.9.1.0/30"]}});
    api.post(RANGES, &range).await.ok();
    let there = json!({"clusterIP": "10.9.1.1"});
    let refused = api.post(SERVICES, &service("more", &there)).await.fails(422, "Invalid");
    assert!(refused.contains("The range of valid IPs is 10.9.0.0/30"), "{refused}");
    let ready = json!({"type": "Ready", "status": "True", "reason": "", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    let status = json!({"status": {"conditions": [ready]}});
    api.patch(&format!("{RANGES}/more/status"), "merge-patch", &status).await.ok();
    // After a list the server itself knows, too.
    assert_eq!(names(&api.get(RANGES).await.ok()), ["kubernetes", "more"]);
    api.post(SERVICES, &service("more", &there)).await.ok();
    let made = api.post(SERVICES, &service("even-more", &json!({}))).await.ok();
    assert_eq!(made["spec"]["clusterIP"], "10.9.1.2");
    api.post(SERVICES, &service("too-much", &json!({}))).await.fails(500, "InternalError");
}
