//! What goes on for as long as somebody listens, as messages of a WebSocket.

use apiserver::Identity;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use testkit::wait;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::{
    harness::{CONFIG_MAPS, PODS},
    tls::Tls,
};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
/// Of the example in RFC 6455.
const HANDSHAKE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPTED: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A connection on which a WebSocket was asked for, and the head of the answer.
async fn ask(
    tls: &Tls,
    who: Option<&Identity>,
    path: &str,
    protocols: &str,
) -> (impl AsyncRead + Unpin + use<>, String) {
    let mut connection = tls.connection(who).await;
    let head = format!(
        "GET {path} HTTP/1.1\r\nhost: server\r\n{HANDSHAKE}\r\nsec-websocket-protocol: {protocols}\r\n\r\n"
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        let byte = wait::within("there is an answer", connection.read_u8()).await.unwrap();
        head.push(byte.into());
    }
    (connection, head)
}

/// The next message: what it is, and what it says.
async fn message(connection: &mut (impl AsyncRead + Unpin)) -> (u8, String) {
    let read = async {
        let kind = connection.read_u8().await.unwrap();
        let length = match connection.read_u8().await.unwrap() {
            126 => usize::from(connection.read_u16().await.unwrap()),
            short => usize::from(short),
        };
        let mut text = vec![0; length];
        connection.read_exact(&mut text).await.unwrap();
        (kind, String::from_utf8(text).unwrap())
    };
    wait::within("there is a message", read).await
}

#[tokio::test]
async fn a_watch_tells_each_change_by_itself() {
    let tls = Tls::start().await;
    for name in ["a", "b"] {
        tls.api.config_map(name, json!({})).await;
    }
    let path = format!("{CONFIG_MAPS}?watch=true");
    let admin = Identity::admin();
    let (mut changes, head) = ask(&tls, Some(&admin), &path, "base64.binary.k8s.io").await;
    assert!(head.starts_with("HTTP/1.1 101") && head.contains(ACCEPTED), "{head}");
    assert!(head.contains("sec-websocket-protocol: base64.binary.k8s.io"), "{head}");
    tls.api.config_map("c", json!({})).await;
    for name in ["a", "b", "c"] {
        let (kind, text) = message(&mut changes).await;
        let event: Value = serde_json::from_str(&text).unwrap();
        let told = (kind, &event["type"], &event["object"]["metadata"]["name"]);
        assert_eq!(told, (TEXT, &json!("ADDED"), &json!(name)));
    }
}

#[tokio::test]
async fn a_log_comes_in_the_form_that_its_reader_knows() {
    let tls = Tls::start().await;
    tls.kubelet("n1").await;
    let (path, admin) = (format!("{PODS}/p/log?tailLines=5"), Identity::admin());
    let (mut log, head) = ask(&tls, Some(&admin), &path, "chat, base64.binary.k8s.io").await;
    assert!(head.contains("sec-websocket-protocol: base64.binary.k8s.io"), "{head}");
    for expected in [(TEXT, ""), (TEXT, "bG9nIHdpdGggdGFpbExpbmVzPTUK"), (CLOSE, "")] {
        assert_eq!(message(&mut log).await, (expected.0, expected.1.to_owned()));
    }
    let (_, head) = ask(&tls, Some(&admin), &path, "chat").await;
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
}

#[tokio::test]
async fn who_asks_may_show_a_token_among_the_protocols() {
    let tls = Tls::start().await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    tls.api.post(accounts, &json!({"metadata": {"name": "robot"}})).await.ok();
    let token = tls.api.post(&format!("{accounts}/robot/token"), &json!({"spec": {}})).await.ok();
    let token = URL_SAFE_NO_PAD.encode(token["status"]["token"].as_str().unwrap());
    let path = format!("{PODS}?watch=true");
    let code = async |protocols: &str| {
        let (_, head) = ask(&tls, None, &path, protocols).await;
        head.lines().next().unwrap().to_owned()
    };
    let protocol = |token: &str| format!("base64url.bearer.authorization.k8s.io.{token}, chat");
    assert_eq!(code("chat").await, "HTTP/1.1 403 Forbidden");
    assert_eq!(code(&protocol("eA")).await, "HTTP/1.1 401 Unauthorized");
    let binding = json!({
        "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:aggregate-to-view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    tls.api.post(bindings, &binding).await.ok();
    tls.api.until_cached(bindings, "robot").await;
    assert_eq!(code(&protocol(&token)).await, "HTTP/1.1 101 Switching Protocols");
}
