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
    backend::{Backend, Nftables, Nginx},
    configs::Configs,
    docker::Docker,
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
    reconciler::Reconciler,
};
use tempfile::TempDir;
use testkit::remove_pod_ranges;
use tokio::time::timeout;

const IMAGE: &str = "minik8s/nginx:0.1";
const NAME: &str = "bench-services";
const SERVICES: &str = "10.119.0.0/28";
const PODS: &str = "127.119.0.0/28";
const SERVICE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 119, 0, 10), 80);
const PATIENCE: Duration = Duration::from_secs(30);

/// The same in the name of the table of rules.
const TABLE: &str = "minik8s-services-0a770000-28";

/// What carries the Service.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mode {
    Nginx,
    Nftables,
}

impl Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Nginx => "nginx",
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
        self.proxy.want_all(vec![plan(endpoint)]);
        timeout(PATIENCE, self.settle()).await??;
        let route = route();
        ensure!(route.starts_with("local"), "{} is not of this machine: {route}", SERVICE.ip());
        Ok(SERVICE)
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

fn plan(endpoint: SocketAddrV4) -> ServicePlan {
    let port = PortPlan {
        port: SERVICE.port(),
        protocol: Protocol::Tcp,
        endpoints: [endpoint].into(),
        node_port: None,
        outside_endpoints: [].into(),
    };
    ServicePlan {
        namespace: "default".into(),
        name: "bench".into(),
        uid: NAME.into(),
        ip: *SERVICE.ip(),
        affinity: None,
        balancing: Balancing::default(),
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
             ip address del {}/32 dev lo",
            SERVICE.ip()
        );
        // What is left has names of its own and is in nobody's way.
        let _ = Command::new("sh").args(["-c", &script]).output();
        remove_pod_ranges(&[SERVICES, PODS]);
    }
}
