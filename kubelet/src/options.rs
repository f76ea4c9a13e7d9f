//! The kubelet's flags.

use std::{net::IpAddr, path::PathBuf};

use api_machinery::quantity::Quantity;
use clap::{Parser, ValueEnum};
use component::{ClientArgs, ServeArgs, check::Output, dual_stack::DualStack};

use crate::node::pressure::{self, Thresholds};

const EXAMPLES: &str = "Examples:
  kubelet --kubeconfig /etc/minik8s/kubelet.conf --node-name n1
  kubelet --kubeconfig n2.conf --node-name n2 --root-dir /var/lib/minik8s/kubelet-n2 \\
          --port 10350 --health-address 127.0.0.1:10348
  kubelet --bootstrap-kubeconfig token.conf --kubeconfig /var/lib/minik8s/kubelet.conf --node-name n3
  kubelet --kubeconfig n1.conf --node-labels zone=a,disk=ssd --redis redis://10.0.0.1:6379
  kubelet --kubeconfig n1.conf --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 \\
          --service-cidr 10.96.0.0/16,fd00:10:96::/112 --node-ip 10.0.0.1,2001:db8::1
  kubelet --kubeconfig n1.conf --network-plugin weave --weave-peers 10.0.0.2,10.0.0.3
  kubelet --kubeconfig n1.conf --network-plugin cni --cni-conf-dir /etc/cni/net.d
  kubelet check --kubeconfig n1.conf --output json";

/// The node agent: runs the pods that are bound to this node, in Docker
#[derive(Clone, Debug, Parser)]
#[command(name = "kubelet", version, after_help = EXAMPLES)]
pub struct Options {
    /// What to do instead of working
    #[arg(value_name = "COMMAND", value_enum)]
    pub command: Option<Command>,
    /// How `check` prints
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value = "text",
        requires = "command"
    )]
    pub output: Output,
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
    /// Address of this node, or with two stacks one of each family, that of IPv4 first [default: the source addresses of the
    /// default routes]
    #[arg(long, value_delimiter = ',', value_name = "IP[,IP]")]
    pub node_ip: Vec<IpAddr>,
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
    #[arg(long, value_name = "URL", default_value_t = docker::default_host())]
    pub docker_host: String,
    /// Image of the container that holds a pod's namespaces
    #[arg(long, default_value = "minik8s/pause:0.1")]
    pub pause_image: String,
    /// Network of all pods of the cluster, or with two stacks that of IPv4 and that of IPv6
    #[arg(long, default_value = "10.244.0.0/16", value_name = "CIDR[,CIDR]")]
    pub cluster_cidr: DualStack,
    /// Network of all services of the cluster, or with two stacks that of IPv4 and that of IPv6
    #[arg(long, default_value = "10.96.0.0/16", value_name = "CIDR[,CIDR]")]
    pub service_cidr: DualStack,
    /// How pods are connected: by a bridge of this node and routes between nodes, by Weave Net, whose program has to be there, or by plugins of CNI
    #[arg(long, value_enum, default_value_t)]
    pub network_plugin: NetworkPlugin,
    /// Hosts to which Weave Net's router connects when it is launched
    #[arg(long, value_delimiter = ',', value_name = "HOST")]
    pub weave_peers: Vec<String>,
    /// Where CNI's configurations are: the first file by name that can be used counts
    #[arg(long, value_name = "DIR", default_value = "/etc/cni/net.d")]
    pub cni_conf_dir: PathBuf,
    /// Where CNI's plugins are looked for
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "DIR",
        default_value = "/opt/cni/bin,/usr/lib/cni"
    )]
    pub cni_bin_dir: Vec<PathBuf>,
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
    /// Settings of the kernel that pods may have beside those that harm no other, by name, or all that begin so
    /// (kernel.msg*)
    #[arg(long, value_delimiter = ',', value_name = "SYSCTL")]
    pub allowed_unsafe_sysctls: Vec<String>,
    /// Of what so little may not be left, of memory and of the disk of --root-dir: then the node is under MemoryPressure or
    /// DiskPressure and gets no more pods (those that it has stay). What is not named is never short
    #[arg(
        long,
        value_name = "SIGNAL<QUANTITY|PERCENT%,…",
        env = "MINIK8S_EVICTION_HARD",
        default_value = pressure::USUAL
    )]
    pub eviction_hard: Thresholds,
    /// How many pods may run here
    #[arg(long, default_value_t = 110)]
    pub max_pods: u32,
}

/// What the kubelet does instead of working.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Command {
    /// Tells how the network of this node's pods differs from what the API server says
    Check,
}

/// How pods are connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NetworkPlugin {
    /// A bridge of the node.
    #[default]
    Bridge,
    /// Weave Net.
    Weave,
    /// Plugins of CNI.
    Cni,
}

fn size(text: &str) -> Result<u64, String> {
    let bytes = text.parse::<Quantity>().map(Quantity::value).map_err(|error| error.to_string())?;
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "must be positive".to_owned())
}
