//! What is told of requests, as a policy says.

use std::{fs, io, path::PathBuf, sync::Arc, task::Poll};

use apiserver::{Audit, Batches, Config, Identity, LogFile, Truncation};
use axum::{Router, body::Body, routing::post};
use http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::wait;
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};

use crate::{
    faulty::{Fate, Faulty, Op},
    harness::{Answer, Api, CONFIG_MAPS, JSON},
    webhooks::{self, Hooks},
};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";

/// A server that tells what this policy says.
struct Audited {
    api: Api,
    directory: TempDir,
}

fn policy(directory: &TempDir, rules: &str) -> PathBuf {
    let path = directory.path().join("policy.yaml");
    let head = "apiVersion: audit.k8s.io/v1\nkind: Policy\n";
    // What the server asks itself is not of interest here.
    let own = "rules:\n- {level: None, users: [system:apiserver]}\n";
    fs::write(&path, format!("{head}{own}{rules}")).unwrap();
    path
}

fn config(directory: &TempDir, rules: &str, truncation: Option<Truncation>) -> Config {
    let audit = Audit::new(&policy(directory, rules)).unwrap().to_log(LogFile {
        path: directory.path().join("audit.log"),
        max_size: 0,
        max_backups: 0,
        max_age: 0,
        compress: false,
        truncation,
    });
    Config { audit: Some(Arc::new(audit)), ..Config::default() }
}

impl Audited {
    async fn by(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { api: Api::with(config(&directory, rules, None)).await, directory }
    }

    /// The same, with events of so many bytes at most.
    async fn truncated(rules: &str, max_event_size: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let truncation = Truncation::new(max_event_size, max_event_size).unwrap();
        Self { api: Api::with(config(&directory, rules, Some(truncation))).await, directory }
    }

    /// The same, with a store that can be made to fail.
    async fn faulty(rules: &str) -> (Self, Arc<Faulty>) {
        let directory = tempfile::tempdir().unwrap();
        let (api, faulty) = Api::faulty_with(config(&directory, rules, None)).await;
        (Self { api, directory }, faulty)
    }

