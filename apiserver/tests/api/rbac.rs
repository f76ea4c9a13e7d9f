//! Roles: what they let whom do, and who may give them.

use std::sync::Arc;

use apiserver::{ApiServer, Config, Identity};
use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};

use crate::harness::{Answer, Api, CONFIG_MAPS, JSON, PODS, TABLE};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const REVIEWS: &str = "/apis/authorization.k8s.io/v1";
const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

fn jane() -> Identity {
    Identity::new("jane", &["dev", "system:authenticated"])
}

async fn as_jane(api: &Api, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, JSON);
    Answer::of(api.request_as(jane(), request.body(body).unwrap()).await).await
}

fn role(name: &str, rules: Value) -> Value {
    let mut role = json!({"metadata": {"name": name}});
    role["rules"] = rules;
    role
}

fn rule(resources: &[&str], verbs: &[&str]) -> Value {
    let group = if resources[0].starts_with("role") { "rbac.authorization.k8s.io" } else { "" };
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn binding(name: &str, kind: &str, role: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": "jane"}],
    })
}

/// A server where jane has a role with these rules in `default`.
async fn with(rules: Value) -> Api {
    let api = Api::start().await;
    api.post(ROLES, &role("janes", rules)).await.ok();
    api.post(BINDINGS, &binding("janes", "Role", "janes")).await.ok();
    api.until_cached(BINDINGS, "janes").await;
    api
}

#[tokio::test]
async fn who_is_given_a_role_may_do_what_it_says_where_it_says() {
    let api = with(json!([rule(&["configmaps"], &["get", "list", "create"])])).await;
    as_jane(&api, "GET", CONFIG_MAPS, &Value::Null).await.ok();
    as_jane(&api, "POST", CONFIG_MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let message = as_jane(&api, "DELETE", &format!("{CONFIG_MAPS}/a"), &Value::Null).await;
    let expected = "configmaps \"a\" is forbidden: User \"jane\" cannot delete resource \"configmaps\" in API group \
                    \"\" in the namespace \"default\"";
    assert_eq!(message.fails(403, "Forbidden"), expected);
    as_jane(&api, "GET", "/api/v1/configmaps", &Value::Null).await.fails(403, "Forbidden");
    as_jane(&api, "GET", PODS, &Value::Null).await.fails(403, "Forbidden");
    api.delete(&format!("{ROLES}/janes")).await.ok();
    let refused = async || as_jane(&api, "GET", CONFIG_MAPS, &Value::Null).await;
    while refused().await.code != 403 {
        tokio::task::yield_now().await;
    }
    let message = refused().await.fails(403, "Forbidden");
    let why = ": RBAC: role.rbac.authorization.k8s.io \"janes\" not found";
    assert!(message.ends_with(why), "{message}");
}

#[tokio::test]
async fn a_list_of_one_object_by_its_name_is_judged_as_that_one() {
    let mut named = rule(&["configmaps"], &["list", "watch"]);
    named["resourceNames"] = json!(["a"]);
    let api = with(json!([named])).await;
    let list = async |fields: &str| {
        let path = format!("{CONFIG_MAPS}?fieldSelector={fields}");
        as_jane(&api, "GET", &path, &Value::Null).await.code
    };
    assert_eq!(list("metadata.name%3Da").await, 200);
    assert_eq!((list("metadata.name%3Db").await, list("").await), (403, 403));
}

#[tokio::test]
async fn everybody_sees_what_is_served_and_only_health_needs_no_name() {
    let api = Api::start().await;
    for path in ["/version", "/apis", "/api/v1", "/openapi/v3"] {
        as_jane(&api, "GET", path, &Value::Null).await.ok();
    }
    let path = "/apis/frogs.io/v1/frogs";
    as_jane(&api, "GET", path, &Value::Null).await.fails(403, "Forbidden");
    api.get(path).await.fails(404, "NotFound");
    let nobody = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        Answer::of(api.request_as(Identity::anonymous(), request).await).await.code
    };
    let codes = (nobody("/readyz").await, nobody("/version").await, nobody("/apis").await);
    assert_eq!(codes, (200, 200, 403));
    // What of it is not well is not everybody's.
    assert_eq!(nobody("/readyz/etcd").await, 403);
}

