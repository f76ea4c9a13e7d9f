//! Flows of datagrams that can't go on as they do: a function from what the table led where to what it leads where.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
};

use packet_filter::connections::Flows;

use super::rules::{SERVICES, UDP_ENDPOINTS};

/// Elements, by set and key.
type Elements = BTreeMap<(String, String), String>;

/// Those led to endpoints that are none any more, and those to what was nobody's and now is a Service's: they began as
/// flows to this host.
pub(super) fn stale(before: &Elements, after: &Elements) -> BTreeSet<Flows> {
    let (led, still) = (endpoints(before), endpoints(after));
    let gone =
        led.difference(&still).map(|(to, endpoint)| Flows::Led { to: *to, endpoint: *endpoint });
    let (served, serve) = (services(before), services(after));
    let new = serve.difference(&served).copied().map(Flows::To);
    gone.chain(new).collect()
}

fn endpoints(elements: &Elements) -> BTreeSet<(SocketAddr, SocketAddr)> {
    let found = elements.iter().filter(|((set, _), _)| set == UDP_ENDPOINTS);
    found.filter_map(|((_, key), value)| Some((socket(key)?, socket(value)?))).collect()
}

fn services(elements: &Elements) -> BTreeSet<SocketAddr> {
    let found = elements.keys().filter(|(set, _)| set == SERVICES);
    found.filter_map(|(_, key)| datagrams_to(key)).collect()
}

/// `10.96.0.10 . udp . 53`.
fn datagrams_to(key: &str) -> Option<SocketAddr> {
    let mut parts = key.split(" . ");
    let (address, protocol, port) = (parts.next()?, parts.next()?, parts.next()?);
    let is_of_datagrams = protocol == "udp";
    is_of_datagrams.then_some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

/// `10.244.0.2 . 5353`, with whatever comes behind.
fn socket(text: &str) -> Option<SocketAddr> {
    let mut parts = text.split(" . ");
    let (address, port) = (parts.next()?, parts.next()?);
    Some(SocketAddr::new(address.parse().ok()?, port.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn elements(all: &[(&str, &str, &str)]) -> Elements {
        let element = |(set, key, value): &(&str, &str, &str)| {
            (((*set).to_owned(), (*key).to_owned()), (*value).to_owned())
        };
        all.iter().map(element).collect()
    }

    #[test]
    fn flows_to_endpoints_that_are_gone_are_stale_wherever_they_stood() {
        let before = elements(&[
            ("services", "10.96.0.10 . udp . 53", "goto pick-2"),
            ("endpoints-udp", "10.96.0.10 . 53 . 0", "10.244.0.2 . 5353"),
            ("endpoints-udp", "10.96.0.10 . 53 . 1", "10.244.0.3 . 5353"),
            ("endpoints-tcp", "10.96.0.10 . 53 . 0", "10.244.0.2 . 5353"),
        ]);
        let after = elements(&[
            ("services", "10.96.0.10 . udp . 53", "goto pick-1"),
            ("endpoints-udp", "10.96.0.10 . 53 . 0", "10.244.0.3 . 5353"),
        ]);
        let to = "10.96.0.10:53".parse().unwrap();
        let endpoint = "10.244.0.2:5353".parse().unwrap();
        assert_eq!(stale(&before, &after), [Flows::Led { to, endpoint }].into());
        assert_eq!(stale(&after, &after), [].into());
        let endpoint = "10.244.0.3:5353".parse().unwrap();
        assert_eq!(stale(&after, &elements(&[])), [Flows::Led { to, endpoint }].into());
    }

    #[test]
    fn flows_that_began_before_there_was_a_service_are_stale() {
        let after = elements(&[
            ("services", "192.0.2.1 . udp . 30053", "goto pick-1"),
            ("services", "192.0.2.1 . tcp . 30053", "goto pick-1"),
        ]);
        let to = Flows::To("192.0.2.1:30053".parse().unwrap());
        assert_eq!(stale(&elements(&[]), &after), [to].into());
    }
}
