//! The kubelet's flags.

use std::path::PathBuf;

use api_machinery::quantity::Quantity;
use clap::Parser;
use component::{ClientArgs, ServeArgs, network};
use ipnet::Ipv4Net;

const EXAMPLES: &str = "Examples:
  kubelet --kubeconfig /etc/minik8s/kubelet.conf --node-name n1
  kubelet --kubeconfig n2.conf --node-name n2 --root-dir /var/lib/minik8s/kubelet-n2 \\
          --port 10350 --health-address 127.0.0.1:10348
  kubelet --bootstrap-kubeconfig token.conf --kubeconfig /var/lib/minik8s/kubelet.conf --node-name n3
  kubelet --kubeconfig n1.conf --node-labels zone=a,disk=ssd --redis redis://10.0.0.1:6379";

/// The node agent: runs the pods that are bound to this node, in Docker
#[derive(Clone, Debug, Parser)]
#[command(name = "kubelet", version, after_help = EXAMPLES)]
pub struct Options {
    /// Where the API server is.
    #[command(flatten)]
    pub client: ClientArgs,
    /// With what to ask for a certificate if there is no kubeconfig yet, usually a bootstrap token; then the kubeconfig is
    /// made, and the certificates in it and of the kubelet's server are renewed before they end
    #[arg(long, value_name = "FILE", requires = "kubeconfig")]
    pub bootstrap_kubeconfig: Option<PathBuf>,
    /// Where health is served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Name of this node [default: the host name]
    #[arg(long)]
    pub node_name: Option<String>,
    /// Address of this node [default: the source address of the default route]
    #[arg(long)]
    pub node_ip: Option<std::net::Ipv4Addr>,
    /// Labels to give the node when it registers
    #[arg(long, value_delimiter = ',', value_name = "KEY=VALUE")]
    pub node_labels: Vec<String>,
    /// Where volumes and other files of pods are kept
    #[arg(long, default_value = "/var/lib/minik8s/kubelet")]
    pub root_dir: PathBuf,
    /// Port for logs, for the API server and administrators
    #[arg(long, default_value_t = 10250)]
    pub port: u16,
    /// The Docker Engine
    #[arg(long, default_value = "unix:///var/run/docker.sock")]
    pub docker_host: String,
    /// Image of the container that holds a pod's namespaces
    #[arg(long, default_value = "minik8s/pause:0.1")]
    pub pause_image: String,
    /// Network of all pods of the cluster
    #[arg(long, default_value = "10.244.0.0/16", value_parser = network::parse)]
    pub cluster_cidr: Ipv4Net,
    /// Network of all services of the cluster
    #[arg(long, default_value = "10.96.0.0/16", value_parser = network::parse)]
    pub service_cidr: Ipv4Net,
    /// The node's resolv.conf [default: /etc/resolv.conf, or what stands behind it if it names only
    /// systemd-resolved]
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,
    /// DNS servers for pods [default: the node's]
    #[arg(long, value_delimiter = ',', value_name = "IP")]
    pub cluster_dns: Vec<String>,
    /// DNS domain of the cluster
    #[arg(long, default_value = "cluster.local")]
    pub cluster_domain: String,
    /// How large a container's log gets before the next file is begun
    #[arg(long, default_value = "10Mi", value_name = "SIZE", value_parser = size)]
    pub container_log_max_size: u64,
    /// How many files of a container's log are kept
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..))]
    pub container_log_max_files: u32,
    /// Gives every container port without a hostPort a free port of this host, for all pods, as the annotation
    /// minik8s.io/publish-ports: "true" does for one
    #[arg(long)]
    pub publish_ports: bool,
    /// How many pods may run here
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<Quantity>().map(Quantity::value).map_err(|error| error.to_string())?;
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "must be positive".to_owned())
}
