//! `pods/proxy`, `services/proxy` and `nodes/proxy`, with servers on this host for those in pods.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use apiserver::Identity;
use axum::{
    Json, Router,
    body::Body,
    extract::{Request as Given, State},
    response::{Html, Redirect},
    routing::{any, get},
};
use futures::StreamExt;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use testkit::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::{
    net::TcpListener,
    sync::{Notify, mpsc},
};

use crate::{
    harness::{Answer, Api, JSON, PODS, pod},
    tls::{self, Tls, UPGRADE, exchange},
};

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";

/// An address of this host that is not of it alone: others are not led to.
fn address() -> IpAddr {
    component::host::address().expect("this host has a network")
}

async fn serve(routes: Router) -> SocketAddr {
    let listener = TcpListener::bind((address(), 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

/// Says how it was asked.
async fn mirror(request: Given) -> Json<Value> {
    let (parts, body) = request.into_parts();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), json!(value.to_str().unwrap()))
    };
    let headers: serde_json::Map<_, _> = parts.headers.iter().map(header).collect();
    let body = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    Json(json!({
        "method": parts.method.as_str(), "uri": parts.uri.to_string(), "headers": headers, "body": body,
    }))
}

/// A pod that runs at this address.
async fn pod_at(api: &Api, name: &str, address: IpAddr) {
    api.post(PODS, &pod(name)).await.ok();
    let status =
        json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    api.patch(&format!("{PODS}/{name}/status"), "merge-patch", &status).await.ok();
}

/// An API, and what is before the paths of a server with these routes.
async fn api_before(routes: Router) -> (Api, String) {
    let (api, server) = (Api::start().await, serve(routes).await);
    pod_at(&api, "p", server.ip()).await;
    (api, format!("{PODS}/p:{}/proxy", server.port()))
}

async fn send(api: &Api, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    Answer::of(api.request(request.body(Body::from(body.to_owned())).unwrap()).await).await
}

#[tokio::test]
async fn requests_of_every_method_are_led_on_as_they_are() {
    let (api, proxy) = api_before(Router::new().fallback(mirror)).await;
    for (method, body) in [
        ("GET", ""),
        ("POST", "to make"),
        ("PUT", "to set"),
        ("PATCH", "to change"),
        ("DELETE", ""),
        ("OPTIONS", ""),
    ] {
        let headers = [
            ("accept", "text/html"),
            ("host", "pod.example"),
            ("x-own", "1"),
            ("authorization", "Bearer secret"),
        ];
        let path = format!("{proxy}/a%20b//c%2Fd?watch=1&x=%26");
        let answer = send(&api, method, &path, &headers, body).await;
        let seen = answer.ok();
        assert_eq!(seen["method"], method);
        assert_eq!(seen["uri"], "/a%20b//c%2Fd?watch=1&x=%26");
        assert_eq!(seen["body"], body);
        let told = &seen["headers"];
        assert_eq!((&told["accept"], &told["x-own"]), (&json!("text/html"), &json!("1")));
        assert_eq!(told["host"], "pod.example");
        assert_eq!(told["x-forwarded-uri"], format!("{proxy}/a%20b//c%2Fd"));
        assert_eq!(told["authorization"], Value::Null, "the secret of a client is not a pod's");
    }
    let answer = send(&api, "HEAD", &format!("{proxy}/"), &[], "").await;
    assert_eq!((answer.code, answer.text.as_str()), (200, ""));
    assert!(answer.headers.contains_key("content-length"), "as long as it would be");
}

