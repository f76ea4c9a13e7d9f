//! Bodies come and go as streams, within the time and the length that a call may have.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
    routing::post,
};
use futures::StreamExt;
use tokio::sync::mpsc;

use crate::rig::{Rig, address, echo, instance};

/// A body that is what the test sends.
fn body_of(receiver: mpsc::Receiver<Result<&'static str, std::io::Error>>) -> Body {
    Body::from_stream(futures::stream::unfold(receiver, async |mut chunks| {
        Some((chunks.recv().await?, chunks))
    }))
}

#[tokio::test]
async fn request_and_answer_are_passed_on_piece_by_piece() {
    // What it hears it says.
    let echo = async |body: Body| Body::from_stream(body.into_data_stream());
    let port = instance(address(1), 0, Router::new().route("/", post(echo))).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let (sender, receiver) = mpsc::channel(1);
    let body = reqwest::Body::wrap_stream(body_of(receiver).into_data_stream());
    let call = tokio::spawn(rig.client.post(format!("{}/add", rig.url)).body(body).send());
    sender.send(Ok("one")).await.unwrap();
    let mut answer = call.await.unwrap().unwrap();
    for (said, next) in [("one", "two"), ("two", "three")] {
        assert_eq!(answer.chunk().await.unwrap().unwrap(), said);
        sender.send(Ok(next)).await.unwrap();
    }
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "three");
    drop(sender);
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_call_that_takes_too_long_is_given_up_and_is_in_flight_no_more() {
    let never = Router::new().route("/", post(std::future::pending::<()>));
    let port = instance(address(1), 0, never).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let message = rig.refused("/slow", 504, "Timeout").await;
    assert_eq!(message, "function default/slow did not answer within 1 s");
    let metrics = rig.metrics.encode().unwrap();
    let none = r#"function_calls_in_flight{namespace="default",function="slow"} 0"#;
    assert!(metrics.contains(none), "{metrics}");
}

#[tokio::test]
async fn a_call_is_in_flight_until_its_answer_has_been_passed_on() {
    let (sender, receiver) = mpsc::channel(1);
    let body = Arc::new(std::sync::Mutex::new(Some(body_of(receiver))));
    let streaming =
        Router::new().route("/", post(async move || body.lock().unwrap().take().unwrap()));
    let port = instance(address(1), 0, streaming).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let answer = rig.post("/add", "").await;
    rig.in_flight(1).await;
    sender.send(Ok("done")).await.unwrap();
    drop(sender);
    assert_eq!(answer.text().await.unwrap(), "done");
    rig.in_flight(0).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_whether_or_not_it_says_so() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let body = vec![b'x'; (10 << 20) + 1];
    let call = rig.client.post(format!("{}/add", rig.url)).body(body.clone());
    assert_eq!(call.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    let takes_all = Router::new()
        .route("/", post(async |body: Bytes| body.len().to_string()))
        .layer(axum::extract::DefaultBodyLimit::disable());
    instance(address(2), port, takes_all).await;
    let rig = Rig::start(port, &[("add", address(2))]).await;
    for (length, expected) in [(10 << 20, 200), ((10 << 20) + 1, 413)] {
        let pieces =
            body[..length].chunks(1 << 16).map(|piece| Ok::<_, std::io::Error>(piece.to_vec()));
        let pieces = futures::stream::iter(pieces.collect::<Vec<_>>());
        let call = rig.client.post(format!("{}/add", rig.url));
        let call = call.body(reqwest::Body::wrap_stream(pieces));
        assert_eq!(call.send().await.unwrap().status(), expected);
    }
}

/// Says something, and then nothing for ever.
fn silent() -> Router {
    let silent = || {
        let first = futures::stream::iter([Ok::<_, std::io::Error>("begin")]);
        Body::from_stream(first.chain(futures::stream::pending()))
    };
    Router::new().route("/", post(async move || silent()))
}

#[tokio::test]
async fn an_answer_that_does_not_end_in_time_breaks_off_and_counts_as_late() {
    let port = instance(address(1), 0, silent()).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let mut answer = rig.post("/slow", "").await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begin");
    // Neither more nor a regular end.
    answer.chunk().await.unwrap_err();
    let metrics = rig.metrics.encode().unwrap();
    assert!(metrics.contains(r#"function="slow",code="504"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_caller_that_goes_away_keeps_no_instance_that_is_silent() {
    let port = instance(address(1), 0, silent()).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let mut answer = rig.post("/add", "").await;
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "begin");
    rig.in_flight(1).await;
    drop(answer);
    rig.in_flight(0).await;
    let metrics = rig.metrics.encode().unwrap();
    assert!(metrics.contains(r#"function="add",code="499"} 1"#), "{metrics}");
}

#[tokio::test]
async fn a_caller_that_does_not_read_keeps_no_instance_beyond_the_time() {
    let flood = || {
        let piece = Bytes::from(vec![0; 1 << 16]);
        let pieces = futures::stream::repeat_with(move || Ok::<_, std::io::Error>(piece.clone()));
        Body::from_stream(pieces)
    };
    let port = instance(address(1), 0, Router::new().route("/", post(async move || flood()))).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let answer = rig.post("/slow", "").await;
    let none = r#"function_calls_in_flight{namespace="default",function="slow"} 0"#;
    let given_up = async {
        while !rig.metrics.encode().unwrap().contains(none) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), given_up).await.unwrap();
    drop(answer);
}

#[tokio::test]
async fn a_call_that_does_not_come_in_time_is_given_up() {
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::start(port, &[("slow", address(1))]).await;
    let never = futures::stream::pending::<Result<&str, std::io::Error>>();
    let call = rig.client.post(format!("{}/slow", rig.url)).body(reqwest::Body::wrap_stream(never));
    assert_eq!(call.send().await.unwrap().status(), StatusCode::REQUEST_TIMEOUT);
}
