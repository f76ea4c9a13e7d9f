//! What stands, and can be killed.

use futures::future::join_all;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use rand::{RngExt, rngs::StdRng};
use testkit::{Apiserver, Etcd, EtcdMembers};

/// Where servers keep things.
pub(super) enum Store {
    Embedded,
    Etcd(Etcd),
    Members(Box<EtcdMembers>),
}

/// Servers of one store.
pub(super) struct Rig {
    servers: Vec<Apiserver>,
    store: Store,
}

impl Store {
    async fn spawn_server(&self) -> Apiserver {
        let program = env!("CARGO_BIN_EXE_apiserver");
        match self {
            Self::Embedded => Apiserver::spawn(program, None).await,
            Self::Etcd(etcd) => Apiserver::spawn(program, Some(etcd)).await,
            Self::Members(members) => {
                let endpoints = members.endpoints().join(",");
                let flags = ["--store=etcd".to_owned(), format!("--etcd-servers={endpoints}")];
                Apiserver::spawn_with(program, None, &flags).await
            }
        }
    }

    async fn revive(&mut self) {
        match self {
            Self::Embedded => {}
            Self::Etcd(etcd) => etcd.restart().await,
            Self::Members(members) => {
                let (leader, followers) = members.roles().await;
                for member in followers.into_iter().chain([leader]) {
                    member.restart().await;
                }
            }
        }
    }
}

impl Rig {
    pub(super) async fn start(store: Store, servers: usize) -> Self {
        let servers = join_all((0..servers).map(|_| store.spawn_server())).await;
        Self { servers, store }
    }

    /// Kills a server, the store, which comes back under the servers, or the member of it that leads. Whether somebody is
    /// left to serve.
    pub(super) async fn kill(&mut self, random: &mut StdRng) -> bool {
        match &mut self.store {
            Store::Etcd(etcd) if random.random() => {
                etcd.kill();
                etcd.restart().await;
                true
            }
            Store::Members(members) if random.random_ratio(3, 4) => {
                members.roles().await.0.kill();
                true
            }
            _ => {
                let victim = random.random_range(0..self.servers.len());
                self.servers[victim].kill();
                self.servers.len() > 1
            }
        }
    }

    /// Starts again what was killed.
    pub(super) async fn revive(&mut self) {
        self.store.revive().await;
        for server in &mut self.servers {
            server.restart().await;
        }
    }

    /// A client of each server that does not try again unseen: what failed may have been done.
    pub(super) async fn clients(&self) -> Vec<Client> {
        join_all(self.servers.iter().map(client)).await
    }
}

async fn client(server: &Apiserver) -> Client {
    let kubeconfig = Kubeconfig::read_from(server.kubeconfig()).unwrap();
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
    config.default_retry = false;
    Client::try_from(config).unwrap()
}
