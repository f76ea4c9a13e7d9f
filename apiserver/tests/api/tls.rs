//! The same over HTTPS with real certificates, and the way on to a kubelet.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use api_types::jiff::Timestamp;
use apiserver::{
    Config, Identity,
    pki::{Pki, TlsFiles},
};
use axum::{Router, extract::RawQuery, routing::get};
use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use futures::future::poll_fn;
use http::Request;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::wait;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

use crate::{
    faulty::Faulty,
    harness::{Api, CONFIG_MAPS, JSON, PODS, TABLE, pod},
};

/// A server on a port of this host, with the CA that its clients' certificates are of.
pub(crate) struct Tls {
    pub(crate) api: Api,
    pki: Pki,
    pub(crate) address: SocketAddr,
    _directory: TempDir,
}

impl Tls {
    pub(crate) async fn start() -> Self {
        Self::with(&TlsFiles::default()).await
    }

    async fn with(files: &TlsFiles) -> Self {
        Self::with_config(files, Config::default()).await
    }

    pub(crate) async fn with_config(files: &TlsFiles, config: Config) -> Self {
        Self::over(files, config, Api::with).await
    }

    /// The same, with a store that can be made to fail.
    pub(crate) async fn faulty() -> (Self, Arc<Faulty>) {
        let mut store = None;
        let start = async |config| {
            let (api, faulty) = Api::faulty_with(config).await;
            store = Some(faulty);
            api
        };
        let tls = Self::over(&TlsFiles::default(), Config::default(), start).await;
        (tls, store.unwrap())
    }

    async fn over(
        files: &TlsFiles,
        config: Config,
        start: impl AsyncFnOnce(Config) -> Api,
    ) -> Self {
        component::install_crypto_provider();
        let directory = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(directory.path()).unwrap();
        let kubelet_client = Some(pki.kubelet_client().unwrap());
        let api = start(Config { kubelet_client, ..config }).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = pki.server_config_from(files, &["127.0.0.1".to_owned()]).unwrap();
        api.server.serve(listener, tls);
        Self { api, pki, address, _directory: directory }
    }

    /// A client with a certificate of this identity, or without one.
    pub(crate) fn client(&self, identity: Option<&Identity>) -> reqwest::Client {
        self.builder(identity).build().unwrap()
    }

    fn client_of_http1(&self, identity: Option<&Identity>) -> reqwest::Client {
        self.builder(identity).http1_only().build().unwrap()
    }

    /// A client with a certificate of this identity that another authority has signed.
    pub(crate) fn client_of(&self, authority: &Pki, identity: &Identity) -> reqwest::Client {
        self.nobody().identity(shown(authority, identity)).build().unwrap()
    }

    fn builder(&self, identity: Option<&Identity>) -> reqwest::ClientBuilder {
        match identity {
            None => self.nobody(),
            Some(identity) => self.nobody().identity(shown(&self.pki, identity)),
        }
    }

    fn nobody(&self) -> reqwest::ClientBuilder {
        let ca = reqwest::Certificate::from_pem(self.pki.ca_certificate().as_bytes()).unwrap();
        let builder = reqwest::Client::builder().tls_certs_only([ca]).no_proxy();
        builder.timeout(Duration::from_secs(20))
    }

