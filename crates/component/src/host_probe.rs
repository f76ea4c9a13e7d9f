//! Whether a host answers on the network, whatever has become of its programs.
//!
//! A connection that is *refused* proves a living host as well as one that is taken: the kernel answers
//! either. So two ports are asked, the kubelet's, which firewalls let through, and one that nobody
//! listens on from outside, which a stopped kubelet with a full backlog cannot keep silent.

use std::{io, net::IpAddr, time::Duration};

use api_types::api::core::v1::Node;
use futures::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::timeout};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_millis(900);
/// Where a kubelet listens if its node does not say.
const KUBELET_PORT: u16 = 10250;
/// Where kube-proxies serve their health, on the loopback address only.
const PROXY_PORT: u16 = 10256;

/// Where a node's host is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    address: IpAddr,
    kubelet_port: u16,
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The host lives.
    Answered,
    /// Nothing came back.
    Silence,
    /// It could not be asked, which says nothing about the host: this one has no route, or no socket left.
    NotAsked,
}

impl Answer {
    /// What a connection that failed says. "Host unreachable" is what the kernel says when nobody has the
    /// address any more.
    #[must_use]
    pub fn of_failure(failure: io::ErrorKind) -> Self {
        match failure {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Self::Answered,
            io::ErrorKind::HostUnreachable | io::ErrorKind::TimedOut => Self::Silence,
            _ => Self::NotAsked,
        }
    }
}

impl Target {
    /// The first internal address of a node.
    #[must_use]
    pub fn of(node: &Node) -> Option<Self> {
        let status = node.status.as_ref()?;
        let mut addresses = status.addresses.iter().flatten();
        let internal = addresses.find(|address| address.type_ == "InternalIP")?;
        let endpoints = status.daemon_endpoints.as_ref();
        let port =
            endpoints.and_then(|all| u16::try_from(all.kubelet_endpoint.as_ref()?.port).ok());
        let kubelet_port = port.filter(|port| *port != 0).unwrap_or(KUBELET_PORT);
        Some(Self { address: internal.address.parse().ok()?, kubelet_port })
    }

    /// Asks once. Takes [`PATIENCE`] at most.
    pub async fn probe(self) -> Answer {
        let ports = [self.kubelet_port, PROXY_PORT];
        let mut answers: FuturesUnordered<_> =
            ports.into_iter().map(|port| ask(self.address, port)).collect();
        let mut all = Answer::NotAsked;
        while let Some(answer) = answers.next().await {
            match answer {
                Answer::Answered => return answer,
                Answer::Silence => all = answer,
                Answer::NotAsked => {}
            }
        }
        all
    }
}

async fn ask(address: IpAddr, port: u16) -> Answer {
    match timeout(PATIENCE, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => Answer::Answered,
        Ok(Err(error)) => Answer::of_failure(error.kind()),
        Err(_) => Answer::Silence,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;
    use tokio::net::TcpListener;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn the_node_says_where_its_host_is_asked() {
        let node = |status| serde_json::from_value(json!({"status": status})).unwrap();
        let addresses = json!([{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "127.0.0.1"}]);
        let port = json!({"kubeletEndpoint": {"Port": 10350}});
        let full = node(json!({"addresses": addresses, "daemonEndpoints": port}));
        assert_eq!(Target::of(&full), Some(Target { address: HERE, kubelet_port: 10350 }));
        let portless = node(json!({"addresses": addresses}));
        assert_eq!(Target::of(&portless), Some(Target { address: HERE, kubelet_port: 10250 }));
        assert_eq!(Target::of(&node(json!({}))), None);
    }

    #[tokio::test]
    async fn a_host_that_refuses_lives_as_well_as_one_that_takes() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let kubelet_port = listener.local_addr().unwrap().port();
        assert_eq!(ask(HERE, kubelet_port).await, Answer::Answered);
        drop(listener);
        assert_eq!(ask(HERE, kubelet_port).await, Answer::Answered);
        assert_eq!(Target { address: HERE, kubelet_port }.probe().await, Answer::Answered);
    }

    #[test]
    fn what_is_wrong_on_this_side_says_nothing_about_the_other() {
        assert_eq!(Answer::of_failure(io::ErrorKind::HostUnreachable), Answer::Silence);
        assert_eq!(Answer::of_failure(io::ErrorKind::NetworkUnreachable), Answer::NotAsked);
        assert_eq!(Answer::of_failure(io::ErrorKind::AddrNotAvailable), Answer::NotAsked);
        assert_eq!(Answer::of_failure(io::ErrorKind::Other), Answer::NotAsked);
    }
}
