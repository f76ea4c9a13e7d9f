//! `Warning` headers: what whoever writes an object is told though it is taken, and who asks for a version that is not to be
//! used any more.

use serde_json::{Value, json};

use crate::harness::{Api, warnings};

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints";

fn deployment(name: &str) -> Value {
    let pod = json!({
        "nodeSelector": {"beta.kubernetes.io/os": "linux"},
        "containers": [{"name": "main", "image": "nginx:1"}],
    });
    json!({"metadata": {"name": name}, "spec": {
        "selector": {"matchLabels": {"app": "a"}},
        "template": {"metadata": {"labels": {"app": "a"}}, "spec": pod},
    }})
}

#[tokio::test]
async fn what_is_odd_of_a_deployment_is_told_when_it_is_made_and_whenever_its_spec_changes() {
    let api = Api::start().await;
    let old = r#"299 - "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead""#;
    let created = api.post(DEPLOYMENTS, &deployment("a")).await;
    assert_eq!((created.code, warnings(&created)), (201, vec![old.to_owned()]));
    let path = format!("{DEPLOYMENTS}/a");
    let check = async |path: &str, patch: Value, expected: &[&str]| {
        let patched = api.patch(path, "merge-patch", &patch).await;
        assert_eq!(patched.code, 200, "{}", patched.text);
        assert_eq!(warnings(&patched), expected, "{patch}");
    };
    check(&path, json!({"metadata": {"labels": {"b": "c"}}}), &[]).await;
    check(&path, json!({"spec": {"minReadySeconds": 1}}), &[old]).await;
    check(&format!("{path}/scale"), json!({"spec": {"replicas": 2}}), &[old]).await;
    check(&format!("{path}/status"), json!({"status": {"replicas": 2}}), &[]).await;
    check(&format!("{path}?dryRun=All"), json!({"spec": {"replicas": 3}}), &[old]).await;
    let mut refused = deployment("b");
    refused["spec"]["replicas"] = json!(-1);
    let refused = api.post(DEPLOYMENTS, &refused).await;
    assert_eq!((refused.code, warnings(&refused)), (422, Vec::new()));
}

#[tokio::test]
async fn who_asks_for_endpoints_hears_of_slices_whatever_is_asked() {
    let api = Api::start().await;
    let old =
        r#"299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice""#;
    let endpoints = json!({
        "metadata": {"name": "a"}, "subsets": [{"addresses": [{"ip": "192.0.2.1"}]}]});
    let created = api.post(ENDPOINTS, &endpoints).await;
    assert_eq!((created.code, warnings(&created)), (201, vec![old.to_owned()]));
    let path = format!("{ENDPOINTS}/a");
    let missing = format!("{ENDPOINTS}/missing");
    for (path, code) in [(ENDPOINTS, 200), (&*path, 200), (&*missing, 404)] {
        let answer = api.get(path).await;
        assert_eq!((answer.code, warnings(&answer)), (code, vec![old.to_owned()]), "{path}");
    }
    let slices = api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices").await;
    assert_eq!((slices.code, warnings(&slices)), (200, Vec::new()));
}
