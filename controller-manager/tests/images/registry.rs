//! A registry that asks for a name and a password.

use api_machinery::registry_logins;
use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Secret;
use api_types::minik8s::FunctionVersionPhase;
use controller_manager::frame::ObjectKey;
use controller_manager::functions::FunctionArgs;
use docker::{Credentials, Docker};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use testkit::{Dockerd, Registry, wait};

use crate::{Rig, condition, docker, version};

const COPY: &str = "minik8s-function-registry";
const CODE: &str = "def one(params):\n    return 1\n\ndef two(params):\n    return 2\n";

/// A registry and a client of it.
struct Store {
    registry: Registry,
    client: reqwest::Client,
}

impl Store {
    async fn start() -> Self {
        component::install_crypto_provider();
        let names = ["127.0.0.1".to_owned()];
        let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).unwrap();
        let registry = Registry::spawn(&cert.pem(), &signing_key.serialize_pem()).await;
        let certs = registry.folder().join("certs");
        std::fs::create_dir(&certs).unwrap();
        std::fs::write(certs.join("ca.crt"), cert.pem()).unwrap();
        let ca = reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        Self { registry, client }
    }

    fn settings(&self) -> FunctionArgs {
        FunctionArgs {
            function_registry: Some(self.registry.host()),
            function_registry_secret: Some(ObjectKey::new("kube-system", "registry")),
            function_registry_certs: Some(self.registry.folder().join("certs")),
            ..FunctionArgs::default()
        }
    }

    /// The Secret with this password.
    fn secret(&self, password: &str) -> Secret {
        let login = json!({"username": Registry::LOGIN.0, "password": password});
        let config = json!({"auths": {self.registry.host(): login}}).to_string();
        serde_json::from_value(json!({
            "metadata": {"name": "registry"},
            "type": "kubernetes.io/dockerconfigjson",
            "stringData": {".dockerconfigjson": config},
        }))
        .unwrap()
    }

    /// What it answers about an image.
    async fn status(&self, image: &str) -> u16 {
        let (repository, tag) = image.split_once('/').unwrap().1.rsplit_once(':').unwrap();
        let host = self.registry.host();
        let url = format!("https://{host}/v2/{repository}/manifests/{tag}");
        let (name, password) = Registry::LOGIN;
        let asked = self.client.head(url).basic_auth(name, Some(password));
        let accept = "application/vnd.docker.distribution.manifest.v2+json";
        asked.header("accept", accept).send().await.unwrap().status().as_u16()
    }

    async fn until_status(&self, image: &str, status: u16) {
        wait::until(&format!("the registry answers {status}"), async || {
            let answered = self.status(image).await;
            if answered == status { Ok(()) } else { Err(answered) }
        })
        .await;
    }
}

fn source(entry_point: &str) -> Value {
    let source = json!({"files": {"hello.py": CODE}});
    json!({"source": source, "entryPoint": entry_point, "historyLimit": 0})
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_pushed_pulled_and_deleted_with_the_secret() {
    let store = Store::start().await;
    let rig = Rig::start("images-private", store.settings()).await;
    let secrets: Api<Secret> = rig.api("kube-system");
    secrets.create(&PostParams::default(), &store.secret(Registry::LOGIN.1)).await.unwrap();
    rig.create(source("hello:one")).await;
    let first = rig.until_built(1).await;
    assert!(first.starts_with(&store.registry.host()), "{first}");
    assert_eq!(store.status(&first).await, 200);
    rig.until_serves(1).await;

    let set = rig.api::<ReplicaSet>("default").get("images-private-v1").await.unwrap();
    let pod = set.spec.unwrap().template.unwrap().spec.unwrap();
    let named = pod.image_pull_secrets.unwrap();
    assert_eq!(named.iter().map(|secret| &*secret.name).collect::<Vec<_>>(), [COPY]);

    // Of the same layers, which Docker still has.
    rig.change(source("hello:two")).await;
    let second = rig.until_built(2).await;
    rig.until_serves(2).await;
    store.until_status(&first, 404).await;
    assert_eq!(store.status(&second).await, 200, "it has not gone with the other one");
    wait::until("Docker has one image", async || {
        let images = rig.images();
        if images == [second.clone()] { Ok(()) } else { Err(images) }
    })
    .await;
    pull_as_a_node(&rig, &second).await;

    rig.delete().await;
    rig.until_gone().await;
    assert_eq!(store.status(&second).await, 404);
    assert_eq!(rig.images(), [""; 0]);
    wait::until_gone(&rig.api::<Secret>("default"), COPY).await;
}

/// With the copy that is in the namespace of the pods.
async fn pull_as_a_node(rig: &Rig, image: &str) {
    let copy = rig.api::<Secret>("default").get(COPY).await.unwrap();
    let config = &copy.data.as_ref().unwrap()[".dockerconfigjson"].0;
    let login = registry_logins(config, image).unwrap().remove(0);
    let credentials = Credentials { username: login.username, password: login.password };
    docker(&["rmi", image]);
    let daemon = Docker::new(Dockerd::HOST).unwrap();
    assert!(daemon.pull(image, None).await.is_err(), "it is for nobody else");
    daemon.pull(image, Some(credentials)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_changes_changes_in_the_namespaces_of_functions() {
    let store = Store::start().await;
    let rig = Rig::start("images-renewed", store.settings()).await;
    let secrets: Api<Secret> = rig.api("kube-system");
    let copies: Api<Secret> = rig.api("default");
    let same_data = async |source: Secret| {
        wait::until("the copy is the same", async || {
            let copy = copies.get_opt(COPY).await.unwrap();
            if copy.is_some_and(|copy| copy.data == source.data) { Ok(()) } else { Err(()) }
        })
        .await;
    };
    rig.create(json!({"runtime": "container", "image": "minik8s/busybox:0.1"})).await;
    let source = secrets.create(&PostParams::default(), &store.secret("wrong")).await.unwrap();
    same_data(source).await;
    let new = Patch::Merge(store.secret(Registry::LOGIN.1));
    let source = secrets.patch("registry", &PatchParams::default(), &new).await.unwrap();
    same_data(source).await;
    copies.delete(COPY, &Default::default()).await.unwrap();
    same_data(secrets.get("registry").await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_registry_is_away_the_old_version_serves_and_nothing_is_given_up() {
    let mut store = Store::start().await;
    let rig = Rig::start("images-waiting", store.settings()).await;
    let secrets: Api<Secret> = rig.api("kube-system");
    secrets.create(&PostParams::default(), &store.secret(Registry::LOGIN.1)).await.unwrap();
    rig.create(source("hello:one")).await;
    rig.until_serves(1).await;

    store.registry.kill();
    rig.change(source("hello:two")).await;
    rig.until_event("PushFailed", "connection refused").await;
    let status = rig
        .until_status("it is told", |status| {
            condition(status, "Built").1.contains("connection refused")
        })
        .await;
    assert_eq!(condition(&status, "Built").0, "Unknown", "{status:?}");
    assert_eq!(version(&status, 2).unwrap().phase, FunctionVersionPhase::Building);
    assert_eq!(status.version, Some(1));
    store.registry.restart().await;
    let second = rig.until_built(2).await;
    assert_eq!(store.status(&second).await, 200);
    rig.until_serves(2).await;

    store.registry.kill();
    rig.delete().await;
    rig.until_event("ImageNotRemoved", "the registry does not answer").await;
    assert!(rig.functions.get_opt("images-waiting").await.unwrap().is_some());
    store.registry.restart().await;
    rig.until_gone().await;
    assert_eq!(store.status(&second).await, 404);
}
