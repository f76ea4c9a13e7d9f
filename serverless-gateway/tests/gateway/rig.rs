//! A gateway on a port of its own, and instances on loopback addresses.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use api_types::{api::core::v1::Pod, minik8s::Function};
use axum::{Extension, Router, extract::ConnectInfo, http::HeaderMap, routing::post};
use kube::runtime::watcher::Event;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use serverless_gateway::{Access, Calls, Functions, Gateway, Limits};
use tokio::net::TcpListener;

/// A gateway whose functions the test writes.
pub(crate) struct Rig {
    pub(crate) functions: Functions,
    pub(crate) metrics: component::Metrics,
    pub(crate) url: String,
    pub(crate) client: Client,
}

/// What a test may change of the gateway.
pub(crate) struct Options {
    pub(crate) queue_length: usize,
    pub(crate) queue_time: Duration,
    pub(crate) access: Access,
    /// Where calls seem to come from; else it is where they do.
    pub(crate) caller: Option<SocketAddr>,
    /// The API server that is asked about functions that the test does not write.
    pub(crate) client: Option<kube::Client>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            queue_length: 10_000,
            queue_time: Duration::from_secs(60),
            access: Access::Networks(Vec::new()),
            caller: None,
            client: None,
        }
    }
}

impl Rig {
    /// Instances serve on `port`. The functions `add` and `slow` (1 s for a call) exist; `pods` are
    /// the addresses of their ready instances.
    pub(crate) async fn start(port: u16, pods: &[(&str, Ipv4Addr)]) -> Rig {
        Rig::with(port, pods, Options::default()).await
    }

    pub(crate) async fn with(port: u16, pods: &[(&str, Ipv4Addr)], options: Options) -> Rig {
        let rig = Rig::without_lists(port, options).await;
        rig.list(pods);
        rig
    }

    /// Both functions, and these instances.
    pub(crate) fn list(&self, pods: &[(&str, Ipv4Addr)]) {
        self.functions.function(Event::Init);
        self.functions.function(Event::InitApply(function("add", &json!({}))));
        let slow = json!({"timeoutSeconds": 1});
        self.functions.function(Event::InitApply(function("slow", &slow)));
        self.functions.function(Event::InitDone);
        self.functions.pod(Event::Init);
        for (function, address) in pods {
            self.functions.pod(Event::InitApply(pod(function, *address)));
        }
        self.functions.pod(Event::InitDone);
    }

    pub(crate) async fn without_lists(port: u16, options: Options) -> Rig {
        component::install_crypto_provider();
        let metrics = component::Metrics::default();
        let functions = Functions::new(port, options.queue_length, &metrics);
        let limits = Limits { request_bytes: 10 << 20, queue_time: options.queue_time };
        let mut calls = Calls::new(functions.clone(), limits);
        if let Some(client) = options.client {
            calls = calls.asking(client);
        }
        let gateway = Gateway::new(calls, options.access, "default");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut routes = gateway.router();
        if let Some(caller) = options.caller {
            routes = routes.layer(Extension(ConnectInfo(caller)));
        }
        let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async { axum::serve(listener, routes).await });
        // Before a queue gives up: an answer then must not pass for one that came at once.
        let limit = Duration::from_secs(30);
        let client = Client::builder().no_proxy().timeout(limit).build().unwrap();
        Rig { functions, metrics, url, client }
    }

    pub(crate) async fn post(&self, path: &str, body: &'static str) -> Response {
        self.client.post(format!("{}{path}", self.url)).body(body).send().await.unwrap()
    }

    /// Posts and checks that the answer is a `Status` with this code and reason; gives its message.
    pub(crate) async fn refused(&self, path: &str, code: u16, reason: &str) -> String {
        let answer = self.post(path, "").await;
        assert_eq!(answer.status(), code);
        let retry = answer.headers().contains_key("retry-after");
        assert_eq!(retry, code == 503 || code == 429, "Retry-After goes with 503 and 429");
        let status: Value = answer.json().await.unwrap();
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
        assert_eq!((&status["reason"], &status["code"]), (&json!(reason), &json!(code)));
        status["message"].as_str().unwrap().to_owned()
    }

    /// What a metric of the function `add` says.
    pub(crate) fn metric(&self, name: &str) -> Option<u64> {
        let line = format!("\n{name}{{namespace=\"default\",function=\"add\"");
        let metrics = self.metrics.encode().unwrap();
        let value = metrics.split_once(&line)?.1.lines().next()?.rsplit_once(' ')?.1;
        Some(value.parse().unwrap())
    }

    /// Waits until a metric of the function `add` says so.
    pub(crate) async fn until(&self, name: &str, value: u64) {
        let reached = async {
            while self.metric(name) != Some(value) {
                tokio::task::yield_now().await;
            }
        };
        let reached = tokio::time::timeout(Duration::from_secs(30), reached).await;
        reached.unwrap_or_else(|_| panic!("{name} is {:?}, not {value}", self.metric(name)));
    }

    /// Waits until so many calls of `add` are in flight.
    pub(crate) async fn in_flight(&self, count: u64) {
        self.until("function_calls_in_flight", count).await;
    }

    pub(crate) async fn queued(&self, count: u64) {
        self.until("function_calls_queued", count).await;
    }
}

pub(crate) fn function(name: &str, spec: &Value) -> Function {
    serving(name, spec, &json!(1))
}

/// A function with the version that serves.
pub(crate) fn serving(name: &str, spec: &Value, version: &Value) -> Function {
    let object = json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "Function",
        "metadata": {"namespace": "default", "name": name},
        "spec": spec,
        "status": {"version": version},
    });
    serde_json::from_value(object).unwrap()
}

/// A ready pod of version 1.
pub(crate) fn pod(function: &str, address: Ipv4Addr) -> Pod {
    pod_of(function, "1", address, true)
}

pub(crate) fn pod_of(function: &str, version: &str, address: Ipv4Addr, ready: bool) -> Pod {
    let name = format!("{function}-{version}-{address}");
    let labels = json!({"minik8s.io/function": function, "minik8s.io/function-version": version});
    let ready = if ready { "True" } else { "False" };
    let object = json!({
        "metadata": {"namespace": "default", "name": name, "uid": name, "labels": labels},
        "status": {"podIP": address, "conditions": [{"type": "Ready", "status": ready}]},
    });
    serde_json::from_value(object).unwrap()
}

/// The loopback address that stands for an instance.
pub(crate) fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// Serves `routes` on `address`, on `port` or else a free one, which it gives.
pub(crate) async fn instance(address: Ipv4Addr, port: u16, routes: Router) -> u16 {
    let listener = TcpListener::bind((address, port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async { axum::serve(listener, routes).await });
    port
}

/// Answers with its name, then the content type and the body of the call.
pub(crate) fn echo(name: &'static str) -> Router {
    let answer = async move |headers: HeaderMap, body: String| {
        let kind = headers.get("content-type").map_or("", |kind| kind.to_str().unwrap()).to_owned();
        (StatusCode::CREATED, [("x-from", name)], format!("{kind} {body}"))
    };
    Router::new().route("/", post(answer))
}
