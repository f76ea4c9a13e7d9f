//! What kubelets and the other programs of the cluster may do: what they need, and no more.

use apiserver::{ApiServer, Config, Identity};
use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::harness::{Answer, Api, JSON, PODS, pod};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const NODES: &str = "/api/v1/nodes";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

fn node(name: &str) -> Identity {
    Identity::new(format!("system:node:{name}"), &["system:nodes", "system:authenticated"])
}

fn program(name: &str) -> Identity {
    Identity::new(format!("system:{name}"), &["system:authenticated"])
}

async fn send(api: &Api, who: &Identity, method: &str, path: &str, body: &Value) -> Answer {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { JSON };
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, kind);
    Answer::of(api.request_as(who.clone(), request.body(body).unwrap()).await).await
}

async fn get(api: &Api, who: &Identity, path: &str) -> Answer {
    send(api, who, "GET", path, &Value::Null).await
}

/// A pod of the node that uses the Secret `used` and runs as `robot`.
fn using(name: &str, node: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["nodeName"] = node.into();
    pod["spec"]["serviceAccountName"] = "robot".into();
    let token = json!({"serviceAccountToken": {"path": "t"}});
    pod["spec"]["volumes"] = json!([
        {"name": "s", "secret": {"secretName": "used"}},
        {"name": "t", "projected": {"sources": [token]}},
    ]);
    pod
}

async fn start() -> Api {
    let api = Api::start().await;
    api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.ok();
    for name in ["used", "other"] {
        api.post(SECRETS, &json!({"metadata": {"name": name}})).await.ok();
    }
    api
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_as_long_as_they_are_there() {
    let api = start().await;
    let (n1, n2) = (node("n1"), node("n2"));
    let used = format!("{SECRETS}/used");
    let message = get(&api, &n1, &used).await.fails(403, "Forbidden");
    assert_eq!(
        message,
        "secrets \"used\" is forbidden: User \"system:node:n1\" cannot get resource \"secrets\" in API group \"\" in the \
         namespace \"default\": no relationship found between node 'n1' and this object"
    );
    let mut unbound = using("p", "n1");
    unbound["spec"].as_object_mut().unwrap().remove("nodeName");
    api.post(PODS, &unbound).await.ok();
    get(&api, &n1, &used).await.fails(403, "Forbidden");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    api.post(&format!("{PODS}/p/binding"), &binding).await.ok();
    get(&api, &n1, &used).await.ok();
    get(&api, &n1, &format!("{SECRETS}?fieldSelector=metadata.name=used")).await.ok();
    get(&api, &n2, &used).await.fails(403, "Forbidden");
    get(&api, &n1, &format!("{SECRETS}/other")).await.fails(403, "Forbidden");
    get(&api, &n1, SECRETS).await.fails(403, "Forbidden");
    get(&api, &n1, "/api/v1/secrets").await.fails(403, "Forbidden");
    send(&api, &n1, "DELETE", &used, &Value::Null).await.fails(403, "Forbidden");
    get(&api, &n1, &format!("{PODS}/p")).await.ok();
    api.delete(&format!("{PODS}/p?gracePeriodSeconds=0")).await.ok();
    // The cache has heard of it.
    api.get(PODS).await.ok();
    get(&api, &n1, &used).await.fails(403, "Forbidden");
}

#[tokio::test]
async fn a_node_that_is_told_of_a_pod_by_another_server_reads_what_it_uses() {
    let api = start().await;
    let other = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    for number in 0..50 {
        let name = format!("p{number}");
        let mut pod = using(&name, "n1");
        pod["spec"]["volumes"][0]["secret"]["secretName"] = name.clone().into();
        api.post(SECRETS, &json!({"metadata": {"name": name}})).await.ok();
        api.post(PODS, &pod).await.ok();
        let request = Request::get(format!("{SECRETS}/{name}")).body(Body::empty()).unwrap();
        let answer = other.service(node("n1")).oneshot(request).await.unwrap();
        Answer::of(answer).await.ok();
    }
    other.stop().await;
}

#[tokio::test]
async fn a_node_writes_what_is_its_own() {
    let api = start().await;
    let (n1, n2) = (node("n1"), node("n2"));
    let labelled = |label: &str| json!({"metadata": {"name": "n1", "labels": {label: "x"}}});
    let message = send(&api, &n1, "POST", NODES, &labelled("node-role.kubernetes.io/x")).await;
    assert_eq!(
        message.fails(403, "Forbidden"),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: node-role.kubernetes.io/x"
    );
    send(&api, &n1, "POST", NODES, &labelled("example.com/x")).await.ok();
    let path = format!("{NODES}/n1");
    let taint = json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}});
    let message = send(&api, &n1, "PATCH", &path, &taint).await.fails(403, "Forbidden");
    assert!(message.ends_with("node \"n1\" is not allowed to modify taints"), "{message}");
    let network = json!({"spec": {"podCIDR": "10.244.9.0/24"}});
    let message = send(&api, &n1, "PATCH", &path, &network).await.fails(403, "Forbidden");
    let why = "node \"n1\" is not allowed to modify podCIDR and podCIDRs";
    assert!(message.ends_with(why), "{message}");
    api.patch(&path, "merge-patch", &network).await.ok();
    let status = json!({"status": {"phase": "Running"}});
    send(&api, &n1, "PATCH", &format!("{path}/status"), &status).await.ok();
    let message = send(&api, &n2, "PATCH", &format!("{path}/status"), &status).await;
    assert_eq!(
        message.fails(403, "Forbidden"),
        "nodes \"n1\" is forbidden: node \"n2\" is not allowed to modify node \"n1\""
    );
    api.post(PODS, &using("p", "n1")).await.ok();
    let running = format!("{PODS}/p/status");
    send(&api, &n1, "PATCH", &running, &status).await.ok();
    let message = send(&api, &n2, "PATCH", &running, &status).await.fails(403, "Forbidden");
    let why = "node \"n2\" can only update pod status for pods with spec.nodeName set to itself";
    assert!(message.ends_with(why), "{message}");
    send(&api, &n1, "PATCH", &format!("{PODS}/p"), &status).await.fails(403, "Forbidden");
    send(&api, &n1, "POST", PODS, &using("q", "n1")).await.fails(403, "Forbidden");
    let lease = |name: &str| json!({"metadata": {"name": name}});
    send(&api, &n1, "POST", LEASES, &lease("n1")).await.ok();
    let message = send(&api, &n1, "POST", LEASES, &lease("n2")).await.fails(403, "Forbidden");
    let why = "can only access node lease with the same name as the requesting node";
    assert!(message.ends_with(why), "{message}");
    let gone = format!("{PODS}/p?gracePeriodSeconds=0");
    send(&api, &n2, "DELETE", &gone, &Value::Null).await.fails(403, "Forbidden");
    send(&api, &n1, "DELETE", &gone, &Value::Null).await.ok();
}

