//! Ports of the node at `::1`. From there the kernel sends nothing to a pod, as it does from 127.0.0.1 where it is told to
//! (`route_localnet`): the kubelet itself takes connections of TCP, and hands on what is said.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::PortMapping;

/// After a connection that could not be taken: there may be too many.
const PAUSE: Duration = Duration::from_millis(100);

/// Those that are served, by the node's port.
#[derive(Debug, Default)]
pub(super) struct Loopback(Mutex<BTreeMap<u16, Led>>);

#[derive(Debug)]
struct Led {
    pod: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Loopback {
    /// Serves those of these ports that are there, and no others. What others of the host listen on is tried again with the next
    /// call. Needs a tokio runtime.
    pub(super) fn serve<'a>(&self, ports: impl Iterator<Item = &'a PortMapping>) {
        let wanted: BTreeMap<u16, SocketAddr> = ports.filter_map(at_loopback).collect();
        let mut led = self.0.lock();
        led.retain(|port, led| wanted.get(port) == Some(&led.pod));
        for (port, pod) in wanted {
            if led.contains_key(&port) {
                continue;
            }
            match listen(port) {
                Ok(listener) => {
                    let serving = AbortOnDropHandle::new(tokio::spawn(hand_on(listener, pod)));
                    led.insert(port, Led { pod, _serving: serving });
                }
                Err(error) => tracing::debug!(port, %error, "cannot serve a pod's port at ::1"),
            }
        }
    }
}

/// The node's port, and where it leads, if it is one at `::1`, too.
fn at_loopback(port: &PortMapping) -> Option<(u16, SocketAddr)> {
    let is_there = port.pod_ip.is_ipv6()
        && port.protocol == "tcp"
        && port.host_ip.is_none_or(|ip| ip.is_unspecified() || ip == Ipv6Addr::LOCALHOST);
    is_there.then(|| (port.host_port, SocketAddr::new(port.pod_ip, port.pod_port)))
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let at = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Connections end with it.
async fn hand_on(listener: TcpListener, pod: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => drop(connections.spawn(connect(client, pod))),
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A client of a pod that does not listen sees its connection end.
async fn connect(mut client: TcpStream, pod: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(pod).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_tcp_at_no_other_address_are_served() {
        let port = |protocol: &str, host_ip: Option<&str>, pod_ip: &str| PortMapping {
            protocol: protocol.to_owned(),
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            pod_ip: pod_ip.parse().unwrap(),
            pod_port: 80,
        };
        let led = |protocol, host_ip, pod_ip| at_loopback(&port(protocol, host_ip, pod_ip));
        let pod = Some((8080, "[fd00::2]:80".parse().unwrap()));
        for host_ip in [None, Some("::"), Some("::1")] {
            assert_eq!(led("tcp", host_ip, "fd00::2"), pod, "{host_ip:?}");
        }
        assert_eq!(led("tcp", Some("2001:db8::1"), "fd00::2"), None);
        assert_eq!(led("tcp", None, "10.244.1.2"), None);
        assert_eq!(led("udp", None, "fd00::2"), None);
    }
}
