//! Front proxies, which say in headers for whom they make requests.

use apiserver::{
    Config, Identity, RequestHeader, RequestHeaderOptions,
    pki::{Pki, TlsFiles},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{harness::JSON, tls::Tls};

const SELF: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TRUST: &str = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";

const ANN: [(&str, &str); 4] = [
    ("x-remote-user", "ann"),
    ("x-remote-uid", "7"),
    ("x-remote-group", "dev"),
    ("x-remote-extra-example.com%2fscopes", "a"),
];

/// A server that believes front proxies of the name `edge`, and their authority.
async fn start() -> (Tls, Pki, TempDir) {
    component::install_crypto_provider();
    let directory = tempfile::tempdir().unwrap();
    let authority = Pki::open_or_create(directory.path()).unwrap();
    let one = |name: &str| vec![name.to_owned()];
    let options = RequestHeaderOptions {
        authorities: authority.ca_certificate().to_owned(),
        allowed_names: one("edge"),
        username_headers: one("X-Remote-User"),
        uid_headers: one("X-Remote-Uid"),
        group_headers: one("X-Remote-Group"),
        extra_header_prefixes: one("X-Remote-Extra-"),
    };
    let config = Config {
        front_proxy: Some(authority.front_proxy(&TlsFiles::default()).unwrap()),
        request_header: Some(RequestHeader::new(options, "").unwrap()),
        ..Config::default()
    };
    let request_header_ca = Some(directory.path().join("pki/ca.crt"));
    let files = TlsFiles { request_header_ca, ..TlsFiles::default() };
    (Tls::with_config(&files, config).await, authority, directory)
}

/// The code of the answer to who asks who it is, and what it is told.
async fn ask(tls: &Tls, client: &reqwest::Client, headers: &[(&str, &str)]) -> (u16, Value) {
    let mut request = client.post(tls.url(SELF)).header("content-type", JSON).body("{}");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.unwrap();
    let code = answer.status().as_u16();
    let told: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    (code, told["status"]["userInfo"].clone())
}

#[tokio::test]
async fn a_front_proxy_says_for_whom_it_makes_a_request() {
    let (tls, authority, _directory) = start().await;
    let edge = tls.client_of(&authority, &Identity::new("edge", &["system:masters"]));
    let ann = json!({
        "username": "ann", "uid": "7", "groups": ["dev", "system:authenticated"],
        "extra": {"example.com/scopes": ["a"]},
    });
    assert_eq!(ask(&tls, &edge, &ANN).await, (201, ann.clone()));
    let joe = json!({"username": "joe", "groups": ["system:authenticated"]});
    assert_eq!(ask(&tls, &edge, &[("x-remote-user", "joe")]).await, (201, joe));
    // For itself it has to say so by other means, such as a token.
    assert_eq!(ask(&tls, &edge, &ANN[1..]).await.0, 401);
    tls.api.post(ACCOUNTS, &json!({"metadata": {"name": "robot"}})).await.ok();
    let token = tls.api.post(&format!("{ACCOUNTS}/robot/token"), &json!({"spec": {}})).await.ok();
    let bearer = format!("Bearer {}", token["status"]["token"].as_str().unwrap());
    let shown = ("authorization", bearer.as_str());
    let (code, told) = ask(&tls, &edge, &[shown]).await;
    assert_eq!((code, &told["username"]), (201, &json!("system:serviceaccount:default:robot")));
    let both = [&ANN[..], &[shown][..]].concat();
    assert_eq!(ask(&tls, &edge, &both).await, (201, ann));
}

#[tokio::test]
async fn nobody_else_says_who_it_is_in_headers() {
    let (tls, authority, _directory) = start().await;
    let other = tls.client_of(&authority, &Identity::new("other", &["system:masters"]));
    assert_eq!(ask(&tls, &other, &ANN).await.0, 401);
    assert_eq!(ask(&tls, &other, &[]).await.0, 401);
    let bob = json!({"username": "bob", "groups": ["ops", "system:authenticated"]});
    let client = tls.client(Some(&Identity::new("bob", &["ops"])));
    assert_eq!(ask(&tls, &client, &ANN).await, (201, bob));
    // The name alone makes no front proxy.
    let edge = json!({"username": "edge", "groups": ["system:authenticated"]});
    let client = tls.client(Some(&Identity::new("edge", &[])));
    assert_eq!(ask(&tls, &client, &ANN).await, (201, edge));
    assert_eq!(ask(&tls, &tls.client(None), &ANN).await.0, 403);
}

#[tokio::test]
async fn other_servers_are_told_of_all_front_proxies() {
    let (tls, authority, directory) = start().await;
    let data = tls.api.get(TRUST).await.ok()["data"].clone();
    let told = data["requestheader-client-ca-file"].as_str().unwrap();
    let own = std::fs::read_to_string(directory.path().join("pki/front-proxy-ca.crt")).unwrap();
    for authority in [own.as_str(), authority.ca_certificate()] {
        assert!(told.contains(authority.trim()), "{told}");
    }
    assert_eq!(data["requestheader-allowed-names"], r#"["front-proxy-client","edge"]"#);
    assert_eq!(data["requestheader-username-headers"], r#"["X-Remote-User"]"#);
}
