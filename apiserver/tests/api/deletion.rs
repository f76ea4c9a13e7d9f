//! How objects go: at once, with grace, with finalizers, in collections.

use serde_json::json;

use crate::harness::{Api, CONFIG_MAPS, JSON, PODS, names, pod, version};

#[tokio::test]
async fn an_object_that_nothing_holds_is_gone_at_once() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let status = api.delete(&format!("{CONFIG_MAPS}/a")).await.ok();
    assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Success")));
    assert_eq!(status["details"]["uid"], created["metadata"]["uid"]);
    api.get(&format!("{CONFIG_MAPS}/a")).await.fails(404, "NotFound");
    api.delete(&format!("{CONFIG_MAPS}/a")).await.fails(404, "NotFound");
}

#[tokio::test]
async fn what_is_deleted_is_the_answer_where_it_is_with_kubernetes() {
    let api = Api::start().await;
    let class = json!({"metadata": {"name": "a"}, "provisioner": "example.com/disks"});
    let shown = [
        ("/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "a"}})),
        (
            "/api/v1/namespaces/default/resourcequotas",
            json!({"metadata": {"name": "a"}, "spec": {}}),
        ),
        ("/apis/storage.k8s.io/v1/storageclasses", class),
        (PODS, pod("a")),
    ];
    for (collection, object) in shown {
        let created = api.post(collection, &object).await.ok();
        let deleted = api.delete(&format!("{collection}/a")).await.ok();
        for field in ["kind", "spec"] {
            assert_eq!(deleted[field], created[field], "{collection}");
        }
        assert_eq!(deleted["metadata"]["uid"], created["metadata"]["uid"]);
        api.get(&format!("{collection}/a")).await.fails(404, "NotFound");
    }
}

#[tokio::test]
async fn what_goes_on_ending_is_told_by_the_code_to_who_asks_in_the_old_way() {
    let api = Api::start().await;
    let held = json!({"metadata": {"name": "a", "finalizers": ["example.com/one"]}});
    api.post(CONFIG_MAPS, &held).await.ok();
    let path = format!("{CONFIG_MAPS}/a");
    assert_eq!(api.delete(&format!("{path}?orphanDependents=false")).await.code, 202);
    assert_eq!(api.delete(&path).await.code, 200);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_the_last_is_taken_away() {
    let api = Api::start().await;
    let path = format!("{CONFIG_MAPS}/a");
    let held =
        json!({"metadata": {"name": "a", "finalizers": ["example.com/one", "example.com/two"]}});
    api.post(CONFIG_MAPS, &held).await.ok();
    let terminating = api.delete(&path).await.ok();
    assert!(terminating["metadata"]["deletionTimestamp"].is_string());
    let again = api.delete(&path).await.ok();
    assert_eq!(version(&again), version(&terminating));
    let keep = |finalizers: serde_json::Value| json!({"metadata": {"finalizers": finalizers}});
    api.patch(&path, "merge-patch", &keep(json!(["example.com/two"]))).await.ok();
    api.get(&path).await.ok();
    api.patch(&path, "merge-patch", &keep(json!([]))).await.ok();
    api.get(&path).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_pod_on_a_node_goes_only_when_its_kubelet_says_so() {
    let api = Api::start().await;
    let path = format!("{PODS}/p");
    api.post(PODS, &pod("p")).await.ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{path}/binding"), &binding).await.ok();
    let terminating = api.delete(&path).await.ok();
    assert_eq!(terminating["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = api.delete(&format!("{path}?gracePeriodSeconds=5")).await.ok();
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
    api.send("DELETE", &path, (JSON, JSON), options.to_string()).await.ok();
    api.get(&path).await.fails(404, "NotFound");
}

#[tokio::test]
async fn preconditions_must_hold() {
    let api = Api::start().await;
    let created = api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let delete = async |preconditions: serde_json::Value| {
        let options = json!({"preconditions": preconditions}).to_string();
        api.send("DELETE", &path, (JSON, JSON), options).await
    };
    let message = delete(json!({"uid": "another"})).await.fails(409, "Conflict");
    assert!(message.contains("Precondition failed: UID in precondition: another"), "{message}");
    delete(json!({"resourceVersion": "1"})).await.fails(409, "Conflict");
    delete(json!({"uid": created["metadata"]["uid"], "resourceVersion": version(&created)}))
        .await
        .ok();
}

#[tokio::test]
async fn the_propagation_policy_is_left_to_the_garbage_collector_as_a_finalizer() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let path = format!("{CONFIG_MAPS}/a");
    let marked = api.delete(&format!("{path}?propagationPolicy=Foreground")).await.ok();
    assert_eq!(marked["metadata"]["finalizers"], json!(["foregroundDeletion"]));
}

#[tokio::test]
async fn options_that_make_no_sense_are_refused_in_kubernetes_words() {
    let api = Api::start().await;
    api.config_map("a", json!({})).await;
    let both = json!({"propagationPolicy": "Orphan", "orphanDependents": true});
    let unread = "ignoreStoreReadErrorWithClusterBreakingPotential";
    let refused = [
        (
            json!({"propagationPolicy": "Sideways"}),
            "propagationPolicy: Unsupported value: \"Sideways\": supported values: \"Foreground\", \"Background\", \
             \"Orphan\", \"nil\"",
        ),
        (
            both,
            "propagationPolicy: Invalid value: \"Orphan\": orphanDependents and deletionPropagation cannot be both set",
        ),
        (
            json!({"dryRun": ["Some"]}),
            "dryRun: Unsupported value: [\"Some\"]: supported values: \"All\"",
        ),
        (
            json!({unread: true, "gracePeriodSeconds": 0}),
            "ignoreStoreReadErrorWithClusterBreakingPotential: Invalid value: true: cannot be set together with \
             .gracePeriodSeconds",
        ),
    ];
    for (options, why) in refused {
        for path in [CONFIG_MAPS, &format!("{CONFIG_MAPS}/a")] {
            let answer = api.send("DELETE", path, (JSON, JSON), options.to_string()).await;
            let expected = format!("DeleteOptions.meta.k8s.io \"\" is invalid: {why}");
            assert_eq!(answer.fails(422, "Invalid"), expected);
        }
    }
    let all = api.delete(&format!("{CONFIG_MAPS}?{unread}=true")).await.fails(422, "Invalid");
    assert!(all.contains("Invalid value: true: is not allowed with DELETECOLLECTION"), "{all}");
    api.get(&format!("{CONFIG_MAPS}/a")).await.ok();
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let api = Api::start().await;
    for (name, tier) in [("a", "front"), ("b", "back"), ("c", "front")] {
        api.config_map(name, json!({"tier": tier})).await;
    }
    let deleted = api.delete(&format!("{CONFIG_MAPS}?labelSelector=tier%3Dfront")).await.ok();
    assert_eq!(names(&deleted), ["a", "c"]);
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), ["b"]);
}
