//! What a server needs to know, however it came to know it (flags, or a test's wishes).

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use clap::ValueEnum;
use component::network::Networks;
use ipnet::{IpNet, Ipv4Net};
use listwatch::Announcements;

use crate::{
    audit::Audit, kubelet_client::KubeletClient, oidc::OidcProvider, pki::FrontProxy,
    request_header::RequestHeader, token_webhook::TokenWebhook, tokens::Tokens,
};

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The ranges that virtual IPs of services are taken from, the first of the cluster's primary family; the first address of
    /// that one is the service `kubernetes`'.
    pub service_cidr: Networks,
    /// The one of them that the service `kube-dns` has; without it there is none.
    pub cluster_dns: Option<IpAddr>,
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
    /// How long a server that is to stop serves on (Kubernetes: `--shutdown-delay-duration`).
    pub shutdown_delay: Duration,
    /// How many requests are served at once.
    pub request_limits: RequestLimits,
    /// How many bytes the states before these changes may take together, for each collection.
    pub watch_window_bytes: usize,
    /// Where kubelets announce what is used; without it they are asked.
    pub announcements: Option<Announcements>,
    /// How to reach kubelets; without it they can't be.
    pub kubelet_client: Option<KubeletClient>,
    /// What is shown to servers of APIServices; without it they can't tell this one from others.
    pub front_proxy: Option<FrontProxy>,
    /// The front proxies that are believed, which say for whom they make requests; without it none is.
    pub request_header: Option<RequestHeader>,
    /// Whether Services get no external IPs (Kubernetes: the admission plugin `DenyServiceExternalIPs`).
    pub denies_external_ips: bool,
    /// Who is told of requests.
    pub audit: Option<Arc<Audit>>,
    /// Parts of admission that are left out: those at first that take a controller-manager, which makes the account `default`
    /// of each namespace, and finds nodes ready.
    pub left_out: BTreeSet<AdmissionPlugin>,
    /// Who vouches for people; without any nobody does but the CA.
    pub oidc: Vec<OidcProvider>,
    /// Who is asked whose tokens are that nobody here knows.
    pub token_webhook: Option<TokenWebhook>,
    /// Tokens of service accounts; by default with a key that is gone with this value.
    pub tokens: Tokens,
}

/// A part of admission that can be left out, as Kubernetes calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum AdmissionPlugin {
    /// Pods stay on silent and unready nodes for 300 s, if they say nothing of it.
    DefaultTolerationSeconds,
    /// Pods are held to what their namespace says.
    PodSecurity,
    /// Pods have the priority of their class.
    Priority,
    /// Pods need a service account that exists, whose token they get.
    ServiceAccount,
    /// New nodes take no pods until they are found ready.
    TaintNodesByCondition,
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
            service_cidr: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 16)).into(),
            cluster_dns: None,
            node_ports: PortRange { first: 30_000, last: 32_767 },
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure_port: 6443,
            event_ttl: Duration::from_secs(3600),
            compaction_interval: Duration::from_secs(300),
            watch_window: 10_000,
            request_timeout: Duration::from_secs(60),
            shutdown_delay: Duration::ZERO,
            request_limits: RequestLimits::default(),
            watch_window_bytes: 64 << 20,
            announcements: None,
            kubelet_client: None,
            front_proxy: None,
            request_header: None,
            denies_external_ips: false,
            audit: None,
            left_out: [AdmissionPlugin::ServiceAccount, AdmissionPlugin::TaintNodesByCondition]
                .into(),
            oidc: Vec::new(),
            token_webhook: None,
            tokens,
        }
    }
}

/// How many requests are served at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Whether FlowSchemas and PriorityLevelConfigurations say who waits (Kubernetes: `--enable-priority-and-fairness`). They
    /// share out both numbers together.
    pub fair: bool,
    /// How many that read (Kubernetes: `--max-requests-inflight`).
    pub reads: u32,
    /// How many that write (Kubernetes: `--max-mutating-requests-inflight`).
    pub writes: u32,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { fair: true, reads: 400, writes: 200 }
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
