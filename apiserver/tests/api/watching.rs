//! Watches: from a version, from now, with initial events, too old.

use serde_json::json;

use crate::harness::{Api, CONFIG_MAPS, PODS, pod, version};

fn watch(query: &str) -> String {
    format!("{CONFIG_MAPS}?watch=true&{query}")
}

#[tokio::test]
async fn a_watch_without_a_version_begins_with_what_is_there() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let mut events = api.watch(&watch("")).await;
    assert_eq!(events.brief().await, "ADDED a");
    api.config_map("b", json!({})).await;
    assert_eq!(events.brief().await, "ADDED b");
}

#[tokio::test]
async fn a_watch_from_a_version_tells_what_came_after_it() {
    let api = Api::start().await;
    let first = api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let changed = api.patch(&path, "merge-patch", &json!({"data": {"x": "1"}})).await.ok();
    api.delete(&path).await.ok();
    let mut events = api.watch(&watch(&format!("resourceVersion={}", version(&first)))).await;
    let modified = events.next().await.unwrap();
    assert_eq!((&modified["type"], &modified["object"]), (&json!("MODIFIED"), &changed));
    let deleted = events.next().await.unwrap();
    assert_eq!(
        (&deleted["type"], &deleted["object"]["data"]),
        (&json!("DELETED"), &changed["data"])
    );
    let version_of = |object: &serde_json::Value| version(object).parse::<u64>().unwrap();
    assert!(version_of(&deleted["object"]) > version_of(&changed));
}

#[tokio::test]
async fn objects_appear_and_disappear_as_selectors_see_them() {
    let api = Api::start().await;
    let mut events = api.watch(&watch("labelSelector=tier%3Dfront&resourceVersion=1")).await;
    api.config_map("a", json!({"tier": "back"})).await;
    api.config_map("b", json!({"tier": "front"})).await;
    assert_eq!(events.brief().await, "ADDED b");
    let tier = |tier: &str| json!({"metadata": {"labels": {"tier": tier}}});
    api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &tier("front")).await.ok();
    assert_eq!(events.brief().await, "ADDED a");
    api.patch(&format!("{CONFIG_MAPS}/b"), "merge-patch", &tier("back")).await.ok();
    assert_eq!(events.brief().await, "DELETED b");
    api.delete(&format!("{CONFIG_MAPS}/b")).await.ok();
    api.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!(events.brief().await, "DELETED a");
}

#[tokio::test]
async fn a_node_sees_its_pods_by_a_field_selector() {
    let api = Api::start().await;
    let mut events =
        api.watch("/api/v1/pods?watch=1&fieldSelector=spec.nodeName%3Dn1&resourceVersion=1").await;
    for (name, node) in [("a", "n2"), ("b", "n1")] {
        api.post(PODS, &pod(name)).await.ok();
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        api.post(&format!("{PODS}/{name}/binding"), &binding).await.ok();
    }
    assert_eq!(events.brief().await, "ADDED b");
}

#[tokio::test]
async fn what_has_changed_already_is_sent_in_one_piece() {
    let api = Api::start().await;
    let first = api.config_map("a", json!({})).await;
    for number in 0..3 {
        let patch = json!({"data": {"n": number.to_string()}});
        api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &patch).await.ok();
    }
    api.get(CONFIG_MAPS).await.ok();
    let mut events = api.watch(&watch(&format!("resourceVersion={}", version(&first)))).await;
    assert_eq!(events.piece().await.lines().count(), 3);
}

#[tokio::test]
async fn initial_events_end_with_a_marked_bookmark() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut events = api.watch(&watch(query)).await;
    assert_eq!(events.brief().await, "ADDED a");
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let refused = api.get(&watch("sendInitialEvents=true")).await;
    assert_eq!(
        refused.fails(422, "Invalid"),
        "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting \
         resourceVersionMatch to NotOlderThan"
    );
    assert_eq!(refused.json()["details"]["causes"][0]["field"], "resourceVersionMatch");
    api.get(&format!("{CONFIG_MAPS}?sendInitialEvents=true")).await.fails(422, "Invalid");
}

