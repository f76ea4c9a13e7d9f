//! What a server needs to know, however it came to know it (flags, or a test's wishes).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
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
    /// The ports of nodes that services may have.
    pub node_ports: PortRange,
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
            node_ports: PortRange { first: 30_000, last: 32_767 },
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

/// Ports with their neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    /// The lowest.
    pub first: u16,
    /// The highest.
    pub last: u16,
}

impl PortRange {
    pub(crate) fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

/// `first-last`.
impl FromStr for PortRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('-').map(|(first, last)| (first.parse(), last.parse()));
        match numbers {
            Some((Ok(first), Ok(last))) if 1 <= first && first <= last => Ok(Self { first, last }),
            _ => Err(format!("{text:?} is no range of ports such as 30000-32767")),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_ports_has_two_ends_in_their_order() {
        let range: PortRange = "30000-32767".parse().unwrap();
        assert_eq!((range.to_string().as_str(), range.contains(32_767)), ("30000-32767", true));
        for text in ["30000", "2-1", "0-1", "1-70000", "a-b", ""] {
            text.parse::<PortRange>().unwrap_err();
        }
    }
}
