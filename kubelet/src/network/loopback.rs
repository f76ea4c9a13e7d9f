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
    pod: Vec<SocketAddr>,
    _serving: AbortOnDropHandle<()>,
}

impl Loopback {
    /// Serves those of these ports that are there, and no others. What others of the host listen on is tried again with the next
    /// call. Needs a tokio runtime.
    pub(super) fn serve<'a>(&self, ports: impl Iterator<Item = &'a PortMapping> + Clone) {
        let wanted = wanted(ports);
        let mut led = self.0.lock();
        led.retain(|port, led| wanted.get(port) == Some(&led.pod));
        for (port, pod) in wanted {
            if led.contains_key(&port) {
                continue;
            }
            match listen(port) {
                Ok(listener) => {
                    let serving = tokio::spawn(hand_on(listener, pod.clone()));
                    let serving = AbortOnDropHandle::new(serving);
                    led.insert(port, Led { pod, _serving: serving });
                }
                Err(error) => tracing::debug!(port, %error, "cannot serve a pod's port at ::1"),
            }
        }
    }
}

/// The node's ports at `::1`, and where each leads. Who is refused there tries 127.0.0.1, but nobody is refused: one at all
/// addresses of the node leads to the pod's address of IPv4 where nothing listens at the other.
fn wanted<'a>(
    ports: impl Iterator<Item = &'a PortMapping> + Clone,
) -> BTreeMap<u16, Vec<SocketAddr>> {
    let tcp = ports.filter(|port| port.protocol == "tcp");
    let of_ipv4 = tcp.clone().filter(|port| port.pod_ip.is_ipv4() && port.host_ip.is_none());
    let of_ipv4: BTreeMap<u16, SocketAddr> =
        of_ipv4.map(|port| (port.host_port, port.pod())).collect();
    let led = |port: &PortMapping| {
        let second = of_ipv4.get(&port.host_port).filter(|_| port.host_ip.is_none());
        let pod: Vec<_> = [port.pod()].into_iter().chain(second.copied()).collect();
        (port.host_port, pod)
    };
    tcp.filter(|port| is_at_loopback(port)).map(led).collect()
}

fn is_at_loopback(port: &PortMapping) -> bool {
    port.pod_ip.is_ipv6()
        && port.host_ip.is_none_or(|ip| ip.is_unspecified() || ip == Ipv6Addr::LOCALHOST)
}

fn listen(port: u16) -> io::Result<TcpListener> {
    let at = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port);
    let listener = std::net::TcpListener::bind(at)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// Connections end with it.
async fn hand_on(listener: TcpListener, pod: Vec<SocketAddr>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => drop(connections.spawn(connect(client, pod.clone()))),
                Err(_) => sleep(PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// A client of a pod that does not listen sees its connection end.
async fn connect(mut client: TcpStream, pod: Vec<SocketAddr>) {
    if let Ok(mut server) = TcpStream::connect(&pod[..]).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(protocol: &str, host_ip: Option<&str>, pod_ip: &str) -> PortMapping {
        PortMapping {
            protocol: protocol.to_owned(),
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 8080,
            pod_ip: pod_ip.parse().unwrap(),
            pod_port: 80,
        }
    }

    fn check(ports: &[PortMapping], expected: &[&str]) {
        let led: Vec<_> = wanted(ports.iter()).into_values().flatten().collect();
        let led: Vec<_> = led.iter().map(ToString::to_string).collect();
        assert_eq!(led, expected, "{ports:?}");
    }

    #[test]
    fn ports_of_tcp_at_no_other_address_are_served() {
        for host_ip in [None, Some("::"), Some("::1")] {
            check(&[port("tcp", host_ip, "fd00::2")], &["[fd00::2]:80"]);
        }
        check(&[port("tcp", Some("2001:db8::1"), "fd00::2")], &[]);
        check(&[port("tcp", None, "10.244.1.2")], &[]);
        check(&[port("udp", None, "fd00::2")], &[]);
    }

    #[test]
    fn a_port_at_all_addresses_leads_to_either_address_of_the_pod() {
        let both = |host_ip| ["10.244.1.2", "fd00::2"].map(|pod| port("tcp", host_ip, pod));
        check(&both(None), &["[fd00::2]:80", "10.244.1.2:80"]);
        let others = port("tcp", Some("127.0.0.1"), "10.244.1.3");
        check(&[others.clone(), port("tcp", Some("::1"), "fd00::2")], &["[fd00::2]:80"]);
        check(&[others, port("tcp", None, "fd00::2")], &["[fd00::2]:80"]);
        check(&[port("udp", None, "10.244.1.2"), both(None)[1].clone()], &["[fd00::2]:80"]);
    }
}
