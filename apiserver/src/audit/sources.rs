//! Whose address a request came from, and by way of whom, as it says (Kubernetes: `utilnet.SourceIPs`).

use std::net::IpAddr;

use http::HeaderMap;

use crate::peer::Peer;

pub(super) fn sources(headers: &HeaderMap, peer: Option<&Peer>) -> Vec<IpAddr> {
    let of = |name: &'static str| {
        let values = headers.get_all(name).iter().filter_map(|it| it.to_str().ok());
        let parts = values.flat_map(|value| value.split(','));
        parts.filter_map(|part| part.trim().parse::<IpAddr>().ok()).collect::<Vec<_>>()
    };
    let mut all = of("x-forwarded-for");
    let real: Vec<_> = of("x-real-ip").into_iter().filter(|it| !all.contains(it)).collect();
    all.extend(real);
    if let Some(Peer(peer)) = peer.filter(|peer| all.last() != Some(&peer.0)) {
        all.push(*peer);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_comes_last_and_nobody_twice_in_a_row() {
        let check = |headers: &[(&'static str, &'static str)], expected: &[&str]| {
            let headers = headers.iter().map(|(name, value)| {
                ((*name).parse::<http::HeaderName>().unwrap(), value.parse().unwrap())
            });
            let peer = Peer("10.0.0.1".parse().unwrap());
            let told = sources(&headers.collect(), Some(&peer));
            assert_eq!(told.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
        };
        check(&[], &["10.0.0.1"]);
        check(
            &[("x-forwarded-for", "10.9.8.7, nonsense, 10.9.8.6"), ("x-real-ip", "10.9.8.7")],
            &["10.9.8.7", "10.9.8.6", "10.0.0.1"],
        );
        check(&[("x-real-ip", "10.0.0.1")], &["10.0.0.1"]);
    }
}
