//! Keys that a plugin keeps: a stand-in of the test's own, spoken to as Kubernetes does.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use apiserver::{ApiServer, Config, Encrypted};
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use prost::Message;
use serde_json::{Value, json};
use store::{Query, Store};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tonic::{Response, Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;
use tower::Service;

use crate::harness::{Api, CONFIG_MAPS, embedded, names, version};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";

#[derive(Clone, PartialEq, Message)]
struct Nothing {}

#[derive(Clone, PartialEq, Message)]
struct State {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(string, tag = "2")]
    healthz: String,
    #[prost(string, tag = "3")]
    key_id: String,
}

#[derive(Clone, PartialEq, Message)]
struct Decrypt {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    key_id: String,
    #[prost(btree_map = "string, bytes", tag = "4")]
    annotations: BTreeMap<String, Vec<u8>>,
}

/// What is asked to be encrypted, and what has been decrypted.
#[derive(Clone, PartialEq, Message)]
struct Plain {
    #[prost(bytes = "vec", tag = "1")]
    bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Sealed {
    #[prost(bytes = "vec", tag = "1")]
    ciphertext: Vec<u8>,
    #[prost(string, tag = "2")]
    key_id: String,
    #[prost(btree_map = "string, bytes", tag = "3")]
    annotations: BTreeMap<String, Vec<u8>>,
}

/// It "encrypts" by turning bytes round.
#[derive(Debug)]
struct Plugin {
    state: Mutex<State>,
    asked: Mutex<Vec<&'static str>>,
    socket: PathBuf,
    _directory: TempDir,
}

impl Plugin {
    fn start() -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("kms.sock");
        let state = State { version: "v2".into(), healthz: "ok".into(), key_id: "one".into() };
        let listener = UnixListener::bind(&socket).unwrap();
        let this = Arc::new(Self {
            state: Mutex::new(state),
            asked: Mutex::default(),
            socket,
            _directory: directory,
        });
        let plugin = this.clone();
        tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let served = TowerToHyperService::new(Served(plugin.clone()));
                tokio::spawn(async move {
                    let serving = Builder::new(TokioExecutor::new());
                    let _ = serving.serve_connection(TokioIo::new(connection), served).await;
                });
            }
        });
        this
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock());
    }

    /// How often it was asked for something since it was last looked at.
    fn asked(&self, what: &str) -> usize {
        let mut asked = self.asked.lock();
        let before = asked.len();
        asked.retain(|it| *it != what);
        before - asked.len()
    }

    fn status(&self) -> Result<State, Status> {
        Ok(self.state.lock().clone())
    }

    fn encrypt(&self, Plain { bytes }: Plain) -> Result<Sealed, Status> {
        self.asked.lock().push("encrypt");
        let annotations = [("kms.example.com".to_owned(), b"a".to_vec())].into();
        let ciphertext = bytes.into_iter().rev().collect();
        Ok(Sealed { ciphertext, key_id: self.state.lock().key_id.clone(), annotations })
    }

    fn decrypt(&self, it: Decrypt) -> Result<Plain, Status> {
        self.asked.lock().push("decrypt");
        if self.state.lock().healthz != "ok" || !it.annotations.contains_key("kms.example.com") {
            return Err(Status::failed_precondition("the vault is sealed"));
        }
        Ok(Plain { bytes: it.ciphertext.into_iter().rev().collect() })
    }
}

#[derive(Clone)]
struct Served(Arc<Plugin>);

impl Service<http::Request<Incoming>> for Served {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Incoming>) -> Self::Future {
        let (plugin, request) = (self.0.clone(), request.map(Body::new));
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/v2.KeyManagementService/Status" => {
                    answer(request, move |_: Nothing| plugin.status()).await
                }
                "/v2.KeyManagementService/Encrypt" => {
                    answer(request, move |it| plugin.encrypt(it)).await
                }
                "/v2.KeyManagementService/Decrypt" => {
                    answer(request, move |it| plugin.decrypt(it)).await
                }
                other => panic!("asked for {other}"),
            })
        })
    }
}

async fn answer<Q, A>(
    request: http::Request<Body>,
    work: impl Fn(Q) -> Result<A, Status> + Send + Sync + 'static,
) -> http::Response<Body>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(move |question: tonic::Request<Q>| {
        std::future::ready(work(question.into_inner()).map(Response::new))
    });
    Grpc::new(ProstCodec::<A, Q>::default()).unary(service, request).await
}

fn configuration(directory: &TempDir, plugin: &Plugin) -> PathBuf {
    let path = directory.path().join("encryption.yaml");
    let kms = json!({
        "apiVersion": "v2", "name": "vault", "endpoint": format!("unix://{}", plugin.socket.display()),
    });
    let text = json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": [{"kms": kms}, {"identity": {}}]}],
    });
    fs::write(&path, text.to_string()).unwrap();
    path
}

async fn serve(store: Arc<dyn Store>, path: &Path) -> (Arc<Encrypted>, ApiServer) {
    let encrypted = Arc::new(Encrypted::open(store, path).await.unwrap());
    let server = ApiServer::start(Config::default(), encrypted.clone(), None).await.unwrap();
    (encrypted, server)
}

async fn raw(store: &dyn Store, name: &str) -> String {
    let entry = store.get(&format!("/registry/core/secrets/default/{name}")).await.unwrap();
    String::from_utf8_lossy(&entry.unwrap().value).into_owned()
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": "correct horse"}})
}

