//! Webhooks that admission asks, served over HTTPS by the test, with an authority of its own.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
};

use apiserver::{ApiServer, Config};
use axum::{Json, Router, body::Body, extract::State, routing::post};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};
use testkit::wait;
use tokio::{net::TcpListener, sync::Notify};
use tokio_rustls::TlsAcceptor;

use crate::harness::{Answer, Api, CONFIG_MAPS, JSON, PODS, pod};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";

type Answering = dyn Fn(&str, &Value) -> Value + Send + Sync;

/// A server of webhooks: what it answers is a function of the path and the request.
pub(crate) struct Hooks {
    pub(crate) address: SocketAddr,
    /// Its authority's certificate.
    pub(crate) authority: String,
    seen: Mutex<Vec<(String, Value)>>,
    answer: Box<Answering>,
    /// Asked at `/hang`, and the question dropped.
    pub(crate) asked: Notify,
    pub(crate) dropped: Notify,
}

impl Hooks {
    pub(crate) async fn start(
        answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static,
    ) -> Arc<Self> {
        component::install_crypto_provider();
        let (authority, tls) = certificates();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let hooks = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            authority,
            seen: Mutex::default(),
            answer: Box::new(answer),
            asked: Notify::new(),
            dropped: Notify::new(),
        });
        let routes = Router::new()
            .route("/hang", post(hang))
            .route("/long", post(async || vec![b' '; 5 << 20]))
            .route("/failing", post(async || http::StatusCode::INTERNAL_SERVER_ERROR))
            .route("/{*path}", post(review))
            .with_state(hooks.clone());
        tokio::spawn(serve(listener, tls, routes));
        hooks
    }

    /// What it was asked at a path.
    pub(crate) fn seen(&self, path: &str) -> Vec<Value> {
        let seen = self.seen.lock();
        let of_it = seen.iter().filter(|(at, _)| at == path);
        of_it.map(|(_, request)| request.clone()).collect()
    }

    /// A webhook of a configuration, with this beside; it is named by its path.
    pub(crate) fn webhook(&self, path: &str, more: Value) -> Value {
        let mut hook = json!({
            "name": format!("{path}.example.com"),
            "clientConfig": {
                "url": format!("https://localhost:{}/{path}", self.address.port()),
                "caBundle": STANDARD.encode(&self.authority),
            },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
                "resources": ["configmaps"],
            }],
            "admissionReviewVersions": ["v1"], "sideEffects": "None", "timeoutSeconds": 20,
        });
        let Value::Object(more) = more else { panic!("fields of a webhook") };
        hook.as_object_mut().unwrap().extend(more);
        hook
    }
}

