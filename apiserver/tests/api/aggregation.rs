//! APIServices, with another API server that the test is: over HTTPS, to clients with a certificate of the front proxy.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use apiserver::{
    Config, Identity,
    pki::{Pki, TlsFiles},
};
use axum::{
    Json, Router,
    body::Body,
    extract::Request as Given,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::{any, get},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, header};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy, split},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::{
    harness::{Answer, Api, JSON, TABLE},
    tls::{Tls, UPGRADE, exchange},
};

const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const FROGS: &str = "/apis/example.com/v1/namespaces/default/frogs";

/// The other server.
struct Remote {
    address: SocketAddr,
    authority: String,
}

/// What a server with a front proxy is started with.
fn front_proxy() -> (TempDir, Config, String) {
    component::install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let pki = Pki::open_or_create(directory.path()).unwrap();
    let front_proxy = pki.front_proxy(&TlsFiles::default()).unwrap();
    let path = directory.path().join("pki/front-proxy-ca.crt");
    let authority = std::fs::read_to_string(path).unwrap();
    (directory, Config { front_proxy: Some(front_proxy), ..Config::default() }, authority)
}

impl Remote {
    /// One that talks to nobody but clients of this authority.
    async fn start(clients: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&pki, clients);
        tokio::spawn(serve(listener, acceptor));
        Self { address, authority: pki.ca_certificate().to_owned() }
    }

    /// The Service that leads to it, and the APIService of a group version behind that.
    async fn register(&self, api: &Api, name: &str) {
        self.register_at(api, name, 443).await;
    }

    /// The same with this port of the Service.
    async fn register_at(&self, api: &Api, name: &str, port: u16) {
        self.lead(api, port).await;
        let (version, group) = name.split_once('.').unwrap();
        let service = json!({
            "metadata": {"name": name},
            "spec": {
                "group": group, "version": version, "groupPriorityMinimum": 1000, "versionPriority": 15,
                "caBundle": STANDARD.encode(&self.authority),
                "service": {"namespace": "default", "name": "api", "port": port},
            },
        });
        api.post(API_SERVICES, &service).await.ok();
    }

    async fn lead(&self, api: &Api, port: u16) {
        let ports = json!([{"name": "https", "port": port}]);
        // Without a virtual IP, so that nothing leads beyond this machine.
        let spec = json!({"clusterIP": "None", "ports": ports});
        let service = json!({"metadata": {"name": "api"}, "spec": spec});
        api.post(SERVICES, &service).await.ok();
        let slice = json!({
            "metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4", "ports": [{"name": "https", "port": self.address.port()}],
            "endpoints": [{"addresses": [self.address.ip()]}],
        });
        api.post(SLICES, &slice).await.ok();
    }
}

fn acceptor(pki: &Pki, clients: &str) -> TlsAcceptor {
    let user = Identity::new("api", &[]);
    let names = ["api.default.svc".to_owned()];
    let text = pki.kubeconfig("https://api", &user, &names).unwrap();
    let config: Value = serde_yaml::from_str(&text).unwrap();
    let pem =
        |field: &str| STANDARD.decode(config["users"][0]["user"][field].as_str().unwrap()).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem("client-certificate-data")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&pem("client-key-data")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(clients.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let config = ServerConfig::builder().with_client_cert_verifier(verifier);
    let config = config.with_single_cert(vec![certificate], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
    let resources = json!({
        "kind": "APIResourceList", "groupVersion": "example.com/v1",
        "resources": [{"name": "frogs", "singularName": "frog", "kind": "Frog", "namespaced": true, "verbs": ["get", "list"]}],
    });
    let index = json!({"paths": {"apis/example.com/v1": {"serverRelativeURL": "/openapi/v3/apis/example.com/v1?hash=1"}}});
    let document = json!({"openapi": "3.0.0", "paths": {"/apis/example.com/v1/frogs": {}}});
    let swagger = json!({
        "paths": {"/apis/example.com/v1/frogs": {}, "/apis/other.io/v1/toads": {}},
        "definitions": {"com.example.v1.Frog": {}},
    });
    let nothing = json!({"kind": "APIResourceList", "resources": []});
    let metrics = json!({"kind": "NodeMetricsList", "items": []});
    let routes = Router::new()
        .route("/apis/example.com/v1", get(async || Json(resources)))
        .route("/apis/metrics.k8s.io/v1beta1", get(async || Json(nothing)))
        .route("/apis/metrics.k8s.io/v1beta1/nodes", get(async || Json(metrics)))
        .route("/openapi/v3", get(async || Json(index)))
        .route("/openapi/v3/apis/example.com/v1", get(async || Json(document)))
        .route("/openapi/v2", get(async || Json(swagger)))
        .route("/apis/example.com/v1/away", get(async || Redirect::to("https://10.0.0.1/secret")))
        .route("/apis/example.com/v1/namespaces/default/frogs/a/console", any(console))
        .fallback(mirror);
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, routes) = (acceptor.clone(), routes.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = TowerToHyperService::new(routes);
            let builder = Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

/// Says how it was asked.
async fn mirror(request: Given) -> impl IntoResponse {
    let (parts, body) = request.into_parts();
    let mut headers = serde_json::Map::new();
    for (name, value) in &parts.headers {
        let all = headers.entry(name.to_string()).or_insert(json!([]));
        all.as_array_mut().unwrap().push(json!(value.to_str().unwrap()));
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (
        StatusCode::ACCEPTED,
        Json(json!({
            "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "body": body,
        })),
    )
}

/// Another protocol: what is said comes back.
async fn console(mut request: Given) -> impl IntoResponse {
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let (mut from, mut to) = split(TokioIo::new(upgrade.await.unwrap()));
        let _ = copy(&mut from, &mut to).await;
        let _ = to.shutdown().await;
    });
    (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "websocket")], ())
}

