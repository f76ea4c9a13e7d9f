//! The whole data path with the real Docker, nginx and kernel: needs root, a Docker daemon and the
//! image `minik8s/nginx:0.1`. Backends are listeners of this process on 127.0.0.1, so nothing that
//! is sent here leaves the machine; before the first connection the test makes sure of that.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream},
    process::Command,
    time::{Duration, Instant},
};

use ipnet::Ipv4Net;
use kube_proxy::{
    addresses::{Addresses, Loopback},
    configs::Configs,
    containers::{Containers, Found},
    docker::Docker,
    plan::{PortPlan, Protocol, ServicePlan},
    reconciler::Reconciler,
};

const HOST: &str = "unix:///var/run/docker.sock";
const IMAGE: &str = "minik8s/nginx:0.1";
const VIP: Ipv4Addr = Ipv4Addr::new(10, 97, 255, 10);
const UID: &str = "kube-proxy-test";

/// A node of its own on this machine: range, name and state shared with no other kube-proxy. (One
/// that serves a cluster here would release addresses of its own range.)
struct Node {
    range: Ipv4Net,
    name: String,
    state: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        Node {
            range: "10.97.255.0/28".parse().unwrap(),
            name: format!("kube-proxy-test-{}", std::process::id()),
            state: tempfile::tempdir().unwrap(),
        }
    }

    /// A kube-proxy that has just begun.
    async fn proxy(&self) -> Reconciler<Docker, Loopback> {
        let addresses = Loopback::open(self.range).await.unwrap();
        Reconciler::new(self.docker(), addresses, Configs::open(self.state.path()).unwrap())
    }

    fn docker(&self) -> Docker {
        Docker::new(HOST, IMAGE, &self.name)
    }

    async fn container(&self) -> Found {
        let mut found = self.docker().list().await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let filter = format!("label=io.minik8s.node={}", self.name);
        let ids = output("docker", &["ps", "-aq", "--filter", &filter]);
        for id in ids.split_whitespace() {
            output("docker", &["rm", "-f", id]);
        }
        output("ip", &["address", "del", &format!("{VIP}/32"), "dev", "lo"]);
        output("ip", &["route", "del", "blackhole", &self.range.to_string()]);
    }
}

fn output(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A server that answers every connection with its name.
fn backend(name: &'static str) -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let _ = connection.unwrap().write_all(name.as_bytes());
        }
    });
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)
}

fn service(endpoints: &[SocketAddrV4]) -> ServicePlan {
    ServicePlan {
        namespace: "default".into(),
        name: "web".into(),
        uid: UID.into(),
        ip: VIP,
        client_affinity: false,
        ports: vec![PortPlan {
            port: 18080,
            protocol: Protocol::Tcp,
            endpoints: endpoints.iter().copied().collect(),
        }],
    }
}

/// One connection to the Service; None if it is refused.
fn ask() -> Option<String> {
    let mut connection =
        TcpStream::connect_timeout(&SocketAddrV4::new(VIP, 18080).into(), Duration::from_secs(5))
            .ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Who answers `count` connections.
fn census(count: usize) -> Vec<Option<String>> {
    let mut answers: Vec<_> = (0..count).map(|_| ask()).collect();
    answers.sort();
    answers
}

/// Waits until four connections are answered by exactly `expected`, in this order.
async fn until_answered_by(expected: [Option<&str>; 4]) {
    let expected = expected.map(|name| name.map(str::to_owned));
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let seen = tokio::task::spawn_blocking(|| census(4)).await.unwrap();
        if seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "still {seen:?} instead of {expected:?}");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_balanced_reloaded_adopted_revived_and_removed() {
    let node = Node::new();
    let mut proxy = node.proxy().await;
    Loopback::open(node.range).await.unwrap().fence().await.unwrap();
    let route = output("ip", &["route", "get", &VIP.to_string()]);
    assert!(!route.contains("dev"), "an address nobody holds would be sent out: {route}");

    // Two backends share the connections.
    let (a, b) = (backend("a"), backend("b"));
    let summary = proxy.reconcile(&[service(&[a, b])]).await.unwrap();
    assert!(summary.failed.is_empty(), "{:?}", summary.failed);
    let route = output("ip", &["route", "get", &VIP.to_string()]);
    assert!(route.starts_with("local"), "not a local address: {route}");
    until_answered_by([Some("a"), Some("a"), Some("b"), Some("b")]).await;
    let first = node.container().await;

    // One leaves: the other gets them all, from the same nginx.
    proxy.reconcile(&[service(&[b])]).await.unwrap();
    until_answered_by([Some("b"); 4]).await;
    assert_eq!(node.container().await, first);

    // kube-proxy is gone: traffic flows. A new one adopts the container and catches up.
    drop(proxy);
    until_answered_by([Some("b"); 4]).await;
    let mut proxy = node.proxy().await;
    proxy.reconcile(&[service(&[a])]).await.unwrap();
    until_answered_by([Some("a"); 4]).await;
    assert_eq!(node.container().await, first);

    // No endpoint is left: connections are refused.
    proxy.reconcile(&[service(&[])]).await.unwrap();
    until_answered_by([None; 4]).await;

    // The nginx is killed: a pass brings it back with the present configuration.
    output("docker", &["kill", &first.id]);
    proxy.reconcile(&[service(&[a, b])]).await.unwrap();
    until_answered_by([Some("a"), Some("a"), Some("b"), Some("b")]).await;
    assert_eq!(node.container().await.id, first.id);

    // The Service goes, and its address with it.
    proxy.reconcile(&[]).await.unwrap();
    assert_eq!(node.docker().list().await.unwrap(), []);
    assert!(!output("ip", &["route", "get", &VIP.to_string()]).starts_with("local"));
}
