//! Exec, attach and port-forward, with a client of their WebSocket protocols.

use api_types::api::core::v1::{Pod, PodStatus};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testkit::{pod, wait};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        self, Message, client::IntoClientRequest, http::header::SEC_WEBSOCKET_PROTOCOL,
        protocol::frame::coding::CloseCode,
    },
};

use super::{ADMINISTRATOR, Served};
use crate::{fake_node::IMAGE, runtime::labels::SANDBOX_NAME};

const V5: &str = "v5.channel.k8s.io";
const V4: &str = "v4.channel.k8s.io";
const EXEC: &str = "/exec/default/web/main?command=cat&command=-u&input=1&output=1&error=1";

/// A client, and the protocol that was agreed upon.
pub(super) struct Client {
    pub(super) messages: WebSocketStream<TlsStream<TcpStream>>,
    pub(super) protocol: String,
}

impl Served {
    /// One whose node runs the pod `web`.
    pub(super) async fn with_pod() -> Self {
        let served = Self::start().await;
        served.run(&pod("web").image(IMAGE).node("n1").build()).await;
        served
    }

    async fn run(&self, web: &Pod) {
        self.node.create(web).await;
        let runs = |status: &PodStatus| status.phase.as_deref() == Some("Running");
        self.node.until_status("web", "runs", runs).await;
    }

    /// The error is code and body of the answer.
    pub(super) async fn open(&self, path: &str, protocols: &str) -> Result<Client, (u16, String)> {
        let mut request = format!("wss://n1{path}").into_client_request().unwrap();
        if !protocols.is_empty() {
            request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        }
        match client_async(request, self.connect(Some(ADMINISTRATOR)).await).await {
            Ok((messages, answer)) => {
                let protocol = answer.headers().get(SEC_WEBSOCKET_PROTOCOL);
                let protocol = protocol.map(|name| name.to_str().unwrap().to_owned());
                Ok(Client { messages, protocol: protocol.unwrap_or_default() })
            }
            Err(tungstenite::Error::Http(answer)) => {
                let body = answer.body().clone().unwrap_or_default();
                Err((answer.status().as_u16(), String::from_utf8(body).unwrap()))
            }
            Err(error) => panic!("{error}"),
        }
    }
}

impl Client {
    async fn say(&mut self, message: &'static [u8]) {
        self.messages.send(Message::Binary(message.into())).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Message {
        wait::within("a message", self.messages.next()).await.unwrap().unwrap()
    }

    async fn hears(&mut self, message: &[u8]) {
        let heard = self.next().await;
        assert_eq!(heard, Message::Binary(message.to_vec().into()), "{heard:?}");
    }

    /// What is said last.
    async fn outcome(&mut self) -> Value {
        let last = self.next().await.into_data();
        assert_eq!(last[0], 3, "{last:?}");
        serde_json::from_slice(&last[1..]).unwrap()
    }

    pub(super) async fn is_over(&mut self) {
        let end = self.next().await;
        let Message::Close(Some(frame)) = end else { panic!("{end:?}") };
        assert_eq!(frame.code, CloseCode::Normal);
        let rest = wait::within("the end", self.messages.next()).await;
        assert!(!matches!(rest, Some(Ok(_))), "{rest:?}");
    }
}

fn exit_code(code: i64) -> Value {
    let text = "command terminated with non-zero exit code: command terminated with exit code";
    json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
        "message": format!("{text} {code}"),
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}})
}

#[tokio::test]
async fn a_command_has_the_clients_streams_and_its_status_is_told_last() {
    let served = Served::with_pod().await;
    served.node.runtime.answer("main", 7);
    let mut client = served.open(EXEC, &format!("v9.channel.k8s.io, {V4}, {V5}")).await.unwrap();
    assert_eq!(client.protocol, V5);
    client.hears(b"\x01").await;
    client.hears(b"\x02cat -u").await;
    client.say(b"\x00hello").await;
    client.hears(b"\x01hello").await;
    client.say(b"\xff\x00").await;
    assert_eq!(client.outcome().await, exit_code(7));
    client.is_over().await;
}

