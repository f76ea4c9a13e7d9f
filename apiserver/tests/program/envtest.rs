//! The programs that controller-runtime's envtest starts, as it starts them: `tests/clients/envtest` is an operator whose tests do.

use std::{net::TcpListener, path::Path, process::Stdio};

use api_types::api::core::v1::{ConfigMap, Namespace};
use apiserver::{Identity, pki::Pki};
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use testkit::wait;
use tokio::process::{Child, Command};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder for KUBEBUILDER_ASSETS, and one for what the programs keep.
struct Environment {
    folder: TempDir,
    assets: String,
    etcd: String,
    port: u16,
}

impl Environment {
    async fn new() -> Self {
        component::install_crypto_provider();
        let folder = tempfile::tempdir().unwrap();
        let assets = folder.path().join("assets");
        let made = Command::new(env!("CARGO_BIN_EXE_apiserver"))
            .args([Path::new("envtest"), &assets])
            .output()
            .await
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let assets = String::from_utf8(made.stdout).unwrap().trim().to_owned();
        let etcd = format!("http://127.0.0.1:{}", free_port());
        Self { folder, assets, etcd, port: free_port() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn run(&self, program: &str, flags: &[String]) -> Child {
        let mut command = Command::new(format!("{}/{program}", self.assets));
        command.args(flags).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    async fn etcd(&self) -> Child {
        let flags = [
            format!("--advertise-client-urls={}", self.etcd),
            format!("--data-dir={}", self.path("etcd")),
            format!("--listen-client-urls={}", self.etcd),
            "--listen-peer-urls=http://127.0.0.1:0".to_owned(),
        ];
        let running = self.run("etcd", &flags);
        wait::until("etcd is healthy", async || {
            reqwest::get(format!("{}/health", self.etcd)).await?.error_for_status().map(drop)
        })
        .await;
        running
    }

    /// As envtest does, with its own authority, certificates and keys.
    async fn kube_apiserver(&self) -> (Child, Client) {
        let url = format!("https://127.0.0.1:{}", self.port);
        let pki = Pki::open_or_create(&self.folder.path().join("certs")).unwrap();
        pki.server_config(&["127.0.0.1".to_owned()]).unwrap();
        pki.service_account_key().unwrap();
        let certs = self.path("certs/pki");
        let flags = [
            "--allow-privileged=true".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={certs}"),
            format!("--client-ca-file={certs}/ca.crt"),
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            format!("--etcd-servers={}", self.etcd),
            "--feature-gates=Something=true".to_owned(),
            format!("--secure-port={}", self.port),
            format!("--service-account-issuer={url}/"),
            format!("--service-account-key-file={certs}/sa.pub"),
            format!("--service-account-signing-key-file={certs}/sa.key"),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        ];
        let running = self.run("kube-apiserver", &flags);
        let admin = Identity::new("admin", &["system:masters"]);
        let kubeconfig =
            Kubeconfig::from_yaml(&pki.kubeconfig(&url, &admin, &[]).unwrap()).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let namespaces = Api::<Namespace>::all(client.clone());
        wait::until("there is a namespace", async || namespaces.get("default").await.map(drop))
            .await;
        (running, client)
    }
}

/// What it wrote to stderr.
async fn end(child: Child) -> String {
    let id = Pid::from_raw(child.id().unwrap().try_into().unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    let ended = wait::within("it ends", child.wait_with_output()).await.unwrap();
    assert!(ended.status.success(), "{ended:?}");
    String::from_utf8(ended.stderr).unwrap()
}

fn map(name: &str) -> ConfigMap {
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    ConfigMap { metadata, ..ConfigMap::default() }
}

#[tokio::test]
async fn objects_live_as_long_as_what_stands_in_for_etcd() {
    let environment = Environment::new().await;
    let etcd = environment.etcd().await;
    let (server, client) = environment.kube_apiserver().await;
    let maps = Api::<ConfigMap>::default_namespaced(client);
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    let said = end(server).await;
    let warning = "kube-apiserver: these flags have no effect here: --feature-gates\n";
    assert!(said.starts_with(warning), "{said}");
    let (server, client) = environment.kube_apiserver().await;
    Api::<ConfigMap>::default_namespaced(client).get("a").await.unwrap();
    end(server).await;
    end(etcd).await;
    assert!(Path::new(&environment.path("etcd/store.redb")).exists());
}

#[tokio::test]
async fn a_server_that_is_etcd_is_used_as_such() {
    let (etcd, mut environment) = (testkit::Etcd::spawn().await, Environment::new().await);
    environment.etcd = etcd.endpoint();
    let (server, client) = environment.kube_apiserver().await;
    let maps = Api::<ConfigMap>::default_namespaced(client);
    maps.create(&PostParams::default(), &map("a")).await.unwrap();
    end(server).await;
    let store = store::etcd::Etcd::connect(&[etcd.endpoint()]).await.unwrap();
    let there = store::Store::list(&store, "", store::Query::default()).await.unwrap();
    assert!(there.entries.iter().any(|entry| entry.key.ends_with("configmaps/default/a")));
}