    fn credentials(&self, identity: &Identity, names: &[String]) -> [String; 2] {
        credentials(&self.pki, identity, names)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.address)
    }

    /// One connection for HTTP/1.1, of nobody in particular if of nobody.
    pub(crate) async fn connection(&self, identity: Option<&Identity>) -> TlsStream<TcpStream> {
        self.connection_for(identity, b"http/1.1").await
    }

    pub(crate) async fn connection_for(
        &self,
        identity: Option<&Identity>,
        protocol: &[u8],
    ) -> TlsStream<TcpStream> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

        let mut roots = rustls::RootCertStore::empty();
        let ca = self.pki.ca_certificate().as_bytes();
        roots.add(CertificateDer::from_pem_slice(ca).unwrap()).unwrap();
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let [certificate, key] = self.credentials(identity, &[]);
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_owned()];
        let connector = TlsConnector::from(Arc::new(config));
        let stream = TcpStream::connect(self.address).await.unwrap();
        connector.connect("127.0.0.1".try_into().unwrap(), stream).await.unwrap()
    }

    async fn get(&self, identity: Option<&Identity>, path: &str) -> (u16, String) {
        let response = self.client(identity).get(self.url(path)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// A node, and its kubelet with a certificate of this name.
    pub(crate) async fn kubelet_of(&self, node: &str, certified: &str, routes: Router) {
        let identity = Identity::new(format!("system:node:{node}"), &["system:nodes"]);
        let [certificate, key] = self.credentials(&identity, &[certified.to_owned()]);
        let acceptor = acceptor(self.pki.ca_certificate(), &certificate, &key);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(stream) = acceptor.accept(stream).await else { continue };
                let service = TowerToHyperService::new(routes.clone());
                let builder = Builder::new(TokioExecutor::new());
                tokio::spawn(async move {
                    let stream = TokioIo::new(stream);
                    let _ = builder.serve_connection_with_upgrades(stream, service).await;
                });
            }
        });
        self.api.post("/api/v1/nodes", &json!({"metadata": {"name": node}})).await.ok();
        let status = json!({"status": {
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
        }});
        let path = format!("/api/v1/nodes/{node}/status");
        self.api.patch(&path, "merge-patch", &status).await.ok();
    }

    /// A kubelet of node `n1` whose certificate is of another name, if so wished; it answers with the query.
    pub(crate) async fn kubelet(&self, certified: &str) {
        self.kubelet_of("n1", certified, kubelet()).await;
        self.api.post(PODS, &pod("p")).await.ok();
        let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
        self.api.post(&format!("{PODS}/p/binding"), &binding).await.ok();
    }
}

fn kubelet() -> Router {
    let waiting = "container \"main\" in pod \"p\" is waiting to start: ContainerCreating";
    let answer = async move |RawQuery(query): RawQuery| match query.unwrap_or_default() {
        query if query.contains("previous") => (http::StatusCode::BAD_REQUEST, waiting.to_owned()),
        query => (http::StatusCode::OK, format!("log with {query}\n")),
    };
    Router::new()
        .route("/containerLogs/default/p/main", get(answer))
        .route("/exec/default/p/main", get(echo))
        .route("/attach/default/p/main", get(echo))
        .route("/portForward/default/p", get(echo))
}

/// Says how it was asked, and then what it hears; refuses who asks for an error.
pub(crate) async fn echo(request: axum::extract::Request) -> axum::response::Response {
    let (uri, headers) = (request.uri().to_string(), request.headers());
    if uri.contains("error") {
        let why = axum::body::Body::from("container not found (\"main\")");
        return axum::response::Response::builder().status(500).body(why).unwrap();
    }
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let answer = axum::response::Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", header("upgrade"))
        .header("sec-websocket-accept", header("sec-websocket-key"))
        .header("sec-websocket-protocol", header("sec-websocket-protocol"))
        .body(axum::body::Body::empty());
    tokio::spawn(async move {
        let mut connection = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
        connection.write_all(format!("{uri}\n").as_bytes()).await.unwrap();
        let (mut from, mut to) = tokio::io::split(connection);
        let _ = tokio::io::copy(&mut from, &mut to).await;
    });
    answer.unwrap()
}

/// Certificate and key that an authority signs, as a kubeconfig has them.
fn credentials(authority: &Pki, identity: &Identity, names: &[String]) -> [String; 2] {
    use base64::{Engine, engine::general_purpose::STANDARD};

    let text = authority.kubeconfig("https://127.0.0.1", identity, names).unwrap();
    let config: Value = serde_yaml::from_str(&text).unwrap();
    let user = &config["users"][0]["user"];
    ["client-certificate-data", "client-key-data"].map(|field| {
        String::from_utf8(STANDARD.decode(user[field].as_str().unwrap()).unwrap()).unwrap()
    })
}