/// The condition, once it says this.
async fn until(api: &Api, name: &str, reason: &str) -> Value {
    let path = format!("{API_SERVICES}/{name}");
    let looking = async {
        loop {
            let told = api.get(&path).await.ok()["status"]["conditions"][0].clone();
            if told["reason"] == reason {
                return told;
            }
            tokio::task::yield_now().await;
        }
    };
    wait::within(&format!("the APIService says {reason}"), looking).await
}

/// Asks until the answer has this code: what a condition says is heard of a moment later.
async fn served(api: &Api, path: &str, code: u16) -> Answer {
    let asking = async {
        loop {
            let answer = api.get(path).await;
            if answer.code == code {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    wait::within("the answer changes", asking).await
}

/// The first version of a group, as aggregated discovery has it.
async fn aggregated(api: &Api, group: &str) -> Value {
    let form = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let list = api.send("GET", "/apis", (JSON, form), "").await.ok();
    let items = list["items"].as_array().unwrap().clone();
    let found = items.into_iter().find(|it| it["metadata"]["name"] == group).unwrap();
    found["versions"][0].clone()
}

#[tokio::test]
async fn a_group_version_is_served_by_the_server_behind_its_service() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    let remote = Remote::start(&clients).await;
    api.get("/apis/example.com/v1").await.fails(404, "NotFound");
    remote.register(&api, "v1.example.com").await;
    let told = until(&api, "v1.example.com", "Passed").await;
    assert_eq!((&told["status"], &told["message"]), (&json!("True"), &json!("all checks passed")));
    served(&api, "/apis/example.com/v1", 200).await;
    let request = Request::builder()
        .method("POST")
        .uri(format!("{FROGS}?a=b%20c"))
        .header(header::CONTENT_TYPE, JSON)
        .header(header::AUTHORIZATION, "Bearer secret")
        .header("x-remote-user", "somebody")
        .header("x-remote-group", "system:masters")
        .body(Body::from("{}"))
        .unwrap();
    let mut ann = Identity::new("ann", &["dev", "system:masters"]);
    ann.extra.insert("Scopes".to_owned(), vec!["x".to_owned()]);
    let answer = Answer::of(api.request_as(ann, request).await).await;
    assert_eq!(answer.code, 202, "{}", answer.text);
    let seen = answer.json();
    let method_and_uri = (&seen["method"], &seen["uri"], &seen["body"]);
    assert_eq!(method_and_uri, (&json!("POST"), &json!(format!("{FROGS}?a=b%20c")), &json!("{}")));
    let header = |name: &str| seen["headers"][name].clone();
    assert_eq!(header("x-remote-user"), json!(["ann"]));
    assert_eq!(header("x-remote-group"), json!(["dev", "system:masters"]));
    assert_eq!(header("x-remote-extra-scopes"), json!(["x"]));
    assert_eq!(header("authorization"), Value::Null);
    assert_eq!(header("audit-id"), json!([answer.headers["audit-id"].to_str().unwrap()]));
    assert_eq!(header("host"), json!([format!("api.default.svc:{}", remote.address.port())]));
}

/// The header with a group of the client's own choice, as the other server sees it.
async fn forged(api: &Api) -> Value {
    let request = Request::get(FROGS).header("x-group", "system:masters").body(Body::empty());
    let answer = api.request_as(Identity::admin(), request.unwrap()).await;
    Answer::of(answer).await.json()["headers"]["x-group"].clone()
}

#[tokio::test]
async fn what_another_server_s_front_proxies_say_in_headers_no_client_says() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    Remote::start(&clients).await.register(&api, "v1.example.com").await;
    until(&api, "v1.example.com", "Passed").await;
    served(&api, FROGS, 202).await;
    assert_eq!(forged(&api).await, json!(["system:masters"]));
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let told = json!({"data": {"requestheader-group-headers": r#"["X-Remote-Group","X-Group"]"#}});
    api.patch(map, "merge-patch", &told).await.ok();
    wait::until("the header goes no further", async || match forged(&api).await {
        Value::Null => Ok(()),
        seen => Err(seen),
    })
    .await;
}

#[tokio::test]
async fn what_leads_elsewhere_or_is_not_allowed_is_refused() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    Remote::start(&clients).await.register(&api, "v1.example.com").await;
    until(&api, "v1.example.com", "Passed").await;
    served(&api, "/apis/example.com/v1", 200).await;
    let away = api.get("/apis/example.com/v1/away").await;
    let why = "the backend attempted to redirect this request, which is not permitted";
    assert_eq!((away.code, away.text.as_str()), (502, why));
    assert!(!away.headers.contains_key("location"));
    for path in ["namespaces/a/%2e%2e/b/frogs", r"namespaces/a/frogs/x\..\..\..\b\frogs\y"] {
        let path = format!("/apis/example.com/v1/{path}");
        api.get(&path).await.fails(400, "BadRequest");
    }
    let path = "/apis/example.com/v1/namespaces/a/frogs/x%5C..%5Cy";
    assert_eq!(api.get(path).await.json()["uri"], path, "it goes on as it came");
    let nobody = Identity::new("ann", &["system:authenticated"]);
    for (path, code) in [(FROGS, 403), ("/apis/example.com/v1", 200)] {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = Answer::of(api.request_as(nobody.clone(), request).await).await;
        assert_eq!(answer.code, code, "{path}: {}", answer.text);
    }
    let request = Request::get(FROGS).body(Body::empty()).unwrap();
    let refused = Answer::of(api.request_as(nobody, request).await).await;
    let why = refused.fails(403, "Forbidden");
    let expected = "frogs.example.com is forbidden: User \"ann\" cannot list resource \"frogs\" in API group \"example.com\" in the namespace \"default\"";
    assert!(why.starts_with(expected), "{why}");
}

#[tokio::test]
async fn what_another_server_serves_is_found_with_the_rest() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    Remote::start(&clients).await.register(&api, "v1.example.com").await;
    until(&api, "v1.example.com", "Passed").await;
    served(&api, "/apis/example.com/v1", 200).await;
    let groups = api.get("/apis").await.ok();
    let names: Vec<_> =
        groups["groups"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names.iter().filter(|it| **it == "example.com").count(), 1, "{names:?}");
    let version = aggregated(&api, "example.com").await;
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1"), &json!("Current")));
    assert_eq!(version["resources"][0]["responseKind"]["kind"], "Frog");
    let index = api.get("/openapi/v3").await.ok();
    let url = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap();
    assert!(api.get(url).await.ok()["paths"]["/apis/example.com/v1/frogs"].is_object());
    let swagger = api.get("/openapi/v2").await.ok();
    assert!(swagger["paths"]["/apis/example.com/v1/frogs"].is_object());
    assert!(swagger["paths"]["/apis/other.io/v1/toads"].is_null(), "that is not its own to say");
    assert!(swagger["definitions"]["com.example.v1.Frog"].is_object());
    // Without anybody who answers it is stale, and its requests are refused.
    api.delete(&format!("{SLICES}/api-1")).await.ok();
    let told = until(&api, "v1.example.com", "EndpointsNotFound").await;
    let why = "cannot find endpointslices for service/api in \"default\"";
    assert_eq!((&told["status"], &told["message"]), (&json!("False"), &json!(why)));
    let refused = async {
        while served(&api, FROGS, 503).await.text != "service unavailable\n" {
            tokio::task::yield_now().await;
        }
    };
    wait::within("requests are refused", refused).await;
    let stale = async {
        loop {
            let version = aggregated(&api, "example.com").await;
            if version["freshness"] == "Stale" {
                return version;
            }
            tokio::task::yield_now().await;
        }
    };
    let version = wait::within("what it serves is called stale", stale).await;
    assert_eq!(version["resources"][0]["resource"], "frogs", "as it was");
}

#[tokio::test]
async fn a_server_that_does_not_say_what_it_serves_is_stale_and_asked_all_the_same() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    Remote::start(&clients).await.register(&api, "v1.other.io").await;
    until(&api, "v1.other.io", "Passed").await;
    let answer = served(&api, "/apis/other.io/v1", 202).await;
    assert_eq!(answer.json().get("kind"), None, "it is no list of resources");
    let version = aggregated(&api, "other.io").await;
    assert_eq!((&version["freshness"], &version["resources"]), (&json!("Stale"), &json!([])));
}

#[tokio::test]
async fn another_protocol_passes_through() {
    let (_directory, config, clients) = front_proxy();
    let tls = Tls::with_config(&TlsFiles::default(), config).await;
    Remote::start(&clients).await.register(&tls.api, "v1.example.com").await;
    until(&tls.api, "v1.example.com", "Passed").await;
    served(&tls.api, "/apis/example.com/v1", 200).await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let head = format!("GET {FROGS}/a/console HTTP/1.1\r\nhost: server\r\n{UPGRADE}\r\n");
    let answer = exchange(&mut connection, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(exchange(&mut connection, b"hello").await, "hello");
    connection.shutdown().await.unwrap();
    let mut rest = Vec::new();
    wait::within("it ends", connection.read_to_end(&mut rest)).await.unwrap();
}

#[tokio::test]
async fn metrics_are_this_servers_until_somebody_installs_another_for_them() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    let nodes = "/apis/metrics.k8s.io/v1beta1/nodes";
    assert_eq!(api.get(nodes).await.ok()["kind"], "NodeMetricsList");
    api.get(&format!("{API_SERVICES}/v1beta1.metrics.k8s.io")).await.fails(404, "NotFound");
    let remote = Remote::start(&clients).await;
    // The port of the Service, which is not the server's own.
    remote.register_at(&api, "v1beta1.metrics.k8s.io", 4443).await;
    until(&api, "v1beta1.metrics.k8s.io", "Passed").await;
    // What this server computes has a version, what the other one says has none.
    let until_own = async |own: bool| {
        let asking = async {
            loop {
                let answer = api.get(nodes).await;
                if answer.code == 200 && answer.text.contains("apiVersion") == own {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        wait::within("the right one is asked", asking).await;
    };
    until_own(false).await;
    api.delete(&format!("{API_SERVICES}/v1beta1.metrics.k8s.io")).await.ok();
    until_own(true).await;
}

#[tokio::test]
async fn a_server_that_is_not_trusted_is_not_asked() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    let remote = Remote::start(&clients).await;
    let other = Remote::start(&clients).await;
    Remote { address: remote.address, authority: other.authority }
        .register(&api, "v1.example.com")
        .await;
    let told = until(&api, "v1.example.com", "FailedDiscoveryCheck").await;
    let message = told["message"].as_str().unwrap();
    let place = format!(
        "failing or missing response from https://{}/apis/example.com/v1: ",
        remote.address
    );
    assert!(message.starts_with(&place) && message.contains("certificate"), "{message}");
    // Without a bundle nobody's certificate is looked at, if that is what is wanted.
    let patch = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}});
    api.patch(&format!("{API_SERVICES}/v1.example.com"), "merge-patch", &patch).await.ok();
    until(&api, "v1.example.com", "Passed").await;
    assert_eq!(
        served(&api, FROGS, 202).await.json()["headers"]["x-remote-user"],
        json!(["kubernetes-admin"])
    );
}

#[tokio::test]
async fn what_is_served_here_has_an_api_service_and_gets_it_back() {
    let (_directory, config, clients) = front_proxy();
    let api = Api::with(config).await;
    let apps = api.get(&format!("{API_SERVICES}/v1.apps")).await.ok();
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    assert_eq!(apps["spec"]["groupPriorityMinimum"], 17_800);
    let told = &apps["status"]["conditions"][0];
    assert_eq!((&told["type"], &told["reason"]), (&json!("Available"), &json!("Local")));
    let table = api.send("GET", &format!("{API_SERVICES}/v1."), (JSON, TABLE), "").await.ok();
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(cells[..3], [json!("v1."), json!("Local"), json!("True")]);
    api.delete(&format!("{API_SERVICES}/v1.apps")).await.ok();
    served(&api, &format!("{API_SERVICES}/v1.apps"), 200).await;
    // Other servers know whom to believe.
    let map = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let data = api.get(map).await.ok()["data"].clone();
    assert_eq!(data["requestheader-client-ca-file"].as_str().unwrap().trim(), clients.trim());
    assert_eq!(data["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    let role = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader";
    assert_eq!(api.get(role).await.ok()["rules"][0]["verbs"], json!(["get", "list", "watch"]));
}
