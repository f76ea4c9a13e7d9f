//! What a cluster of two stacks has left on its host when it is one of IPv4 alone again.

use std::collections::BTreeSet;

use ipnet::IpNet;
use packet_filter::Family;

use super::{
    Held, NetworkError,
    links::{Links, without_ipv6_inside},
    namespace_of,
    rules::{self, Chains},
};
use crate::describe::describe;

/// Takes back the rules of IPv6, and the routes of the networks that they name. Where there is no `ip6tables` there are none.
pub(super) async fn take_back(chains: &Chains, links: &Links) {
    if let Err(error) = try_take_back(chains, links).await {
        tracing::debug!(error = describe(&error), "cannot take back rules of IPv6");
    }
}

async fn try_take_back(chains: &Chains, links: &Links) -> Result<(), NetworkError> {
    let mut networks = BTreeSet::new();
    for (table, names) in rules::names(chains) {
        for name in names {
            let rules = packet_filter::rules(Family::Ipv6, table, name).await?;
            networks.extend(rules.iter().filter_map(|rule| network(rule)));
        }
    }
    // First: who is stopped meanwhile finds the rules again.
    for network in networks {
        links.remove_blackhole(network).await?;
    }
    for (table, names) in rules::names(chains) {
        packet_filter::remove(Family::Ipv6, table, &names).await?;
    }
    Ok(())
}

/// That to which a rule lets packets pass.
fn network(rule: &str) -> Option<IpNet> {
    let network: IpNet = rule.strip_prefix("-d ")?.split(' ').next()?.parse().ok()?;
    Some(network).filter(|network| !network.addr().is_multicast() && !network.addr().is_loopback())
}

/// Pods that were made with an address that pods have no longer: no policy knows it.
pub(super) async fn silence(pods: &[&Held]) {
    for pod in pods {
        let Some(pid) = pod.running() else { continue };
        let done = match namespace_of(pid) {
            Ok(namespace) => without_ipv6_inside(namespace).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            let (pod, error) = (&pod.pod, describe(&error));
            tracing::warn!(pod, error, "cannot take a pod's address of IPv6 away");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_networks_are_those_that_rules_name() {
        let check = |rule: &str, expected: Option<&str>| {
            assert_eq!(network(rule), expected.map(|network| network.parse().unwrap()), "{rule}");
        };
        check("-d fd00:10:244::/56 -j RETURN", Some("fd00:10:244::/56"));
        check("-s fd00:10:244::/56 -j MASQUERADE", None);
        check("-d ff00::/8 -j RETURN", None);
        check("-d ::1/128 -j RETURN", None);
        check("-m mark --mark 0x4000/0x4000 -j ACCEPT", None);
    }
}
