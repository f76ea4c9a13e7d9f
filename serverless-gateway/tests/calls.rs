//! Calls through the gateway to backends of this process on loopback addresses.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use api_types::{api::core::v1::Pod, minik8s::Function};
use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::post,
};
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
        tokio::spawn(async { axum::serve(listener, gateway.router()).await });
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
