//! A registry of images, each test its own.

use std::{fs, net::SocketAddr, path::PathBuf};

use tokio::net::TcpStream;

use crate::{
    process::{Process, free_address},
    wait,
};

/// The user's password, `secret`, as the registry knows it.
const USERS: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

/// Debian's `docker-registry`, over TLS, which answers only `me` with the password `secret`; killed on drop.
#[derive(Debug)]
pub struct Registry {
    process: Process,
    address: SocketAddr,
}

impl Registry {
    /// The only user's name and password.
    pub const LOGIN: (&str, &str) = ("me", "secret");

    /// A new, empty one, with this certificate and its key, as PEM.
    pub async fn spawn(certificate: &str, key: &str) -> Self {
        let address = free_address();
        let process = Process::new("docker-registry", |folder| {
            let write = |file: &str, text: &str| {
                fs::write(format!("{folder}/{file}"), text).expect("the folder can be written to");
            };
            write("tls.crt", certificate);
            write("tls.key", key);
            write("users", USERS);
            write("config.yml", &config(folder, address));
            vec!["serve".to_owned(), format!("{folder}/config.yml")]
        });
        let mut registry = Self { process, address };
        registry.restart().await;
        registry
    }

    /// Where it listens, as images' names begin.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A folder for what else belongs to it.
    pub fn folder(&self) -> PathBuf {
        self.process.folder().to_owned()
    }

    /// Kills it; its images stay.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with its images, at its address.
    pub async fn restart(&mut self) {
        self.process.start();
        let (address, process) = (self.address, &self.process);
        wait::until("the registry answers", async || {
            let connected = TcpStream::connect(address).await;
            connected.map(drop).map_err(|error| format!("{error}; its log: {}", process.log()))
        })
        .await;
    }
}

fn config(folder: &str, address: SocketAddr) -> String {
    format!(
        "version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {folder}/images}}
  delete: {{enabled: true}}
auth:
  htpasswd: {{realm: test, path: {folder}/users}}
http:
  addr: {address}
  tls: {{certificate: {folder}/tls.crt, key: {folder}/tls.key}}
"
    )
}
