//! A kube-proxy's part for one Service, on addresses of its own that never leave this machine.

use std::{
    fmt::{self, Display},
    net::{Ipv4Addr, SocketAddrV4},
    process::Command,
    time::Duration,
};

use anyhow::{bail, ensure};
use kube_proxy::{
    addresses::{Addresses, Loopback},
    backend::{Backend, Nftables, Nginx, SharedNginx, shared::HostSockets},
    configs::Configs,
    docker::Docker,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
    reconciler::Reconciler,
};
use tempfile::TempDir;
use testkit::remove_pod_ranges;
use tokio::time::timeout;

const IMAGE: &str = "minik8s/nginx:0.1";
pub(super) const NAME: &str = "bench-services";
const SERVICES: &str = "10.119.0.0/19";
const PODS: &str = "127.119.0.0/28";
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 119, 0, 10), 80);
/// Thousands of addresses and sockets are taken one after another.
const PATIENCE: Duration = Duration::from_secs(300);

/// The same in the name of the table of rules.
const TABLE: &str = "minik8s-services-0a770000-19";

/// What carries the Service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    /// An nginx for each.
    Nginx,
    /// One for all.
    Shared,
    Nftables,
}

pub(super) const MODES: [Mode; 3] = [Mode::Nginx, Mode::Shared, Mode::Nftables];

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Nginx => "nginx",
            Mode::Shared => "shared nginx",
            Mode::Nftables => "nftables",
        })
    }
}

/// A node. What it made goes with it.
pub(super) struct Node {
    proxy: Box<dyn Backend>,
    _state: TempDir,
}

impl Node {
    pub(super) async fn start(mode: Mode) -> anyhow::Result<Self> {
        let state = tempfile::tempdir()?;
        let addresses = Loopback::open(SERVICES.parse()?, PODS.parse()?).await?;
        addresses.fence().await?;
        let docker = Docker::new(docker::Docker::new(&docker::default_host())?, IMAGE, NAME);
        let configs = Configs::open(state.path())?;
        let proxy: Box<dyn Backend> = match mode {
            Mode::Nginx => Box::new(Nginx(Reconciler::new(docker, addresses, configs))),
            Mode::Shared => {
                let (range, sockets) = (SERVICES.parse()?, Box::new(HostSockets));
                Box::new(SharedNginx::new(range, docker, addresses, configs, sockets))
            }
            Mode::Nftables => Box::new(Nftables::new(
                SERVICES.parse()?,
                PODS.parse()?,
                docker,
                addresses,
                configs,
            )),
        };
        let node = Self { proxy, _state: state };
        let route = route();
        ensure!(!route.contains("dev"), "{} would be sent out: {route}", SERVICE.ip());
        Ok(node)
    }

    /// Gives the endpoint a Service, and waits until it can be reached.
    pub(super) async fn serve(&mut self, endpoint: SocketAddrV4) -> anyhow::Result<SocketAddrV4> {
        self.serve_beside(endpoint, 0).await
    }

    /// The same beside so many other Services, which lead nowhere.
    pub(super) async fn serve_beside(
        &mut self,
        endpoint: SocketAddrV4,
        others: usize,
    ) -> anyhow::Result<SocketAddrV4> {
        let first = SERVICE.ip().to_bits() + 1;
        let addresses = (first..).take(others).map(Ipv4Addr::from_bits);
        let nowhere = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9);
        let others = addresses.map(|ip| plan(&uid(ip), ip, nowhere));
        let all = [plan(NAME, *SERVICE.ip(), endpoint)].into_iter().chain(others);
        self.proxy.want_all(all.collect());
        timeout(PATIENCE, self.settle()).await??;
        let route = route();
        ensure!(route.starts_with("local"), "{} is not of this machine: {route}", SERVICE.ip());
        Ok(SERVICE)
    }

    /// Gives the Service another endpoint; others are not looked at.
    pub(super) async fn lead_to(&mut self, endpoint: SocketAddrV4) -> anyhow::Result<()> {
        self.proxy.want(plan(NAME, *SERVICE.ip(), endpoint));
        timeout(PATIENCE, self.settle()).await?
    }

    async fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            let summary = self.proxy.pass().await?;
            if let Some(fault) = summary.failed.first() {
                bail!("{:#}", fault.error);
            }
            if summary.pending == 0 {
                return Ok(());
            }
            tokio::task::yield_now().await;
        }
    }
}

/// As different at the beginning as uids are: nginx looks for names one by one.
fn uid(ip: Ipv4Addr) -> String {
    format!("{:08x}-{NAME}", ip.to_bits().wrapping_mul(0x9e37_79b1))
}

fn plan(uid: &str, ip: Ipv4Addr, endpoint: SocketAddrV4) -> ServicePlan {
    let port = PortPlan {
        port: SERVICE.port(),
        protocol: Protocol::Tcp,
        endpoints: [endpoint.into()].into(),
        node_port: None,
        outside_endpoints: [].into(),
    };
    ServicePlan {
        namespace: "default".into(),
        name: uid.into(),
        uid: uid.into(),
        ips: [ip.into()].into(),
        affinity: None,
        balancing: Balancing::default(),
        kept: [].into(),
        outside: Outside::default(),
        ports: vec![port],
    }
}

/// Where packets for the Service go.
fn route() -> String {
    let asked = Command::new("ip").args(["route", "get", &SERVICE.ip().to_string()]).output();
    asked.map(|it| String::from_utf8_lossy(&it.stdout).into_owned()).unwrap_or_default()
}

impl Drop for Node {
    fn drop(&mut self) {
        let script = format!(
            "docker ps -aq --filter label=io.minik8s.node={NAME} | xargs -r docker rm -f
             nft delete table ip {TABLE}
             ip -o address show dev lo to {SERVICES} | awk '{{print $4}}' | xargs -r -I@ ip address del @ dev lo"
        );
        // What is left has names of its own and is in nobody's way.
        let _ = Command::new("sh").args(["-c", &script]).output();
        remove_pod_ranges(&[SERVICES, PODS]);
    }
}
