//! The command line.

use std::net::{IpAddr, Ipv4Addr};

use clap::Parser;
use component::ClientArgs;

/// Call functions over HTTP: POST /<function> or POST /<namespace>/<function>.
///
/// Serves /healthz, /livez, /readyz and /metrics on the same port.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The address to serve on. Nobody has to say who they are: whoever reaches another address than the
    /// default one may call every function of the cluster
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) bind_address: IpAddr,
    /// The port to serve on
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) port: u16,
}

const EXAMPLES: &str = "Examples:
  serverless-gateway --kubeconfig /etc/minik8s/serverless-gateway.conf

  # Call the function add-five of the namespace default
  curl -d '{\"x\": 100}' http://127.0.0.1:8081/add-five

  # For callers on other hosts
  serverless-gateway --kubeconfig /etc/minik8s/serverless-gateway.conf --bind-address 192.0.2.10";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_on_another_host_is_served_unless_asked_for() {
        let args = Args::parse_from(["serverless-gateway"]);
        assert!(args.bind_address.is_loopback());
        let args = Args::parse_from(["serverless-gateway", "--bind-address", "0.0.0.0"]);
        assert!(args.bind_address.is_unspecified());
    }
}