fn shown(authority: &Pki, identity: &Identity) -> reqwest::Identity {
    let pem = credentials(authority, identity, &[]).concat();
    reqwest::Identity::from_pem(pem.as_bytes()).unwrap()
}

fn acceptor(ca: &str, certificate: &str, key: &str) -> TlsAcceptor {
    use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder(roots.into()).build().unwrap();
    let config = rustls::ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn a_client_is_who_its_certificate_says() {
    let tls = Tls::start().await;
    tls.api.config_map("a", json!({})).await;
    let (code, text) = tls.get(Some(&Identity::admin()), CONFIG_MAPS).await;
    assert!(code == 200 && text.contains("\"the test\""), "{code} {text}");
    let (code, text) = tls.get(None, CONFIG_MAPS).await;
    assert_eq!(code, 403);
    assert!(text.contains(
        r#"configmaps is forbidden: User \"system:anonymous\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""#
    ), "{text}");
    assert_eq!(tls.get(None, "/readyz").await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn it_is_told_when_the_certificate_ends_that_is_served_with() {
    let tls = Tls::start().await;
    let (_, metrics) = tls.get(Some(&Identity::admin()), "/metrics").await;
    let name = "apiserver_serving_certificate_expiration_timestamp_seconds ";
    let end: i64 =
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap();
    let days = (end - Timestamp::now().as_second()) / 86_400;
    assert!((3648..=3650).contains(&days), "ten years, not {days} days");
}

#[tokio::test]
async fn a_certificate_to_serve_with_and_the_clients_authorities_may_come_from_files() {
    let directory = tempfile::tempdir().unwrap();
    let other = Pki::open_or_create(directory.path()).unwrap();
    other.server_config(&["127.0.0.1".to_owned()]).unwrap();
    let file = |name: &str| directory.path().join("pki").join(name);
    let third = Pki::open_or_create(&directory.path().join("third")).unwrap();
    let authorities = [third.ca_certificate(), other.ca_certificate()].concat();
    std::fs::write(file("clients.crt"), authorities).unwrap();
    let files = TlsFiles {
        serving: Some((file("apiserver.crt"), file("apiserver.key"))),
        client_ca: Some(file("clients.crt")),
        ..TlsFiles::default()
    };
    let tls = Tls::with(&files).await;
    let admin = Identity::admin();
    let own = tls.client(Some(&admin)).get(tls.url(PODS)).send().await;
    assert!(own.unwrap_err().is_connect(), "it shows no certificate of its own authority");
    let tls = Tls { pki: other, ..tls };
    assert_eq!(tls.get(Some(&admin), PODS).await.0, 200);
}

#[tokio::test]
async fn a_connection_may_be_idle_for_as_long_as_clients_keep_it() {
    let tls = Tls::start().await;
    let mut connection = tls.connection(None).await;
    let mut answer = [0; 4096];
    for _ in 0..2 {
        connection.write_all(b"GET /readyz HTTP/1.1\r\nhost: server\r\n\r\n").await.unwrap();
        let length = connection.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..length]);
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(95)).await;
        tokio::time::resume();
    }
}

#[tokio::test]
async fn a_certificate_of_another_authority_opens_nothing() {
    let tls = Tls::start().await;
    let other = Tls::start().await;
    let pem = other.credentials(&Identity::admin(), &[]).concat();
    let ca = reqwest::Certificate::from_pem(tls.pki.ca_certificate().as_bytes()).unwrap();
    let client = reqwest::Client::builder()
        .tls_certs_only([ca])
        .identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap())
        .no_proxy()
        .build()
        .unwrap();
    assert!(client.get(tls.url(CONFIG_MAPS)).send().await.is_err());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_answered_on_either_protocol() {
    let tls = Tls::start().await;
    let admin = Identity::admin();
    let clients = [tls.client(Some(&admin)), tls.client_of_http1(Some(&admin))];
    for client in clients {
        let post = client.post(tls.url(CONFIG_MAPS)).header("content-type", "application/json");
        let response = post.body(vec![b' '; 20 << 20]).send().await.unwrap();
        assert_eq!(response.status(), 413, "{:?}", response.version());
        let status: Value = response.json().await.unwrap();
        assert_eq!(status["reason"], "RequestEntityTooLarge");
        assert_eq!(status["message"], "Request entity too large: limit is 3145728");
        let next = client.get(tls.url(CONFIG_MAPS)).send().await.unwrap();
        assert_eq!(next.status(), 200);
    }
}

