//! A server that is to stop: it says so before it does.

use std::time::Duration;

use apiserver::{Config, Identity};
use axum::body::Body;
use http::{Request, header};
use serde_json::json;
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_util::sync::CancellationToken;

use crate::{
    faulty::{Fate, Op},
    harness::{Api, CONFIG_MAPS, JSON},
    tls::Tls,
};

const ENDPOINTS: &str = "/api/v1/namespaces/default/endpoints/kubernetes";

async fn lingering(shutdown_delay: Duration) -> Api {
    Api::with(Config { shutdown_delay, ..Config::default() }).await
}

#[tokio::test]
async fn a_server_that_is_to_stop_serves_on_and_is_not_ready_meanwhile() {
    let api = lingering(Duration::from_secs(3600)).await;
    let other = Config { advertise_address: "10.0.0.2".parse().unwrap(), ..Config::default() };
    let other = apiserver::ApiServer::start(other, api.store.clone(), None).await.unwrap();
    let (stop, server) = (CancellationToken::new(), api.server.clone());
    let running = tokio::spawn({
        let stop = stop.clone();
        async move { server.run(&stop).await }
    });
    let mut events = api.watch(&format!("{CONFIG_MAPS}?watch=1")).await;
    assert_eq!(api.get("/readyz").await.code, 200);
    stop.cancel();
    api.until("/readyz", 500).await;
    let why = api.get("/readyz").await.text;
    assert!(why.contains("[-]shutdown failed: reason withheld"), "{why}");
    assert_eq!(api.get("/livez").await.code, 200);
    wait::until("the endpoint goes", async || {
        match api.get(ENDPOINTS).await.ok()["subsets"][0]["addresses"].as_array() {
            Some(left) if left.len() == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    api.config_map("late", json!({})).await;
    while events.brief().await != "ADDED late" {}
    assert!(!running.is_finished());
    running.abort();
    other.stop().await;
    api.server.stop().await;
}

#[tokio::test]
async fn after_that_watches_end_and_so_does_the_server() {
    let api = lingering(Duration::from_millis(1)).await;
    let stop = CancellationToken::new();
    let request = Request::get(format!("{CONFIG_MAPS}?watch=1&resourceVersion=0"));
    let request = request.header(header::ACCEPT, JSON).body(Body::empty()).unwrap();
    let watch = api.request(request).await;
    stop.cancel();
    wait::within("the server stops", api.server.run(&stop)).await.unwrap();
    let body = http_body_util::BodyExt::collect(watch.into_body());
    wait::within("the watch ends", body).await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_is_answered_before_the_server_stops() {
    let (tls, faulty) = Tls::faulty().await;
    faulty.rule(|op, key| match (op, key.ends_with("/configmaps/default/m")) {
        (Op::Put, true) => Fate::Hold,
        _ => Fate::Pass,
    });
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let object = json!({"metadata": {"name": "m"}}).to_string();
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: server\r\ncontent-type: {JSON}\r\ncontent-length: {}\r\n\r\n",
        object.len()
    );
    connection.write_all(format!("{head}{object}").as_bytes()).await.unwrap();
    connection.flush().await.unwrap();
    faulty.holds().await;
    let server = tls.api.server.clone();
    let stopping = tokio::spawn(async move { server.stop().await });
    wait::until("nobody is let in any more", async || {
        match TcpStream::connect(tls.address).await {
            Ok(_) => Err("a connection"),
            Err(_) => Ok(()),
        }
    })
    .await;
    assert!(!stopping.is_finished());
    faulty.release();
    let mut answer = Vec::new();
    wait::within("all is sent", connection.read_to_end(&mut answer)).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    wait::within("the server stops", stopping).await.unwrap();
}
