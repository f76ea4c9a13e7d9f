//! What is stored and can't be read: nothing of it passes for deleted, and nothing is deleted by mistake.

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::harness::{Api, CONFIG_MAPS, JSON, PODS, TABLE, names, pod};

const POD_KEY: &str = "/registry/core/pods/default/p";

/// A pod on a node, one of whose fields has become something else.
async fn damaged_pod() -> Api {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/p/binding"), &binding).await.ok();
    let stored = api.store.get(POD_KEY).await.unwrap().unwrap();
    let mut object: Value = serde_json::from_slice(&stored.value).unwrap();
    object["spec"]["terminationGracePeriodSeconds"] = json!("a while");
    api.store.put(POD_KEY, object.to_string().into(), None).await.unwrap();
    api
}

#[tokio::test]
async fn a_running_pod_that_can_not_be_read_is_neither_deleted_nor_lost() {
    let api = damaged_pod().await;
    let message = api.delete(&format!("{PODS}/p")).await.fails(500, "StoreReadError");
    assert!(message.contains("spec.terminationGracePeriodSeconds"), "{message}");
    api.put(&format!("{PODS}/p"), &pod("p")).await.fails(500, "StoreReadError");
    let of_node = api.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await.ok();
    assert_eq!(names(&of_node), ["p"]);
}

#[tokio::test]
async fn no_table_has_a_row_of_nothing() {
    let api = damaged_pod().await;
    for path in [PODS, &format!("{PODS}/p")] {
        let message = api.send("GET", path, (JSON, TABLE), "").await.fails(500, "InternalError");
        assert!(message.contains("pods \"p\" can't be shown"), "{message}");
    }
    let watch = format!("{PODS}?watch=true&timeoutSeconds=1");
    let event = api.send("GET", &watch, (JSON, TABLE), "").await.json();
    assert_eq!(
        (&event["type"], &event["object"]["reason"]),
        (&json!("ERROR"), &json!("InternalError"))
    );
}

/// Nobody takes for a whole table what has begun before the row was met that can't be made.
#[tokio::test]
async fn a_table_that_can_not_be_finished_is_broken_off() {
    let api = damaged_pod().await;
    for i in 0..200 {
        api.post(PODS, &pod(&format!("a-{i:03}"))).await.ok();
    }
    let request = Request::get(PODS).header("accept", TABLE).body(Body::empty()).unwrap();
    let response = api.request(request).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
}

#[tokio::test]
async fn what_can_not_be_read_is_removed_by_who_knows_what_that_means() {
    let api = damaged_pod().await;
    let option = "ignoreStoreReadErrorWithClusterBreakingPotential=true";
    let with_others = format!("{PODS}/p?{option}&gracePeriodSeconds=0");
    api.delete(&with_others).await.fails(422, "Invalid");
    api.delete(&format!("{PODS}/p?{option}")).await.ok();
    api.get(&format!("{PODS}/p")).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_list_that_can_not_be_read_whole_is_not_shown() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let before = api.get(CONFIG_MAPS).await.ok()["metadata"]["resourceVersion"].clone();
    let before = before.as_str().unwrap();
    let mut events = api.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    assert_eq!(events.brief().await, "ADDED a");
    for damage in ["{", "null"] {
        let key = "/registry/core/configmaps/default/damaged";
        api.store.put(key, damage.into(), None).await.unwrap();
        let limited = format!("{CONFIG_MAPS}?limit=500");
        for path in [CONFIG_MAPS, "/api/v1/configmaps", &limited, &format!("{CONFIG_MAPS}/damaged")]
        {
            let message = api.get(path).await.fails(500, "StoreReadError");
            assert!(message.contains(key), "{message}");
        }
    }
    let error = events.next().await.unwrap();
    assert_eq!((&error["type"], &error["object"]["reason"]), (&json!("ERROR"), &json!("Expired")));
    assert_eq!(events.next().await, None);
    let watch = format!("{CONFIG_MAPS}?watch=true");
    api.get(&watch).await.fails(500, "StoreReadError");
    let option = "ignoreStoreReadErrorWithClusterBreakingPotential=true";
    api.delete(&format!("{CONFIG_MAPS}/damaged?{option}")).await.ok();
    let list = api.get(CONFIG_MAPS).await.ok();
    assert_eq!(names(&list), ["a"]);
    // Who knows nothing of the damage does not meet it again and again, and who has listed anew goes on.
    let mut events = api.watch(&format!("{watch}&resourceVersion={before}")).await;
    assert_eq!(events.next().await.unwrap()["object"]["code"], 410);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut events = api.watch(&format!("{watch}&resourceVersion={version}")).await;
    api.config_map("b", json!({})).await;
    assert_eq!(events.brief().await, "ADDED b");
}

#[tokio::test]
async fn nothing_is_stored_that_is_too_deep_to_be_read_in_a_list() {
    let api = Api::start().await;
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"a": inner}));
    let fields = |depth: usize| json!([{"manager": "m", "fieldsV1": nested(depth)}]);
    let object = |name: &str, depth: usize| json!({"metadata": {"name": name, "managedFields": fields(depth)}});
    for deep in [117, 122] {
        let message = api.post(CONFIG_MAPS, &object("deep", deep)).await.fails(400, "BadRequest");
        assert!(message.contains("exceeded max depth"), "{message}");
    }
    api.post(CONFIG_MAPS, &object("a", 100)).await.ok();
    let deepest = format!("/metadata/managedFields/0/fieldsV1{}", "/a".repeat(100));
    let patch = json!([{"op": "add", "path": deepest, "value": nested(100)}]);
    let path = format!("{CONFIG_MAPS}/a");
    api.patch(&path, "json-patch", &patch).await.fails(422, "Invalid");
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), ["a"]);
}
