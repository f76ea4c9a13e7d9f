//! What the server does as time goes by. Time is virtual here, and only reads happen while it runs.

use std::time::Duration;

use apiserver::{ApiServer, Config};
use serde_json::json;

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::Api,
};

const EVENTS: &str = "/api/v1/namespaces/default/events";

/// Lets time run until something has happened.
async fn until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    tokio::time::pause();
    for _ in 0..1000 {
        if happened().await {
            return;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    panic!("in vain: {what}");
}

#[tokio::test]
async fn old_events_go_and_young_ones_stay() {
    let api = Api::start().await;
    let event = |name: &str, last: &str| {
        json!({
            "metadata": {"name": name}, "involvedObject": {"namespace": "default"},
            "reason": "Tested", "type": "Normal", "lastTimestamp": last,
        })
    };
    api.post(EVENTS, &event("old", "2020-01-01T00:00:00Z")).await.ok();
    api.post(EVENTS, &event("young", "2120-01-01T00:00:00Z")).await.ok();
    let path = |name: &str| format!("{EVENTS}/{name}");
    until("the old event is gone", async || api.get(&path("old")).await.code == 404).await;
    api.get(&path("young")).await.ok();
}

#[tokio::test]
async fn the_service_of_the_server_comes_back() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services/kubernetes";
    api.delete(path).await.ok();
    api.get(path).await.fails(404, "NotFound");
    until("the service is back", async || api.get(path).await.code == 200).await;
}

#[tokio::test]
async fn a_role_that_a_start_can_not_complete_keeps_none_from_it_and_is_completed_later() {
    let api = Api::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let role = format!("{rbac}/clusterroles/system:discovery");
    let binding = format!("{rbac}/clusterrolebindings/cluster-admin");
    for path in [&role, &binding] {
        api.delete(path).await.ok();
    }
    api.server.stop().await;
    let faulty = Faulty::over(api.store.clone());
    faulty.rule(|op, key| {
        let is_it = op == Op::Put && key.ends_with("/clusterroles/system:discovery");
        if is_it { Fate::Refuse } else { Fate::Pass }
    });
    let again = ApiServer::start(Config::default(), faulty.clone(), None).await.unwrap();
    let api = api.with_server(again);
    api.get(&binding).await.ok();
    api.get(&role).await.fails(404, "NotFound");
    faulty.rule(|_, _| Fate::Pass);
    until("the role is there", async || api.get(&role).await.code == 200).await;
}

#[tokio::test]
async fn the_service_of_the_clusters_dns_has_its_address_if_there_is_to_be_one() {
    let path = "/api/v1/namespaces/kube-system/services/kube-dns";
    Api::start().await.get(path).await.fails(404, "NotFound");
    let cluster_dns = Some("10.96.0.10".parse().unwrap());
    let api = Api::with(Config { cluster_dns, ..Config::default() }).await;
    api.delete(path).await.ok();
    until("the service is back", async || api.get(path).await.code == 200).await;
    assert_eq!(api.get(path).await.ok()["spec"]["clusterIP"], "10.96.0.10");
}

#[tokio::test]
async fn another_address_for_the_clusters_dns_is_told_of_until_the_service_is_made_anew() {
    let path = "/api/v1/namespaces/kube-system/services/kube-dns";
    let with =
        |address: &str| Config { cluster_dns: Some(address.parse().unwrap()), ..Config::default() };
    let api = Api::with(with("10.96.0.10")).await;
    api.server.stop().await;
    let next = ApiServer::start(with("10.96.0.20"), api.store.clone(), None).await.unwrap();
    let api = api.with_server(next);
    let events = api.get("/api/v1/namespaces/kube-system/events").await.ok();
    assert_eq!(events["items"][0]["reason"], "ClusterDNSMoved");
    let message = events["items"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("the cluster IP is 10.96.0.10, and --cluster-dns is 10.96.0.20"));
    assert_eq!(api.get(path).await.ok()["spec"]["clusterIP"], "10.96.0.10");
    api.delete(path).await.ok();
    until("the service is back", async || api.get(path).await.code == 200).await;
    assert_eq!(api.get(path).await.ok()["spec"]["clusterIP"], "10.96.0.20");
}

