//! A control plane in process: the real API server over a real store, and clients that reach it without
//! sockets.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use apiserver::{ApiServer, Config, Identity, pki::Pki};
use component::RedisServer;
use futures::StreamExt;
use http::{Request, StatusCode};
use kube::{Client, client::Body};
use listwatch::{Announcements, ListWatch, Publisher};
use store::{Event, Revision, Store};
use tempfile::TempDir;

use crate::{
    gate::{Backend, Effect, Gate, Obstacle},
    process::free_address,
    servers::{Etcd, EtcdMembers, Redis},
};

/// What the control plane of a test is made of.
#[derive(Debug, Default)]
pub struct Builder {
    config: Config,
    etcd: Vec<String>,
    redis: Option<RedisServer>,
    listen: bool,
}

impl Builder {
    /// Keeps its objects in etcd instead of a file.
    #[must_use]
    pub fn etcd(self, etcd: &Etcd) -> Self {
        let url = etcd.endpoint();
        self.etcd_url(&url)
    }

    /// As [`Builder::etcd`], by URL.
    #[must_use]
    pub fn etcd_url(mut self, url: &str) -> Self {
        self.etcd = vec![url.to_owned()];
        self
    }

    /// As [`Builder::etcd`], by its members.
    #[must_use]
    pub fn etcd_members(mut self, members: &EtcdMembers) -> Self {
        self.etcd = members.endpoints();
        self
    }

    /// Publishes its changes, and listens to them, over Redis.
    #[must_use]
    pub fn redis(self, redis: &Redis) -> Self {
        self.redis_server(redis.server())
    }

    /// As [`Builder::redis`], by URL.
    #[must_use]
    pub fn redis_url(self, url: &str) -> Self {
        self.redis_server(url.into())
    }

    /// As [`Builder::redis`], with a login.
    #[must_use]
    pub fn redis_server(mut self, redis: RedisServer) -> Self {
        self.redis = Some(redis);
        self
    }

    /// Serves HTTPS too, on a free port of 127.0.0.1: see [`ControlPlane::kubeconfig`].
    #[must_use]
    pub fn listen(mut self) -> Self {
        self.listen = true;
        self
    }

    /// Changes the server's settings.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// If the store or the server does not start.
    pub async fn start(self) -> ControlPlane {
        component::install_crypto_provider();
        let folder = tempfile::tempdir().expect("a folder for the store can be made");
        let store: Arc<dyn Store> = match &*self.etcd {
            [] => Arc::new(embedded(&folder)),
            endpoints => {
                let etcd = store::etcd::Etcd::connect(endpoints).await;
                Arc::new(etcd.expect("etcd can be reached"))
            }
        };
        let socket = self.listen.then(|| Socket::new(&folder));
        let plane = ControlPlane {
            config: self.config,
            redis: self.redis,
            store: Mutex::new(store),
            backend: Backend::default(),
            socket,
            folder,
        };
        plane.start_server().await;
        plane
    }
}

fn embedded(folder: &TempDir) -> store::embedded::Embedded {
    let path = folder.path().join("store.redb");
    let options = store::embedded::Options { outlives_power_cuts: false, ..Default::default() };
    store::embedded::Embedded::open(path, options).expect("the store's file can be made")
}

/// Does a change again, which gets the same version.
async fn repeat(store: &dyn Store, change: Event) {
    let expected = change.revision();
    let done = match change {
        Event::Put(entry) => store.put(&entry.key, entry.value, None).await,
        Event::Delete { key, .. } => store.delete(&key, None).await,
    };
    assert_eq!(done, Ok(expected));
}

/// Where HTTPS is served, and by whose authority.
#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    pki: Pki,
}

impl Socket {
    fn new(folder: &TempDir) -> Self {
        let pki = Pki::open_or_create(folder.path()).expect("an authority can be made");
        Self { address: free_address(), pki }
    }

    fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    async fn serve(&self, server: &ApiServer) {
        let names = [Ipv4Addr::LOCALHOST.to_string()];
        let tls = self.pki.server_config(&names).expect("a certificate can be made");
        let listener = tokio::net::TcpListener::bind(self.address).await;
        let listener = listener.expect("the port is still free");
        server.serve(listener, tls);
    }
}