#[tokio::test]
async fn links_of_pages_lead_back_to_the_server_that_they_are_of() {
    let page = async || Html("<a href='/x?y'>/x</a><a href='z'>");
    let (api, proxy) = api_before(Router::new().route("/", get(page))).await;
    let answer = api.get(&format!("{proxy}/")).await;
    assert_eq!(answer.text, format!("<a href=\"{proxy}/x?y\">/x</a><a href='z'>"));
    assert_eq!(answer.headers.get("content-length"), None, "it is another one");
    let head = send(&api, "HEAD", &format!("{proxy}/"), &[], "").await;
    assert_eq!((head.code, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn answers_come_back_as_they_are() {
    let odd = async || {
        let headers =
            [("x-own", "1"), ("connection", "x-hop"), ("x-hop", "1"), ("set-cookie", "a=b")];
        (StatusCode::IM_A_TEAPOT, headers, "short and stout")
    };
    let routes = Router::new()
        .route("/odd", any(odd))
        .route("/moved", get(async || Redirect::permanent("/odd?x")))
        .route("/away", get(async || Redirect::temporary("http://elsewhere.example/odd")));
    let (api, proxy) = api_before(routes).await;
    let answer = api.get(&format!("{proxy}/odd")).await;
    assert_eq!((answer.code, answer.text.as_str()), (418, "short and stout"));
    let header = |name: &str| answer.headers.get(name).map(|it| it.to_str().unwrap());
    assert_eq!((header("x-own"), header("set-cookie")), (Some("1"), Some("a=b")));
    assert_eq!((header("x-hop"), header("connection")), (None, None));
    let location = async |path: &str| {
        let answer = api.get(&format!("{proxy}{path}")).await;
        (answer.code, answer.headers["location"].to_str().unwrap().to_owned())
    };
    assert_eq!(location("/moved").await, (308, format!("{proxy}/odd?x")));
    assert_eq!(location("/away").await, (307, "http://elsewhere.example/odd".to_owned()));
    assert_eq!(location("?x=1").await, (301, format!("{proxy}/?x=1")));
    let odd = format!("/{proxy}");
    let answer = api.get(&odd).await;
    assert_eq!(answer.headers["location"], format!("{proxy}/"), "a path and no host");
}

#[tokio::test]
async fn both_bodies_are_passed_on_as_they_come() {
    // Answers each part before the next one is sent.
    let echo = async |request: Given| Body::from_stream(request.into_body().into_data_stream());
    let (api, proxy) = api_before(Router::new().route("/", any(echo))).await;
    let (parts, mut sent) = mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = Body::from_stream(futures::stream::poll_fn(move |context| sent.poll_recv(context)));
    let request = Request::post(format!("{proxy}/")).body(body).unwrap();
    let response = api.request(request);
    parts.send(Ok("0".to_owned())).await.unwrap();
    let mut answer = response.await.into_body().into_data_stream();
    for i in 0..3 {
        let part = wait::within("a part comes back", answer.next()).await.unwrap().unwrap();
        assert_eq!(part, i.to_string());
        parts.send(Ok((i + 1).to_string())).await.unwrap();
    }
    drop(parts);
    assert_eq!(answer.next().await.unwrap().unwrap(), "3");
    assert!(answer.next().await.is_none());
}

#[tokio::test]
async fn a_client_that_goes_away_ends_what_it_asked_for() {
    let gone = Arc::new(Notify::new());
    let ends = async |State(gone): State<Arc<Notify>>| {
        struct Guard(Arc<Notify>);
        impl Drop for Guard {
            fn drop(&mut self) {
                self.0.notify_one();
            }
        }
        let guard = Guard(gone);
        Body::from_stream(futures::stream::once(async { Ok::<_, std::io::Error>("begun") }).chain(
            futures::stream::once(async move {
                let _guard = guard;
                std::future::pending().await
            }),
        ))
    };
    let routes = Router::new().route("/", get(ends)).with_state(gone.clone());
    let (api, proxy) = api_before(routes).await;
    let request = Request::get(format!("{proxy}/")).body(Body::empty()).unwrap();
    let mut answer = api.request(request).await.into_body().into_data_stream();
    assert_eq!(answer.next().await.unwrap().unwrap(), "begun");
    drop(answer);
    wait::within("the server hears of it", gone.notified()).await;
}

#[tokio::test]
async fn what_cannot_be_led_on_is_refused() {
    let api = Api::start().await;
    api.post(PODS, &pod("new")).await.ok();
    pod_at(&api, "local", "127.0.0.1".parse().unwrap()).await;
    pod_at(&api, "p", address()).await;
    let free = TcpListener::bind((address(), 0)).await.unwrap().local_addr().unwrap().port();
    let refusal = async |name: &str, code, reason| {
        api.get(&format!("{PODS}/{name}/proxy/x")).await.fails(code, reason)
    };
    for name in ["p:0", "p:nope", "ftp:p:1", "a:b:c:d"] {
        let message = refusal(name, 400, "BadRequest").await;
        assert_eq!(message, format!("invalid pod request {name:?}"));
    }
    assert_eq!(refusal("new", 400, "BadRequest").await, "address not allowed");
    assert_eq!(refusal("local:80", 400, "BadRequest").await, "address not allowed");
    assert_eq!(refusal("q:80", 404, "NotFound").await, "pods \"q\" not found");
    let message = refusal(&format!("p:{free}"), 503, "ServiceUnavailable").await;
    let begins = "error trying to reach service: ";
    assert!(message.starts_with(begins) && message.contains("refused"), "{message}");
}

#[tokio::test]
async fn what_an_application_is_asked_is_its_own() {
    let (api, proxy) = api_before(Router::new().fallback(mirror)).await;
    let seen = api.get(&format!("{proxy}/x?dryRun=maybe")).await.ok();
    assert_eq!(seen["uri"], "/x?dryRun=maybe");
}

#[tokio::test]
async fn a_body_goes_on_though_another_protocol_would_do() {
    let (tls, server) = (Tls::start().await, serve(Router::new().fallback(mirror)).await);
    pod_at(&tls.api, "p", server.ip()).await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let path = format!("{PODS}/p:{}/proxy/", server.port());
    let headers = "connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 4\r\n";
    let request = format!("POST {path} HTTP/1.1\r\nhost: server\r\n{headers}\r\nbody");
    let asked = exchange(&mut connection, request.as_bytes());
    let answer = wait::within("the body arrives", asked).await;
    assert!(answer.contains(r#""body":"body""#), "{answer}");
}

#[tokio::test]
async fn nobody_changes_the_protocol_unasked() {
    let (api, listener) = (Api::start().await, TcpListener::bind((address(), 0)).await.unwrap());
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let head =
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
            connection.read_u8().await.unwrap();
            connection.write_all(head.as_bytes()).await.unwrap();
            let _ = tokio::io::copy(&mut connection, &mut tokio::io::sink()).await;
        }
    });
    pod_at(&api, "p", address()).await;
    let answer = api.get(&format!("{PODS}/p:{port}/proxy/x")).await;
    let message = answer.fails(503, "ServiceUnavailable");
    assert!(message.contains("was not asked for"), "{message}");
}

#[tokio::test]
async fn a_pod_is_at_an_address_of_its_nodes() {
    let (api, server) = (Api::start().await, serve(Router::new().fallback(mirror)).await);
    let node = json!({"metadata": {"name": "n1"}, "spec": {"podCIDR": "203.0.113.0/24"}});
    api.post("/api/v1/nodes", &node).await.ok();
    let mut bound = pod("p");
    bound["spec"]["nodeName"] = json!("n1");
    api.post(PODS, &bound).await.ok();
    let address = server.ip();
    let status =
        json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}});
    api.patch(&format!("{PODS}/p/status"), "merge-patch", &status).await.ok();
    let answer = api.get(&format!("{PODS}/p:{}/proxy/x", server.port())).await;
    assert_eq!(answer.fails(400, "BadRequest"), "address not allowed");
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_taken_all_the_same() {
    let api = Api::start().await;
    let (parts, mut sent) = mpsc::channel::<Result<String, std::io::Error>>(1);
    let body = Body::from_stream(futures::stream::poll_fn(move |context| sent.poll_recv(context)));
    let request = Request::post(format!("{PODS}/q/proxy/x")).body(body).unwrap();
    assert_eq!(api.request(request).await.status(), 404);
    for _ in 0..10 {
        wait::within("it is taken", parts.send(Ok("x".to_owned()))).await.unwrap();
    }
}

