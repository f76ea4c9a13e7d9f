//! A fresh store of each kind.

use std::{
    fs::DirBuilder,
    net::TcpListener,
    ops::Deref,
    os::unix::fs::DirBuilderExt,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use store::{Store, embedded::Embedded, etcd::Etcd};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::wait;

/// A store with what it lives on, which ends with it.
pub(crate) struct Running<K> {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keeper: K,
}

impl<K> Deref for Running<K> {
    type Target = Arc<dyn Store>;

    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

pub(crate) async fn embedded() -> Running<TempDir> {
    let keeper = tempfile::tempdir().unwrap();
    let store = Embedded::open(keeper.path().join("store"), Default::default()).unwrap();
    Running { store: Arc::new(store), keeper }
}

pub(crate) async fn etcd() -> Running<EtcdServer> {
    let keeper = EtcdServer::start().await;
    let store = Etcd::connect(&[keeper.url()]).await.unwrap();
    Running { store: Arc::new(store), keeper }
}

/// An etcd process of our own.
pub(crate) struct EtcdServer {
    directory: TempDir,
    client_port: u16,
    peer_port: u16,
    process: Child,
}

impl EtcdServer {
    /// Tries other ports when somebody else was faster to take those that were free.
    pub(crate) async fn start() -> Self {
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let (client_port, peer_port) = free_ports();
            let process = spawn(directory.path(), client_port, peer_port);
            let mut server = Self { directory, client_port, peer_port, process };
            if server.is_up().await {
                return server;
            }
        }
        panic!("etcd does not start");
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// Kills the process; its data stay.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// A copy of its data, while it is not running.
    pub(crate) fn backup(&self) -> TempDir {
        let backup = tempfile::tempdir().unwrap();
        copy(self.directory.path(), backup.path());
        backup
    }

    /// Listens at another port from its next start on; gives the one before.
    pub(crate) fn move_to(&mut self, port: u16) -> u16 {
        std::mem::replace(&mut self.client_port, port)
    }

    /// Sets its data back, while it is not running.
    pub(crate) fn restore(&mut self, backup: &TempDir) {
        std::fs::remove_dir_all(self.directory.path()).unwrap();
        copy(backup.path(), self.directory.path());
    }

    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.directory.path(), self.client_port, self.peer_port);
        assert!(self.is_up().await, "etcd starts again");
    }

    /// Waits until it answers; `false` if it gave up.
    async fn is_up(&mut self) -> bool {
        let port = self.client_port;
        let up = wait::until("etcd", async || {
            if self.process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| true)
        });
        up.await && Etcd::connect(&[self.url()]).await.is_ok()
    }
}

impl Drop for EtcdServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path, client_port: u16, peer_port: u16) -> Child {
    let (client, peer) =
        (format!("http://127.0.0.1:{client_port}"), format!("http://127.0.0.1:{peer_port}"));
    Command::new("etcd")
        .args(["--name", "test", "--log-level", "error", "--data-dir"])
        .arg(directory)
        .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
        .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
        .args(["--initial-cluster", &format!("test={peer}")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("cannot run `etcd` ({error}): install it, e.g. `apt-get install etcd-server`")
        })
}

/// Copies a folder, as only its owner may have it.
fn copy(from: &Path, to: &Path) {
    DirBuilder::new().recursive(true).mode(0o700).create(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            std::fs::copy(source, target).unwrap();
        }
    }
}

pub(crate) fn free_port() -> u16 {
    free_ports().0
}

fn free_ports() -> (u16, u16) {
    let bind = || TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let (one, two) = (bind(), bind());
    (one.local_addr().unwrap().port(), two.local_addr().unwrap().port())
}