#[tokio::test]
async fn every_protocol_is_spoken() {
    let served = Served::with_pod().await;
    let path = "/exec/default/web/main?command=id&output=1";
    for (protocol, base64) in [(V5, false), (V4, false), ("v4.base64.channel.k8s.io", true)] {
        let mut client = served.open(path, protocol).await.unwrap();
        assert_eq!(client.protocol, protocol);
        if base64 {
            assert_eq!(client.next().await, Message::text("1"));
            let status = "3eyJtZXRhZGF0YSI6e30sInN0YXR1cyI6IlN1Y2Nlc3MifQ==";
            assert_eq!(client.next().await, Message::text(status));
        } else {
            client.hears(b"\x01").await;
            assert_eq!(client.outcome().await, json!({"metadata": {}, "status": "Success"}));
        }
        client.is_over().await;
    }
    // Those who know only the oldest hear of a failure, in words.
    served.node.runtime.answer("main", 7);
    for (protocol, message) in [
        ("", Message::binary(&b"\x01"[..])),
        ("channel.k8s.io", Message::binary(&b"\x01"[..])),
        ("base64.channel.k8s.io", Message::text("1")),
    ] {
        let mut client = served.open(path, protocol).await.unwrap();
        assert_eq!((client.next().await, &*client.protocol), (message, protocol));
        let failure = client.next().await;
        let text =
            "command terminated with non-zero exit code: command terminated with exit code 7";
        let expected = match protocol {
            "base64.channel.k8s.io" => Message::text(format!("3{}", STANDARD.encode(text))),
            _ => Message::binary(format!("\x03{text}").into_bytes()),
        };
        assert_eq!(failure, expected);
        client.is_over().await;
    }
}

#[tokio::test]
async fn a_client_of_v4_has_no_way_to_end_its_input_but_to_go() {
    let served = Served::with_pod().await;
    let mut client = served.open(EXEC, V4).await.unwrap();
    client.hears(b"\x01").await;
    client.hears(b"\x02cat -u").await;
    client.say(b"\xff\x00").await;
    client.say(b"\x00hello").await;
    client.hears(b"\x01hello").await;
    client.messages.close(None).await.unwrap();
    assert!(matches!(client.next().await, Message::Close(_)));
}

#[tokio::test]
async fn a_terminal_is_one_stream_and_has_a_size() {
    let served = Served::with_pod().await;
    let mut client = served.open(&format!("{EXEC}&tty=1"), V5).await.unwrap();
    client.hears(b"\x01").await;
    client.say(b"\x04{\"Width\":97,\"Height\":31}").await;
    served.node.until_called("Exec(\"main\") 97x31").await;
    client.say(b"\x04{\"Width\":0.5}").await;
    client.say(b"\x00hello").await;
    client.hears(b"\x01hello").await;
}

#[tokio::test]
async fn a_client_is_not_forgotten_while_the_command_does_not_read() {
    let served = Served::with_pod().await;
    served.node.runtime.hold("read main", true);
    let mut client = served.open(EXEC, V5).await.unwrap();
    client.hears(b"\x01").await;
    client.hears(b"\x02cat -u").await;
    client.say(&[0; 2048]).await;
    // Its pings come after what is not read.
    assert_eq!(client.next().await, Message::Pong(Default::default()));
    served.node.runtime.hold("read main", false);
    assert_eq!(client.next().await.into_data()[0], 1);
}

#[tokio::test]
async fn a_command_that_cannot_be_run_is_told_of_in_the_session() {
    let served = Served::with_pod().await;
    served.node.runtime.set_broken("exec main", true);
    let mut client = served.open(EXEC, V5).await.unwrap();
    client.hears(b"\x01").await;
    let message = "Internal error occurred: error executing command in container: it is broken";
    let expected = json!({"metadata": {}, "status": "Failure", "reason": "InternalError",
        "message": message, "code": 500});
    assert_eq!(client.outcome().await, expected);
    client.is_over().await;
}

#[tokio::test]
async fn a_containers_own_process_is_attached_to() {
    let served = Served::with_pod().await;
    let mut client = served.open("/attach/default/web/main?input=1&output=1", V5).await.unwrap();
    client.hears(b"\x01").await;
    client.say(b"\x00hello").await;
    client.hears(b"\x01hello").await;
    client.say(b"\x04{\"Width\":97,\"Height\":31}").await;
    client.say(b"\xff\x00").await;
    assert_eq!(client.outcome().await, json!({"metadata": {}, "status": "Success"}));
    let calls = served.node.runtime.calls();
    assert_eq!(calls[calls.len() - 2], "attach main");
    assert!(calls[calls.len() - 1].starts_with("Container(\"id"), "{calls:?}");
}

