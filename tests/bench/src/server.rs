//! The servers under load: an API server of its own, on etcd of its own or on the embedded store.

use std::{
    fs,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use clap::ValueEnum;
use kube::{Client, Config, config::KubeConfigOptions, config::Kubeconfig};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use store::{Store, embedded, etcd};
use tempfile::TempDir;

/// What the API server keeps its objects in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backing {
    Etcd,
    Embedded,
}

/// The bare store, in a folder or on a server of its own.
pub(crate) struct Bare {
    pub(crate) store: Arc<dyn Store>,
    _etcd: Option<testkit::Etcd>,
    _folder: TempDir,
}

impl Bare {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (store, etcd): (Arc<dyn Store>, _) = match backing {
            Backing::Embedded => {
                let path = folder.path().join("bare.redb");
                (Arc::new(embedded::Embedded::open(&path, embedded::Options::default())?), None)
            }
            Backing::Etcd => {
                let etcd = testkit::Etcd::spawn().await;
                (Arc::new(etcd::Etcd::connect(&[etcd.endpoint()]).await?), Some(etcd))
            }
        };
        Ok(Self { store, _etcd: etcd, _folder: folder })
    }
}

/// A running API server; dropping it ends it.
pub(crate) struct Server {
    process: Child,
    kubeconfig: PathBuf,
    _etcd: Option<testkit::Etcd>,
    _folder: TempDir,
}

impl Server {
    pub(crate) async fn start(backing: Backing) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let etcd = match backing {
            Backing::Etcd => Some(testkit::Etcd::spawn().await),
            Backing::Embedded => None,
        };
        let program = std::env::current_exe()?.with_file_name("apiserver");
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(&program);
        command.args(["--bind-address", "127.0.0.1", "--advertise-address", "127.0.0.1"]);
        command.arg("--secure-port").arg(port.to_string());
        command
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .arg("--kubeconfig-dir")
            .arg(folder.path());
        if let Some(etcd) = &etcd {
            command.args(["--store", "etcd", "--etcd-servers", &etcd.endpoint()]);
        }
        let log = fs::File::create(folder.path().join("log"))?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn();
        let process = process.with_context(|| format!("{}: build it first", program.display()))?;
        let server = Self {
            process,
            kubeconfig: folder.path().join("admin.conf"),
            _etcd: etcd,
            _folder: folder,
        };
        server.ready().await?;
        Ok(server)
    }

    async fn ready(&self) -> anyhow::Result<()> {
        let answered = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            loop {
                ticks.tick().await;
                if let Ok(client) = self.client().await
                    && client.apiserver_version().await.is_ok()
                {
                    return;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), answered)
            .await
            .context("the API server does not answer")
    }

    /// A client with connections of its own.
    pub(crate) async fn client(&self) -> anyhow::Result<Client> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(Client::try_from(config)?)
    }

    /// Resident memory of the server, in MiB.
    pub(crate) fn memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|l| l.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib / 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection per watcher needs a file each, here and in the server, which inherits the limit.
pub(crate) fn raise_file_limit() -> anyhow::Result<()> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, most, most)?)
}