#[tokio::test]
async fn who_may_but_read_opens_no_connection_into_a_pod() {
    let all = ["pods/attach", "pods/exec", "pods/portforward"];
    let api = with(json!([rule(&all, &["get"])])).await;
    for connection in all {
        let path = format!("{PODS}/p/{}", connection.trim_start_matches("pods/"));
        let message = as_jane(&api, "GET", &path, &Value::Null).await.fails(403, "Forbidden");
        let why = format!("User \"jane\" cannot create resource {connection:?}");
        assert!(message.contains(&why), "{message}");
    }
    let api = with(json!([rule(&all, &["create", "get"])])).await;
    as_jane(&api, "GET", &format!("{PODS}/p/exec"), &Value::Null).await.fails(404, "NotFound");
}

#[tokio::test]
async fn who_may_but_update_creates_nothing_by_put() {
    let api = with(json!([rule(&["limitranges"], &["update"])])).await;
    let (path, object) = (
        "/api/v1/namespaces/default/limitranges/a",
        json!({"metadata": {"name": "a"}, "spec": {"limits": []}}),
    );
    let message = as_jane(&api, "PUT", path, &object).await.fails(403, "Forbidden");
    assert!(message.contains("User \"jane\" cannot create resource \"limitranges\""), "{message}");
    assert_eq!(api.put(path, &object).await.code, 201);
    as_jane(&api, "PUT", path, &object).await.ok();
}