/// A control plane. It ends with the test.
#[derive(Debug)]
pub struct ControlPlane {
    config: Config,
    redis: Option<RedisServer>,
    store: Mutex<Arc<dyn Store>>,
    backend: Backend,
    socket: Option<Socket>,
    folder: TempDir,
}

impl ControlPlane {
    /// The usual one: its store in a file, without Redis.
    pub async fn start() -> Self {
        Self::builder().start().await
    }

    /// One made otherwise.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A client of the administrator.
    pub fn client(&self) -> Client {
        self.client_of(Identity::admin())
    }

    /// A client of somebody else.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        self.client_of(Identity::new(user, groups))
    }

    /// The listener of a component: over Redis, if the control plane has it.
    pub fn listwatch(&self) -> ListWatch {
        self.listwatch_of(self.client())
    }

    /// That of a program of the cluster, which has the rights that it needs: `kube-scheduler` and the like.
    pub fn listwatch_as(&self, program: &str) -> ListWatch {
        let groups = ["system:authenticated"];
        self.listwatch_of(self.client_as(&format!("system:{program}"), &groups))
    }

    fn listwatch_of(&self, client: Client) -> ListWatch {
        ListWatch::new(client, self.redis.as_ref(), &component::Tasks::default())
            .expect("the Redis URL is right")
    }

    /// The API server.
    ///
    /// # Panics
    /// If it is stopped.
    pub fn server(&self) -> ApiServer {
        self.backend.server().expect("the API server is running")
    }

    /// What the API server keeps its objects in.
    pub fn store(&self) -> Arc<dyn Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the store back to what it was at a version, as who restores a backup does. From there on it counts
    /// anew. The API server is to be stopped.
    ///
    /// # Panics
    /// If there can be no other store, or the history is not whole any more.
    pub async fn restore(&self, version: u64) {
        let restored = tempfile::NamedTempFile::new_in(&self.folder).expect("a file can be made");
        let restored = store::embedded::Embedded::open(restored.path(), Default::default());
        let restored = restored.expect("another store can be made");
        let mut changes = self.store().watch(Revision(1)).await.expect("the history is whole");
        while restored.revision().await != Ok(Revision(version)) {
            let change = changes.next().await.expect("a change").expect("a change that is kept");
            repeat(&restored, change).await;
        }
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(restored);
    }

    /// The requests of all in-process clients so far, as `METHOD path?query`.
    pub fn requests(&self) -> Vec<String> {
        self.backend.requests()
    }

    /// Holds back the requests of in-process clients that match, until the obstacle is dropped.
    pub fn hold(
        &self,
        matches: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static,
    ) -> Obstacle {
        self.backend.bar(Arc::new(matches), Effect::Hold)
    }

    /// Refuses the requests of in-process clients that match, until the obstacle is dropped.
    pub fn refuse(
        &self,
        matches: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static,
    ) -> Obstacle {
        self.backend.bar(Arc::new(matches), Effect::Refuse)
    }

    /// Lets whoever waits for the answer to a request of an in-process client that matches panic, until the obstacle
    /// is dropped.
    pub fn panic(
        &self,
        matches: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static,
    ) -> Obstacle {
        self.backend.bar(Arc::new(matches), Effect::Panic)
    }

    /// Loses the answers to the requests of in-process clients that match, until the obstacle is dropped.
    pub fn lose_answers(
        &self,
        matches: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static,
    ) -> Obstacle {
        self.backend.bar(Arc::new(matches), Effect::LoseAnswer)
    }

    /// Answers the requests of in-process clients that match with a code, and nothing else, until the obstacle is
    /// dropped.
    pub fn answer(
        &self,
        code: StatusCode,
        matches: impl Fn(&Request<Body>) -> bool + Send + Sync + 'static,
    ) -> Obstacle {
        self.backend.bar(Arc::new(matches), Effect::Answer(code))
    }

    /// Stops the API server: clients are refused until [`ControlPlane::start_server`].
    pub async fn stop_server(&self) {
        if let Some(server) = self.backend.replace(None) {
            server.stop().await;
        }
    }

    /// Starts the API server, on the store as it is.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_server(&self) {
        let connect = |redis: &RedisServer| {
            Publisher::connect(redis, &component::Tasks::default()).expect("the Redis URL is right")
        };
        let redis = self.redis.as_ref();
        let listen = |redis: &RedisServer| {
            Announcements::connect(redis, &component::Tasks::default()).expect("the URL is right")
        };
        let config = Config { announcements: redis.map(listen), ..self.config.clone() };
        let started = ApiServer::start(config, self.store(), redis.map(connect)).await;
        let server = started.expect("the API server starts");
        if let Some(socket) = &self.socket {
            socket.serve(&server).await;
        }
        self.backend.replace(Some(server));
    }

    /// A kubeconfig for programs that reach the API server over its socket. With `names`, its certificate is
    /// good for a server of these names too, as a kubelet needs it.
    ///
    /// # Panics
    /// If the control plane was built without [`Builder::listen`].
    pub fn kubeconfig(&self, user: &str, groups: &[&str], names: &[&str]) -> PathBuf {
        let socket = self.socket.as_ref().expect("the control plane was told to listen");
        let path = self.folder.path().join(format!("{user}.conf"));
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let identity = Identity::new(user, groups);
        let written = socket.pki.write_kubeconfig(&path, &socket.url(), &identity, &names);
        written.expect("a kubeconfig can be written");
        path
    }

    fn client_of(&self, identity: Identity) -> Client {
        let gate = Gate { backend: self.backend.clone(), identity };
        Client::new(gate, "default")
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::{Node, Pod};
    use component::ClientArgs;
    use kube::{Api, api::PostParams};

    use super::*;
    use crate::{pod, wait};

    #[tokio::test]
    async fn objects_outlive_the_server_and_clients_reach_the_next_one() {
        let plane = ControlPlane::start().await;
        let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
        pods.create(&PostParams::default(), &pod("a").build()).await.unwrap();
        plane.stop_server().await;
        assert!(pods.get("a").await.is_err());
        plane.start_server().await;
        pods.get("a").await.unwrap();
        let get = "GET /api/v1/namespaces/default/pods/a";
        assert_eq!(plane.requests().iter().filter(|r| r.starts_with(get)).count(), 2);
    }

    #[tokio::test]
    async fn some_requests_can_be_held_back_or_refused() {
        let plane = ControlPlane::start().await;
        let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
        let held = plane.hold(|request| request.method() == "POST");
        let waiting = tokio::spawn({
            let pods = pods.clone();
            async move { pods.create(&PostParams::default(), &pod("a").build()).await }
        });
        wait::until("the request has come", async || {
            let came = plane.requests().iter().any(|request| request.starts_with("POST"));
            came.then_some(()).ok_or(())
        })
        .await;
        assert!(pods.get_opt("a").await.unwrap().is_none());
        drop(held);
        waiting.await.unwrap().unwrap();
        let refused = plane.refuse(|request| request.uri().path().ends_with("/pods/a"));
        assert!(pods.get("a").await.is_err());
        drop(refused);
        pods.get("a").await.unwrap();
        let _lost = plane.lose_answers(|request| request.method() == "POST");
        pods.create(&PostParams::default(), &pod("b").build()).await.unwrap_err();
        pods.get("b").await.unwrap();
    }

    #[tokio::test]
    async fn programs_reach_it_over_tls() {
        let plane = ControlPlane::builder().listen().start().await;
        let path = plane.kubeconfig("system:node:n1", &["system:nodes"], &["n1"]);
        let args = ClientArgs { kubeconfig: Some(path), ..ClientArgs::default() };
        let client = component::client(&args).await.unwrap();
        component::wait_for_apiserver(&client).await;
        let nodes: Api<Node> = Api::all(client);
        let mut node = Node::default();
        node.metadata.name = Some("n1".to_owned());
        nodes.create(&PostParams::default(), &node).await.unwrap();
        wait::until_is(&nodes, "n1", "is there", |_| true).await;
    }

    #[tokio::test]
    async fn it_can_keep_its_objects_in_etcd() {
        let etcd = Etcd::spawn().await;
        let plane = ControlPlane::builder().etcd(&etcd).start().await;
        let pods: Api<Pod> = Api::namespaced(plane.client(), "default");
        pods.create(&PostParams::default(), &pod("a").build()).await.unwrap();
        pods.delete("a", &kube::api::DeleteParams::default().grace_period(0)).await.unwrap();
        wait::until_gone(&pods, "a").await;
    }
}