#[tokio::test]
async fn whether_a_containers_own_process_has_a_terminal_is_not_for_the_client_to_say() {
    let served = Served::with_pod().await;
    let mut client = served.open("/attach/default/web/main?error=1&tty=1", V5).await.unwrap();
    client.hears(b"\x02").await;
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_the_upgrade() {
    let served = Served::with_pod().await;
    let open = async |path, protocol| served.open(path, protocol).await.map(|c| c.protocol);
    let refused = |code: u16, why: &str| Err((code, why.to_owned()));
    assert_eq!(open(EXEC, "v9.channel.k8s.io").await, refused(403, ""));
    assert_eq!(open("/portForward/default/web?port=80", V5).await, refused(403, ""));
    for (path, code, why) in [
        (
            "/exec/default/web/main?command=id",
            400,
            "you must specify at least 1 of stdin, stdout, stderr",
        ),
        ("/exec/default/db/main?command=id&output=1", 404, "pod does not exist"),
        ("/exec/default/web/other/main?command=id&output=1", 404, "pod not found"),
        ("/exec/default/web/side?command=id&output=1", 500, "container not found (\"side\")"),
        ("/attach/default/web/side?output=1", 500, "container side not found in pod web_default"),
        ("/portForward/default/web", 400, "query parameter \"port\" is required"),
        ("/portForward/default/db?port=80", 404, "pod does not exist"),
    ] {
        assert_eq!(open(path, V4).await, refused(code, why), "{path}");
    }
    let plain = served.ask("GET", EXEC, Some(ADMINISTRATOR)).await;
    assert_eq!(plain, (400, "Upgrade request required".to_owned()));
}

#[tokio::test]
async fn ports_lead_into_the_pod() {
    let served = Served::with_pod().await;
    let [one, two] = [TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0")];
    let (one, two) = (one.await.unwrap(), two.await.unwrap());
    let [first, second] = [&one, &two].map(|listener| listener.local_addr().unwrap().port());
    let nobody = {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        gone.local_addr().unwrap().port()
    };
    let uid = served.node.pods.find("default", "web").unwrap().metadata.uid.clone().unwrap();
    let path = format!("/portForward/default/web/{uid}?port={first},{nobody}&port={second}");
    let mut client = served.open(&path, V4).await.unwrap();
    let mut heard = vec![Vec::new(); 6];
    while heard.iter().map(Vec::len).sum::<usize>() < 13 || heard[3].len() < 3 {
        let message = client.next().await.into_data();
        heard[usize::from(message[0])].extend_from_slice(&message[1..]);
    }
    for (channel, port) in [(0, first), (1, first), (2, nobody), (4, second), (5, second)] {
        assert_eq!(heard[channel], port.to_le_bytes(), "{channel}");
    }
    let why = String::from_utf8_lossy(&heard[3][2..]).into_owned();
    assert!(why.starts_with(&format!("error forwarding port {nobody} to pod id")), "{why}");
    for (listener, channel) in [(&one, 0), (&two, 4)] {
        let (mut server, _) = listener.accept().await.unwrap();
        client.messages.send(Message::binary(vec![channel, b'?'])).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'?');
        server.write_all(b"!").await.unwrap();
        client.hears(&[channel, b'!']).await;
    }
    client.is_over().await;
}

#[tokio::test]
async fn a_port_that_takes_long_to_reach_hinders_no_other() {
    let served = Served::with_pod().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    served.node.runtime.hold("connect 1", true);
    let path = format!("/portForward/default/web?port=1,{port}");
    let mut client = served.open(&path, V4).await.unwrap();
    let (mut server, _) = wait::within("a connection", listener.accept()).await.unwrap();
    server.write_all(b"!").await.unwrap();
    while client.next().await != Message::binary(&b"\x02!"[..]) {}
}

async fn check_connections_end_with(policy: &str, container: &str) {
    let served = Served::start().await;
    let mut web = pod("web").image(IMAGE).node("n1").build();
    web.spec.as_mut().unwrap().restart_policy = Some(policy.to_owned());
    served.run(&web).await;
    let mut clients = Vec::new();
    for protocol in [V4, "SPDY/3.1+portforward.k8s.io"] {
        clients.push(served.open("/portForward/default/web?port=1", protocol).await.unwrap());
    }
    served.node.runtime.end(container, 0);
    for client in &mut clients {
        let over = async { while let Some(Ok(_)) = client.messages.next().await {} };
        wait::within("the end", over).await;
    }
}

#[tokio::test]
async fn who_is_connected_to_a_pod_that_has_ended_is_no_more() {
    check_connections_end_with("Never", "main").await;
}

#[tokio::test]
async fn who_is_connected_to_a_sandbox_that_has_died_is_no_more() {
    check_connections_end_with("Always", SANDBOX_NAME).await;
}

#[tokio::test]
async fn who_is_connected_to_a_pod_that_goes_is_no_more() {
    let served = Served::with_pod().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = format!("/portForward/default/web?port={port}");
    let mut clients = Vec::new();
    for (path, protocol) in [
        (path.as_str(), V4),
        ("/portForward/default/web", "SPDY/3.1+portforward.k8s.io"),
        ("/attach/default/web/main?input=1&output=1", V5),
    ] {
        clients.push(served.open(path, protocol).await.unwrap());
    }
    let (mut connection, _) = listener.accept().await.unwrap();
    served.node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    for client in &mut clients {
        let over = async { while let Some(Ok(_)) = client.messages.next().await {} };
        wait::within("the end", over).await;
    }
    let mut heard = Vec::new();
    wait::within("the end", connection.read_to_end(&mut heard)).await.unwrap();
}
