//! Real etcd and Redis servers, each test its own.

mod etcd_members;

use std::{fmt, fs, net::SocketAddr, time::Duration};

use component::RedisServer;
use nix::sys::signal::Signal;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

pub use self::etcd_members::EtcdMembers;
use crate::{
    Authority,
    process::{Process, free_address},
    tls, wait,
};

/// How long a question for a server's health may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// Ports tried: another process may take one between looking and listening.
const ATTEMPTS: usize = 5;

/// A server of one kind.
#[derive(Debug)]
struct Server {
    process: Process,
    address: SocketAddr,
    probe: Probe,
}

/// What to ask, and what the answer contains if the server is well.
#[derive(Clone)]
struct Probe {
    question: &'static str,
    answer: &'static str,
    /// For who is asked over TLS.
    connector: Option<TlsConnector>,
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probe").field("question", &self.question).finish_non_exhaustive()
    }
}

impl Server {
    async fn spawn(probe: Probe, make: impl Fn(SocketAddr) -> Process) -> Self {
        for _ in 0..ATTEMPTS {
            let address = free_address();
            let mut server = Self { process: make(address), address, probe: probe.clone() };
            server.process.start();
            if server.ready().await {
                return server;
            }
        }
        panic!("a server ended at once on each of {ATTEMPTS} ports");
    }

    async fn restart(&mut self) {
        self.process.start();
        assert!(self.ready().await, "server ended at once: {}", self.process.log());
    }

    /// Waits until it answers. False if it has ended.
    async fn ready(&mut self) -> bool {
        let (address, probe) = (self.address, &self.probe);
        let process = &mut self.process;
        wait::until("the server answers", async || match probe.ask(address).await {
            Ok(()) => Ok(true),
            Err(_) if !process.is_running() => Ok(false),
            Err(seen) => Err(format!("{seen}; its log: {}", process.log())),
        })
        .await
    }
}

impl Probe {
    async fn ask(&self, address: SocketAddr) -> Result<(), String> {
        match timeout(PATIENCE, self.connect(address)).await {
            Ok(Ok(answer)) if answer.contains(self.answer) => Ok(()),
            Ok(Ok(answer)) => Err(format!("answer {answer:?}")),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer".to_owned()),
        }
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<String> {
        match &self.connector {
            None => self.exchange(TcpStream::connect(address).await?).await,
            Some(connector) => self.exchange(tls::connect(connector, address).await?).await,
        }
    }

    async fn exchange(
        &self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> std::io::Result<String> {
        stream.write_all(self.question.as_bytes()).await?;
        let mut answer = String::new();
        let mut buffer = [0; 4096];
        while !answer.contains(self.answer) {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => answer.push_str(&String::from_utf8_lossy(&buffer[..read])),
            }
        }
        Ok(answer)
    }
}

/// An etcd server, killed on drop.
#[derive(Debug)]
pub struct Etcd(Server);

impl Etcd {
    /// A new, empty one.
    pub async fn spawn() -> Self {
        Self(Server::spawn(Self::probe(None), |address| lone_etcd("http", address, &[])).await)
    }

    /// One that serves over TLS alone, and only who shows a certificate of this authority.
    pub async fn spawn_secured(authority: &Authority) -> Self {
        let flags = [
            "--client-cert-auth".to_owned(),
            format!("--trusted-ca-file={}", authority.authority().display()),
            format!("--cert-file={}", authority.certificate().display()),
            format!("--key-file={}", authority.key().display()),
        ];
        let make = |address| lone_etcd("https", address, &flags);
        Self(Server::spawn(Self::probe(Some(authority.connector())), make).await)
    }

    fn probe(connector: Option<TlsConnector>) -> Probe {
        let question = "GET /health HTTP/1.0\r\n\r\n";
        Probe { question, answer: "\"health\":\"true\"", connector }
    }

