//! What of a call reaches an instance, and what of its answer comes back.

use std::time::Duration;

use axum::{
    Router,
    extract::{RawQuery, Request},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use kube::runtime::watcher::Event;
use reqwest::Client;
use serde_json::json;
use serverless_gateway::{Access, Tokens};

use crate::rig::{Options, Rig, address, echo, function, instance, pod};

#[tokio::test]
async fn a_call_reaches_an_instance_and_its_answer_comes_back_whole() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    for path in ["/add", "/default/add"] {
        let call = rig.client.post(format!("{}{path}", rig.url));
        let answer = call.json(&json!({"x": 100})).send().await.unwrap();
        assert_eq!(answer.status(), 201);
        assert_eq!(answer.headers()["x-from"], "a");
        assert_eq!(answer.headers()["content-length"], "26");
        assert_eq!(answer.text().await.unwrap(), r#"application/json {"x":100}"#);
    }
    rig.in_flight(0).await;
    let metrics = rig.metrics.encode().unwrap();
    let calls = r#"function_calls_total{namespace="default",function="add",code="201"} 2"#;
    assert!(metrics.contains(calls), "{metrics}");
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().unwrap();
    for body in ["x", ""] {
        let call = client.post(format!("{}/add", rig.url)).header("content-type", "a/b").body(body);
        let answer = call.send().await.unwrap();
        assert_eq!(
            (answer.version(), answer.status()),
            (reqwest::Version::HTTP_2, StatusCode::CREATED)
        );
        assert_eq!(answer.text().await.unwrap(), format!("a/b {body}"));
    }
}

#[tokio::test]
async fn an_instance_that_is_gone_is_passed_over() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1)), ("add", address(3))]).await;
    for _ in 0..8 {
        assert_eq!(rig.post("/add", "").await.status(), 201);
    }
    let soon = Options { queue_time: Duration::from_secs(1), ..Options::default() };
    let gone = Rig::with(port, &[("add", address(3))], soon).await;
    let message = gone.refused("/add", 503, "ServiceUnavailable").await;
    assert_eq!(message, "no instance of function default/add accepts connections");
}

#[tokio::test]
async fn a_name_may_be_spelt_as_in_the_code() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[]).await;
    rig.functions.function(Event::Apply(function("add-five", &json!({}))));
    rig.functions.pod(Event::Apply(pod("add-five", address(1))));
    for path in ["/addFive", "/add_five", "/default/addFive"] {
        assert_eq!(rig.post(path, "").await.status(), 201, "{path}");
    }
}