#[tokio::test]
async fn a_plugin_keeps_the_key_and_is_asked_once_for_many_secrets() {
    let (plugin, directory) = (Plugin::start(), tempfile::tempdir().unwrap());
    let (_store_directory, store) = embedded();
    let path = configuration(&directory, &plugin);
    let (_, server) = serve(store.clone(), &path).await;
    let api = Api::start().await.with_server(server);
    for name in ["a", "b", "c"] {
        api.post(SECRETS, &secret(name)).await.ok();
        let stored = raw(&*store, name).await;
        assert!(stored.starts_with("k8s:enc:kms:v2:vault:") && stored.contains("kms.example.com"));
        assert!(!stored.contains("password"), "{stored}");
    }
    assert_eq!((plugin.asked("encrypt"), plugin.asked("decrypt")), (1, 0));
    api.server.stop().await;
    // Who begins anew has a seed of its own, and has that of the other one decrypted.
    let (encrypted, server) = serve(store.clone(), &path).await;
    let api = api.with_server(server);
    assert_eq!(api.get(SECRETS).await.ok()["items"].as_array().unwrap().len(), 3);
    assert_eq!((plugin.asked("encrypt"), plugin.asked("decrypt")), (1, 1));
    // With another key all is stale.
    let object = api.get(&format!("{SECRETS}/a")).await.ok();
    let first = api.put(&format!("{SECRETS}/a"), &object).await.ok();
    let again = api.put(&format!("{SECRETS}/a"), &first).await.ok();
    assert_eq!(version(&first), version(&again), "it is stored so already");
    plugin.change(|state| state.key_id = "two".to_owned());
    encrypted.ask().await.unwrap();
    api.put(&format!("{SECRETS}/a"), &again).await.ok();
    assert!(raw(&*store, "a").await.contains("two") && raw(&*store, "b").await.contains("one"));
    assert_eq!(plugin.asked("encrypt"), 1);
}

#[tokio::test]
async fn while_the_plugin_is_away_secrets_are_read_and_the_health_says_so() {
    let (plugin, directory) = (Plugin::start(), tempfile::tempdir().unwrap());
    let (_store_directory, store) = embedded();
    let path = configuration(&directory, &plugin);
    let (encrypted, server) = serve(store.clone(), &path).await;
    let api = Api::start().await.with_server(server);
    api.post(SECRETS, &secret("a")).await.ok();
    assert_eq!(api.get("/readyz").await.code, 200);
    plugin.change(|state| state.healthz = "sealed".to_owned());
    let told = encrypted.ask().await.unwrap_err().to_string();
    let expected =
        "kmsv2 Provider vault is not healthy, error: got unexpected healthz status: sealed";
    assert_eq!(told, expected);
    let health = api.get("/readyz?verbose").await;
    assert!(
        health.code == 500 && health.text.contains("[-]etcd failed: reason withheld"),
        "{health:?}"
    );
    api.get(&format!("{SECRETS}/a")).await.ok();
    api.post(SECRETS, &secret("b")).await.ok();
    api.server.stop().await;
    // Nobody begins with half of the objects: those of another seed are not to be had.
    Encrypted::open(store.clone(), &path).await.map(drop).unwrap_err();
    plugin.change(|state| state.healthz = "ok".to_owned());
    let encrypted = Arc::new(Encrypted::open(store.clone(), &path).await.unwrap());
    plugin.change(|state| state.healthz = "sealed".to_owned());
    let page = encrypted.list("/registry/core/secrets/", Query::default()).await.unwrap();
    assert_eq!(page.entries.len(), 2);
    for entry in page.entries {
        let told = String::from_utf8_lossy(&entry.value);
        assert!(told.contains("FailedPrecondition desc = the vault is sealed"), "{told}");
    }
    assert_eq!(plugin.asked("decrypt"), 1, "both have one seed");
}

#[tokio::test]
async fn what_the_plugin_does_not_decrypt_is_alone_unreadable_until_it_does() {
    let (plugin, directory) = (Plugin::start(), tempfile::tempdir().unwrap());
    let (_store_directory, store) = embedded();
    let path = configuration(&directory, &plugin);
    let (_, server) = serve(store.clone(), &path).await;
    let api = Api::start().await.with_server(server);
    for name in ["a", "b"] {
        api.post(SECRETS, &secret(name)).await.ok();
    }
    api.server.stop().await;
    let encrypted = Arc::new(Encrypted::open(store.clone(), &path).await.unwrap());
    plugin.change(|state| state.healthz = "sealed".to_owned());
    let server = ApiServer::start(Config::default(), encrypted.clone(), None).await.unwrap();
    let api = api.with_server(server);
    for path in [SECRETS.to_owned(), format!("{SECRETS}/a")] {
        let message = api.get(&path).await.fails(500, "StoreReadError");
        assert!(message.contains("the vault is sealed"), "{message}");
    }
    // All else goes on, and comes in.
    api.config_map("m", json!({})).await;
    assert_eq!(names(&api.get(CONFIG_MAPS).await.ok()), ["m"]);
    api.post(SECRETS, &secret("c")).await.ok();
    api.get(&format!("{SECRETS}/c")).await.ok();
    let option = "ignoreStoreReadErrorWithClusterBreakingPotential=true";
    api.delete(&format!("{SECRETS}/b?{option}")).await.ok();
    api.get(&format!("{SECRETS}/b")).await.fails(404, "NotFound");
    plugin.change(|state| state.healthz = "ok".to_owned());
    encrypted.ask().await.unwrap();
    api.get(&format!("{SECRETS}/a")).await.ok();
    assert_eq!(names(&api.get(SECRETS).await.ok()), ["a", "c"]);
}