    /// All that was told, once the server has stopped.
    async fn events(self) -> Vec<Value> {
        self.api.server.stop().await;
        let text = fs::read_to_string(self.directory.path().join("audit.log")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn stages(events: &[Value]) -> Vec<String> {
    let brief = |event: &Value| {
        let text = |field: &str| event[field].as_str().unwrap().to_owned();
        format!("{} {}", text("verb"), text("stage"))
    };
    events.iter().map(brief).collect()
}

#[tokio::test]
async fn a_request_is_told_with_who_asked_and_what_came_of_it() {
    let audited = Audited::by("- {level: Metadata, omitStages: [RequestReceived]}\n").await;
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", JSON)
        .header("user-agent", "me/1")
        .header("x-forwarded-for", "10.9.8.7, nonsense")
        .header("audit-id", "mine")
        .header("impersonate-user", "ann")
        .header("impersonate-group", "system:masters")
        .body(Body::from(json!({"metadata": {"name": "m"}, "data": {"a": "secret"}}).to_string()))
        .unwrap();
    let answer = Answer::of(audited.api.request(request).await).await;
    assert_eq!((answer.code, answer.headers["audit-id"].to_str().unwrap()), (201, "mine"));
    let request = Request::get("/api/v1/nodes?limit=1").body(Body::empty()).unwrap();
    let bob = Identity::new("bob", &[]);
    assert_eq!(audited.api.request_as(bob, request).await.status(), 403);
    let events = audited.events().await;
    assert_eq!(stages(&events), ["create ResponseComplete", "list ResponseComplete"]);
    let made = &events[0];
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!((&made["level"], &made["auditID"]), (&json!("Metadata"), &json!("mine")));
    assert_eq!(made["requestURI"], CONFIG_MAPS);
    assert_eq!(made["user"]["username"], "kubernetes-admin");
    assert_eq!(made["impersonatedUser"]["username"], "ann");
    assert_eq!((&made["sourceIPs"], &made["userAgent"]), (&json!(["10.9.8.7"]), &json!("me/1")));
    let about =
        json!({"resource": "configmaps", "namespace": "default", "name": "m", "apiVersion": "v1"});
    assert_eq!(made["objectRef"], about);
    assert_eq!(made["responseStatus"], json!({"metadata": {}, "code": 201}));
    assert!(made["requestObject"].is_null() && made["responseObject"].is_null());
    assert_eq!(made["annotations"]["authorization.k8s.io/decision"], "allow");
    for time in ["requestReceivedTimestamp", "stageTimestamp"] {
        assert_eq!(made[time].as_str().unwrap().len(), "2026-01-01T00:00:00.000000Z".len());
    }
    let refused = &events[1];
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
}

#[tokio::test]
async fn what_is_brought_and_answered_is_told_where_the_level_says_so() {
    let audited = Audited::by(
        "- {level: Metadata, resources: [{resources: [secrets]}]}\n\
         - {level: Request, verbs: [patch], omitManagedFields: true}\n\
         - {level: RequestResponse, resources: [{resources: [configmaps]}]}\n",
    )
    .await;
    let api = &audited.api;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"p": "correct horse"}});
    let secrets = "/api/v1/namespaces/default/secrets";
    api.post(secrets, &secret).await.ok();
    let yaml = "apiVersion: v1\nkind: Secret\nmetadata: {name: in-yaml}\n";
    api.send("POST", secrets, ("application/yaml", JSON), yaml).await.ok();
    api.post(CONFIG_MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await.ok();
    let path = format!("{CONFIG_MAPS}/m?fieldManager=me&force=true");
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: c}\n";
    api.send("PATCH", &path, ("application/apply-patch+yaml", JSON), apply).await.ok();
    // In whatever encoding it is answered.
    let absent = Request::get(format!("{CONFIG_MAPS}/nothing"));
    let absent = absent.header("accept", "application/vnd.kubernetes.protobuf");
    assert_eq!(api.request(absent.body(Body::empty()).unwrap()).await.status(), 404);
    api.get("/version").await.ok();
    let events = audited.events().await;
    let all = serde_json::to_string(&events).unwrap();
    assert!(!all.contains("correct horse") && !all.contains("/version"), "{all}");
    let of = |verb: &str, stage: &str| {
        let found = events.iter().rfind(|it| it["verb"] == verb && it["stage"] == stage);
        found.unwrap_or_else(|| panic!("{verb} {stage}: {all}")).clone()
    };
    assert!(of("create", "RequestReceived")["requestObject"].is_null());
    let made = of("create", "ResponseComplete");
    assert_eq!(made["requestObject"]["data"], json!({"a": "b"}));
    assert!(made["responseObject"]["metadata"]["uid"].is_string());
    let in_yaml = events.iter().find(|event| event["objectRef"]["name"] == "in-yaml");
    assert!(in_yaml.is_some_and(|event| event["requestObject"].is_null()), "{all}");
    let applied = of("patch", "ResponseComplete");
    assert_eq!(applied["requestObject"]["data"], json!({"a": "c"}));
    assert!(applied["responseObject"].is_null());
    let absent = of("get", "ResponseComplete");
    assert_eq!(absent["responseStatus"]["reason"], "NotFound");
    assert_eq!(absent["responseObject"]["kind"], "Status");
}

