//! The API server as the program that it is: what only a process has (a death, a size, limits) is tested there.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::Duration,
};

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};

use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Etcd,
    process::{Process, own_address},
    tls, wait,
};

/// The usual soft limit of open files, whatever the test's own is.
const WITH_USUAL_LIMIT: &str = "ulimit -Sn 1024; exec \"$0\" \"$@\"";

/// A running API server with a folder of its own, killed on drop.
#[derive(Debug)]
pub struct Apiserver {
    process: Process,
    address: SocketAddr,
    /// The administrator's, made of the kubeconfig once for all connections.
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Apiserver {
    /// Starts the program at this path, with the embedded store unless it is given etcd. This process may have many
    /// connections to it from now on.
    pub async fn spawn(program: impl AsRef<Path>, etcd: Option<&Etcd>) -> Self {
        Self::spawn_with(program, etcd, &[]).await
    }

    /// The same, with more flags.
    pub async fn spawn_with(
        program: impl AsRef<Path>,
        etcd: Option<&Etcd>,
        flags: &[String],
    ) -> Self {
        component::install_crypto_provider();
        component::raise_file_limit();
        let program = program.as_ref().display().to_string();
        let etcd = etcd.map(Etcd::endpoint);
        let address = own_address(6443);
        let process = Process::new("sh", |folder| {
            let mut arguments = vec!["-c".to_owned(), WITH_USUAL_LIMIT.to_owned(), program];
            arguments.push(format!("--bind-address={}", address.ip()));
            arguments.push(format!("--secure-port={}", address.port()));
            arguments.push(format!("--data-dir={folder}/data"));
            arguments.push(format!("--kubeconfig-dir={folder}"));
            // No controller-manager makes accounts.
            arguments.push(
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            );
            if let Some(endpoint) = etcd {
                arguments.push("--store=etcd".to_owned());
                arguments.push(format!("--etcd-servers={endpoint}"));
            }
            arguments.extend_from_slice(flags);
            arguments
        });
        let mut this = Self { process, address, tls: OnceLock::new() };
        this.restart().await;
        this
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Has it end in order.
    pub fn end(&mut self) {
        self.process.end();
    }

    /// Starts it again on its data and its address, and waits until it answers.
    ///
    /// # Panics
    /// If it ends at once.
    pub async fn restart(&mut self) {
        self.process.start();
        wait::until("the API server answers", async || {
            assert!(self.process.is_running(), "the API server ended: {}", self.log());
            let client = self.try_client().await?;
            client.apiserver_version().await.map_err(|error| error.to_string())
        })
        .await;
    }

    /// A client of the administrator, with connections of its own.
    ///
    /// # Panics
    /// If the server's kubeconfig can't be read.
    pub async fn client(&self) -> Client {
        self.try_client().await.expect("the server has written a kubeconfig")
    }

    async fn try_client(&self) -> Result<Client, String> {
        let read = Kubeconfig::read_from(self.kubeconfig());
        let kubeconfig = read.map_err(|error| error.to_string())?;
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let client = config.map_err(|error| error.to_string()).map(Client::try_from)?;
        client.map_err(|error| error.to_string())
    }

    /// A connection of the administrator, for HTTP/1.1.
    ///
    /// # Panics
    /// If it is not taken.
    pub async fn connect(&self) -> TlsStream<TcpStream> {
        let config = self.tls.get_or_init(|| tls::client_config(&self.kubeconfig()));
        let connector = TlsConnector::from(config.clone());
        let connected = tls::connect(&connector, self.address).await;
        connected.expect("the server takes connections")
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.process.folder().join("admin.conf")
    }

    /// What it logged since it was first started.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.process.memory()
    }

    /// What of [`Apiserver::memory`] is not of a file, such as the program's: what it has allocated.
    pub fn allocated(&self) -> u64 {
        self.process.status("RssAnon:")
    }

    /// The most that [`Apiserver::memory`] was since [`Apiserver::forget_peak`].
    pub fn peak(&self) -> u64 {
        self.process.status("VmHWM:")
    }

    /// Has [`Apiserver::peak`] begin anew.
    pub fn forget_peak(&self) {
        let path = format!("/proc/{}/clear_refs", self.process.id());
        fs::write(path, "5").expect("the process runs");
    }

    /// The time that it was at work, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        self.process.cpu()
    }

    /// How many files and connections it has open.
    pub fn open_files(&self) -> usize {
        let path = format!("/proc/{}/fd", self.process.id());
        fs::read_dir(path).expect("the process runs").count()
    }
}
