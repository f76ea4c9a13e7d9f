//! Secrets in etcd, and what is written beside it.

use std::fs;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use store::{Query, Store, etcd::Etcd as Client};
use testkit::{Apiserver, Etcd, Redis};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

#[tokio::test]
async fn etcd_has_no_secret_in_plain_nor_has_the_log() {
    let (etcd, redis) = (Etcd::spawn().await, Redis::spawn().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("encryption.yaml");
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["*.*"], "providers": [
            {"aesgcm": {"keys": [{"name": "one", "secret": STANDARD.encode([7; 32])}]}},
        ]}],
    });
    fs::write(&file, configuration.to_string()).unwrap();
    let flags = [
        format!("--encryption-provider-config={}", file.display()),
        format!("--redis={}", redis.url()),
    ];
    let program = env!("CARGO_BIN_EXE_apiserver");
    let mut server = Apiserver::spawn_with(program, Some(&etcd), &flags).await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "correct horse"}});
    let request = http::Request::post(SECRETS).header("content-type", "application/json");
    let request = request.body(secret.to_string().into()).unwrap();
    server.client().await.request::<Value>(request).await.unwrap();
    let store = Client::connect(&[etcd.endpoint()]).await.unwrap();
    let all = store.list("/registry/", Query::default()).await.unwrap().entries;
    assert!(all.iter().any(|entry| &*entry.key == "/registry/core/secrets/default/s"));
    for entry in all {
        assert!(entry.value.starts_with(b"k8s:enc:aesgcm:v1:one:"), "{}", entry.key);
    }
    // It reads what it wrote.
    server.end();
    server.restart().await;
    let request = http::Request::get(format!("{SECRETS}/s")).body(Vec::new()).unwrap();
    let read: Value = server.client().await.request(request).await.unwrap();
    let password = STANDARD.encode("correct horse");
    assert_eq!(read["data"]["password"], password);
    for plain in ["correct horse", &password, &STANDARD.encode([7; 32])] {
        assert!(!server.log().contains(plain), "{}", server.log());
    }
}