#[tokio::test]
async fn what_is_brought_is_not_told_if_it_is_too_long_and_longer_events_are_counted() {
    let rules = "- {level: RequestResponse, omitStages: [RequestReceived], resources: [{resources: [configmaps]}]}\n";
    let audited = Audited::truncated(rules, 4096).await;
    let api = &audited.api;
    let long = "x".repeat(5000);
    api.post(CONFIG_MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": long}})).await.ok();
    api.get(&format!("{CONFIG_MAPS}/m?unknown={long}")).await.ok();
    let metrics = api.get("/metrics").await.text;
    assert!(metrics.contains("apiserver_audit_error_total{plugin=\"truncate\"} 1\n"), "{metrics}");
    let events = audited.events().await;
    assert_eq!(stages(&events), ["create ResponseComplete"]);
    let made = &events[0];
    assert_eq!(made["annotations"]["audit.k8s.io/truncated"], "true");
    assert_eq!(made["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(
        (&made["level"], &made["objectRef"]["name"]),
        (&json!("RequestResponse"), &json!("m"))
    );
    assert!(made["requestObject"].is_null() && made["responseObject"].is_null());
}

#[tokio::test]
async fn who_manages_fields_is_told_unless_the_policy_says_otherwise() {
    let audited = Audited::by(
        "- {level: RequestResponse, omitStages: [RequestReceived], verbs: [patch]}\n\
         - {level: RequestResponse, omitStages: [RequestReceived], verbs: [update], omitManagedFields: true}\n",
    )
    .await;
    let path = format!("{CONFIG_MAPS}/m");
    let apply = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: c}\n";
    let query = format!("{path}?fieldManager=me");
    let types = ("application/apply-patch+yaml", JSON);
    let applied = audited.api.send("PATCH", &query, types, apply).await.ok();
    assert!(applied["metadata"]["managedFields"].is_array());
    audited.api.put(&path, &applied).await.ok();
    let events = audited.events().await;
    assert_eq!(stages(&events), ["patch ResponseComplete", "update ResponseComplete"]);
    let managed = |event: usize, object: &str| {
        let metadata = &events[event][object]["metadata"];
        assert_eq!(metadata["name"], "m");
        !metadata["managedFields"].is_null()
    };
    assert!(managed(0, "responseObject"));
    assert!(!managed(1, "requestObject") && !managed(1, "responseObject"));
}

#[tokio::test]
async fn who_is_not_known_or_may_not_act_as_another_is_told_too() {
    let audited = Audited::by("- {level: Metadata}\n").await;
    let api = &audited.api;
    let request = |name: &'static str, value: &'static str| {
        Request::get(CONFIG_MAPS).header(name, value).body(Body::empty()).unwrap()
    };
    let stranger = request("authorization", "Bearer stolen");
    assert_eq!(api.request_as(Identity::anonymous(), stranger).await.status(), 401);
    let pretender = request("impersonate-user", "ann");
    assert_eq!(api.request_as(Identity::new("bob", &[]), pretender).await.status(), 403);
    let events = audited.events().await;
    let expected = ["list ResponseStarted", "list RequestReceived", "list ResponseComplete"];
    assert_eq!(stages(&events), expected);
    let refused = json!({
        "metadata": {}, "message": "Authentication failed, attempted: bearer", "code": 401,
    });
    assert_eq!((&events[0]["user"], &events[0]["responseStatus"]), (&json!({}), &refused));
    assert_eq!(events[2]["user"]["username"], "bob");
    assert_eq!(events[2]["responseStatus"]["code"], 403);
    assert!(events[2]["impersonatedUser"].is_null());
}

#[tokio::test]
async fn a_request_that_gives_a_wrong_timeout_is_told_too() {
    let audited = Audited::by("- {level: Metadata}\n").await;
    let answer = audited.api.get(&format!("{CONFIG_MAPS}?timeout=nonsense")).await;
    let why = answer.fails(400, "BadRequest");
    let events = audited.events().await;
    assert_eq!(stages(&events), ["list ResponseStarted"]);
    assert_eq!(events[0]["requestURI"], format!("{CONFIG_MAPS}?timeout=nonsense"));
    assert_eq!(events[0]["objectRef"]["resource"], "configmaps");
    let refused = json!({"metadata": {}, "message": why, "code": 400});
    assert_eq!((&events[0]["user"], &events[0]["responseStatus"]), (&json!({}), &refused));
}

#[tokio::test]
async fn what_policies_have_to_say_is_told() {
    let audited = Audited::by("- {level: Metadata, omitStages: [RequestReceived]}\n").await;
    let api = &audited.api;
    let rules = json!([{
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
    }]);
    let policy = json!({
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": "true"}, {"expression": "!has(object.data)", "message": "it has data"}],
        "auditAnnotations": [{"key": "name", "valueExpression": "'it is ' + object.metadata.name"}],
    });
    let binding = json!({"policyName": "p", "validationActions": ["Audit"]});
    for (plural, spec) in [("policies", policy), ("policybindings", binding)] {
        let collection = format!("{GROUP}/validatingadmission{plural}");
        api.post(&collection, &json!({"metadata": {"name": "p"}, "spec": spec})).await.ok();
        api.until_cached(&collection, "p").await;
    }
    api.post(CONFIG_MAPS, &json!({"metadata": {"name": "m"}, "data": {"a": "b"}})).await.ok();
    let events = audited.events().await;
    let made = events.iter().find(|event| event["objectRef"]["name"] == "m").unwrap();
    assert_eq!(made["annotations"]["p/name"], "it is m");
    let failure = &made["annotations"]["validation.policy.admission.k8s.io/validation_failure"];
    let failure: Value = serde_json::from_str(failure.as_str().unwrap()).unwrap();
    let expected = json!([{
        "message": "it has data", "policy": "p", "binding": "p", "expressionIndex": 1, "validationActions": ["Audit"],
    }]);
    assert_eq!(failure, expected);
}

#[tokio::test]
async fn it_is_told_what_webhooks_changed_and_which_could_not_be_asked() {
    let operations = json!([{"op": "add", "path": "/data/x", "value": "y"}]);
    let change = operations.clone();
    let hooks = Hooks::start(move |path, _| match path {
        "add" => webhooks::patch(&change),
        _ => json!({"allowed": true}),
    })
    .await;
    let audited = Audited::by(
        "- {level: Metadata, omitStages: [RequestReceived], verbs: [create], namespaces: [default]}\n\
         - {level: Request, omitStages: [RequestReceived], verbs: [update]}\n",
    )
    .await;
    let api = &audited.api;
    let ignored = json!({"failurePolicy": "Ignore"});
    let mutating = ["add", "same"].map(|path| hooks.webhook(path, json!({})));
    webhooks::configure(api, "mutating", "m", &mutating).await;
    let failing = hooks.webhook("failing", ignored);
    webhooks::configure(api, "validating", "v", &[hooks.webhook("fine", json!({})), failing]).await;
    let object = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    api.post(CONFIG_MAPS, &object).await.ok();
    api.put(&format!("{CONFIG_MAPS}/m"), &object).await.ok();
    let events = audited.events().await;
    let told = |verb: &str, key: &str| {
        let of_map =
            |it: &&Value| it["verb"] == verb && it["objectRef"]["resource"] == "configmaps";
        let event = events.iter().find(of_map).unwrap();
        event["annotations"][key].as_str().map(str::to_owned)
    };
    let mutation = |index: usize| {
        told("create", &format!("mutation.webhook.admission.k8s.io/round_0_index_{index}"))
    };
    let text = |webhook: &str, mutated: bool| {
        Some(format!(
            r#"{{"configuration":"m","webhook":"{webhook}.example.com","mutated":{mutated}}}"#
        ))
    };
    assert_eq!([mutation(0), mutation(1)], [text("add", true), text("same", false)]);
    let open = "failed-open.validating.webhook.admission.k8s.io/round_0_index_1";
    assert_eq!(told("create", open).as_deref(), Some("failing.example.com"));
    let patched = "patch.webhook.admission.k8s.io/round_0_index_0";
    assert_eq!(told("create", patched), None);
    let patch: Value = serde_json::from_str(&told("update", patched).unwrap()).unwrap();
    assert_eq!((&patch["patch"], &patch["patchType"]), (&operations, &json!("JSONPatch")));
}

#[tokio::test]
async fn all_answers_say_under_which_name_they_are_told() {
    let api = Api::start().await;
    let answer = api.get(CONFIG_MAPS).await;
    let id = answer.headers["audit-id"].to_str().unwrap().to_owned();
    assert_eq!(id.len(), "01234567-0123-0123-0123-0123456789ab".len());
    assert_ne!(api.get(CONFIG_MAPS).await.headers["audit-id"], id.as_str());
    for (length, is_taken) in [(64, true), (65, false)] {
        let given = "x".repeat(length);
        let request = Request::get(CONFIG_MAPS).header("audit-id", &given);
        let answer = api.request(request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.headers()["audit-id"] == given.as_str(), is_taken, "{length}");
    }
}

#[tokio::test]
async fn a_watch_is_told_when_it_begins_and_when_it_ends() {
    let audited = Audited::by("- {level: RequestResponse, verbs: [watch]}\n").await;
    let mut watch = audited.api.watch(&format!("{CONFIG_MAPS}?watch=true")).await;
    audited.api.config_map("m", json!({})).await;
    assert_eq!(watch.brief().await, "ADDED m");
    drop(watch);
    let events = audited.events().await;
    let expected = ["watch RequestReceived", "watch ResponseStarted", "watch ResponseComplete"];
    assert_eq!(stages(&events), expected);
    assert!(events[2]["responseObject"].is_null());
}

#[tokio::test]
async fn a_write_is_told_with_what_came_of_it_though_its_client_has_gone_away() {
    let rules = "- {level: Request, omitStages: [RequestReceived], verbs: [create]}\n";
    let (audited, faulty) = Audited::faulty(rules).await;
    faulty.rule(|op, key| match (op, key.contains("configmaps") && key.ends_with("/m")) {
        (Op::Put, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", JSON)
        .body(Body::from(json!({"metadata": {"name": "m"}, "data": {"a": "b"}}).to_string()))
        .unwrap();
    tokio::select! {
        response = audited.api.request(request) => panic!("answered: {response:?}"),
        () = faulty.holds() => {}
    }
    faulty.release();
    audited.api.until(&format!("{CONFIG_MAPS}/m"), 200).await;
    let events = audited.events().await;
    assert_eq!(stages(&events), ["create ResponseComplete"]);
    assert_eq!(events[0]["requestObject"]["data"], json!({"a": "b"}));
    assert_eq!(events[0]["responseStatus"], json!({"metadata": {}, "code": 201}));
}

#[tokio::test]
async fn a_request_is_told_though_its_client_goes_away_before_it_has_sent_all() {
    let audited = Audited::by("- {level: Metadata}\n").await;
    let reads = Arc::new(Notify::new());
    let asked = reads.clone();
    let body = Body::from_stream(futures::stream::poll_fn(move |_| {
        asked.notify_one();
        Poll::<Option<Result<&'static str, io::Error>>>::Pending
    }));
    let request = Request::post(CONFIG_MAPS).header("content-type", JSON).body(body).unwrap();
    tokio::select! {
        response = audited.api.request(request) => panic!("answered: {response:?}"),
        () = reads.notified() => {}
    }
    let events = audited.events().await;
    assert_eq!(stages(&events), ["create RequestReceived", "create ResponseComplete"]);
    assert!(events[1]["responseStatus"].is_null());
}

#[tokio::test]
async fn a_server_is_sent_events_in_batches_and_what_is_left_at_the_stop() {
    let (sender, mut received) = mpsc::channel::<Value>(8);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().route(
        "/audit",
        post(async move |axum::Json(list): axum::Json<Value>| sender.send(list).await.unwrap()),
    );
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = directory.path().join("kubeconfig");
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "a", "user": ""}}],
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{address}/audit")}}],
    });
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let policy = policy(&directory, "- {level: Metadata, omitStages: [RequestReceived]}\n");
    let audit = Audit::new(&policy).unwrap().to_webhook(&kubeconfig, Batches::default()).unwrap();
    let config = Config { audit: Some(Arc::new(audit)), ..Config::default() };
    let api = Api::with(config).await;
    for _ in 0..3 {
        api.get(CONFIG_MAPS).await.ok();
    }
    wait::within("it stops", api.server.stop()).await;
    let list = received.recv().await.unwrap();
    assert_eq!(
        (&list["kind"], &list["apiVersion"]),
        (&json!("EventList"), &json!("audit.k8s.io/v1"))
    );
    assert_eq!(stages(list["items"].as_array().unwrap()), ["list ResponseComplete"; 3]);
}
