//! The command line.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

use clap::Parser;
use component::{
    ClientArgs,
    network::{self, Networks},
};
use ipnet::IpNet;

use crate::{
    access::{Access, Tokens},
    calls::Limits,
};

/// Call functions over HTTP: POST /<function> or POST /<namespace>/<function>/…
///
/// The first call of a function without instances wakes it and waits for one. Serves /healthz, /livez, /readyz and
/// /metrics on the same port.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub(crate) client: ClientArgs,
    /// The address to serve on
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub(crate) bind_address: IpAddr,
    /// The port to serve on
    #[arg(long, value_name = "PORT", default_value_t = 8081)]
    pub(crate) port: u16,
    /// The namespace of a call that names none
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) default_namespace: String,
    /// The network of the pods, or one of IPv4 and one of IPv6: who calls from it is answered, as who calls from this host
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "10.244.0.0/16")]
    cluster_cidr: Networks,
    /// Other networks that calls are answered from, such as that of the nodes; may be given more than once
    #[arg(long = "allow-cidr", value_name = "CIDR", value_parser = network::parse_any, value_delimiter = ',')]
    allow_cidrs: Vec<IpNet>,
    /// Answer calls from everywhere, but only those with a bearer token of --token-auth-file
    #[arg(long, requires = "token_auth_file")]
    authentication: bool,
    /// Kubernetes' static token file: a line token,user,uid for each
    #[arg(long, value_name = "FILE", requires = "authentication")]
    token_auth_file: Option<PathBuf>,
    /// How many calls of a function may wait for an instance; more are answered with 429
    #[arg(long, value_name = "CALLS", default_value_t = 10_000)]
    pub(crate) queue_length: usize,
    /// How long a call may wait for an instance
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    queue_seconds: u64,
    /// The longest body of a call
    #[arg(long, value_name = "BYTES", default_value_t = 10 << 20)]
    max_request_bytes: u64,
}

const EXAMPLES: &str = "Examples:
  serverless-gateway --kubeconfig /etc/minik8s/serverless-gateway.conf

  # Call the function add-five of the namespace default
  curl -d '{\"x\": 100}' http://127.0.0.1:8081/add-five

  # What did a call wait for?
  curl -id '{}' -H 'X-Minik8s-Trace: cold-start' http://127.0.0.1:8081/add-five | grep -i server-timing

  # For callers on other hosts, who show a token
  serverless-gateway --kubeconfig /etc/minik8s/serverless-gateway.conf --bind-address 192.0.2.10 \\
    --authentication --token-auth-file /etc/minik8s/tokens.csv";

impl Args {
    pub(crate) fn limits(&self) -> Limits {
        let queue_time = Duration::from_secs(self.queue_seconds);
        Limits { request_bytes: self.max_request_bytes, queue_time }
    }

    pub(crate) fn access(&self) -> anyhow::Result<Access> {
        match &self.token_auth_file {
            Some(file) => Ok(Access::Tokens(Tokens::read(file)?)),
            None => {
                let networks = self.cluster_cidr.iter().chain(self.allow_cidrs.clone());
                Ok(Access::Networks(networks.collect()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_on_another_host_is_served_unless_asked_for() {
        let args = Args::parse_from(["serverless-gateway"]);
        assert!(args.bind_address.is_loopback());
        let args = Args::parse_from(["serverless-gateway", "--bind-address", "0.0.0.0"]);
        assert!(args.bind_address.is_unspecified());
        let Access::Networks(networks) = args.access().unwrap() else { panic!("no networks") };
        assert_eq!(networks, ["10.244.0.0/16".parse().unwrap()]);
        let both =
            ["--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56", "--allow-cidr", "fd00::/64"];
        let args = Args::parse_from(["serverless-gateway"].iter().chain(&both));
        let Access::Networks(networks) = args.access().unwrap() else { panic!("no networks") };
        let expected = ["10.244.0.0/16", "fd00:10:244::/56", "fd00::/64"];
        assert_eq!(networks, expected.map(|network| network.parse().unwrap()));
    }

    #[test]
    fn authentication_needs_tokens_and_tokens_authentication() {
        for half in [["--authentication"].as_slice(), &["--token-auth-file", "f"]] {
            let flags = ["serverless-gateway"].iter().chain(half);
            assert!(Args::try_parse_from(flags).is_err(), "{half:?}");
        }
    }
}
