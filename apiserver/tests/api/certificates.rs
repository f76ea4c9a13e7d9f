//! Requests for certificates: who asks, who may approve and sign; and the tokens with which nodes ask.

use apiserver::Identity;
use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, JSON};

const CSRS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn csr(groups: &[&str]) -> Value {
    csr_of("jane", groups)
}

fn csr_of(user: &str, groups: &[&str]) -> Value {
    let key = certificates::new_key().unwrap();
    let request = certificates::new_request(&key, user, groups, &[]).unwrap();
    json!({"metadata": {"name": "a"}, "spec": {
        "request": base64(&request), "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth"], "username": "somebody-else",
    }})
}

fn base64(text: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

async fn send_as(api: &Api, who: Identity, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, JSON);
    let request = request.body(Body::from(body.to_string())).unwrap();
    Answer::of(api.request_as(who, request).await).await
}

fn approved(csr: &Value) -> Value {
    let mut approved = csr.clone();
    approved["status"]["conditions"] = json!([{"type": "Approved", "status": "True"}]);
    approved
}

#[tokio::test]
async fn a_request_says_who_asks_and_when_it_was_decided() {
    let api = Api::start().await;
    let created = api.post(CSRS, &csr(&["dev"])).await.ok();
    assert_eq!(created["spec"]["username"], "kubernetes-admin");
    assert_eq!(created["spec"]["groups"], json!(["system:masters"]));
    let path = format!("{CSRS}/a/approval");
    let approved = api.put(&path, &approved(&created)).await.ok();
    let condition = &approved["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string(), "{approved}");
    assert_eq!(condition["lastTransitionTime"], condition["lastUpdateTime"]);
    let asked = api.get(&path).await.ok();
    assert_eq!(asked, approved);
}

#[tokio::test]
async fn nobody_gets_a_certificate_of_who_may_do_everything() {
    let api = Api::start().await;
    let check = async |user: &str, groups: &[&str], what: &str| {
        let message = api.post(CSRS, &csr_of(user, groups)).await.fails(403, "Forbidden");
        let why =
            format!("use of kubernetes.io/kube-apiserver-client signer with {what} is not allowed");
        assert!(message.ends_with(&why), "{message}");
    };
    check("jane", &["system:masters"], "system:masters group").await;
    check("jane", &["system:nodes"], "system:nodes group").await;
    for user in ["system:node:n1", "system:kube-scheduler", "system:kube-apiserver"] {
        check(user, &[], &format!("{user} user")).await;
    }
}

#[tokio::test]
async fn nodes_and_other_programs_decide_no_requests_and_the_controllers_those_of_kubelets() {
    let api = Api::start().await;
    let created = api.post(CSRS, &csr(&["dev"])).await.ok();
    let wanted = approved(&created);
    let node = || Identity::new("system:node:n1", &["system:nodes", "system:authenticated"]);
    let proxy = || Identity::new("system:kube-proxy", &["system:authenticated"]);
    for path in [format!("{CSRS}/a/approval"), format!("{CSRS}/a/status")] {
        send_as(&api, node(), "PUT", &path, &wanted).await.fails(403, "Forbidden");
        send_as(&api, proxy(), "PUT", &path, &wanted).await.fails(403, "Forbidden");
    }
    let controllers = Identity::new("system:kube-controller-manager", &["system:authenticated"]);
    let path = format!("{CSRS}/a/approval");
    let message = send_as(&api, controllers.clone(), "PUT", &path, &wanted).await;
    let why = "user not permitted to approve requests with signerName \"kubernetes.io/kube-apiserver-client\"";
    assert!(message.fails(403, "Forbidden").ends_with(why));
    let mut kubelets = csr_of("system:node:n1", &["system:nodes"]);
    kubelets["metadata"]["name"] = json!("b");
    kubelets["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client-kubelet");
    let wanted = approved(&api.post(CSRS, &kubelets).await.ok());
    send_as(&api, controllers, "PUT", &format!("{CSRS}/b/approval"), &wanted).await.ok();
}

#[tokio::test]
async fn who_approves_or_signs_needs_a_right_to_the_signer() {
    let api = Api::start().await;
    let created = api.post(CSRS, &csr(&["dev"])).await.ok();
    let role = json!({"metadata": {"name": "janes"}, "rules": [
        {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval", "certificatesigningrequests/status"], "verbs": ["update"]},
        {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"], "verbs": ["approve", "sign"]},
    ]});
    api.post(&format!("{RBAC}/clusterroles"), &role).await.ok();
    let binding = json!({
        "metadata": {"name": "janes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "janes"},
        "subjects": [{"kind": "User", "name": "jane"}],
    });
    let bindings = format!("{RBAC}/clusterrolebindings");
    api.post(&bindings, &binding).await.ok();
    api.until_cached(&bindings, "janes").await;
    let jane = || Identity::new("jane", &["system:authenticated"]);
    for (path, verb) in [("approval", "approve"), ("status", "sign")] {
        let mut wanted = approved(&created);
        if verb == "sign" {
            wanted["status"]["conditions"][0]["type"] = json!("Failed");
        }
        let path = format!("{CSRS}/a/{path}");
        let message = send_as(&api, jane(), "PUT", &path, &wanted).await.fails(403, "Forbidden");
        let why = format!(
            "user not permitted to {verb} requests with signerName \"kubernetes.io/kube-apiserver-client\""
        );
        assert!(message.ends_with(&why), "{message}");
    }
    let mut other = csr(&["dev"]);
    other["metadata"]["name"] = json!("b");
    other["spec"]["signerName"] = json!("example.com/jane");
    let created = api.post(CSRS, &other).await.ok();
    send_as(&api, jane(), "PUT", &format!("{CSRS}/b/approval"), &approved(&created)).await.ok();
}

const TOKEN: &str = "abcdef.0123456789abcdef";

fn token_secret() -> Value {
    json!({
        "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        },
    })
}

async fn with_token(api: &Api, method: &str, path: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, JSON)
        .header(header::AUTHORIZATION, format!("Bearer {TOKEN}"))
        .body(Body::from(body.to_string()))
        .unwrap();
    Answer::of(api.request_as(Identity::anonymous(), request).await).await
}

#[tokio::test]
async fn a_bootstrap_token_lets_its_bearer_ask_for_a_certificate_and_for_nothing_else() {
    let api = Api::start().await;
    with_token(&api, "GET", SELF, &Value::Null).await.fails(401, "Unauthorized");
    api.post(SECRETS, &token_secret()).await.ok();
    api.until_cached(SECRETS, "bootstrap-token-abcdef").await;
    let user = with_token(&api, "POST", SELF, &json!({})).await.ok()["status"]["userInfo"].clone();
    assert_eq!(user["username"], "system:bootstrap:abcdef");
    let groups = [
        "system:bootstrappers",
        "system:bootstrappers:kubeadm:default-node-token",
        "system:authenticated",
    ];
    assert_eq!(user["groups"], json!(groups));
    let created = with_token(&api, "POST", CSRS, &csr(&[])).await.ok();
    assert_eq!(created["spec"]["username"], "system:bootstrap:abcdef");
    for path in [SECRETS, "/api/v1/nodes", "/api/v1/namespaces/default/pods"] {
        with_token(&api, "GET", path, &Value::Null).await.fails(403, "Forbidden");
    }
    let path = format!("{CSRS}/a/approval");
    with_token(&api, "PUT", &path, &approved(&created)).await.fails(403, "Forbidden");
    let review = json!({"spec": {"token": TOKEN}});
    let reviewed = api.post(REVIEWS, &review).await.ok();
    assert_eq!(reviewed["status"]["user"]["username"], "system:bootstrap:abcdef");
    let review = json!({"spec": {"token": TOKEN, "audiences": ["vault"]}});
    let reviewed = api.post(REVIEWS, &review).await.ok();
    let why = "bootstrap token is invalid for the target audiences [\"vault\"]";
    assert_eq!(reviewed["status"], json!({"error": why, "user": {}}));
    api.delete(&format!("{SECRETS}/bootstrap-token-abcdef")).await.ok();
    let refused = async {
        while with_token(&api, "POST", SELF, &json!({})).await.code != 401 {
            tokio::task::yield_now().await;
        }
    };
    testkit::wait::within("the token is refused", refused).await;
}
