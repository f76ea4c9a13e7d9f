//! The life of namespaces, and what may be in them.

use serde_json::json;

use crate::harness::{Api, names};

#[tokio::test]
async fn the_system_s_namespaces_are_there_and_stay() {
    let api = Api::start().await;
    let list = api.get("/api/v1/namespaces").await.ok();
    assert_eq!(names(&list), ["default", "kube-node-lease", "kube-public", "kube-system"]);
    let message = api.delete("/api/v1/namespaces/default").await.fails(403, "Forbidden");
    assert_eq!(message, "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn objects_need_a_namespace_that_stays() {
    let api = Api::start().await;
    let config_map = json!({"metadata": {"name": "c"}});
    let collection = "/api/v1/namespaces/n/configmaps";
    let message = api.post(collection, &config_map).await.fails(404, "NotFound");
    assert_eq!(message, "namespaces \"n\" not found");
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    api.post(collection, &config_map).await.ok();
    let terminating = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(terminating["status"]["phase"], "Terminating");
    let refused = api.post(collection, &json!({"metadata": {"name": "d"}})).await;
    assert_eq!(
        refused.json()["details"]["causes"],
        json!([{
            "reason": "NamespaceTerminating", "message": "namespace n is being terminated",
            "field": "metadata.namespace",
        }])
    );
    assert_eq!(
        refused.fails(403, "Forbidden"),
        "configmaps \"d\" is forbidden: unable to create new content in namespace n because it is being terminated"
    );
}

#[tokio::test]
async fn a_namespace_goes_when_it_is_finalized() {
    let api = Api::start().await;
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await.ok();
    let mut namespace = api.delete("/api/v1/namespaces/n").await.ok();
    assert_eq!(namespace["spec"]["finalizers"], json!(["kubernetes"]));
    namespace["spec"]["finalizers"] = json!([]);
    api.put("/api/v1/namespaces/n/finalize", &namespace).await.ok();
    api.get("/api/v1/namespaces/n").await.fails(404, "NotFound");
}