#[tokio::test]
async fn a_mirror_pod_gives_its_node_no_token() {
    let api = start().await;
    let made = send(&api, &node("n1"), "POST", NODES, &json!({"metadata": {"name": "n1"}})).await;
    let mut mirror = pod("p");
    mirror["spec"]["nodeName"] = "n1".into();
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true,
        "uid": made.ok()["metadata"]["uid"],
    }]);
    let made = send(&api, &node("n1"), "POST", PODS, &mirror).await.ok();
    assert_eq!(made["spec"]["volumes"], Value::Null, "{made}");
    let token = json!({"spec": {"boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": "p", "uid": made["metadata"]["uid"],
    }}});
    let path = format!("{ACCOUNTS}/robot/token");
    send(&api, &node("n1"), "POST", &path, &token).await.fails(403, "Forbidden");
    let unmarked = json!({"metadata": {"annotations": {"kubernetes.io/config.mirror": null}}});
    let status = format!("{PODS}/p/status");
    let message = send(&api, &node("n1"), "PATCH", &status, &unmarked).await.fails(422, "Invalid");
    assert!(message.contains("may not remove or update mirror pod annotation"), "{message}");
    completed_by_a_policy(&api).await;
    mirror["metadata"]["name"] = "q".into();
    let message = send(&api, &node("n1"), "POST", PODS, &mirror).await.fails(403, "Forbidden");
    let why = "node \"n1\" can not create pods that reference other API objects";
    assert!(message.ends_with(why), "{message}");
}

