//! Changes begin with the object as the cache has it, and end as if they had begun with the latest.

use std::{
    future::Future,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::{Answer, Api, CONFIG_MAPS, JSON, PODS, pod, version},
};

/// What the store is asked about an object.
async fn requests(
    faulty: &Faulty,
    name: &'static str,
    change: impl Future<Output = Answer>,
) -> Vec<Op> {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = requests.clone();
    faulty.rule(move |op, key| {
        if key.ends_with(name) {
            seen.lock().unwrap().push(op);
        }
        Fate::Pass
    });
    change.await.ok();
    faulty.rule(|_, _| Fate::Pass);
    let requests = requests.lock().unwrap();
    requests.clone()
}

/// Waits until the cache has all that was written.
async fn catch_up(api: &Api) {
    api.get(CONFIG_MAPS).await.ok();
}

async fn label(api: &Api, path: &str, labels: Value) -> Answer {
    api.patch(path, "merge-patch", &json!({ "metadata": { "labels": labels } })).await
}

async fn delete_with(api: &Api, path: &str, options: Value) -> Answer {
    api.send("DELETE", path, (JSON, JSON), options.to_string()).await
}

/// A config map `a` with the label `at: cache` of which the cache knows no more, though the label is `at: store`.
async fn behind() -> (Api, Arc<Faulty>, Value, Value) {
    let (api, faulty) = Api::faulty().await;
    let cached = api.config_map("a", json!({"at": "cache"})).await;
    catch_up(&api).await;
    faulty.hush();
    let latest = label(&api, A, json!({"at": "store"})).await.ok();
    (api, faulty, cached, latest)
}

const A: &str = "/api/v1/namespaces/default/configmaps/a";

#[tokio::test]
async fn a_change_is_one_request_to_the_store() {
    let (api, faulty) = Api::faulty().await;
    let mut object = api.config_map("a", json!({})).await;
    api.post(PODS, &pod("p")).await.ok();
    catch_up(&api).await;
    object["data"]["more"] = "data".into();
    assert_eq!(requests(&faulty, "/a", api.put(A, &object)).await, [Op::Put]);
    catch_up(&api).await;
    assert_eq!(requests(&faulty, "/a", label(&api, A, json!({"a": "b"}))).await, [Op::Put]);
    catch_up(&api).await;
    assert_eq!(requests(&faulty, "/a", api.delete(A)).await, [Op::Delete]);
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
    let path = format!("{PODS}/p/binding");
    assert_eq!(requests(&faulty, "/p", api.post(&path, &binding)).await, [Op::Put]);
}

#[tokio::test]
async fn a_patch_loses_nothing_that_the_cache_does_not_know() {
    let (api, ..) = behind().await;
    let patched = label(&api, A, json!({"more": "labels"})).await.ok();
    assert_eq!(patched["metadata"]["labels"], json!({"at": "store", "more": "labels"}));
    assert_eq!(api.get(A).await.ok(), patched);
}

#[tokio::test]
async fn the_version_that_counts_is_the_store_s() {
    let (api, _, mut cached, mut latest) = behind().await;
    cached["data"] = json!({"by": "who is behind"});
    api.put(A, &cached).await.fails(409, "Conflict");
    latest["data"] = json!({"by": "who is not"});
    let put = api.put(A, &latest).await.ok();
    let precondition =
        |object: &Value| json!({"preconditions": {"resourceVersion": version(object)}});
    delete_with(&api, A, precondition(&cached)).await.fails(409, "Conflict");
    delete_with(&api, A, precondition(&put)).await.ok();
    api.delete(A).await.fails(404, "NotFound");
}

#[tokio::test]
async fn what_would_change_nothing_of_the_cache_s_state_changes_the_store_s() {
    let (api, _, mut cached, _) = behind().await;
    cached["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    let put = api.put(A, &cached).await.ok();
    assert_eq!(put["metadata"]["labels"], json!({"at": "cache"}));
    assert_eq!(api.get(A).await.ok(), put);
}

/// Its managers of fields are written as they were read.
#[tokio::test]
async fn what_changes_nothing_of_what_the_cache_does_not_know_is_no_write() {
    let (api, faulty) = Api::faulty().await;
    faulty.hush();
    let object = api.config_map("a", json!({"a": "b"})).await;
    assert_eq!(api.put(A, &object).await.ok(), object);
}

#[tokio::test]
async fn a_dry_run_is_of_the_latest_state() {
    let (api, ..) = behind().await;
    let path = format!("{A}?dryRun=All");
    let patched = label(&api, &path, json!({"more": "labels"})).await.ok();
    assert_eq!(patched["metadata"]["labels"], json!({"at": "store", "more": "labels"}));
    api.delete(A).await.ok();
    api.delete(&path).await.fails(404, "NotFound");
    let binding = json!({"metadata": {"name": "p"}, "target": {"name": "n"}});
    api.post(PODS, &pod("p")).await.ok();
    api.post(&format!("{PODS}/p/binding?dryRun=All"), &binding).await.ok();
}

#[tokio::test]
async fn what_the_cache_does_not_know_is_there_and_what_it_knows_may_be_another() {
    let (api, ..) = behind().await;
    api.delete(A).await.ok();
    let again = api.config_map("a", json!({})).await;
    label(&api, A, json!({"a": "b"})).await.ok();
    let options = json!({"preconditions": {"uid": again["metadata"]["uid"]}});
    delete_with(&api, A, options).await.ok();
    api.config_map("unknown", json!({})).await;
    let unknown = format!("{CONFIG_MAPS}/unknown");
    label(&api, &unknown, json!({"a": "b"})).await.ok();
    api.delete(&unknown).await.ok();
}

#[tokio::test]
async fn a_pod_that_is_terminating_for_the_cache_may_be_gone() {
    let (api, faulty) = Api::faulty().await;
    let (path, mut bound) = (format!("{PODS}/p"), pod("p"));
    bound["spec"]["nodeName"] = "n".into();
    api.post(PODS, &bound).await.ok();
    api.delete(&path).await.ok();
    api.get(PODS).await.ok();
    faulty.hush();
    delete_with(&api, &path, json!({"gracePeriodSeconds": 0})).await.ok();
    api.delete(&path).await.fails(404, "NotFound");
}
