//! Calls through the gateway to backends of this process on loopback addresses.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use api_types::{api::core::v1::Pod, minik8s::Function};
use axum::{
    Router,
    body::Bytes,
    extract::RawQuery,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use futures::StreamExt;
use kube::runtime::watcher::Event;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use serverless_gateway::{directory::SharedDirectory, gateway::Gateway};
use tokio::net::TcpListener;

/// A gateway on a port of its own, over a directory that the test writes.
struct Rig {
    directory: Arc<SharedDirectory>,
    metrics: component::Metrics,
    url: String,
    client: Client,
}

impl Rig {
    /// Instances serve on `port`. The functions `add` and `slow` (1 s for a call) exist; `pods` are
    /// the addresses of their ready instances.
    async fn start(port: u16, pods: &[(&str, Ipv4Addr)]) -> Rig {
        let rig = Rig::without_lists(port).await;
        rig.directory.change(|directory| {
            directory.function(Event::Init);
            directory.function(Event::InitApply(function("add", None)));
            directory.function(Event::InitApply(function("slow", Some(1))));
            directory.function(Event::InitDone);
            directory.pod(Event::Init);
            for (function, address) in pods {
                directory.pod(Event::InitApply(pod(function, *address)));
            }
            directory.pod(Event::InitDone);
        });
        rig
    }

    async fn without_lists(port: u16) -> Rig {
        component::install_crypto_provider();
        let directory = Arc::<SharedDirectory>::default();
        let metrics = component::Metrics::default();
        let gateway = Gateway::new(directory.clone(), port, &metrics).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = gateway.router().into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async { axum::serve(listener, routes).await });
        let client = Client::builder().no_proxy().build().unwrap();
        Rig { directory, metrics, url, client }
    }

    async fn post(&self, path: &str, body: &'static str) -> Response {
        self.client.post(format!("{}{path}", self.url)).body(body).send().await.unwrap()
    }

    /// Posts and checks that the answer is a `Status` with this code and reason; gives its message.
    async fn refused(&self, path: &str, code: u16, reason: &str) -> String {
        let answer = self.post(path, "").await;
        assert_eq!(answer.status(), code);
        let retry = answer.headers().contains_key("retry-after");
        assert_eq!(retry, code == 503, "Retry-After goes with 503");
        let status: Value = answer.json().await.unwrap();
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
        assert_eq!((&status["reason"], &status["code"]), (&json!(reason), &json!(code)));
        status["message"].as_str().unwrap().to_owned()
    }
}

fn function(name: &str, timeout: Option<i32>) -> Function {
    let mut function = Function::default();
    function.metadata.namespace = Some("default".into());
    function.metadata.name = Some(name.into());
    function.spec.timeout_seconds = timeout;
    function
}

fn pod(function: &str, address: Ipv4Addr) -> Pod {
    let object = json!({
        "metadata": {
            "namespace": "default",
            "name": format!("{function}-{address}"),
            "labels": {"minik8s.io/function": function},
        },
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": "True"}]},
    });
    serde_json::from_value(object).unwrap()
}

/// The loopback address that stands for an instance.
fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Serves `routes` on `address`, on `port` or else a free one, which it gives.
async fn instance(address: Ipv4Addr, port: u16, routes: Router) -> u16 {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, routes).await });
    port
}

/// Answers with its name, then the content type and the body of the call.
fn echo(name: &'static str) -> Router {
    let answer = async move |headers: HeaderMap, body: String| {
        let kind = headers["content-type"].to_str().unwrap_or_default().to_owned();
        (StatusCode::CREATED, [("x-from", name)], format!("{kind} {body}"))
    };
    Router::new().route("/", post(answer))
}

#[tokio::test]
async fn a_call_reaches_an_instance_and_its_answer_comes_back_whole() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    for path in ["/add", "/default/add"] {
        let call = rig.client.post(format!("{}{path}", rig.url));
        let answer = call.json(&json!({"x": 100})).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["x-from"], "a");
        assert_eq!(answer.text().await.unwrap(), r#"application/json {"x":100}"#);
    }
    let metrics = rig.metrics.encode().unwrap();
    let calls = r#"function_calls_total{namespace="default",function="add",code="201"} 2"#;
    assert!(metrics.contains(calls), "{metrics}");
}

