//! The server over TLS, asked by clients with and without certificates.

use std::{net::SocketAddr, sync::Arc};

use component::Credentials;
use rustls::{ClientConfig, pki_types::ServerName};
use testkit::ControlPlane;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;

use super::{Shared, router, serve};
use crate::{
    fake_node::{IMAGE, Node},
    runtime::fake::Fake,
};

/// A kubelet's server, and the cluster whose clients it knows.
struct Served {
    node: Node,
    address: SocketAddr,
}

impl Served {
    async fn start() -> Self {
        let plane = ControlPlane::builder().listen().start().await;
        let node = Node::on(plane, Fake::with_images(&[IMAGE]));
        let own = node.control_plane.kubeconfig("system:node:n1", &["system:nodes"], &["n1"]);
        let tls = Credentials::from_kubeconfig(&own).unwrap().server_config().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared { pods: node.pods.clone(), runtime: node.runtime.clone() };
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::new(tls), router(shared), stop));
        Self { node, address }
    }

    /// The status code of a GET by a user, or by nobody.
    async fn get(&self, path: &str, user: Option<(&str, &[&str])>) -> u16 {
        let (name, groups) = user.unwrap_or(("anonymous", &[]));
        let kubeconfig = self.node.control_plane.kubeconfig(name, groups, &[]);
        let credentials = Credentials::from_kubeconfig(&kubeconfig).unwrap();
        let config =
            ClientConfig::builder().with_root_certificates(credentials.root_store().unwrap());
        let config = if user.is_some() {
            let key = credentials.key.clone_key();
            config.with_client_auth_cert(credentials.certificate.clone(), key).unwrap()
        } else {
            config.with_no_client_auth()
        };
        let stream = TcpStream::connect(self.address).await.unwrap();
        let server = ServerName::try_from("n1").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        let mut stream = connector.connect(server, stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        std::str::from_utf8(&line[9..]).unwrap().parse().unwrap()
    }
}

#[tokio::test]
async fn only_the_api_server_and_administrators_read_and_everybody_may_ask_for_health() {
    let served = Served::start().await;
    let pods = async |user| served.get("/pods", user).await;
    assert_eq!(pods(Some(("kube-apiserver-kubelet-client", &[]))).await, 200);
    assert_eq!(pods(Some(("admin", &["system:masters"]))).await, 200);
    assert_eq!(pods(Some(("system:node:n2", &["system:nodes"]))).await, 403);
    assert_eq!(pods(None).await, 401);
    assert_eq!(served.get("/healthz", None).await, 200);
    let log = "/containerLogs/default/web/main";
    assert_eq!(served.get(log, Some(("system:kube-proxy", &[]))).await, 403);
    assert_eq!(served.get(log, Some(("admin", &["system:masters"]))).await, 404);
    assert_eq!(served.get("/nonsense", None).await, 401);
}
