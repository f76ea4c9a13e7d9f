//! Flows of datagrams to host ports. The kernel leads each as it led its first datagram, whatever the rules say by now: to a
//! pod that is gone, or to nobody, as long as the client goes on. So those that rules lead otherwise begin anew, as with CNI's
//! `portmap`.

use std::{collections::BTreeSet, net::SocketAddr};

use packet_filter::connections::{self, Flows};

use super::PortMapping;
use crate::describe::describe;

/// By protocol: where is sent, and which pod gets it.
type Led = BTreeSet<(String, SocketAddr, SocketAddr)>;

/// By which rules the flows that the kernel remembers may have begun.
#[derive(Debug, Default)]
pub(super) struct Begun {
    led: Led,
    /// Whether it has been told that they can't be forgotten.
    told: bool,
}

impl Begun {
    /// Also by these, of a kubelet before this one.
    pub(super) fn adopt(&mut self, saved: &[PortMapping]) {
        self.led.extend(led(saved.iter()));
    }

    /// To be called once the kernel has the rules for these ports. If somebody had taken rules away (`changed`, and the ports
    /// are the same), flows may have begun without any of them. That flows go on is no reason not to start a pod.
    pub(super) async fn renew(&mut self, ports: impl Iterator<Item = &PortMapping>, changed: bool) {
        let now = led(ports);
        let outcome = forget(stale(&self.led, &now, changed)).await;
        self.tell(outcome);
        // Last: whoever is stopped on the way does all again.
        self.led = now;
    }

    fn tell(&mut self, outcome: Result<(), packet_filter::Error>) {
        let failed = outcome.is_err();
        if let Err(error) = outcome
            && !self.told
        {
            let error = describe(&error);
            tracing::warn!(
                error,
                "who sends datagrams to a host port may go on to a pod that is gone"
            );
        }
        self.told = failed;
    }
}

/// Where it fails once it would again: pods wait for this.
async fn forget(all: BTreeSet<Flows>) -> Result<(), packet_filter::Error> {
    for flows in all {
        connections::forget(flows).await?;
    }
    Ok(())
}

fn led<'a>(ports: impl Iterator<Item = &'a PortMapping>) -> Led {
    ports.map(|port| (port.protocol.clone(), port.host(), port.pod())).collect()
}

/// Those led to what they lead to no more, and all to what leads elsewhere now, or somewhere at all.
fn stale(before: &Led, now: &Led, changed: bool) -> BTreeSet<Flows> {
    let before = if changed && before == now { &Led::new() } else { before };
    let of_datagrams = |(protocol, ..): &&(String, SocketAddr, SocketAddr)| protocol == "udp";
    let gone = before.difference(now).filter(of_datagrams);
    let gone = gone.map(|(_, to, endpoint)| Flows::Led { to: *to, endpoint: *endpoint });
    let new = now.difference(before).filter(of_datagrams).map(|(_, to, _)| Flows::To(*to));
    gone.chain(new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(host_ip: Option<&str>, pod_ip: &str) -> PortMapping {
        PortMapping {
            protocol: "udp".to_owned(),
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port: 5353,
            pod_ip: pod_ip.parse().unwrap(),
            pod_port: 53,
        }
    }

    #[track_caller]
    fn check(before: &[PortMapping], now: &[PortMapping], expected: &[Flows]) {
        let found = stale(&super::led(before.iter()), &super::led(now.iter()), true);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    fn to(socket: &str) -> Flows {
        Flows::To(socket.parse().unwrap())
    }

    fn led(to: &str, endpoint: &str) -> Flows {
        Flows::Led { to: to.parse().unwrap(), endpoint: endpoint.parse().unwrap() }
    }

    #[test]
    fn flows_to_a_port_that_comes_begin_anew() {
        let everywhere = port(None, "10.244.1.2");
        check(&[], std::slice::from_ref(&everywhere), &[to("0.0.0.0:5353")]);
        check(&[], &[port(None, "fd00::2")], &[to("[::]:5353")]);
        check(&[], &[port(Some("192.0.2.1"), "10.244.1.2")], &[to("192.0.2.1:5353")]);
        check(&[], &[PortMapping { protocol: "tcp".to_owned(), ..everywhere }], &[]);
    }

    #[test]
    fn of_a_port_that_goes_those_to_its_pod_do() {
        let (one, other) = (port(None, "10.244.1.2"), port(Some("192.0.2.1"), "10.244.1.3"));
        let to_one = led("0.0.0.0:5353", "10.244.1.2:53");
        check(&[one.clone(), other.clone()], std::slice::from_ref(&other), &[to_one]);
        check(&[other], &[], &[led("192.0.2.1:5353", "10.244.1.3:53")]);
    }

    #[test]
    fn of_a_port_that_leads_elsewhere_all_do_and_of_one_that_stays_none() {
        let (one, other) = (port(None, "10.244.1.2"), port(None, "10.244.1.3"));
        let expected = [led("0.0.0.0:5353", "10.244.1.2:53"), to("0.0.0.0:5353")];
        check(std::slice::from_ref(&one), &[other], &expected);
        check(&[port(Some("0.0.0.0"), "10.244.1.2")], &[one], &[to("0.0.0.0:5353")]);
    }

    #[test]
    fn those_to_all_ports_do_where_rules_were_gone_and_none_where_another_port_has_come() {
        let (one, other) = (port(None, "10.244.1.2"), port(Some("192.0.2.1"), "10.244.1.3"));
        let other = PortMapping { protocol: "tcp".to_owned(), ..other };
        let both = [one.clone(), other];
        check(&both, &both, &[to("0.0.0.0:5353")]);
        check(&both[..1], &both, &[]);
        check(&both, &both[..1], &[]);
        assert!(stale(&super::led(both.iter()), &super::led(both.iter()), false).is_empty());
    }
}
