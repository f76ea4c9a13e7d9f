//! Patches of every type, and the scale subresource.

use serde_json::{Value, json};

use crate::harness::{Api, CONFIG_MAPS, JSON, PODS, pod, version};

#[tokio::test]
async fn every_kind_of_patch_is_applied() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    api.config_map("a", json!({"x": "1"})).await;
    let merged =
        api.patch(&path, "merge-patch", &json!({"data": {"from": null, "to": "you"}})).await.ok();
    assert_eq!(merged["data"], json!({"to": "you"}));
    let patch = json!([
        {"op": "test", "path": "/data/to", "value": "you"}, {"op": "add", "path": "/data/more", "value": "1"},
    ]);
    assert_eq!(
        api.patch(&path, "json-patch", &patch).await.ok()["data"],
        json!({"to": "you", "more": "1"})
    );
    api.post(PODS, &pod("p")).await.ok();
    let image = json!({"spec": {"containers": [{"name": "main", "image": "nginx:2"}]}});
    let strategic = api.patch(&format!("{PODS}/p"), "strategic-merge-patch", &image).await.ok();
    assert_eq!(strategic["spec"]["containers"].as_array().unwrap().len(), 1);
    assert_eq!(strategic["spec"]["containers"][0]["image"], "nginx:2");
}

#[tokio::test]
async fn a_strategy_that_becomes_another_keeps_nothing_of_the_first() {
    let api = Api::start().await;
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("a")["spec"]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    });
    let collection = "/apis/apps/v1/namespaces/default/deployments";
    let created = api.post(collection, &deployment).await.ok();
    assert!(created["spec"]["strategy"]["rollingUpdate"].is_object(), "{created}");
    let path = format!("{collection}/a");
    let patch = json!({"spec": {"strategy": {"type": "Recreate"}}});
    api.patch(&path, "strategic-merge-patch", &patch).await.fails(422, "Invalid");
    let retaining = json!({"spec": {"strategy": {"type": "Recreate", "$retainKeys": ["type"]}}});
    let patched = api.patch(&path, "strategic-merge-patch", &retaining).await.ok();
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
}

#[tokio::test]
async fn a_selector_that_a_patch_replaces_keeps_nothing() {
    let api = Api::start().await;
    let collection = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
    let budget = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "a"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "a", "x": "y"}}},
    });
    api.post(collection, &budget).await.ok();
    let selector = json!({"matchLabels": {"app": "b"}});
    let patch = json!({"spec": {"selector": selector}});
    let patched = api.patch(&format!("{collection}/a"), "strategic-merge-patch", &patch).await.ok();
    assert_eq!(patched["spec"]["selector"], selector);
}

#[tokio::test]
async fn a_patch_is_checked_like_an_update() {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let path = format!("{PODS}/p");
    let renamed = api.patch(&path, "merge-patch", &json!({"metadata": {"name": "q"}})).await;
    renamed.fails(400, "BadRequest");
    let status =
        api.patch(&path, "merge-patch", &json!({"status": {"phase": "Failed"}})).await.ok();
    assert_eq!(status["status"]["phase"], "Pending");
    let failing = json!([{"op": "test", "path": "/metadata/name", "value": "q"}]);
    let refused = api.patch(&path, "json-patch", &failing).await.fails(422, "Invalid");
    assert!(refused.contains("the server rejected our request due to an error in our request"));
}

#[tokio::test]
async fn a_patch_that_names_a_version_holds_only_for_that_one() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let patch = |value: &str| json!({"metadata": {"resourceVersion": version(&created)}, "data": {"x": value}});
    api.patch(&path, "merge-patch", &patch("1")).await.ok();
    api.patch(&path, "merge-patch", &patch("2")).await.fails(409, "Conflict");
    api.patch(&path, "merge-patch", &json!({"data": {"x": "3"}})).await.ok();
}

#[tokio::test]
async fn patches_at_the_same_time_are_all_applied() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let patches = (0..16).map(|number| {
        let (api, patch) = (&api, json!({"data": {format!("k{number}"): "v"}}));
        async move { api.patch(&format!("{CONFIG_MAPS}/a"), "merge-patch", &patch).await.ok() }
    });
    futures::future::join_all(patches).await;
    let data = api.get(&format!("{CONFIG_MAPS}/a")).await.ok()["data"].clone();
    assert_eq!(data.as_object().unwrap().len(), 17, "{data}");
}

#[tokio::test]
async fn other_content_types_are_no_patches() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    api.send("PATCH", &path, (JSON, JSON), "{}").await.fails(415, "UnsupportedMediaType");
}

#[tokio::test]
async fn replicas_are_scaled_through_the_scale_of_any_kind() {
    let api = Api::start().await;
    let collection = "/apis/apps/v1/namespaces/default/replicasets";
    let replica_set = json!({
        "metadata": {"name": "r"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "r"}},
            "template": {"metadata": {"labels": {"app": "r"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let created = api.post(collection, &replica_set).await.ok();
    let path = format!("{collection}/r/scale");
    let mut scale = api.get(&path).await.ok();
    assert_eq!((&scale["kind"], &scale["spec"]["replicas"]), (&json!("Scale"), &json!(2)));
    assert_eq!(scale["status"]["selector"], "app=r");
    scale["spec"]["replicas"] = 5.into();
    assert_eq!(api.put(&path, &scale).await.ok()["spec"]["replicas"], 5);
    api.put(&path, &scale).await.fails(409, "Conflict");
    let patched = api.patch(&path, "merge-patch", &json!({"spec": {"replicas": 0}})).await.ok();
    assert_eq!(patched["spec"]["replicas"], 0);
    api.patch(&path, "merge-patch", &json!({"spec": {"replicas": -1}})).await.fails(422, "Invalid");
    let now: Value = api.get(&format!("{collection}/r")).await.ok();
    assert_eq!(now["spec"]["replicas"], 0);
    assert!(now["metadata"]["generation"].as_i64() > created["metadata"]["generation"].as_i64());
}