#[tokio::test]
async fn calls_take_turns_over_the_instances() {
    let port = instance(address(1), 0, echo("a")).await;
    instance(address(2), port, echo("b")).await;
    let rig = Rig::start(port, &[("add", address(1)), ("add", address(2))]).await;
    let mut served = Vec::new();
    for _ in 0..4 {
        let call = rig.client.post(format!("{}/add", rig.url)).header("content-type", "a/b");
        served.push(call.send().await.unwrap().headers()["x-from"].clone());
    }
    assert_eq!(served, ["a", "b", "a", "b"]);
}

#[tokio::test]
async fn an_instance_that_is_gone_is_passed_over() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1)), ("add", address(3))]).await;
    for _ in 0..4 {
        let call = rig.client.post(format!("{}/add", rig.url)).header("content-type", "a/b");
        assert_eq!(call.send().await.unwrap().status(), 201);
    }
    let gone = Rig::start(port, &[("add", address(3))]).await;
    let message = gone.refused("/add", 503, "ServiceUnavailable").await;
    assert!(message.contains("no instance of function default/add accepts"), "{message}");
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let rig = Rig::start(1, &[]).await;
    let message = rig.refused("/sub", 404, "NotFound").await;
    assert_eq!(message, r#"functions.minik8s.io "sub" not found"#);
    rig.refused("/other/add", 404, "NotFound").await;
}

#[tokio::test]
async fn a_function_without_an_instance_is_unavailable_for_now() {
    let rig = Rig::start(1, &[("slow", address(1))]).await;
    let message = rig.refused("/add", 503, "ServiceUnavailable").await;
    assert!(message.contains("function default/add has no ready instance"), "{message}");
}

#[tokio::test]
async fn before_the_first_lists_nothing_is_said_not_to_exist() {
    let rig = Rig::without_lists(1).await;
    rig.refused("/add", 503, "ServiceUnavailable").await;
}

