//! What a server needs to know, however it came to know it (flags, or a test's wishes).

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use ipnet::Ipv4Net;
use listwatch::Announcements;

use crate::{kubelet_client::KubeletClient, tokens::Tokens};

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The range that virtual IPs of services are taken from; the first is that of the service `kubernetes`.
    pub service_cidr: Ipv4Net,
    /// The one of them that the service `kube-dns` has; without it there is none.
    pub cluster_dns: Option<Ipv4Addr>,
    /// The address at which pods and other programs reach the server: the endpoint of the `kubernetes` service.
    pub advertise_address: IpAddr,
    /// The port of that endpoint.
    pub secure_port: u16,
    /// How long Events are kept after they last happened.
    pub event_ttl: Duration,
    /// How often history is compacted, always to where the store was one interval before.
    pub compaction_interval: Duration,
    /// How many changes of a collection can be watched from the past.
    pub watch_window: usize,
    /// How long a request may take that is no watch and no stream (Kubernetes: `--request-timeout`).
    pub request_timeout: Duration,
    /// How many bytes the states before these changes may take together, for each collection.
    pub watch_window_bytes: usize,
    /// Where kubelets announce what is used; without it they are asked.
    pub announcements: Option<Announcements>,
    /// How to reach kubelets; without it they can't be.
    pub kubelet_client: Option<KubeletClient>,
    /// Whether pods need a service account that exists, whose token they get (Kubernetes: the admission plugin
    /// `ServiceAccount`). That takes a controller-manager, which makes the account `default` of each namespace.
    pub service_accounts: bool,
    /// Tokens of service accounts; by default with a key that is gone with this value.
    pub tokens: Tokens,
}

impl Config {
    /// Where the server is reached by other programs.
    pub(crate) fn advertised(&self) -> SocketAddr {
        SocketAddr::new(self.advertise_address, self.secure_port)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new(Tokens::ephemeral())
    }
}

impl Config {
    /// The usual settings, with these tokens.
    #[must_use]
    pub fn new(tokens: Tokens) -> Self {
        Self {
            service_cidr: Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16),
            cluster_dns: None,
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure_port: 6443,
            event_ttl: Duration::from_secs(3600),
            compaction_interval: Duration::from_secs(300),
            watch_window: 10_000,
            request_timeout: Duration::from_secs(60),
            watch_window_bytes: 64 << 20,
            announcements: None,
            kubelet_client: None,
            service_accounts: false,
            tokens,
        }
    }
}