#[tokio::test]
async fn a_claim_that_no_service_holds_is_given_back() {
    let api = Api::start().await;
    let (orphan, held) =
        ("/registry/ranges/serviceips/10.96.1.2", "/registry/ranges/serviceips/10.96.0.1");
    api.store.put(orphan, "{}".into(), None).await.unwrap();
    until("the claim is gone", async || api.store.get(orphan).await.unwrap().is_none()).await;
    assert!(api.store.get(held).await.unwrap().is_some());
}

#[tokio::test]
async fn a_claim_that_a_crash_left_does_not_keep_the_server_from_starting() {
    let api = Api::start().await;
    let path = "/api/v1/namespaces/default/services/kubernetes";
    api.delete(path).await.ok();
    let claim = "/registry/ranges/serviceips/10.96.0.1";
    api.store.put(claim, "{}".into(), None).await.unwrap();
    api.server.stop().await;
    let next = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(next);
    api.get("/api/v1/namespaces/default/endpoints/kubernetes").await.ok();
    api.get(path).await.fails(404, "NotFound");
    until("the service is back", async || api.get(path).await.code == 200).await;
}

#[tokio::test]
async fn two_services_with_one_address_are_reported() {
    let api = Api::start().await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({
        "metadata": {"name": "a"}, "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]},
    });
    let mut second = api.post(services, &service).await.ok();
    second["metadata"]["name"] = "b".into();
    second["metadata"]["uid"] = "another".into();
    let key = "/registry/core/services/default/b";
    api.store.put(key, second.to_string().into(), None).await.unwrap();
    let warned = async || {
        let list = api.get(EVENTS).await.ok();
        list["items"].as_array().unwrap().iter().any(|event| {
            event["involvedObject"]["name"] == "b"
                && event["reason"] == "ClusterIPAlreadyAllocated"
                && event["type"] == "Warning"
        })
    };
    until("the second service has a warning", warned).await;
    let list = api.get(EVENTS).await.ok();
    assert!(list["items"].as_array().unwrap().iter().all(|e| e["involvedObject"]["name"] == "b"));
}

#[tokio::test]
async fn a_server_that_died_is_an_endpoint_no_longer_and_one_that_lives_stays_one() {
    let config = |ip: &str| Config { advertise_address: ip.parse().unwrap(), ..Config::default() };
    let api = Api::with(config("10.0.0.1")).await;
    let dead = "/registry/masterleases/10.0.0.9:6443";
    api.store.put(dead, "{}".into(), None).await.unwrap();
    let _second = ApiServer::start(config("10.0.0.2"), api.store.clone(), None).await.unwrap();
    let endpoints = async || {
        let path = "/api/v1/namespaces/default/endpoints/kubernetes";
        let found = api.get(path).await.ok();
        let ips = found["subsets"][0]["addresses"].as_array().unwrap().clone();
        let ips: Vec<_> = ips.iter().map(|a| a["ip"].as_str().unwrap().to_owned()).collect();
        (ips.join(" "), found["metadata"]["resourceVersion"].clone())
    };
    assert_eq!(endpoints().await.0, "10.0.0.1 10.0.0.2 10.0.0.9");
    until("the dead server is gone", async || endpoints().await.0 == "10.0.0.1 10.0.0.2").await;
    let version = endpoints().await.1;
    let leases = ["10.0.0.1", "10.0.0.2"].map(|ip| format!("/registry/masterleases/{ip}:6443"));
    for _ in 0..2 {
        for lease in &leases {
            let renewed = async || api.store.get(lease).await.unwrap().unwrap().revision;
            let before = renewed().await;
            let again = async || renewed().await != before;
            tokio::time::resume();
            until("the lease is renewed", again).await;
        }
    }
    // Nobody has written what another had written otherwise.
    assert_eq!(endpoints().await.1, version);
}