#[tokio::test]
async fn only_post_calls_a_function() {
    let rig = Rig::start(1, &[]).await;
    let answer = rig.client.get(format!("{}/add", rig.url)).send().await.unwrap();
    assert_eq!(
        (answer.status(), &answer.headers()["allow"]),
        (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap())
    );
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_is_in_flight_no_more() {
    let never = Router::new().route("/", post(std::future::pending::<()>));
    let port = instance(address(1), 0, never).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let (message, ()) = tokio::join!(rig.refused("/slow", 504, "Timeout"), in_flight(&rig, 1));
    assert!(message.contains("did not answer within 1 s"), "{message}");
    in_flight(&rig, 0).await;
}

/// Waits until so many calls are in flight.
async fn in_flight(rig: &Rig, count: usize) {
    let expected = format!("\nfunction_calls_in_flight {count}\n");
    let reached = async {
        while !rig.metrics.encode().unwrap().contains(&expected) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reached).await.expect("never so many in flight");
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_answer_has_been_passed_on() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&str, std::io::Error>>(1);
    let body =
        axum::body::Body::from_stream(futures::stream::unfold(receiver, async |mut chunks| {
            Some((chunks.recv().await?, chunks))
        }));
    let body = Arc::new(std::sync::Mutex::new(Some(body)));
    let streaming =
        Router::new().route("/", post(async move || body.lock().unwrap().take().unwrap()));
    let port = instance(address(1), 0, streaming).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let answer = rig.post("/add", "").await;
    in_flight(&rig, 1).await;
    sender.send(Ok("done")).await.unwrap();
    drop(sender);
    assert_eq!(answer.text().await.unwrap(), "done");
    in_flight(&rig, 0).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let rig = Rig::start(1, &[("add", address(1))]).await;
    let body = vec![b'x'; (10 << 20) + 1];
    let answer = rig.client.post(format!("{}/add", rig.url)).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

/// Answers with the query and these headers of the call.
fn mirror(names: &'static [&'static str]) -> Router {
    let answer = async move |RawQuery(query): RawQuery, headers: HeaderMap| {
        let value = |name: &&str| {
            let values = headers.get_all(*name).iter().map(|value| value.to_str().unwrap());
            format!("{name}={}", values.collect::<Vec<_>>().join("|"))
        };
        let headers: Vec<_> = names.iter().map(value).collect();
        format!("{} {}", query.unwrap_or_default(), headers.join(" "))
    };
    Router::new().route("/", post(answer))
}

#[tokio::test]
async fn the_query_is_passed_on_as_it_is() {
    let port = instance(address(1), 0, mirror(&[])).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    for (path, query) in [("/add?x=1&y=a%20b%26c&x=2", "x=1&y=a%20b%26c&x=2"), ("/add", "")] {
        assert_eq!(rig.post(path, "").await.text().await.unwrap(), format!("{query} "));
    }
}

#[tokio::test]
async fn headers_are_passed_on_but_for_those_of_the_connection() {
    let names = &[
        "accept",
        "cookie",
        "x-own",
        "te",
        "x-hop",
        "proxy-authorization",
        "expect",
        "x-forwarded-for",
        "x-forwarded-host",
    ];
    let port = instance(address(1), 0, mirror(names)).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let call = rig.client.post(format!("{}/add", rig.url)).header("host", "functions.example");
    let call = call.header("accept", "a/b").header("accept", "c/d").header("cookie", "k=v");
    let call =
        call.header("x-own", "1").header("te", "trailers").header("proxy-authorization", "p");
    let call = call.header("connection", "x-hop").header("x-hop", "1");
    let answer = call.header("x-forwarded-for", "192.0.2.1").send().await.unwrap();
    assert_eq!(
        answer.text().await.unwrap(),
        " accept=a/b|c/d cookie=k=v x-own=1 te= x-hop= proxy-authorization= expect= \
         x-forwarded-for=192.0.2.1, 127.0.0.1 x-forwarded-host=functions.example"
    );
}

#[tokio::test]
async fn an_answer_that_does_not_end_in_time_breaks_off() {
    let endless = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("begin")]);
        axum::body::Body::from_stream(first.chain(futures::stream::pending()))
    };
    let port =
        instance(address(1), 0, Router::new().route("/", post(async move || endless()))).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let mut answer = rig.post("/slow", "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begin");
    in_flight(&rig, 1).await;
    // Neither more nor a regular end.
    answer.chunk().await.unwrap_err();
    in_flight(&rig, 0).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_keeps_no_instance_that_is_silent() {
    let silent = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("begin")]);
        axum::body::Body::from_stream(first.chain(futures::stream::pending()))
    };
    let port =
        instance(address(1), 0, Router::new().route("/", post(async move || silent()))).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let mut answer = rig.post("/add", "").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begin");
    in_flight(&rig, 1).await;
    drop(answer);
    in_flight(&rig, 0).await;
}

#[tokio::test]
async fn a_caller_that_does_not_read_keeps_no_instance_beyond_the_time() {
    let flood = || {
        let piece = Bytes::from(vec![0; 1 << 16]);
        let pieces = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        axum::body::Body::from_stream(pieces)
    };
    let port = instance(address(1), 0, Router::new().route("/", post(async move || flood()))).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let answer = rig.post("/slow", "").await;
    in_flight(&rig, 1).await;
    in_flight(&rig, 0).await;
    drop(answer);
}

#[tokio::test]
async fn a_call_that_does_not_come_in_time_is_given_up() {
    let rig = Rig::start(1, &[("slow", address(1))]).await;
    let never = futures::stream::pending::<Result<&str, std::io::Error>>();
    let call = rig.client.post(format!("{}/slow", rig.url)).body(reqwest::Body::wrap_stream(never));
    assert_eq!(call.send().await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}
