//! Instances whose hosts say nothing any more, and those that only seem so.

use std::time::Duration;

use axum::{Router, routing::post};
use kube::runtime::watcher::Event;
use serde_json::{Value, json};
use socket2::{SockFilter, SockRef};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::{
    queue::takes_a_call,
    rig::{Rig, address, function, instance, pod},
};

async fn rig() -> (Rig, TcpListener) {
    let listener = TcpListener::bind((address(1), 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (Rig::start(port, &[("add", address(1))]).await, listener)
}

/// Whatever comes from now on is dropped: `ret 0`.
fn silence<'a>(socket: impl Into<SockRef<'a>>) {
    socket.into().attach_filter(&[SockFilter::new(6, 0, 0, 0)]).unwrap();
}

#[tokio::test]
async fn what_a_call_waited_for_a_silent_host_is_a_part_of_its_time_at_the_next_instance() {
    let (rig, listener) = rig().await;
    rig.functions.function(Event::Apply(function("add", &json!({"timeoutSeconds": 1}))));
    silence(&listener);
    let slow = post(async || tokio::time::sleep(Duration::from_millis(750)).await);
    let port = listener.local_addr().unwrap().port();
    instance(address(2), port, Router::new().route("/", slow)).await;
    let call = tokio::spawn(rig.client.post(format!("{}/add", rig.url)).send());
    // For a connection it waits half of the time that it has.
    rig.queued(1).await;
    rig.functions.pod(Event::Apply(pod("add", address(2))));
    assert_eq!(call.await.unwrap().unwrap().status(), 504);
}

#[tokio::test]
async fn a_call_whose_time_went_by_at_silent_hosts_was_too_slow() {
    let (rig, first) = rig().await;
    let port = first.local_addr().unwrap().port();
    let mut silent = vec![first];
    for host in 2..10 {
        silent.push(TcpListener::bind((address(host), port)).await.unwrap());
        rig.functions.pod(Event::Apply(pod("add", address(host))));
    }
    silent.iter().for_each(silence);
    rig.functions.function(Event::Apply(function("add", &json!({"timeoutSeconds": 1}))));
    let answer = rig.post("/add", "").await;
    assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (504, None));
    let status: Value = answer.json().await.unwrap();
    let message = "no instance of function default/add took the connection within 1 s";
    assert_eq!((&status["reason"], &status["message"]), (&json!("Timeout"), &json!(message)));
    assert_eq!(rig.metric("function_cold_starts_total"), Some(0));
}

#[tokio::test]
async fn a_call_breaks_off_whose_request_the_host_of_its_instance_does_not_acknowledge() {
    let (rig, listener) = rig().await;
    let gateway = rig.url.strip_prefix("http://").unwrap();
    let mut caller = TcpStream::connect(gateway).await.unwrap();
    let begin = b"POST /add HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\na";
    caller.write_all(begin).await.unwrap();
    let instance = takes_a_call(&listener).await;
    silence(&instance);
    caller.write_all(b"b").await.unwrap();
    let mut status = [0; 12];
    let answer = caller.read_exact(&mut status);
    tokio::time::timeout(Duration::from_secs(30), answer).await.expect("it hangs").unwrap();
    assert_eq!(&status, b"HTTP/1.1 502");
}

#[tokio::test]
async fn an_instance_that_reads_nothing_for_long_keeps_its_call() {
    let (rig, listener) = rig().await;
    let body = vec![b'x'; 1 << 20];
    let call = tokio::spawn(rig.client.post(format!("{}/add", rig.url)).body(body).send());
    let mut instance = takes_a_call(&listener).await;
    // Longer than a host may be silent.
    tokio::time::sleep(Duration::from_secs(15)).await;
    instance.read_exact(&mut vec![0; 1 << 20]).await.unwrap();
    instance.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 200);
}
