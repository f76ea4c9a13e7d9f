//! What ResourceQuotas and LimitRanges allow.

use futures::future::join_all;
use serde_json::{Value, json};

use crate::{
    faulty::{Fate, Op},
    harness::{Api, PODS, pod},
};

const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const RANGES: &str = "/api/v1/namespaces/default/limitranges";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

/// A quota of ConfigMaps of which nothing is used, as a controller would have counted.
async fn quota_of_maps(api: &Api, most: &str) {
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": most}}});
    let mut quota = api.post(QUOTAS, &quota).await.ok();
    assert!(quota["status"]["hard"].is_null(), "nothing is counted yet");
    quota["status"] = json!({"hard": {"configmaps": most}, "used": {"configmaps": "0"}});
    api.put(&format!("{QUOTAS}/q/status"), &quota).await.ok();
    // The list waits for the cache, by which what is allowed is known.
    api.get(QUOTAS).await.ok();
}

async fn code(api: &Api, name: &str) -> u16 {
    api.post(MAPS, &map(name)).await.code
}

async fn used(api: &Api) -> Value {
    api.get(&format!("{QUOTAS}/q")).await.ok()["status"]["used"]["configmaps"].clone()
}

#[tokio::test]
async fn of_many_that_come_at_once_as_many_are_taken_as_there_is_room_for() {
    let api = Api::start().await;
    quota_of_maps(&api, "5").await;
    let names: Vec<_> = (0..20).map(|i| format!("m{i}")).collect();
    let answers = join_all(names.iter().map(|name| code(&api, name))).await;
    assert_eq!(answers.iter().filter(|code| **code == 201).count(), 5, "{answers:?}");
    assert_eq!(answers.iter().filter(|code| **code == 403).count(), 15, "{answers:?}");
    assert_eq!(used(&api).await, "5");
}

#[tokio::test]
async fn a_dry_run_is_checked_and_not_charged() {
    let api = Api::start().await;
    quota_of_maps(&api, "1").await;
    let dry = format!("{MAPS}?dryRun=All");
    api.post(&dry, &map("a")).await.ok();
    assert_eq!(used(&api).await, "0");
    api.post(MAPS, &map("a")).await.ok();
    let expected = "configmaps \"b\" is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=1, limited: configmaps=1";
    assert_eq!(api.post(&dry, &map("b")).await.fails(403, "Forbidden"), expected);
}

#[tokio::test]
async fn what_is_there_already_is_not_charged_again() {
    let api = Api::start().await;
    quota_of_maps(&api, "5").await;
    api.post(MAPS, &map("a")).await.ok();
    // By the cache it is known.
    api.get(MAPS).await.ok();
    for _ in 0..3 {
        api.post(MAPS, &map("a")).await.fails(409, "AlreadyExists");
    }
    assert_eq!(used(&api).await, "1");
    api.delete(&format!("{MAPS}/a")).await.ok();
    api.post(MAPS, &map("a")).await.ok();
}

#[tokio::test]
async fn a_request_does_not_wait_for_a_quota_without_end() {
    let (api, faulty) = Api::faulty().await;
    quota_of_maps(&api, "5").await;
    faulty.rule(|op, key| match (op, key.contains("/resourcequotas/")) {
        (Op::Put, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    tokio::time::pause();
    let message = api.post(MAPS, &map("a")).await.fails(500, "InternalError");
    assert_eq!(message, "Internal error occurred: resource quota evaluation timed out");
    faulty.release();
}

#[tokio::test]
async fn what_others_refuse_is_not_charged() {
    let api = Api::start().await;
    quota_of_maps(&api, "1").await;
    api.post(MAPS, &map("Not a name")).await.fails(422, "Invalid");
    assert_eq!(used(&api).await, "0");
}

#[tokio::test]
async fn a_pod_does_not_make_up_what_its_runtime_takes() {
    let api = Api::start().await;
    let mut pod = pod("p");
    pod["spec"]["overhead"] = json!({"cpu": "1"});
    let expected = "pods \"p\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";
    assert_eq!(api.post(PODS, &pod).await.fails(403, "Forbidden"), expected);
}

#[tokio::test]
async fn a_pod_gets_what_the_range_of_its_namespace_says_and_stays_within_it() {
    let api = Api::start().await;
    let limit = json!({"type": "Container", "max": {"memory": "1Gi"}, "default": {"cpu": "1"}});
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [limit]}});
    api.post(RANGES, &range).await.ok();
    api.get(RANGES).await.ok();
    let pod_ok = api.post(PODS, &pod("p")).await.ok();
    let expected = json!({"cpu": "1", "memory": "1Gi"});
    let resources = &pod_ok["spec"]["containers"][0]["resources"];
    assert_eq!((&resources["limits"], &resources["requests"]), (&expected, &expected));
    assert_eq!(pod_ok["status"]["qosClass"], "Guaranteed");
    let mut large = pod("q");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"memory": "2Gi"}});
    let expected =
        "pods \"q\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi";
    assert_eq!(api.post(PODS, &large).await.fails(403, "Forbidden"), expected);
    // What is wrong with several is told once.
    let mut second = large["spec"]["containers"][0].clone();
    second["name"] = json!("second");
    large["spec"]["containers"].as_array_mut().unwrap().push(second);
    assert_eq!(api.post(PODS, &large).await.fails(403, "Forbidden"), expected);
}
