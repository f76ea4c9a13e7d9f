//! The server over TLS, asked by clients with and without certificates.

mod authorization;
mod streams;
mod tunnel;

use std::{net::SocketAddr, path::Path, sync::Arc};

use component::{Credentials, Metrics};
use rustls::{ClientConfig, pki_types::ServerName};
use testkit::ControlPlane;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::sync::CancellationToken;

use super::{Shared, router, serve};
use crate::{
    fake_node::{IMAGE, Node},
    runtime::fake::Fake,
    usage::{disks::Disks, host::Host, sampler::Sampler},
};

/// Name and groups of a client certificate.
type User = (&'static str, &'static [&'static str]);

const ADMINISTRATOR: User = ("admin", &["system:masters"]);

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
        let running = node.context().running.clone();
        let sampler = Sampler::new(Host::new(Path::new("/")), running, Disks::default());
        let shared = Shared {
            pods: node.pods.clone(),
            runtime: node.runtime.clone(),
            sampler,
            metrics: Metrics::default(),
        };
        let stop = CancellationToken::new();
        tokio::spawn(serve(listener, Arc::new(tls), router(shared), stop));
        Self { node, address }
    }

    /// A connection of a user, or of nobody.
    async fn connect(&self, user: Option<User>) -> TlsStream<TcpStream> {
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
        TlsConnector::from(Arc::new(config)).connect(server, stream).await.unwrap()
    }

    /// The status code and body that a request by a user, or by nobody, is answered with.
    async fn ask(&self, method: &str, path: &str, user: Option<User>) -> (u16, String) {
        let mut stream = self.connect(user).await;
        let request = format!("{method} {path} HTTP/1.1\r\nHost: n1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }
}
