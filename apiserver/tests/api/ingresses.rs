//! Ingresses get the default class.

use serde_json::{Value, json};

use crate::harness::Api;

const INGRESSES: &str = "/apis/networking.k8s.io/v1/namespaces/default/ingresses";
const CLASSES: &str = "/apis/networking.k8s.io/v1/ingressclasses";

fn ingress(name: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}},
    })
}

async fn class_of(api: &Api, ingress: &Value) -> Value {
    api.post(INGRESSES, ingress).await.ok()["spec"]["ingressClassName"].take()
}

#[tokio::test]
async fn an_ingress_without_a_class_is_the_routers_until_there_is_a_newer_default() {
    let api = Api::start().await;
    let ours = api.get(&format!("{CLASSES}/minik8s")).await.ok();
    assert_eq!(ours["spec"]["controller"], "minik8s.io/router");
    assert_eq!(class_of(&api, &ingress("a")).await, "minik8s");
    let mut annotated = ingress("b");
    annotated["metadata"]["annotations"] = json!({"kubernetes.io/ingress.class": "nginx"});
    assert_eq!(class_of(&api, &annotated).await, Value::Null);
    let mut off = ours;
    off["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"] = json!("false");
    api.put(&format!("{CLASSES}/minik8s"), &off).await.ok();
    // A list waits for the cache, in which the default is looked for.
    api.get(CLASSES).await.ok();
    assert_eq!(class_of(&api, &ingress("c")).await, Value::Null);
    let theirs = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {
            "name": "nginx",
            "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"},
        },
        "spec": {"controller": "k8s.io/ingress-nginx"},
    });
    api.post(CLASSES, &theirs).await.ok();
    api.get(CLASSES).await.ok();
    assert_eq!(class_of(&api, &ingress("d")).await, "nginx");
}