    /// Its client URL.
    pub fn endpoint(&self) -> String {
        let scheme = if self.0.probe.connector.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.0.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Resident memory in bytes.
    pub fn memory(&self) -> u64 {
        self.0.process.memory()
    }

    /// The time that it was at work, to a hundredth of a second.
    pub fn cpu(&self) -> Duration {
        self.0.process.cpu()
    }

    /// Kills it like a power cut; its data stay.
    pub fn kill(&mut self) {
        self.0.process.kill();
    }

    /// Stops it where it is: its connections stay, and nothing is answered.
    pub fn freeze(&self) {
        self.0.process.signal(Signal::SIGSTOP);
    }

    /// Lets it go on, with all that it was asked meanwhile.
    pub fn thaw(&self) {
        self.0.process.signal(Signal::SIGCONT);
    }

    /// Starts it again on its data and its port.
    pub async fn restart(&mut self) {
        self.0.restart().await;
    }
}

fn lone_etcd(scheme: &str, address: SocketAddr, flags: &[String]) -> Process {
    let peer = format!("http://{}", free_address());
    etcd("test", &format!("{scheme}://{address}"), &peer, &format!("test={peer}"), flags)
}

/// A member of the name, with the URLs of its clients and of other members, of a cluster of all these.
fn etcd(name: &str, client: &str, peer: &str, cluster: &str, flags: &[String]) -> Process {
    Process::new("etcd", |folder| {
        [
            ("--name", name),
            ("--data-dir", &format!("{folder}/data")),
            ("--listen-client-urls", client),
            ("--advertise-client-urls", client),
            ("--listen-peer-urls", peer),
            ("--initial-advertise-peer-urls", peer),
            ("--initial-cluster", cluster),
        ]
        .iter()
        .map(|(flag, value)| format!("{flag}={value}"))
        .chain(flags.iter().cloned())
        .collect()
    })
}

/// A Redis server without persistence, killed on drop.
#[derive(Debug)]
pub struct Redis(Server);

impl Redis {
    /// A new one.
    pub async fn spawn() -> Self {
        let probe = Probe { question: "PING\r\n", answer: "+PONG", connector: None };
        Self(Server::spawn(probe, redis).await)
    }

    /// One that serves over TLS alone, with a certificate of this authority, who knows [`Redis::PASSWORD`].
    pub async fn spawn_secured(authority: &Authority) -> Self {
        let connector = Some(authority.connector());
        let probe = Probe { question: "PING\r\n", answer: "-NOAUTH", connector };
        Self(Server::spawn(probe, |address| redis_over_tls(address, authority)).await)
    }

    /// The password of one that asks for it.
    pub const PASSWORD: &str = "open sesame";

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.0.probe.connector.is_some() { "rediss" } else { "redis" };
        format!("{scheme}://{}", self.0.address)
    }

    /// Where it is, for who needs no password.
    pub fn server(&self) -> RedisServer {
        self.url().as_str().into()
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Kills it.
    pub fn kill(&mut self) {
        self.0.process.kill();
    }

    /// Starts it again on its port.
    pub async fn restart(&mut self) {
        self.0.restart().await;
    }
}

fn redis(address: SocketAddr) -> Process {
    Process::new("redis-server", |folder| {
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        ["--bind", &ip, "--port", &port, "--save", "", "--appendonly", "no", "--dir", folder]
            .map(str::to_owned)
            .to_vec()
    })
}

fn redis_over_tls(address: SocketAddr, authority: &Authority) -> Process {
    Process::new("redis-server", |folder| {
        // Its password is not for everybody's eyes: not a flag.
        let file = format!("{folder}/redis.conf");
        let configuration = format!(
            "bind {}\nport 0\ntls-port {}\nrequirepass \"{}\"\ntls-auth-clients optional\ntls-ca-cert-file {}\n\
             tls-cert-file {}\ntls-key-file {}\nsave \"\"\nappendonly no\ndir {folder}\n",
            address.ip(),
            address.port(),
            Redis::PASSWORD,
            authority.authority().display(),
            authority.certificate().display(),
            authority.key().display(),
        );
        fs::write(&file, configuration).expect("the folder can be written to");
        vec![file]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn redis_can_be_killed_and_restarted_on_its_port() {
        let mut redis = Redis::spawn().await;
        let (url, probe) = (redis.url(), redis.0.probe.clone());
        redis.kill();
        assert!(probe.ask(redis.address()).await.is_err());
        redis.restart().await;
        assert!(probe.ask(redis.address()).await.is_ok());
        assert_eq!(redis.url(), url);
    }

    #[tokio::test]
    async fn etcd_keeps_its_data_over_a_kill() {
        let mut etcd = Etcd::spawn().await;
        let connect = async |etcd: &Etcd| store::etcd::Etcd::connect(&[etcd.endpoint()]).await;
        let key = "/registry/core/nodes/a";
        let before: &dyn store::Store = &connect(&etcd).await.unwrap();
        before.put(key, "1".into(), None).await.unwrap();
        etcd.kill();
        etcd.restart().await;
        let after: &dyn store::Store = &connect(&etcd).await.unwrap();
        assert_eq!(after.get(key).await.unwrap().unwrap().value, "1");
    }
}
