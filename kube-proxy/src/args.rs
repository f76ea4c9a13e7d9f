//! The command line.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::{Parser, ValueEnum};
use component::{ClientArgs, ServeArgs, network};
use ipnet::Ipv4Net;

use crate::{
    dns::{Stub, server},
    node_addresses::NodeAddresses,
    routes::{
        Host,
        settings::{Mode, Settings},
    },
};

/// Gives every Service its virtual IP on this node: an nginx each, or rules of nftables, balanced over the ready endpoints.
/// Adds routes to the pods of nodes on other hosts, through a VXLAN to those that are behind a router. Serves the
/// cluster's DNS.
///
/// Needs root, for addresses on lo, routes and port 53. Running nginx containers are left alone when it ends, and
/// adopted when it begins.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    /// What to do instead of working
    #[arg(value_name = "COMMAND", value_enum)]
    pub(crate) command: Option<Command>,
    /// How `check` prints
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        requires = "command"
    )]
    pub(crate) output: Output,
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// This node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// What carries Services. It may be changed at any time; established connections through an nginx end with it
    #[arg(long, value_enum, value_name = "MODE", default_value_t = ProxyMode::Nginx)]
    pub(crate) proxy_mode: ProxyMode,
    /// The range of the virtual IPs. Packets for addresses of it that no Service has are dropped, and
    /// addresses of it on lo that no Service has are removed
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16", value_parser = network::parse)]
    pub(crate) service_cidr: Ipv4Net,
    /// The range of all pods. Routes within it lead to the other nodes
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16", value_parser = network::parse)]
    pub(crate) cluster_cidr: Ipv4Net,
    /// Where node ports are: ranges of addresses, or "primary" for the node's own [default: at all addresses of this host]
    #[arg(long, value_name = "CIDR,…|primary", value_delimiter = ',')]
    pub(crate) nodeport_addresses: Vec<NodeAddresses>,
    /// Whether nodes are reached through a VXLAN instead of by routes through their addresses. All nodes have to
    /// be told the same
    #[arg(long, value_name = "WHEN", value_enum, default_value = "auto")]
    pub(crate) vxlan: Mode,
    /// The UDP port of the VXLAN; firewalls between nodes have to let it through
    #[arg(long, value_name = "PORT", default_value = "4789")]
    pub(crate) vxlan_port: u16,
    /// The VXLAN's number, its VNI. Clusters that share hosts need one each
    #[arg(long, value_name = "NUMBER", default_value = "138", value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    pub(crate) vxlan_id: u32,
    /// Answers DNS at this address of --service-cidr, that of the Service kube-dns [default: no DNS is served]
    #[arg(long, value_name = "IP")]
    pub(crate) cluster_dns: Option<Ipv4Addr>,
    /// The cluster's domain
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Name servers that are asked for other names [default: those that this host asks]
    #[arg(long, value_name = "ADDRESS[:PORT]", value_delimiter = ',', value_parser = server)]
    pub(crate) dns_upstream: Vec<SocketAddr>,
    /// A domain with name servers of its own; may be repeated
    #[arg(long, value_name = "DOMAIN=ADDRESS[:PORT],…")]
    pub(crate) dns_stub: Vec<Stub>,
    /// This host's resolv.conf [default: /etc/resolv.conf, or what stands behind it if it names only
    /// systemd-resolved]
    #[arg(long, value_name = "FILE")]
    pub(crate) resolv_conf: Option<PathBuf>,
    /// Whether NetworkPolicies are enforced for the pods of this host, by a table of nftables
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub(crate) network_policy: bool,
    /// Serve Ingresses also at ports 80 and 443 of this node's own addresses, which no other server may have
    #[arg(long)]
    pub(crate) ingress_host_ports: bool,
    /// The directory for the nginx configurations; Docker must be able to mount it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/minik8s/kube-proxy")]
    pub(crate) state_dir: PathBuf,
    /// The image of the nginx containers, with the stream module; it is never pulled
    #[arg(long, value_name = "IMAGE", default_value = "minik8s/nginx:0.1")]
    pub(crate) nginx_image: String,
    /// The Docker daemon
    #[arg(long, value_name = "URL", default_value_t = docker::default_host())]
    pub(crate) docker_host: String,
}

/// What carries Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProxyMode {
    /// An nginx for each Service, in a container
    Nginx,
    /// The kernel, by rules of nftables (needs nft and conntrack)
    Nftables,
}

/// What kube-proxy does instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Command {
    /// Tells how this node differs from what the API server says
    Check,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// A line each
    Text,
    /// An object with the node and all differences
    Json,
}

impl Args {
    /// The host of this node, as routes are made for it.
    pub(crate) fn host(&self, node: &str) -> Host {
        let vxlan = Settings { mode: self.vxlan, id: self.vxlan_id, port: self.vxlan_port };
        Host { node: node.to_owned(), cluster_cidr: self.cluster_cidr, vxlan }
    }
}

const EXAMPLES: &str = "Examples:
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --redis redis://127.0.0.1:6379 --node-name n1

  # With DNS, and names of the company's domain from its own servers
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --cluster-dns 10.96.0.10 \\
             --dns-stub corp.example=192.0.2.1,192.0.2.2

  # How this node differs from what the API server says; with the flags that kube-proxy runs with
  kube-proxy check --kubeconfig /etc/minik8s/kube-proxy.conf --node-name n1 -o json

  # The containers that it keeps
  docker ps --filter label=io.minik8s.service

  # Services carried by the kernel, and its rules for them
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --proxy-mode nftables
  nft list table ip minik8s-services-0a600000-16

  # The routes that it keeps
  ip route show proto 138

  # Where its VXLAN leads
  bridge fdb show dev mk8svx138";
