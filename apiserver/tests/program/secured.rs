//! etcd and Redis that answer over TLS alone: one of them who shows a certificate, the other who knows the password.

use std::fs;

use serde_json::json;
use store::etcd::{Etcd as Client, Tls};
use testkit::{Apiserver, Authority, Etcd, Redis, wait};

fn flags(authority: &Authority, redis: &Redis) -> Vec<String> {
    let password = authority.key().with_file_name("password");
    fs::write(&password, Redis::PASSWORD).unwrap();
    vec![
        format!("--etcd-cafile={}", authority.authority().display()),
        format!("--etcd-certfile={}", authority.certificate().display()),
        format!("--etcd-keyfile={}", authority.key().display()),
        format!("--redis={}", redis.url()),
        format!("--redis-ca-file={}", authority.authority().display()),
        format!("--redis-password-file={}", password.display()),
    ]
}

#[tokio::test]
async fn a_server_keeps_its_objects_and_tells_of_them_over_tls() {
    let authority = Authority::new();
    let etcd = Etcd::spawn_secured(&authority).await;
    let redis = Redis::spawn_secured(&authority).await;
    let program = env!("CARGO_BIN_EXE_apiserver");
    let server = Apiserver::spawn_with(program, Some(&etcd), &flags(&authority, &redis)).await;
    let map = json!({"metadata": {"name": "a"}}).to_string().into();
    let request = http::Request::post("/api/v1/namespaces/default/configmaps");
    let request = request.header("content-type", "application/json").body(map).unwrap();
    server.client().await.request::<serde_json::Value>(request).await.unwrap();
    wait::until("it sends to Redis and listens", async || {
        let log = server.log();
        let told = ["connected to Redis for sending", "connected to Redis for listening"];
        if told.iter().all(|told| log.contains(told)) { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!server.log().contains(Redis::PASSWORD), "{}", server.log());
}

#[tokio::test]
async fn etcd_is_trusted_by_its_authority_and_answers_who_shows_a_certificate() {
    let authority = Authority::new();
    let etcd = Etcd::spawn_secured(&authority).await;
    let read = |path| fs::read(path).unwrap();
    let authorities = Some(read(authority.authority()));
    let identity = Some((read(authority.certificate()), read(authority.key())));
    let endpoints = [etcd.endpoint()];
    let known = Tls { authorities: authorities.clone(), identity: identity.clone() };
    Client::connect_with(&endpoints, Some(&known)).await.unwrap();
    let nobody = Tls { authorities, identity: None };
    Client::connect_with(&endpoints, Some(&nobody)).await.map(drop).unwrap_err();
    let stranger = Tls { authorities: None, identity };
    Client::connect_with(&endpoints, Some(&stranger)).await.map(drop).unwrap_err();
}
