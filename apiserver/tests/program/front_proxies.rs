//! The flags about front proxies.

use apiserver::{Identity, pki::Pki};
use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use testkit::Apiserver;

#[tokio::test]
async fn a_front_proxy_is_believed_as_the_flags_say() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Pki::open_or_create(directory.path()).unwrap();
    let ca = directory.path().join("pki/ca.crt");
    let flags = [
        format!("--requestheader-client-ca-file={}", ca.display()),
        "--requestheader-allowed-names=edge".to_owned(),
        "--requestheader-username-headers=X-User".to_owned(),
        "--requestheader-uid-headers=X-Uid".to_owned(),
        "--requestheader-group-headers=X-Group".to_owned(),
        "--requestheader-extra-headers-prefix=X-Extra-".to_owned(),
    ];
    let server = Apiserver::spawn_with(env!("CARGO_BIN_EXE_apiserver"), None, &flags).await;
    let kubeconfig = std::fs::read_to_string(server.kubeconfig()).unwrap();
    let mut kubeconfig: Value = serde_yaml::from_str(&kubeconfig).unwrap();
    let edge = authority.kubeconfig("https://edge", &Identity::new("edge", &[]), &[]).unwrap();
    let edge: Value = serde_yaml::from_str(&edge).unwrap();
    kubeconfig["users"][0]["user"] = edge["users"][0]["user"].clone();
    let kubeconfig: Kubeconfig = serde_json::from_value(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let client = Client::try_from(config.unwrap()).unwrap();
    let request = Request::post("/apis/authentication.k8s.io/v1/selfsubjectreviews")
        .header("content-type", "application/json")
        .header("x-user", "ann")
        .header("x-uid", "7")
        .header("x-group", "dev")
        .header("x-extra-scopes", "a")
        .body(b"{}".to_vec())
        .unwrap();
    let told: Value = client.request(request).await.unwrap();
    let expected = json!({
        "username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"],
        "extra": {"scopes": ["a"]},
    });
    assert_eq!(told["status"]["userInfo"], expected);
}