#[tokio::test]
async fn who_reads_only_after_sending_all_reads_that_it_was_too_much() {
    let tls = Tls::start().await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let body = vec![b' '; 20 << 20];
    let head = format!(
        "POST {CONFIG_MAPS} HTTP/1.1\r\nhost: server\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    connection.write_all(&body).await.unwrap();
    connection.flush().await.unwrap();
    let mut answer = [0; 4096];
    let length = connection.read(&mut answer).await.unwrap();
    let text = String::from_utf8_lossy(&answer[..length]);
    assert!(text.starts_with("HTTP/1.1 413"), "{text}");
}

/// Only the beginning of its body is there, and the rest comes when it has read why it is refused.
#[tokio::test]
async fn who_is_refused_while_sending_reads_it_at_once() {
    let tls = Tls::start().await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    for _ in 0..2 {
        let head = "POST /api/v1/nothings HTTP/1.1\r\nhost: server\r\ncontent-length: 100\r\n\r\n{";
        let answer = exchange(&mut connection, head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        connection.write_all(&[b' '; 99]).await.unwrap();
    }
}

#[tokio::test]
async fn who_is_refused_while_sending_reads_it_at_once_in_http2() {
    let tls = Tls::start().await;
    let connection = tls.connection_for(Some(&Identity::admin()), b"h2").await;
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    let request = Request::post(tls.url("/api/v1/nothings")).body(()).unwrap();
    let (answer, mut body) = client.send_request(request, false).unwrap();
    body.send_data("{".into(), false).unwrap();
    let answer = wait::within("it is refused", answer).await.unwrap();
    assert_eq!(answer.status(), 404);
    send(body, 1 << 20).await;
}

#[tokio::test]
async fn a_body_that_is_going_to_be_refused_is_not_asked_for() {
    let tls = Tls::start().await;
    let mut connection = tls.connection(Some(&Identity::admin())).await;
    let head = "POST /api/v1/nothings HTTP/1.1\r\nhost: server\r\nexpect: 100-continue\r\n\
                content-length: 100\r\n\r\n";
    let answer = exchange(&mut connection, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let mut rest = Vec::new();
    let end = wait::within("no more is waited for", connection.read_to_end(&mut rest));
    assert_eq!(end.await.unwrap(), 0);
}

/// The answer to what is sent.
pub(crate) async fn exchange(connection: &mut TlsStream<TcpStream>, bytes: &[u8]) -> String {
    connection.write_all(bytes).await.unwrap();
    connection.flush().await.unwrap();
    let mut answer = [0; 4096];
    let length = wait::within("there is an answer", connection.read(&mut answer)).await.unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// As Go's clients do: first the body, as the server has room for it, and a stream that is reset meanwhile is an error.
#[tokio::test]
async fn no_stream_is_reset_before_all_of_its_body_was_sent() {
    let tls = Tls::start().await;
    let connection = tls.connection_for(Some(&Identity::admin()), b"h2").await;
    let (mut client, connection) = h2::client::handshake(connection).await.unwrap();
    tokio::spawn(connection);
    for (path, code) in [(CONFIG_MAPS, 413), ("/api/v1/nothings", 404), (CONFIG_MAPS, 413)] {
        let request = Request::post(tls.url(path)).body(()).unwrap();
        let (answer, body) = client.send_request(request, false).unwrap();
        send(body, 20 << 20).await;
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), code);
        let text = answer.into_body().data().await.unwrap().unwrap();
        let status: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(status["code"], code, "{status}");
        client = client.ready().await.unwrap();
    }
}

async fn send(mut body: h2::SendStream<Bytes>, mut left: usize) {
    while left > 0 {
        body.reserve_capacity(left);
        let room = poll_fn(|context| body.poll_capacity(context)).await;
        let room = room.expect("the stream is open").expect("the stream is not reset");
        left -= room;
        body.send_data(vec![b' '; room].into(), left == 0).unwrap();
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_who_wants_it() {
    let tls = Tls::start().await;
    let big = json!({"metadata": {"name": "big"}, "data": {"x": "y".repeat(200_000)}});
    tls.api.post(CONFIG_MAPS, &big).await.ok();
    tls.api.config_map("small", json!({})).await;
    let client = tls.client(Some(&Identity::admin()));
    let encoding = async |path: &str, accept: &str| {
        let request = client.get(tls.url(&format!("{CONFIG_MAPS}{path}"))).header("accept", accept);
        let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
        answer.headers().get("content-encoding").cloned()
    };
    assert_eq!(encoding("/big", JSON).await.unwrap(), "gzip");
    assert_eq!(encoding("/small", JSON).await, None);
    assert_eq!(encoding("", TABLE).await, None);
    for i in 0..300 {
        tls.api.config_map(&format!("map-{i}"), json!({})).await;
    }
    assert_eq!(encoding("", TABLE).await.unwrap(), "gzip");
}

/// Level 1 takes the least time, and is not to be had for a shorter answer.
#[tokio::test]
async fn answers_are_compressed_in_the_least_time() {
    let tls = Tls::start().await;
    let text: String = (0..20_000).map(|i| format!("{} of {i}, ", i * 7919 % 1000)).collect();
    let big = json!({"metadata": {"name": "big"}, "data": {"x": text}});
    tls.api.post(CONFIG_MAPS, &big).await.ok();
    let client = tls.client(Some(&Identity::admin()));
    let request = client.get(tls.url(&format!("{CONFIG_MAPS}/big")));
    let answer = request.header("accept-encoding", "gzip").send().await.unwrap();
    let sent = answer.bytes().await.unwrap();
    let mut plain = Vec::new();
    GzDecoder::new(&sent[..]).read_to_end(&mut plain).unwrap();
    let length_at = |level| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(level));
        encoder.write_all(&plain).unwrap();
        encoder.finish().unwrap().len()
    };
    let (fast, second) = (length_at(1), length_at(2));
    assert!(
        sent.len().abs_diff(fast) < fast.abs_diff(second) / 2,
        "{}: {fast}, {second}",
        sent.len()
    );
}

#[tokio::test]
async fn a_log_comes_from_the_kubelet_of_the_node() {
    let tls = Tls::start().await;
    tls.kubelet("n1").await;
    let log = tls.api.get(&format!("{PODS}/p/log?tailLines=5&follow=true&pretty=1")).await;
    assert_eq!((log.code, log.text.as_str()), (200, "log with follow=true&tailLines=5\n"));
    let message =
        tls.api.get(&format!("{PODS}/p/log?previous=true")).await.fails(400, "BadRequest");
    assert_eq!(message, "container \"main\" in pod \"p\" is waiting to start: ContainerCreating");
}

#[tokio::test]
async fn a_kubelet_of_another_node_is_not_believed() {
    let tls = Tls::start().await;
    tls.kubelet("n2").await;
    let message = tls.api.get(&format!("{PODS}/p/log")).await.fails(500, "InternalError");
    assert!(message.contains("the kubelet of node \"n1\" can't be reached"), "{message}");
}

pub(crate) const UPGRADE: &str = "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
     sec-websocket-key: key\r\nsec-websocket-protocol: v5.channel.k8s.io\r\n";

/// The head of a request.
fn head(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {PODS}/{path} HTTP/1.1\r\nhost: server\r\n{headers}\r\n")
}

#[tokio::test]
async fn a_connection_is_led_on_to_the_kubelet() {
    let tls = Tls::start().await;
    tls.kubelet("n1").await;
    for (asked, expected) in [
        (
            "p/exec?command=sh&command=-c&command=a%26b&stdin=true&stdout=1&stderr=false&tty=true",
            "/exec/default/p/main?input=1&output=1&tty=1&command=sh&command=-c&command=a%26b",
        ),
        ("p/attach?container=main&stdout=true&command=no", "/attach/default/p/main?output=1"),
        ("p/portforward?ports=80&ports=81,82", "/portForward/default/p?port=80&port=81%2C82"),
    ] {
        let mut connection = tls.connection(Some(&Identity::admin())).await;
        let answer = exchange(&mut connection, head("GET", asked, UPGRADE).as_bytes()).await;
        let (head, mut text) =
            answer.split_once("\r\n\r\n").map(|(h, t)| (h, t.to_owned())).unwrap();
        assert!(head.starts_with("HTTP/1.1 101"), "{answer}");
        for header in ["sec-websocket-accept: key", "sec-websocket-protocol: v5.channel.k8s.io"] {
            assert!(head.contains(header), "{answer}");
        }
        while !text.ends_with('\n') {
            text += &exchange(&mut connection, b"").await;
        }
        assert_eq!(text, format!("{expected}\n"));
        assert_eq!(exchange(&mut connection, b"hello").await, "hello");
        // The end of one side is the end of the other.
        connection.shutdown().await.unwrap();
        let mut rest = String::new();
        let end = wait::within("the other side ends", connection.read_to_string(&mut rest));
        assert_eq!((end.await.unwrap(), rest.as_str()), (0, ""));
    }
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_refused() {
    let tls = Tls::start().await;
    tls.kubelet("n1").await;
    tls.api.post(PODS, &pod("waiting")).await.ok();
    let answer = async |method, path, headers| {
        let mut connection = tls.connection(Some(&Identity::admin())).await;
        exchange(&mut connection, head(method, path, headers).as_bytes()).await
    };
    let spdy = "connection: Upgrade\r\nupgrade: SPDY/3.1\r\ncontent-length: 0\r\n";
    for (method, path, headers, code, message) in [
        ("GET", "p/exec?command=id&stderr=1", UPGRADE, 500, "container not found (\"main\")"),
        ("GET", "p/exec?command=id", "", 400, "Upgrade request required"),
        ("POST", "p/exec?command=id", spdy, 400, "Upgrade request required"),
        ("GET", "p/exec?container=x", UPGRADE, 400, "container x is not valid for pod p"),
        ("GET", "q/exec?command=id", UPGRADE, 404, "pods \\\"q\\\" not found"),
        ("GET", "waiting/exec", UPGRADE, 400, "pod waiting does not have a host assigned"),
        ("GET", "waiting/portforward", UPGRADE, 400, "pod waiting does not have a host assigned"),
        ("PUT", "p/exec", "content-length: 0\r\n", 405, "MethodNotAllowed"),
    ] {
        let said = answer(method, path, headers).await;
        assert!(said.starts_with(&format!("HTTP/1.1 {code}")), "{path}: {said}");
        assert!(said.contains(message), "{path}: {said}");
    }
    let mut nobody = tls.connection(None).await;
    let said = exchange(&mut nobody, head("GET", "p/exec?command=id", UPGRADE).as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 403"), "{said}");
}

#[tokio::test]
async fn the_server_says_how_long_its_clients_certificates_last() {
    let tls = Tls::start().await;
    let admin = Identity::new("admin", &["system:masters"]);
    let value = async |suffix: &str| -> f64 {
        let (_, text) = tls.get(Some(&admin), "/metrics").await;
        let name = format!("apiserver_client_certificate_expiration_seconds_{suffix} ");
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    };
    assert_eq!(value("count").await, 1.0);
    // Nobody in particular shows none.
    tls.get(None, "/readyz").await;
    let (count, sum) = (value("count").await, value("sum").await);
    assert_eq!(count, 2.0);
    let years = sum / 3.0 / 86_400.0 / 365.0;
    assert!((9.9..10.1).contains(&years), "{years}");
}