#[tokio::test]
async fn a_quiet_watch_is_told_how_far_it_has_seen() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let mut events = api
        .watch(&watch(&format!("allowWatchBookmarks=true&resourceVersion={}", version(&created))))
        .await;
    // A change elsewhere: the watch sees nothing of it but a version.
    let elsewhere = api.post(PODS, &pod("p")).await.ok();
    api.get(PODS).await.ok();
    tokio::time::pause();
    let bookmark = events.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    let seen: u64 = version(&bookmark["object"]).parse().unwrap();
    assert!(seen >= version(&elsewhere).parse().unwrap(), "{bookmark}");
}

#[tokio::test]
async fn a_watch_ends_when_its_time_is_over() {
    let api = Api::start().await;
    let mut events = api.watch(&watch("timeoutSeconds=5&resourceVersion=1")).await;
    tokio::time::pause();
    assert_eq!(events.brief().await, "END");
}

#[tokio::test]
async fn a_watch_of_forgotten_history_is_told_that_it_is_gone() {
    let api = Api::with(apiserver::Config { watch_window: 4, ..Default::default() }).await;
    let first = api.config_map("a", json!({})).await;
    for number in 0..8 {
        let patch = json!({"data": {"n": number.to_string()}});
        api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &patch).await.ok();
    }
    api.get(CONFIG_MAPS).await.ok();
    let mut events = api.watch(&watch(&format!("resourceVersion={}", version(&first)))).await;
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(events.brief().await, "END");
}

/// The store was set back while nobody looked: what the client knows is of a history that is gone.
#[tokio::test]
async fn a_watch_from_a_version_that_never_was_is_told_to_list_anew() {
    let api = Api::start().await;
    let latest: u64 = version(&api.config_map("a", json!({})).await).parse().unwrap();
    let mut events = api.watch(&watch(&format!("resourceVersion={}", latest + 1))).await;
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!(error["object"]["reason"], "Expired");
    assert_eq!(events.brief().await, "END");
}

#[tokio::test]
async fn the_window_of_large_objects_is_short() {
    let config = apiserver::Config { watch_window_bytes: 300_000, ..Default::default() };
    let api = Api::with(config).await;
    let first = api.config_map("a", json!({})).await;
    let mut versions = vec![version(&first).to_owned()];
    for number in 0..8 {
        let data = json!({"data": {"x": number.to_string().repeat(50_000)}});
        let patched = api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &data).await.ok();
        versions.push(version(&patched).to_owned());
    }
    api.get(CONFIG_MAPS).await.ok();
    let begins = async |version: &str| {
        api.watch(&watch(&format!("resourceVersion={version}"))).await.brief().await
    };
    assert_eq!(begins(&versions[1]).await, "ERROR");
    assert_eq!(begins(&versions[5]).await, "MODIFIED a");
}

#[tokio::test]
async fn watches_end_when_the_server_stops() {
    let api = Api::start().await;
    let mut events = api.watch(&watch("resourceVersion=1")).await;
    api.server.stop().await;
    assert_eq!(events.brief().await, "END");
}

#[tokio::test]
async fn a_watch_can_be_of_tables() {
    use axum::body::Body;
    use http::Request;
    use http_body_util::BodyExt;

    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    api.config_map("b", json!({})).await;
    let request = Request::get(watch("timeoutSeconds=1"))
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io,application/json")
        .body(Body::empty())
        .unwrap();
    let response = api.request(request).await;
    let text = response.into_body().collect().await.unwrap().to_bytes();
    let events: Vec<serde_json::Value> = text
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["object"]["kind"], "Table");
    assert_eq!(events[0]["object"]["rows"][0]["cells"][0], "a");
    assert!(!events[0]["object"]["columnDefinitions"].as_array().unwrap().is_empty());
    assert_eq!(events[1]["object"]["columnDefinitions"], json!([]));
}
