//! Free ports of the node, chosen for pods that asked for no particular one. Each is held by a socket that
//! nobody speaks to, so that neither another pod nor a process of the host gets it as long as it is the pod's.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
};

use tokio::net::TcpSocket;

use super::PortMapping;

/// The ports that were chosen.
#[derive(Debug, Default)]
pub(super) struct Choices {
    by_pod: BTreeMap<String, Vec<Choice>>,
}

#[derive(Debug)]
struct Choice {
    port: PortMapping,
    /// None if a process of the host has taken the port while no kubelet held it; it is the pod's all the same.
    _held: Option<OwnedFd>,
}

impl Choices {
    /// The ports that a pod wants, with a number for each that comes with 0: the one that was chosen before, that
    /// of `known`, which a kubelet before this one has chosen, or else a free one. None of `taken` is chosen. It stays 0
    /// where the address is not this host's.
    pub(super) fn settle(
        &mut self,
        pod: &str,
        mut wanted: Vec<PortMapping>,
        known: &[PortMapping],
        taken: &[u16],
    ) -> io::Result<Vec<PortMapping>> {
        let explicit: Vec<u16> = wanted.iter().map(|port| port.host_port).collect();
        for port in wanted.iter_mut().filter(|port| port.host_port == 0) {
            let own = self.by_pod.entry(pod.to_owned()).or_default();
            let chosen = own.iter().find(|choice| is_same(&choice.port, port));
            port.host_port = if let Some(choice) = chosen {
                choice.port.host_port
            } else {
                let adopted = known
                    .iter()
                    .find(|other| is_same(other, port) && !explicit.contains(&other.host_port));
                let choice = match adopted {
                    Some(known) => Choice {
                        port: known.clone(),
                        _held: hold(known).ok().map(|(hold, _)| hold),
                    },
                    None => match choose(port, taken) {
                        // The pod's other ports are led on all the same.
                        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                            let address = port.host_ip;
                            tracing::warn!(
                                pod,
                                ?address,
                                "no port of an address that is not this host's"
                            );
                            continue;
                        }
                        chosen => chosen?,
                    },
                };
                let number = choice.port.host_port;
                own.push(choice);
                number
            };
        }
        Ok(wanted)
    }

    /// They are free again.
    pub(super) fn release(&mut self, pod: &str) {
        self.by_pod.remove(pod);
    }
}

/// Whether both lead to the same port of the pod from the same address; the pod's own may have changed, and that of no
/// particular one can be said in two ways.
fn is_same(one: &PortMapping, other: &PortMapping) -> bool {
    let address = |port: &PortMapping| port.host_ip.filter(|ip| !ip.is_unspecified());
    let key = |port: &PortMapping| (port.protocol.clone(), address(port), port.pod_port);
    key(one) == key(other)
}

/// The sockets of those that are taken are held meanwhile, so that the kernel names no port twice.
fn choose(port: &PortMapping, taken: &[u16]) -> io::Result<Choice> {
    let mut passed_by = Vec::new();
    loop {
        let (held, number) = hold(port)?;
        if !taken.contains(&number) {
            let port = PortMapping { host_port: number, ..port.clone() };
            return Ok(Choice { port, _held: Some(held) });
        }
        passed_by.push(held);
    }
}

/// What keeps others from a port, and its number, which is the kernel's choice if it is 0. A socket of TCP does not
/// listen: whoever connects before the rules are there is refused.
fn hold(port: &PortMapping) -> io::Result<(OwnedFd, u16)> {
    let address = port.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let address = SocketAddr::new(address, port.host_port);
    if port.protocol == "udp" {
        let socket = UdpSocket::bind(address)?;
        let number = socket.local_addr()?.port();
        return Ok((socket.into(), number));
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(address)?;
    Ok((socket.as_fd().try_clone_to_owned()?, socket.local_addr()?.port()))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn port(protocol: &str, host_port: u16) -> PortMapping {
        PortMapping {
            protocol: protocol.to_owned(),
            host_ip: Some(Ipv4Addr::LOCALHOST.into()),
            host_port,
            pod_ip: [10, 244, 1, 2].into(),
            pod_port: 80,
        }
    }

    fn settle(choices: &mut Choices, pod: &str, known: &[PortMapping]) -> Vec<u16> {
        let wanted = vec![port("tcp", 0), port("udp", 0), port("tcp", 8080)];
        let settled = choices.settle(pod, wanted, known, &[]).unwrap();
        settled.iter().map(|port| port.host_port).collect()
    }

    #[tokio::test]
    async fn a_chosen_port_stays_the_pod_s_and_nobody_else_gets_it_before_it_is_released() {
        let mut choices = Choices::default();
        let first = settle(&mut choices, "a", &[]);
        assert!(first[0] > 0 && first[1] > 0, "{first:?}");
        assert_eq!(settle(&mut choices, "a", &[]), first);
        assert_ne!(settle(&mut choices, "b", &[])[0], first[0]);
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, first[0])).unwrap_err();
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, first[1])).unwrap_err();
        choices.release("a");
        TcpListener::bind((Ipv4Addr::LOCALHOST, first[0])).unwrap();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, first[1])).unwrap();
    }

    #[tokio::test]
    async fn what_an_earlier_kubelet_has_chosen_is_kept_and_held() {
        let free = settle(&mut Choices::default(), "a", &[]);
        let known = [port("tcp", 8080), port("tcp", free[0]), port("udp", free[1])];
        let mut choices = Choices::default();
        assert_eq!(settle(&mut choices, "a", &known), free);
        TcpListener::bind((Ipv4Addr::LOCALHOST, free[0])).unwrap_err();
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_in_the_way_of_no_other_port() {
        for elsewhere in ["192.0.2.1", "2001:db8::1"] {
            let host_ip = Some(elsewhere.parse().unwrap());
            let wanted = vec![PortMapping { host_ip, ..port("tcp", 0) }, port("tcp", 0)];
            let settled = Choices::default().settle("a", wanted, &[], &[]).unwrap();
            assert!(settled[0].host_port == 0 && settled[1].host_port > 0, "{settled:?}");
        }
    }

    #[test]
    fn all_addresses_are_the_same_however_they_are_said() {
        let at = |host_ip: Option<&str>| PortMapping {
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            ..port("tcp", 0)
        };
        assert!(is_same(&at(None), &at(Some("0.0.0.0"))));
        assert!(is_same(&at(None), &at(Some("::"))));
        assert!(!is_same(&at(None), &at(Some("127.0.0.1"))));
    }

    #[tokio::test]
    async fn ports_that_others_asked_for_are_not_chosen() {
        // The kernel prefers odd ones.
        let taken: Vec<u16> = (1..=u16::MAX).filter(|number| number % 64 != 1).collect();
        let mut choices = Choices::default();
        let settled = choices.settle("a", vec![port("tcp", 0)], &[], &taken).unwrap();
        assert_eq!(settled[0].host_port % 64, 1);
    }
}
