//! The command line.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Parser, ValueEnum};
use component::{ClientArgs, ServeArgs, check::Output, dual_stack::DualStack};

use crate::{
    dns::{Stub, server},
    node_addresses::NodeAddresses,
    routes::{
        Host,
        settings::{Mode, Settings},
    },
    world::Here,
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
    /// Whether each Service has an nginx, or those of a node one together (but for Services with session affinity): that
    /// takes the memory of one, and each change of any Service is a reload of it. It may be changed at any time, as
    /// --proxy-mode
    #[arg(long, value_enum, value_name = "FORM", default_value_t = NginxForm::PerService)]
    pub(crate) nginx: NginxForm,
    /// Whether nginx speaks to endpoints from the addresses of the pods that it serves, so that they see who asks (needs nft);
    /// but for a pod that is an endpoint itself
    #[arg(long)]
    pub(crate) keep_client_addresses: bool,
    /// The range of the virtual IPs, or with two stacks that of IPv4 and that of IPv6. Packets for addresses of it that no
    /// Service has are dropped, and addresses of it on lo that no Service has are removed
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "10.96.0.0/16")]
    pub(crate) service_cidr: DualStack,
    /// The range of all pods, or with two stacks that of IPv4 and that of IPv6. Routes within it lead to the other nodes
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "10.244.0.0/16")]
    pub(crate) cluster_cidr: DualStack,
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
    pub(crate) cluster_dns: Option<IpAddr>,
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
    /// The directory for the nginx configurations, and what else is kept; Docker must be able to mount it
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
    /// Nginxes, in containers (see --nginx)
    Nginx,
    /// The kernel, by rules of nftables (needs nft and conntrack)
    Nftables,
}

/// How many nginxes carry Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum NginxForm {
    /// One for each
    PerService,
    /// One for all
    Shared,
}

/// What kube-proxy does instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Command {
    /// Tells how this node differs from what the API server says
    Check,
}

impl Args {
    /// Rules lead pods' packets on as they are in any case.
    pub(crate) fn nginx_keeps_clients(&self) -> bool {
        self.keep_client_addresses && self.proxy_mode == ProxyMode::Nginx
    }

    /// Where it works, on the node of this name.
    pub(crate) fn here(&self, node: String) -> Here {
        Here {
            node,
            service_cidr: self.service_cidr,
            cluster_dns: self.cluster_dns,
            node_addresses: self.nodeport_addresses.clone(),
            leads_by_rules: self.proxy_mode == ProxyMode::Nftables,
        }
    }

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

  # With two stacks, as the other programs were told
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --service-cidr 10.96.0.0/16,fd00:10:96::/112 \\
             --cluster-cidr 10.244.0.0/16,fd00:10:244::/56

  # Services carried by the kernel, and its rules for them
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --proxy-mode nftables
  nft list table ip minik8s-services-0a600000-16

  # The routes that it keeps
  ip route show proto 138

  # Where its VXLAN leads
  bridge fdb show dev mk8svx138";