#[tokio::test]
async fn a_service_leads_to_one_of_its_ready_pods() {
    let (api, server) = (Api::start().await, serve(Router::new().fallback(mirror)).await);
    let service = json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "None", "ports": [
        {"name": "http", "port": 80, "targetPort": server.port()}, {"name": "other", "port": 81}]}});
    api.post(SERVICES, &service).await.ok();
    pod_at(&api, "p", server.ip()).await;
    let get = async |name: &str| api.get(&format!("{SERVICES}/{name}/proxy/x")).await;
    let nobody = "no endpoints available for service \"web:80\"";
    assert_eq!(get("web:80").await.fails(503, "ServiceUnavailable"), nobody);
    let endpoint = |pod: &str, address: IpAddr| json!({"addresses": [address], "targetRef": {"kind": "Pod", "name": pod}});
    let mut forged = endpoint("p", "10.1.2.3".parse().unwrap());
    forged["conditions"] = json!({"ready": true});
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4",
        "endpoints": [endpoint("p", server.ip()), forged, endpoint("gone", server.ip())],
        "ports": [{"name": "http", "port": server.port(), "protocol": "TCP"}],
    });
    api.post(SLICES, &slice).await.ok();
    api.until_cached(SLICES, "web-1").await;
    for name in ["web:80", "web:http", "http:web:80"] {
        for _ in 0..5 {
            assert_eq!(get(name).await.ok()["uri"], "/x");
        }
    }
    let message = get("web:82").await.fails(503, "ServiceUnavailable");
    assert_eq!(message, "no service port 82 found for service \"web\"");
    for name in ["web", "web:other", "web:81"] {
        let message = get(name).await.fails(503, "ServiceUnavailable");
        assert_eq!(message, format!("no endpoints available for service {name:?}"));
    }
    assert_eq!(get("no:80").await.fails(404, "NotFound"), "services \"no\" not found");
    assert_eq!(get("a:b:c").await.fails(400, "BadRequest"), "invalid service request \"a:b:c\"");
}

