//! Two API servers as real programs, with a CA, a key of service accounts, an etcd and a Redis in common.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use apiserver::pki::Pki;
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
};
use tempfile::TempDir;
use testkit::{Apiserver, Etcd, Redis};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tower::util::MapRequestLayer;

/// 30 addresses, of which the service `kubernetes` has the first.
const SERVICE_CIDR: &str = "10.96.0.0/27";

pub(crate) struct Pair {
    pub(crate) servers: [Apiserver; 2],
    pub(crate) redis: Redis,
    _etcd: Etcd,
    _authority: TempDir,
}

impl Pair {
    /// Both begin at once, on an empty etcd.
    pub(crate) async fn start() -> Self {
        let (etcd, redis) = tokio::join!(Etcd::spawn(), Redis::spawn());
        let authority = tempfile::tempdir().unwrap();
        Pki::open_or_create(authority.path()).unwrap().service_account_key().unwrap();
        let file = |name: &str| authority.path().join("pki").join(name).display().to_string();
        let flags = [
            format!("--ca-cert-file={}", file("ca.crt")),
            format!("--ca-key-file={}", file("ca.key")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            format!("--redis={}", redis.url()),
            format!("--service-cidr={SERVICE_CIDR}"),
            "--service-node-port-range=30000-30031".to_owned(),
        ];
        let program = env!("CARGO_BIN_EXE_apiserver");
        let server = || Apiserver::spawn_with(program, Some(&etcd), &flags);
        let servers = tokio::join!(server(), server()).into();
        Self { servers, redis, _etcd: etcd, _authority: authority }
    }

    /// A client with the credentials that the first server has written down, whose watches are counted.
    pub(crate) async fn client(&self, address: SocketAddr, watches: &Arc<AtomicUsize>) -> Client {
        let config = self.config(address).await;
        let watches = watches.clone();
        let count = MapRequestLayer::new(move |request: http::Request<Body>| {
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            watches.fetch_add(usize::from(is_watch), Ordering::Relaxed);
            request
        });
        ClientBuilder::try_from(config).unwrap().with_layer(&count).build()
    }

    /// A client that has nothing but a token.
    pub(crate) async fn client_with_token(&self, address: SocketAddr, token: &str) -> Client {
        let mut config = self.config(address).await;
        let token = Some(token.to_owned().into());
        config.auth_info = AuthInfo { token, ..AuthInfo::default() };
        Client::try_from(config).unwrap()
    }

    async fn config(&self, address: SocketAddr) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.servers[0].kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        config.cluster_url = format!("https://{address}").parse().unwrap();
        config
    }
}

/// A load balancer: an address whose connections go to the first of the servers that takes them.
pub(crate) async fn balancer(servers: [SocketAddr; 2]) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(pass_on(client, servers));
        }
    });
    address
}

async fn pass_on(mut client: TcpStream, servers: [SocketAddr; 2]) {
    for server in servers {
        if let Ok(mut server) = TcpStream::connect(server).await {
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}