#[tokio::test]
async fn nobody_gives_rights_that_it_does_not_have() {
    let manager = rule(&["roles", "rolebindings"], &["create", "update", "patch", "get", "delete"]);
    let api = with(json!([manager, rule(&["configmaps"], &["get"])])).await;
    let less = role("less", json!([rule(&["configmaps"], &["get"])]));
    as_jane(&api, "POST", ROLES, &less).await.ok();
    let more = role("more", json!([rule(&["configmaps", "secrets"], &["get"])]));
    let message = as_jane(&api, "POST", ROLES, &more).await.fails(403, "Forbidden");
    let expected = "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"dev\" \
                    \"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
                    {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\"]}";
    assert_eq!(message, expected);
    let path = format!("{ROLES}/less");
    as_jane(&api, "PUT", &path, &role("less", more["rules"].clone())).await.fails(403, "Forbidden");
    let mut labelled = less.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    as_jane(&api, "PUT", &path, &labelled).await.ok();
    // Labels decide which roles an aggregated one gathers.
    let mut more = more;
    more["metadata"]["finalizers"] = json!(["example.com/a"]);
    api.post(ROLES, &more).await.ok();
    let path = format!("{ROLES}/more");
    let mut labelled = more.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    as_jane(&api, "PUT", &path, &labelled).await.fails(403, "Forbidden");
    more["metadata"]["finalizers"] = json!([]);
    as_jane(&api, "PUT", &path, &more).await.ok();
    let bind = async |role: &str| {
        as_jane(&api, "POST", BINDINGS, &binding(role, "ClusterRole", role)).await
    };
    bind("cluster-admin").await.fails(403, "Forbidden");
    bind("frogs").await.fails(404, "NotFound");
    as_jane(&api, "POST", BINDINGS, &binding("less", "Role", "less")).await.ok();
}

#[tokio::test]
async fn nobody_has_a_gpu_job_send_what_it_may_not_read() {
    const JOBS: &str = "/apis/minik8s.io/v1/namespaces/default/gpujobs";
    let mut jobs = rule(&["gpujobs"], &["create", "patch"]);
    jobs["apiGroups"] = json!(["minik8s.io"]);
    let mut own = rule(&["secrets"], &["get"]);
    own["resourceNames"] = json!(["mine"]);
    let api = with(json!([jobs, own, rule(&["configmaps"], &["get"])])).await;
    let job = |name: &str, secret: &str, more: Value| {
        let mut spec = json!({"runScripts": ["x"], "credentials": {"secretRef": {"name": secret}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": {"name": name}, "spec": spec})
    };
    let create = async |name: &str, secret: &str, more: Value| {
        as_jane(&api, "POST", JOBS, &job(name, secret, more)).await
    };
    create("a", "mine", json!({"sources": {"configMap": {"name": "any"}}})).await.ok();
    let refused = create("b", "root-login", json!({})).await.fails(403, "Forbidden");
    let expected = "gpujobs.minik8s.io \"b\" is forbidden: spec.credentials.secretRef: user \"jane\" cannot get resource \
                    \"secrets\" in API group \"\" in the namespace \"default\", which is needed for \"root-login\" to be sent \
                    to a Slurm cluster";
    assert_eq!(refused, expected);
    let sources = json!({"sources": {"secret": {"name": "root-login"}}});
    let refused = create("b", "mine", sources).await.fails(403, "Forbidden");
    assert!(refused.contains("spec.sources.secret: "), "{refused}");
    // An administrator's job goes on as it was made.
    api.post(JOBS, &job("c", "root-login", json!({"suspend": true}))).await.ok();
    let body = Body::from(json!({"spec": {"suspend": false}}).to_string());
    let request = Request::patch(format!("{JOBS}/c"));
    let request = request.header(header::CONTENT_TYPE, "application/merge-patch+json");
    Answer::of(api.request_as(jane(), request.body(body).unwrap()).await).await.ok();
}

#[tokio::test]
async fn who_may_escalate_or_bind_is_trusted_with_it() {
    let trusted = json!([
        rule(&["roles"], &["create", "escalate"]),
        rule(&["rolebindings"], &["create"]),
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["bind"],
            "resourceNames": ["view"]},
    ]);
    let api = with(trusted).await;
    let more = role("more", json!([rule(&["secrets"], &["get"])]));
    as_jane(&api, "POST", ROLES, &more).await.ok();
    as_jane(&api, "POST", BINDINGS, &binding("v", "ClusterRole", "view")).await.ok();
    let other = binding("e", "ClusterRole", "cluster-admin");
    as_jane(&api, "POST", BINDINGS, &other).await.fails(403, "Forbidden");
}

#[tokio::test]
async fn reviews_tell_who_may_do_what() {
    let api = with(json!([rule(&["configmaps"], &["get"])])).await;
    let asked = |verb: &str, namespace: &str| json!({"resource": "configmaps", "verb": verb, "namespace": namespace});
    let own = async |attributes: Value| {
        let review = json!({"spec": {"resourceAttributes": attributes}});
        let path = format!("{REVIEWS}/selfsubjectaccessreviews");
        as_jane(&api, "POST", &path, &review).await.ok()["status"].clone()
    };
    let by = "RBAC: allowed by RoleBinding \"janes/default\" of Role \"janes\" to User \"jane\"";
    assert_eq!(own(asked("get", "default")).await, json!({"allowed": true, "reason": by}));
    assert_eq!(own(asked("get", "other")).await, json!({"allowed": false}));
    let of =
        |user: &str| json!({"spec": {"user": user, "resourceAttributes": asked("get", "default")}});
    let review = async |path: String, review: Value| api.post(&path, &review).await;
    let everywhere = format!("{REVIEWS}/subjectaccessreviews");
    assert_eq!(review(everywhere.clone(), of("jane")).await.ok()["status"]["allowed"], true);
    assert_eq!(review(everywhere.clone(), of("joe")).await.ok()["status"]["allowed"], false);
    review(everywhere, of("")).await.fails(422, "Invalid");
    let local =
        |namespace: &str| format!("{REVIEWS}/namespaces/{namespace}/localsubjectaccessreviews");
    assert_eq!(review(local("default"), of("jane")).await.ok()["status"]["allowed"], true);
    review(local("kube-system"), of("jane")).await.fails(400, "BadRequest");
    let path = format!("{REVIEWS}/selfsubjectrulesreviews");
    let rules = as_jane(&api, "POST", &path, &json!({"spec": {"namespace": "default"}})).await.ok();
    let rules = rules["status"]["resourceRules"].as_array().unwrap().clone();
    assert!(rules.contains(&rule(&["configmaps"], &["get"])), "{rules:?}");
}

#[tokio::test]
async fn the_roles_that_are_always_there_are_completed_at_a_start() {
    let api = Api::start().await;
    let path = format!("{RBAC}/clusterroles/system:discovery");
    let mut role = api.get(&path).await.ok();
    assert_eq!(role["metadata"]["labels"]["kubernetes.io/bootstrapping"], "rbac-defaults");
    let whole = role["rules"].clone();
    role["rules"] = json!([{"nonResourceURLs": ["/frogs"], "verbs": ["get"]}]);
    api.put(&path, &role).await.ok();
    let binding = format!("{RBAC}/clusterrolebindings/cluster-admin");
    api.delete(&binding).await.ok();
    let bindings = format!("{RBAC}/clusterrolebindings");
    let monitoring = format!("{bindings}/system:monitoring");
    let mut elsewhere = api.get(&monitoring).await.ok();
    api.delete(&monitoring).await.ok();
    elsewhere["metadata"] = json!({"name": "system:monitoring"});
    elsewhere["roleRef"]["name"] = "view".into();
    api.post(&bindings, &elsewhere).await.ok();
    let store = Arc::clone(&api.store);
    api.server.stop().await;
    let again = ApiServer::start(Config::default(), store, None).await.unwrap();
    let api = api.with_server(again);
    api.get(&binding).await.ok();
    assert_eq!(api.get(&monitoring).await.ok()["roleRef"]["name"], "system:monitoring");
    let rules = api.get(&path).await.ok()["rules"].as_array().unwrap().clone();
    assert_eq!(rules.len(), 1 + whole[0]["nonResourceURLs"].as_array().unwrap().len());
}

#[tokio::test]
async fn a_review_has_no_table() {
    let api = Api::start().await;
    let path = format!("{REVIEWS}/selfsubjectaccessreviews");
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let answer = api.send("POST", &path, (JSON, TABLE), review.to_string()).await;
    let message = answer.fails(406, "NotAcceptable");
    let expected = "the resource selfsubjectaccessreviews.authorization.k8s.io does not support being converted to a Table";
    assert_eq!(message, expected);
}

#[tokio::test]
async fn who_gives_a_policy_parameters_has_to_be_able_to_read_them() {
    let api = with(json!([rule(&["configmaps"], &["get"])])).await;
    let group = "admissionregistration.k8s.io";
    let all = json!([{"apiGroups": [group], "resources": ["*"], "verbs": ["*"]}]);
    let bound = format!("{RBAC}/clusterrolebindings");
    api.post(&format!("{RBAC}/clusterroles"), &role("policies", all)).await.ok();
    api.post(&bound, &binding("policies", "ClusterRole", "policies")).await.ok();
    api.until_cached(&bound, "policies").await;
    let policies = format!("/apis/{group}/v1/validatingadmissionpolicies");
    let services = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["services"],
    });
    let policy = json!({"metadata": {"name": "a"}, "spec": {
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": {"resourceRules": [services]},
        "validations": [{"expression": "true"}],
    }});
    let refused = as_jane(&api, "POST", &policies, &policy).await.fails(422, "Invalid");
    let why = "spec.paramKind: Forbidden: user jane must have \"get\" permission on all objects of the referenced paramKind (kind=ConfigMap, apiVersion=v1)";
    assert!(refused.ends_with(why), "{refused}");
    let mut without = policy.clone();
    without["metadata"]["name"] = "b".into();
    without["spec"].as_object_mut().unwrap().remove("paramKind");
    as_jane(&api, "POST", &policies, &without).await.ok();
    api.post(&policies, &policy).await.ok();
    let bindings = format!("/apis/{group}/v1/validatingadmissionpolicybindings");
    let gives = |policy: &str, mut params: Value| {
        params["parameterNotFoundAction"] = "Allow".into();
        json!({"metadata": {"name": "x"}, "spec": {
            "policyName": policy, "validationActions": ["Deny"], "paramRef": params,
        }})
    };
    for (policy, params, why) in [
        (
            "a",
            json!({"name": "x", "namespace": "other"}),
            "user jane does not have \"get\" permission on the object referenced by paramRef",
        ),
        (
            "a",
            json!({"selector": {}, "namespace": "default"}),
            "user jane does not have \"list\" permission on the object referenced by paramRef",
        ),
        ("none", json!({"name": "x"}), "unable to get policy none to determine"),
    ] {
        let refused = as_jane(&api, "POST", &bindings, &gives(policy, params)).await;
        let message = refused.fails(422, "Invalid");
        assert!(message.contains(&format!("spec.paramRef: Forbidden: {why}")), "{message}");
    }
    let readable = gives("a", json!({"name": "x", "namespace": "default"}));
    as_jane(&api, "POST", &bindings, &readable).await.ok();
}