#[tokio::test]
async fn programs_are_not_led_to_pods_nor_others_than_masters_to_kubelets() {
    let (api, proxy) = api_before(Router::new().fallback(mirror)).await;
    let code = async |identity: Identity, path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        api.request_as(identity, request).await.status().as_u16()
    };
    let path = format!("{proxy}/");
    let ann = || Identity::new("ann", &["developers"]);
    assert_eq!(code(ann(), &path).await, 403);
    let binding = json!({
        "metadata": {"name": "ann"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-edit"},
        "subjects": [{"kind": "User", "name": "ann"}],
    });
    api.post(BINDINGS, &binding).await.ok();
    api.until_cached(BINDINGS, "ann").await;
    assert_eq!(code(ann(), &path).await, 200);
    assert_eq!(code(Identity::new("system:node:n1", &["system:nodes"]), &path).await, 403);
    assert_eq!(code(Identity::anonymous(), &path).await, 403);
    let kubelet = "/api/v1/nodes/n1/proxy/metrics";
    assert_eq!(code(ann(), kubelet).await, 403);
    assert_eq!(
        code(Identity::admin(), kubelet).await,
        500,
        "this server has no credentials for kubelets"
    );
}

/// The head of a GET.
fn head(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: server\r\n{headers}\r\n")
}

/// What is said once the protocol has changed, up to the end of a line.
async fn upgraded(connection: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut text = String::new();
    while !text.contains("\r\n\r\n") || !text.ends_with('\n') || text.ends_with("\r\n\r\n") {
        let byte = wait::within("there is an answer", connection.read_u8()).await.unwrap();
        text.push(byte.into());
        assert!(text.starts_with(&"HTTP/1.1 101"[..text.len().min(12)]), "{text}");
    }
    text
}

#[tokio::test]
async fn connections_change_their_protocol_with_a_pod_and_with_a_kubelet() {
    let (tls, server) = (Tls::start().await, serve(Router::new().fallback(tls::echo)).await);
    pod_at(&tls.api, "p", server.ip()).await;
    tls.kubelet_of("n1", "n1", Router::new().fallback(tls::echo)).await;
    for path in [
        format!("{PODS}/p:{}/proxy/chat?x=1", server.port()),
        "/api/v1/nodes/n1/proxy/chat?x=1".to_owned(),
    ] {
        let mut connection = tls.connection(Some(&Identity::admin())).await;
        connection.write_all(head(&path, UPGRADE).as_bytes()).await.unwrap();
        let text = upgraded(&mut connection).await;
        assert!(text.contains("sec-websocket-accept: key"), "{text}");
        assert!(text.ends_with("\r\n\r\n/chat?x=1\n"), "{text}");
        assert_eq!(exchange(&mut connection, b"hello").await, "hello");
        connection.shutdown().await.unwrap();
        let mut rest = String::new();
        let end = wait::within("the other side ends", connection.read_to_string(&mut rest));
        assert_eq!((end.await.unwrap(), rest.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn a_kubelet_is_asked_with_the_servers_own_certificate() {
    let tls = Tls::start().await;
    tls.kubelet_of("n1", "n1", Router::new().fallback(mirror)).await;
    let seen = tls.api.get("/api/v1/nodes/n1/proxy/stats/summary?x=1").await.ok();
    assert_eq!((&seen["method"], &seen["uri"]), (&json!("GET"), &json!("/stats/summary?x=1")));
    tls.kubelet_of("n2", "n3", Router::new().fallback(mirror)).await;
    let message = tls.api.get("/api/v1/nodes/n2/proxy/x").await.fails(503, "ServiceUnavailable");
    assert!(message.starts_with("error trying to reach service: "), "{message}");
    let types = (JSON, JSON);
    let invalid = tls.api.send("GET", "/api/v1/nodes/n1:x/proxy/x", types, "").await;
    assert_eq!(invalid.fails(400, "BadRequest"), "invalid node request \"n1:x\"");
}

#[tokio::test]
async fn clients_are_named_to_who_is_asked() {
    let (tls, server) = (Tls::start().await, serve(Router::new().fallback(mirror)).await);
    pod_at(&tls.api, "p", server.ip()).await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let path = format!("{PODS}/p:{}/proxy/", server.port());
    let answer = exchange(&mut connection, head(&path, "").as_bytes()).await;
    assert!(answer.contains(r#""x-forwarded-for":"127.0.0.1""#), "{answer}");
}