#[tokio::test]
async fn what_does_not_exist_is_not_found() {
    let rig = Rig::start(1, &[]).await;
    let message = rig.refused("/sub", 404, "NotFound").await;
    assert_eq!(message, r#"functions.minik8s.io "sub" not found"#);
    rig.refused("/other/add", 404, "NotFound").await;
    rig.refused("/workflows/default/hello", 404, "NotFound").await;
}

#[tokio::test]
async fn before_the_first_lists_nothing_is_said_not_to_exist() {
    let rig = Rig::without_lists(1, Options::default()).await;
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

/// Answers with the method, the path, the query and these headers of the call.
fn mirror(names: &'static [&'static str]) -> Router {
    let answer = async move |RawQuery(query): RawQuery, headers: HeaderMap, request: Request| {
        let value = |name: &&str| {
            let values = headers.get_all(*name).iter().map(|value| value.to_str().unwrap());
            format!("{name}={}", values.collect::<Vec<_>>().join("|"))
        };
        let headers: Vec<_> = names.iter().map(value).collect();
        let path = request.uri().path();
        format!("{path} {} {}", query.unwrap_or_default(), headers.join(" "))
    };
    Router::new().fallback(post(answer))
}

#[tokio::test]
async fn path_and_query_are_passed_on_as_they_are() {
    let port = instance(address(1), 0, mirror(&[])).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let cases = [
        ("/add?x=1&y=a%20b%26c&x=2", "/ x=1&y=a%20b%26c&x=2 "),
        ("/add", "/  "),
        ("/default/add/v1/a%2Fb//c/?q", "/v1/a%2Fb//c/ q "),
    ];
    for (path, expected) in cases {
        assert_eq!(rig.post(path, "").await.text().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn headers_are_passed_on_but_for_those_of_the_connection() {
    let names = &[
        "accept",
        "cookie",
        "x-own",
        "authorization",
        "te",
        "x-hop",
        "proxy-authorization",
        "expect",
        "x-forwarded-for",
        "x-forwarded-host",
        "content-length",
    ];
    let port = instance(address(1), 0, mirror(names)).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let call = rig.client.post(format!("{}/add", rig.url)).header("host", "functions.example");
    let call = call.header("accept", "a/b").header("accept", "c/d").header("cookie", "k=v");
    let call = call.header("authorization", "Basic x");
    let call =
        call.header("x-own", "1").header("te", "trailers").header("proxy-authorization", "p");
    let call = call.header("connection", "x-hop").header("x-hop", "1").body("four");
    let answer = call.header("x-forwarded-for", "192.0.2.1").send().await.unwrap();
    assert_eq!(
        answer.text().await.unwrap(),
        "/  accept=a/b|c/d cookie=k=v x-own=1 authorization=Basic x te= x-hop= \
         proxy-authorization= expect= x-forwarded-for=192.0.2.1, 127.0.0.1 \
         x-forwarded-host=functions.example content-length=4"
    );
}

#[tokio::test]
async fn a_call_has_an_id_that_its_instance_and_its_caller_are_told() {
    let port = instance(address(1), 0, mirror(&["x-request-id"])).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let call = rig.client.post(format!("{}/add", rig.url)).header("x-request-id", "mine");
    let answer = call.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "mine");
    assert_eq!(answer.text().await.unwrap(), "/  x-request-id=mine");
    let (first, second) = (rig.post("/add", "").await, rig.post("/add", "").await);
    let id = first.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_ne!(id, second.headers()["x-request-id"].to_str().unwrap());
    assert_eq!(first.text().await.unwrap(), format!("/  x-request-id={id}"));
}

#[tokio::test]
async fn a_token_is_for_the_gateway_and_not_for_the_function() {
    let port = instance(address(1), 0, mirror(&["authorization"])).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret,ann,1\n").unwrap();
    let access = Access::Tokens(Tokens::read(file.path()).unwrap());
    let pods = [("add", address(1))];
    let rig = Rig::with(port, &pods, Options { access, ..Options::default() }).await;
    rig.refused("/add", 401, "Unauthorized").await;
    let answer = rig.client.post(format!("{}/add", rig.url)).bearer_auth("s3cret").send().await;
    assert_eq!(answer.unwrap().text().await.unwrap(), "/  authorization=");
}

#[tokio::test]
async fn calls_are_answered_from_this_host_and_from_the_clusters_networks_alone() {
    let port = instance(address(1), 0, echo("a")).await;
    for (caller, expected) in [(None, 201), (Some("10.244.3.7:1"), 201), (Some("192.0.2.1:1"), 403)]
    {
        let access = Access::Networks(vec!["10.244.0.0/16".parse().unwrap()]);
        let caller = caller.map(|caller| caller.parse().unwrap());
        let options = Options { access, caller, ..Options::default() };
        let rig = Rig::with(port, &[("add", address(1))], options).await;
        assert_eq!(rig.post("/add", "").await.status(), expected, "{caller:?}");
        if expected == 403 {
            let message = rig.refused("/add", 403, "Forbidden").await;
            assert!(message.ends_with("not from 192.0.2.1"), "{message}");
            rig.in_flight(0).await;
        }
    }
}

#[tokio::test]
async fn an_error_of_the_function_is_its_answer() {
    let fail = async || (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error": {"type": "KeyError"}}"#);
    let port = instance(address(1), 0, Router::new().route("/", post(fail))).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let answer = rig.post("/add", "").await;
    assert_eq!(answer.status(), 500);
    assert_eq!(answer.text().await.unwrap(), r#"{"error": {"type": "KeyError"}}"#);
}
