//! The command line.

use std::path::PathBuf;

use clap::Parser;
use component::{ClientArgs, ServeArgs, network};
use ipnet::Ipv4Net;

/// Gives every Service its virtual IP on this node: an nginx each, balanced over the ready endpoints.
/// Adds routes to the pods of nodes on other hosts of the same network segment.
///
/// Needs root, for addresses on lo and routes. Running nginx containers are left alone when it ends, and
/// adopted when it begins.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    #[command(flatten)]
    pub(crate) serve: ServeArgs,
    /// This node's name [default: the host name]
    #[arg(long, value_name = "NAME")]
    pub(crate) node_name: Option<String>,
    /// The range of the virtual IPs. Packets for addresses of it that no Service has are dropped, and
    /// addresses of it on lo that no Service has are removed
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16", value_parser = network::parse)]
    pub(crate) service_cidr: Ipv4Net,
    /// The range of all pods. Routes within it lead to the other nodes
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16", value_parser = network::parse)]
    pub(crate) cluster_cidr: Ipv4Net,
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

const EXAMPLES: &str = "Examples:
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf
  kube-proxy --kubeconfig /etc/minik8s/kube-proxy.conf --redis redis://127.0.0.1:6379 --node-name n1

  # The containers that it keeps
  docker ps --filter label=io.minik8s.service

  # The routes that it keeps
  ip route show proto 138";