/// Whoever makes a pod has it run as `robot`.
async fn completed_by_a_policy(api: &Api) {
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    let expression = "[JSONPatch{op: 'add', path: '/spec/serviceAccountName', value: 'robot'}]";
    let spec = json!({
        "matchConstraints": {"resourceRules": [rule]}, "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    });
    for (plural, spec) in [("policies", spec), ("policybindings", json!({"policyName": "robots"}))]
    {
        let path = format!("/apis/admissionregistration.k8s.io/v1/mutatingadmission{plural}");
        api.post(&path, &json!({"metadata": {"name": "robots"}, "spec": spec})).await.ok();
        api.until_cached(&path, "robots").await;
    }
}

#[tokio::test]
async fn a_node_asks_for_its_own_certificate_alone() {
    let api = start().await;
    let ask = async |common_name: &str| {
        let key = certificates::new_key().unwrap();
        let request = certificates::new_request(&key, common_name, &["system:nodes"], &[]).unwrap();
        use base64::{Engine, engine::general_purpose::STANDARD};
        let csr = json!({"metadata": {"generateName": "a"}, "spec": {
            "request": STANDARD.encode(request), "usages": ["client auth"],
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
        }});
        send(&api, &node("n1"), "POST", CSRS, &csr).await
    };
    ask("system:node:n1").await.ok();
    let message = ask("system:node:n2").await.fails(403, "Forbidden");
    assert!(message.ends_with("can only create a node CSR with CN=system:node:n1"), "{message}");
}

#[tokio::test]
async fn nobody_but_an_administrator_makes_itself_one() {
    let api = start().await;
    let binding = json!({
        "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": "system:nodes"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let programs =
        ["kube-scheduler", "kube-controller-manager", "kube-proxy", "serverless-gateway"];
    let everybody = programs.map(program).into_iter().chain([node("n1")]);
    for who in everybody {
        send(&api, &who, "POST", bindings, &binding).await.fails(403, "Forbidden");
        let path = format!("{PODS}/p/exec?command=id");
        get(&api, &who, &path).await.fails(403, "Forbidden");
        if who.user != "system:kube-controller-manager" {
            get(&api, &who, "/api/v1/secrets").await.fails(403, "Forbidden");
            send(&api, &who, "POST", PODS, &pod("mine")).await.fails(403, "Forbidden");
        }
    }
}

#[tokio::test]
async fn a_kube_proxy_tells_one_thing_of_nodes() {
    let api = start().await;
    api.post(NODES, &json!({"metadata": {"name": "n1"}})).await.ok();
    let proxy = program("kube-proxy");
    let change =
        async |patch: Value| send(&api, &proxy, "PATCH", &format!("{NODES}/n1"), &patch).await;
    let annotated = |name: &str| json!({"metadata": {"annotations": {name: "true"}}});
    change(annotated("minik8s.io/ingress-host-ports")).await.ok();
    change(annotated("example.com/other")).await.fails(403, "Forbidden");
    change(json!({"metadata": {"labels": {"a": "b"}}})).await.fails(403, "Forbidden");
    change(json!({"spec": {"unschedulable": true}})).await.fails(403, "Forbidden");
    // Who is among the nodes and none of them has the rights of a kube-proxy.
    let other = Identity::new("other", &["system:nodes", "system:authenticated"]);
    let cordoned = json!({"spec": {"unschedulable": true}});
    let path = format!("{NODES}/n1");
    send(&api, &other, "PATCH", &path, &cordoned).await.fails(403, "Forbidden");
    send(&api, &other, "PATCH", &path, &annotated("minik8s.io/ingress-host-ports")).await.ok();
    get(&api, &proxy, "/api/v1/secrets?fieldSelector=type=kubernetes.io/tls").await.ok();
    get(&api, &proxy, "/api/v1/secrets").await.fails(403, "Forbidden");
}

#[tokio::test]
async fn a_serverless_gateway_has_leases_of_its_own_alone() {
    let api = start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    let lease = |name: &str| json!({"metadata": {"name": name}});
    api.post(leases, &lease("controller-manager")).await.ok();
    let gateway = program("serverless-gateway");
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    let change = async |name: &str| {
        send(&api, &gateway, "PATCH", &format!("{leases}/{name}"), &labelled).await
    };
    send(&api, &gateway, "POST", leases, &lease("serverless-gateway-a")).await.ok();
    change("serverless-gateway-a").await.ok();
    let why =
        "a serverless gateway can only access leases whose names begin with serverless-gateway-";
    let message = change("controller-manager").await.fails(403, "Forbidden");
    assert!(message.ends_with(why), "{message}");
    let delete = async |name: &str| {
        send(&api, &gateway, "DELETE", &format!("{leases}/{name}"), &Value::Null).await
    };
    delete("controller-manager").await.fails(403, "Forbidden");
    send(&api, &gateway, "POST", leases, &lease("kube-scheduler")).await.fails(403, "Forbidden");
    delete("serverless-gateway-a").await.ok();
}

#[tokio::test]
async fn a_node_reads_the_volumes_of_the_claims_that_its_pods_use() {
    let api = start().await;
    let claim = json!({"namespace": "default", "name": "c"});
    let volume = json!({"metadata": {"name": "v"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/x"}, "claimRef": claim,
    }});
    api.post("/api/v1/persistentvolumes", &volume).await.ok();
    let mut user = using("p", "n1");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    api.post(PODS, &user).await.ok();
    let path = "/api/v1/persistentvolumes/v";
    get(&api, &node("n1"), path).await.ok();
    get(&api, &node("n2"), path).await.fails(403, "Forbidden");
    get(&api, &node("n1"), "/api/v1/persistentvolumes").await.fails(403, "Forbidden");
}

#[tokio::test]
async fn a_node_says_of_a_claim_how_large_it_is_and_no_more() {
    let api = start().await;
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    api.post(claims, &claim).await.ok();
    let mut user = using("p", "n1");
    user["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    api.post(PODS, &user).await.ok();
    let (n1, path) = (node("n1"), format!("{claims}/c/status"));
    let change = async |patch: Value| send(&api, &n1, "PATCH", &path, &patch).await;
    change(json!({"status": {"capacity": {"storage": "2Gi"}}})).await.ok();
    for patch in [
        json!({"status": {"phase": "Lost"}}),
        json!({"metadata": {"finalizers": ["example.com/x"]}}),
        json!({"metadata": {"labels": {"a": "b"}}}),
    ] {
        let message = change(patch).await.fails(403, "Forbidden");
        let why = "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions";
        assert!(message.ends_with(why), "{message}");
    }
}