pub(crate) fn certificates() -> (String, TlsAcceptor) {
    let (ca_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = ca.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::from_ca_cert_pem(&authority, ca_key).unwrap();
    let names = ["localhost", "hook.default.svc"].map(str::to_owned);
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap().pem();
    let chain = vec![CertificateDer::from_pem_slice(leaf.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    (authority, TlsAcceptor::from(Arc::new(config.unwrap())))
}

pub(crate) async fn serve(listener: TcpListener, tls: TlsAcceptor, routes: Router) {
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, routes) = (tls.clone(), routes.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = TowerToHyperService::new(routes);
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn review(
    State(hooks): State<Arc<Hooks>>,
    uri: http::Uri,
    headers: http::HeaderMap,
    Json(review): Json<Value>,
) -> Json<Value> {
    assert_eq!(headers["accept"], "application/json, */*");
    let (path, request) = (uri.path().trim_start_matches('/'), &review["request"]);
    hooks.seen.lock().push((path.to_owned(), request.clone()));
    let mut response = (hooks.answer)(path, request);
    response["uid"] = request["uid"].clone();
    Json(json!({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}))
}

/// Tells when it is dropped.
struct Dropped(Arc<Hooks>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.dropped.notify_one();
    }
}

async fn hang(State(hooks): State<Arc<Hooks>>) {
    let _dropped = Dropped(hooks.clone());
    hooks.asked.notify_one();
    std::future::pending::<()>().await;
}

fn allowed() -> Value {
    json!({"allowed": true})
}

pub(crate) fn patch(operations: &Value) -> Value {
    let patch = STANDARD.encode(operations.to_string());
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

/// Configures webhooks; `kind` is `mutating` or `validating`. What is written next is admitted by them.
pub(crate) async fn configure(api: &Api, kind: &str, name: &str, hooks: &[Value]) {
    let collection = format!("{GROUP}/{kind}webhookconfigurations");
    let configuration = json!({"metadata": {"name": name}, "webhooks": hooks});
    api.post(&collection, &configuration).await.ok();
    api.until_cached(&collection, name).await;
}

fn map(name: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"a": "b"}})
}

#[tokio::test]
async fn one_after_another_may_change_an_object_and_all_may_refuse_it() {
    let hooks = Hooks::start(|path, request| match path {
        "first" => patch(&json!([{"op": "add", "path": "/data/first", "value": "1"}])),
        "second" if request["object"]["data"]["first"] == "1" => {
            let told = json!(["mind the gap"]);
            let mut answer = patch(&json!([{"op": "add", "path": "/data/second", "value": "2"}]));
            answer["warnings"] = told;
            answer["auditAnnotations"] = json!({"a": "b"});
            answer
        }
        "check" if request["object"]["data"]["a"] == "bad" => {
            json!({"allowed": false, "status": {"code": 403, "reason": "Forbidden", "message": "a is bad"}})
        }
        _ => allowed(),
    })
    .await;
    let api = Api::start().await;
    // In the order of the configurations' names.
    configure(&api, "mutating", "b", &[hooks.webhook("second", json!({}))]).await;
    configure(&api, "mutating", "a", &[hooks.webhook("first", json!({}))]).await;
    configure(&api, "validating", "c", &[hooks.webhook("check", json!({}))]).await;
    let answer = api.post(&format!("{CONFIG_MAPS}?fieldManager=me"), &map("m")).await;
    assert_eq!(answer.ok()["data"], json!({"a": "b", "first": "1", "second": "2"}));
    assert_eq!(answer.headers["warning"], r#"299 - "mind the gap""#);
    let asked = &hooks.seen("check")[0];
    assert_eq!(asked["object"]["data"]["second"], "2");
    assert_eq!(asked["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(asked["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!((&asked["name"], &asked["namespace"]), (&json!("m"), &json!("default")));
    assert_eq!((&asked["operation"], &asked["oldObject"]), (&json!("CREATE"), &Value::Null));
    assert_eq!(asked["userInfo"]["username"], "kubernetes-admin");
    assert_eq!(asked["options"]["kind"], "CreateOptions");
    assert_eq!(asked["options"]["fieldManager"], "me");
    let bad = json!({"data": {"a": "bad"}});
    let refused = api.patch(&format!("{CONFIG_MAPS}/m"), "merge-patch", &bad).await;
    assert_eq!(
        refused.fails(403, "Forbidden"),
        r#"admission webhook "check.example.com" denied the request: a is bad"#
    );
    let asked = hooks.seen("check");
    assert_eq!(asked[1]["options"]["kind"], "PatchOptions");
    assert_eq!(asked.len(), 2, "what is refused of the latest state isn't tried again");
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/m")).await.ok()["data"]["a"], "b");
}

#[tokio::test]
async fn a_webhook_is_asked_only_where_its_conditions_hold() {
    let hooks = Hooks::start(|path, _| match path {
        "change" => patch(&json!([{"op": "add", "path": "/data/changed", "value": "yes"}])),
        _ => json!({"allowed": false}),
    })
    .await;
    let api = Api::start().await;
    let conditions = |expressions: &[&str]| {
        let named = expressions.iter().enumerate();
        let named = named.map(|(i, it)| json!({"name": format!("c{i}"), "expression": it}));
        json!({"matchConditions": named.collect::<Vec<_>>()})
    };
    let me = "request.userInfo.username == 'kubernetes-admin' && request.namespace == 'default'";
    let may = "authorizer.requestResource.check('create').allowed()";
    let named = "object.metadata.name.startsWith('m') && oldObject == null";
    let mine = hooks.webhook("change", conditions(&[me, may, named]));
    configure(&api, "mutating", "a", &[mine]).await;
    let strict = hooks.webhook("check", conditions(&["object.data.missing == 'x'"]));
    configure(&api, "validating", "b", &[strict]).await;
    let why = api.post(CONFIG_MAPS, &map("m")).await.fails(403, "Forbidden");
    let expected = "configmaps \"m\" is forbidden: expression 'object.data.missing == 'x'' resulted in error: no such key: missing";
    assert_eq!(why, expected);
    let ignore = json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
    let strict = format!("{GROUP}/validatingwebhookconfigurations/b");
    api.patch(&strict, "json-patch", &ignore).await.ok();
    api.get(&format!("{GROUP}/validatingwebhookconfigurations")).await.ok();
    let made = api.post(CONFIG_MAPS, &map("m")).await.ok();
    assert_eq!(made["data"]["changed"], "yes");
    assert!(api.post(CONFIG_MAPS, &map("other")).await.ok()["data"]["changed"].is_null());
    assert!(hooks.seen("check").is_empty());
    assert_eq!(hooks.seen("change").len(), 2);
}

#[tokio::test]
async fn each_of_many_that_are_deleted_is_asked_about_with_what_it_was() {
    let hooks =
        Hooks::start(|_, request| match request["oldObject"]["metadata"]["name"].as_str() {
            Some("kept") => json!({"allowed": false}),
            _ => allowed(),
        })
        .await;
    let api = Api::start().await;
    for name in ["gone", "kept"] {
        api.config_map(name, json!({"app": "x"})).await;
    }
    let rule = json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["DELETE"], "resources": ["*"]});
    configure(&api, "validating", "c", &[hooks.webhook("check", json!({"rules": [rule]}))]).await;
    let refused = api.delete(&format!("{CONFIG_MAPS}?labelSelector=app=x")).await;
    let why = r#"admission webhook "check.example.com" denied the request without explanation"#;
    assert_eq!(refused.json()["message"], why);
    assert_eq!(refused.code, 400);
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/gone")).await.code, 404);
    api.get(&format!("{CONFIG_MAPS}/kept")).await.ok();
    let seen = hooks.seen("check");
    assert_eq!(seen.len(), 2, "what is refused of the latest state isn't tried again");
    let asked = seen.iter().filter_map(|it| it["oldObject"]["metadata"]["name"].as_str());
    assert_eq!(asked.collect::<BTreeSet<_>>(), BTreeSet::from(["gone", "kept"]));
    assert_eq!((&seen[0]["operation"], &seen[0]["object"]), (&json!("DELETE"), &Value::Null));
    // Whoever refuses everything can be got rid of.
    api.delete(&format!("{GROUP}/validatingwebhookconfigurations/c")).await.ok();
}

#[tokio::test]
async fn who_does_not_answer_or_not_well_is_passed_over_or_ends_the_write() {
    let hooks = Hooks::start(|path, _| match path {
        "patchless" => json!({"allowed": true, "patchType": "JSONPatch"}),
        _ => allowed(),
    })
    .await;
    let api = Api::start().await;
    let nobody = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let closed = format!("https://localhost:{}/", nobody.local_addr().unwrap().port());
    drop(nobody);
    let stranger = json!({
        "url": format!("https://localhost:{}/stranger", hooks.address.port()),
        "caBundle": STANDARD.encode(certificates().0),
    });
    for (kind, path, more, expected) in [
        ("validating", "closed", json!({"clientConfig": {"url": closed}}), "onnection refused"),
        ("validating", "stranger", json!({"clientConfig": stranger}), "certificate"),
        ("validating", "hang", json!({"timeoutSeconds": 1}), "context deadline exceeded"),
        ("validating", "failing", json!({}), "the server responded with the status code 500"),
        ("validating", "long", json!({}), "the answer is longer than"),
        (
            "mutating",
            "patchless",
            json!({}),
            "received invalid webhook response: webhook returned response.patchType but not response.patch",
        ),
    ] {
        let list = format!("{GROUP}/{kind}webhookconfigurations");
        let configuration = format!("{list}/{path}");
        configure(&api, kind, path, &[hooks.webhook(path, more)]).await;
        let message = api.post(CONFIG_MAPS, &map(path)).await.fails(500, "InternalError");
        let start =
            format!("Internal error occurred: failed calling webhook \"{path}.example.com\": ");
        assert!(message.starts_with(&start) && message.contains(expected), "{message}");
        let ignore =
            json!([{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}]);
        let changed = api.patch(&configuration, "json-patch", &ignore).await.ok();
        api.get(&list).await.ok();
        assert_eq!(changed["webhooks"][0]["failurePolicy"], "Ignore");
        api.post(CONFIG_MAPS, &map(path)).await.ok();
        api.delete(&configuration).await.ok();
        api.get(&list).await.ok();
    }
}

#[tokio::test]
async fn a_webhook_that_hangs_holds_nobody_else_and_is_left_with_its_client() {
    let hooks = Hooks::start(|_, _| allowed()).await;
    let api = Api::start().await;
    let only = json!({"objectSelector": {"matchLabels": {"slow": "yes"}}});
    configure(&api, "mutating", "m", &[hooks.webhook("hang", only)]).await;
    let slow = json!({"metadata": {"name": "slow", "labels": {"slow": "yes"}}});
    let request = Request::post(CONFIG_MAPS)
        .header("content-type", JSON)
        .body(Body::from(slow.to_string()))
        .unwrap();
    let mut waiting = Box::pin(api.request(request));
    tokio::select! {
        _ = &mut waiting => panic!("nobody has answered"),
        () = hooks.asked.notified() => {}
    }
    api.post(CONFIG_MAPS, &map("quick")).await.ok();
    drop(waiting);
    wait::within("the question is dropped", hooks.dropped.notified()).await;
    assert_eq!(api.get(&format!("{CONFIG_MAPS}/slow")).await.code, 404);
}

#[tokio::test]
async fn a_server_starts_and_makes_its_objects_while_webhooks_are_down() {
    const NAMESPACE: &str = "/api/v1/namespaces/kube-node-lease";
    let hooks = Hooks::start(|_, _| allowed()).await;
    let api = Api::start().await;
    let rule =
        json!({"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]});
    for kind in ["mutating", "validating"] {
        configure(&api, kind, "all", &[hooks.webhook("failing", json!({"rules": [rule]}))]).await;
    }
    api.post(CONFIG_MAPS, &map("m")).await.fails(500, "InternalError");
    api.store.delete("/registry/core/namespaces/kube-node-lease", None).await.unwrap();
    let later = ApiServer::start(Config::default(), api.store.clone(), None).await.unwrap();
    let api = api.with_server(later);
    api.get(NAMESPACE).await.ok();
    api.post(CONFIG_MAPS, &map("m")).await.fails(500, "InternalError");
}

#[tokio::test]
async fn what_comes_of_a_patch_is_completed_and_validated() {
    let hooks = Hooks::start(|_, request| {
        let change = &request["object"]["metadata"]["annotations"]["change"];
        patch(&serde_json::from_str(change.as_str().unwrap_or("[]")).unwrap())
    })
    .await;
    let api = Api::start().await;
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]});
    configure(&api, "mutating", "m", &[hooks.webhook("change", json!({"rules": [rule]}))]).await;
    let made = async |name: &str, change: Value| -> Answer {
        let mut pod = pod(name);
        pod["metadata"]["annotations"] = json!({"change": change.to_string()});
        api.post(PODS, &pod).await
    };
    let sidecar = json!({"name": "sidecar", "image": "sidecar:1"});
    let add = json!([{"op": "add", "path": "/spec/containers/-", "value": sidecar}]);
    let container = &made("whole", add).await.ok()["spec"]["containers"][1];
    assert_eq!(container["imagePullPolicy"], "IfNotPresent");
    let nameless = json!([{"op": "remove", "path": "/spec/containers/0/image"}]);
    let message = made("broken", nameless).await.fails(422, "Invalid");
    assert!(message.contains("spec.containers[0].image: Required value"), "{message}");
    let mistyped = json!([{"op": "replace", "path": "/spec/containers", "value": 7}]);
    made("mistyped", mistyped).await.fails(500, "InternalError");
    let missing = json!([{"op": "remove", "path": "/spec/nothing"}]);
    made("missing", missing).await.fails(500, "InternalError");
    let elsewhere = json!([{"op": "add", "path": "/metadata/namespace", "value": "kube-system"}]);
    made("elsewhere", elsewhere).await.fails(500, "InternalError");
    assert_eq!(api.get(PODS).await.ok()["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn who_wants_it_sees_again_what_others_have_changed_since() {
    let hooks = Hooks::start(|path, request| match path {
        "adds" => patch(&json!([{"op": "add", "path": "/data/late", "value": "x"}])),
        "counts" => {
            let keys = request["object"]["data"].as_object().unwrap().keys();
            let keys = keys.filter(|key| *key != "keys").count().to_string();
            patch(&json!([{"op": "add", "path": "/data/keys", "value": keys}]))
        }
        _ => allowed(),
    })
    .await;
    let api = Api::start().await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    let all = [
        hooks.webhook("counts", again.clone()),
        hooks.webhook("once", json!({})),
        hooks.webhook("adds", again),
    ];
    configure(&api, "mutating", "m", &all).await;
    let made = api.post(CONFIG_MAPS, &map("m")).await.ok();
    assert_eq!(made["data"]["keys"], "2");
    let times = ["counts", "once", "adds"].map(|path| hooks.seen(path).len());
    assert_eq!(times, [2, 1, 2]);
}

#[tokio::test]
async fn selectors_and_a_dry_run_are_heeded() {
    let hooks = Hooks::start(|_, _| json!({"allowed": false})).await;
    let api = Api::start().await;
    for (name, labels) in [("watched", json!({"watched": "yes"})), ("free", json!({}))] {
        let namespace = json!({"metadata": {"name": name, "labels": labels}});
        api.post("/api/v1/namespaces", &namespace).await.ok();
    }
    let more = json!({
        "namespaceSelector": {"matchLabels": {"watched": "yes"}},
        "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
    });
    configure(&api, "validating", "c", &[hooks.webhook("check", more)]).await;
    let skipped = json!({"metadata": {"name": "skipped", "labels": {"skip": ""}}});
    for (namespace, object, dry_run, code) in [
        ("watched", map("m"), "", 400),
        ("watched", map("m"), "?dryRun=All", 400),
        ("watched", skipped, "", 201),
        ("free", map("m"), "", 201),
    ] {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps{dry_run}");
        assert_eq!(api.post(&path, &object).await.code, code, "{path} {object}");
    }
    let dry = hooks.seen("check").iter().map(|it| it["dryRun"].clone()).collect::<Vec<_>>();
    assert_eq!(dry, [json!(false), json!(true)]);
}

#[tokio::test]
async fn a_service_leads_to_one_of_its_endpoints_and_versions_of_a_kind_are_equivalent() {
    let hooks = Hooks::start(|_, request| {
        assert_eq!(request["object"]["apiVersion"], "autoscaling/v1");
        patch(&json!([{"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 33}]))
    })
    .await;
    let api = Api::start().await;
    let address: IpAddr = hooks.address.ip();
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}});
    api.post(SERVICES, &service).await.ok();
    let slice = json!({
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": hooks.address.port()}],
        "endpoints": [{"addresses": [address]}],
    });
    api.post(SLICES, &slice).await.ok();
    api.until_cached(SLICES, "hook-1").await;
    let rule = json!({
        "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "operations": ["CREATE"],
        "resources": ["horizontalpodautoscalers"],
    });
    let client = json!({
        "service": {"name": "hook", "namespace": "default", "path": "/scale"},
        "caBundle": STANDARD.encode(&hooks.authority),
    });
    let hook = hooks.webhook("scale", json!({"rules": [rule], "clientConfig": client}));
    configure(&api, "mutating", "m", &[hook]).await;
    let resource =
        json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}});
    let scaler = json!({
        "metadata": {"name": "h"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "maxReplicas": 3, "metrics": [{"type": "Resource", "resource": resource}],
        },
    });
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let made = api.post(path, &scaler).await.ok();
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 33);
    let asked = &hooks.seen("scale")[0];
    assert_eq!(
        (&asked["kind"]["version"], &asked["requestKind"]["version"]),
        (&json!("v1"), &json!("v2"))
    );
}
