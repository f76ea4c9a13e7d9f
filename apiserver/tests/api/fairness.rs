//! Who waits, who is refused and who is served meanwhile, with a webhook that does not answer as the slow part.

use std::sync::Arc;

use apiserver::{Config, Identity, RequestLimits};
use axum::body::Body;
use http::{Request, header};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    harness::{Answer, Api, CONFIG_MAPS, JSON, names},
    webhooks::{Hooks, configure},
};

const GROUP: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const SCHEMA: &str = "x-kubernetes-pf-flowschema-uid";
const LEVEL: &str = "x-kubernetes-pf-prioritylevel-uid";

/// One seat for each of the users `jane` and `joe` together; what is left, for others.
async fn narrow(api: &Api, response: Value) -> (String, String) {
    let limited = json!({"nominalConcurrencyShares": 1, "limitResponse": response,
        "borrowingLimitPercent": 0});
    let level =
        json!({"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limited}});
    let level = api.post(&format!("{GROUP}/prioritylevelconfigurations"), &level).await.ok();
    let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
    let rules = json!([{"subjects": [user("jane"), user("joe")], "resourceRules": [{
        "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"],
        "clusterScope": true,
    }]}]);
    let schema = json!({"metadata": {"name": "narrow"}, "spec": {
        "priorityLevelConfiguration": {"name": "narrow"}, "matchingPrecedence": 50,
        "distinguisherMethod": {"type": "ByUser"}, "rules": rules,
    }});
    let schema = api.post(&format!("{GROUP}/flowschemas"), &schema).await.ok();
    let uid = |object: &Value| object["metadata"]["uid"].as_str().unwrap().to_owned();
    let uids = (uid(&schema), uid(&level));
    while of(&as_user(api, "jane", get()).await) != uids {
        tokio::task::yield_now().await;
    }
    uids
}

fn user(name: &str) -> Identity {
    Identity::new(name, &["system:authenticated"])
}

fn get() -> Request<Body> {
    Request::get(CONFIG_MAPS).header(header::ACCEPT, JSON).body(Body::empty()).unwrap()
}

async fn as_user(api: &Api, name: &str, request: Request<Body>) -> Answer {
    Answer::of(api.request_as(user(name), request).await).await
}

/// By which schema and level it was decided.
fn of(answer: &Answer) -> (String, String) {
    let header = |name: &str| answer.headers[name].to_str().unwrap().to_owned();
    (header(SCHEMA), header(LEVEL))
}

/// They may do whatever they want.
async fn permit(api: &Api) {
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let subject = json!({"kind": "Group", "name": "system:authenticated",
        "apiGroup": "rbac.authorization.k8s.io"});
    let role = json!({"kind": "ClusterRole", "name": "cluster-admin",
        "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "all"}, "subjects": [subject], "roleRef": role});
    api.post(bindings, &binding).await.ok();
    api.until_cached(bindings, "all").await;
}

async fn few_seats() -> Arc<Api> {
    let request_limits = RequestLimits { reads: 2, writes: 1, ..RequestLimits::default() };
    let api = Api::with(Config { request_limits, ..Config::default() }).await;
    permit(&api).await;
    Arc::new(api)
}

/// A write that the webhook keeps waiting.
fn stuck(api: &Arc<Api>, name: &'static str) -> JoinHandle<Answer> {
    let api = api.clone();
    let map = json!({"metadata": {"generateName": "x"}}).to_string();
    let request = Request::post(CONFIG_MAPS).header(header::CONTENT_TYPE, JSON);
    let request = request.body(Body::from(map)).unwrap();
    tokio::spawn(async move { as_user(&api, name, request).await })
}

#[tokio::test]
async fn who_finds_its_level_full_is_refused_and_others_are_served() {
    let (api, hooks) = (few_seats().await, Hooks::start(|_, _| json!({"allowed": true})).await);
    let reject = json!({"type": "Reject"});
    let uids = narrow(&api, reject).await;
    configure(&api, "validating", "slow", &[hooks.webhook("hang", json!({}))]).await;
    let writing = stuck(&api, "jane");
    hooks.asked.notified().await;
    let refused = as_user(&api, "joe", get()).await;
    let why = refused.fails(429, "TooManyRequests");
    assert_eq!(why, "Too many requests, please try again later.");
    assert_eq!(refused.headers[header::RETRY_AFTER], "1");
    assert_eq!(of(&refused), uids);
    let other = as_user(&api, "ann", get()).await;
    assert_ne!(of(&other), uids);
    other.ok();
    // Administrators, health and watches that go on have no part in it.
    api.get(CONFIG_MAPS).await.ok();
    let healthz = Request::get("/healthz").body(Body::empty()).unwrap();
    assert_eq!(as_user(&api, "joe", healthz).await.code, 200);
    // What has been given up gives its seat back.
    writing.abort();
    while as_user(&api, "joe", get()).await.code == 429 {
        tokio::task::yield_now().await;
    }
    let metrics = api.get("/metrics").await.text;
    let rejected = r#"apiserver_flowcontrol_rejected_requests_total{priority_level="narrow",flow_schema="narrow",reason="concurrency-limit"}"#;
    assert!(metrics.contains(rejected), "{metrics}");
    assert!(
        metrics.contains(r#"apiserver_flowcontrol_nominal_limit_seats{priority_level="narrow"} 1"#)
    );
}

#[tokio::test]
async fn who_finds_its_level_full_waits_in_a_queue_until_there_is_a_seat() {
    let (api, hooks) = (few_seats().await, Hooks::start(|_, _| json!({"allowed": true})).await);
    let queuing = json!({"queues": 1, "handSize": 1, "queueLengthLimit": 1});
    narrow(&api, json!({"type": "Queue", "queuing": queuing})).await;
    configure(&api, "validating", "slow", &[hooks.webhook("hang", json!({}))]).await;
    let writing = stuck(&api, "jane");
    hooks.asked.notified().await;
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { as_user(&api, "joe", get()).await }
    });
    let dump = "/debug/api_priority_and_fairness/dump_priority_levels";
    while !api.get(dump).await.text.contains("\nnarrow, 1, false, false, 1, 1,") {
        tokio::task::yield_now().await;
    }
    as_user(&api, "joe", get()).await.fails(429, "TooManyRequests");
    writing.abort();
    waiting.await.unwrap().ok();
    assert!(api.get("/debug/api_priority_and_fairness/dump_queues").await.text.starts_with("Prio"));
}

#[tokio::test]
async fn a_watch_takes_a_seat_only_until_it_has_begun() {
    let api = few_seats().await;
    narrow(&api, json!({"type": "Reject"})).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let watch = Request::get(format!("{CONFIG_MAPS}?watch=1")).body(Body::empty()).unwrap();
        let answer = api.request_as(user("jane"), watch).await;
        assert_eq!(answer.status(), 200);
        open.push(answer);
    }
    as_user(&api, "jane", get()).await.ok();
}

#[tokio::test]
async fn the_usual_objects_are_there_kept_and_say_whether_their_level_is() {
    let api = Api::start().await;
    let (schemas, levels) =
        (format!("{GROUP}/flowschemas"), format!("{GROUP}/prioritylevelconfigurations"));
    let found = api.get(&levels).await.ok();
    let expected = [
        "catch-all",
        "exempt",
        "global-default",
        "leader-election",
        "node-high",
        "system",
        "workload-high",
        "workload-low",
    ];
    assert_eq!(names(&found), expected);
    assert_eq!(api.get(&schemas).await.ok()["items"].as_array().unwrap().len(), 12);
    let dangling = async |name: &str, status: &str| {
        let path = format!("{schemas}/{name}");
        loop {
            let condition = api.get(&path).await.ok()["status"]["conditions"][0].clone();
            if condition["status"] == status {
                return condition["message"].as_str().unwrap().to_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let why = r#"This FlowSchema references the PriorityLevelConfiguration object named "workload-low" and it exists"#;
    assert_eq!(dangling("service-accounts", "False").await, why);
    let lost = json!({"metadata": {"name": "lost"}, "spec": {
        "priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 7000}});
    api.post(&schemas, &lost).await.ok();
    let why = r#"This FlowSchema references the PriorityLevelConfiguration object named "nowhere" but there is no such object"#;
    assert_eq!(dangling("lost", "True").await, why);
    let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
    let told = api.get(&schemas).await.ok();
    // Another server finds them as they are to be, and nothing to tell.
    let other =
        apiserver::ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let again = api.get(&schemas).await.ok();
    assert_eq!(
        told["items"].as_array().unwrap().iter().map(version).collect::<Vec<_>>(),
        again["items"].as_array().unwrap().iter().map(version).collect::<Vec<_>>()
    );
    drop(other);
}

#[tokio::test]
async fn without_fairness_there_is_one_limit_for_all_but_masters() {
    let request_limits = RequestLimits { fair: false, reads: 0, writes: 1 };
    let api = Api::with(Config { request_limits, ..Config::default() }).await;
    permit(&api).await;
    let (api, hooks) = (Arc::new(api), Hooks::start(|_, _| json!({"allowed": true})).await);
    configure(&api, "validating", "slow", &[hooks.webhook("hang", json!({}))]).await;
    let writing = stuck(&api, "jane");
    hooks.asked.notified().await;
    stuck(&api, "joe").await.unwrap().fails(429, "TooManyRequests");
    let read = as_user(&api, "joe", get()).await;
    read.ok();
    assert!(!read.headers.contains_key(SCHEMA));
    assert!(names(&api.get(&format!("{GROUP}/flowschemas")).await.ok()).is_empty());
    writing.abort();
}
