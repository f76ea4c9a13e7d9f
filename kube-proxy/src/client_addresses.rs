//! Has nginx speak to endpoints from the addresses of the pods that it serves, so that these see who asks. The answers are
//! for pods, and have to come to the nginx: to whatever connection this host has begun from a pod's address they are, they
//! are marked, and stay here by a rule for routes; one that would go from one port of a bridge to another is taken up by
//! the bridge.
//!
//! That is so for the pods of this host alone, at whose addresses all answers come by this host wherever endpoints are:
//! those of other hosts would get answers to what they have not asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use component::Check;
use ipnet::Ipv4Net;
use netlink::{Mac, Marked, Netlink};
use packet_filter::nftables::{Chain, Contents, Table};
use tracing::warn;

use crate::{
    backend::Leftover, bridged, family::Family, reconciler::ReconcileError, wake::Wake,
    world::World,
};

/// A bit of the marks of packets and connections that neither Kubernetes nor Docker uses.
const MARK: u32 = 0x0800_0000;
const KEPT: Marked = Marked { mark: MARK, number: 138 };
/// What the names of the tables of all clusters begin with, which have the rule and its route together on one host.
const TABLES: &str = "minik8s-clients-";
/// How often it is looked whether all is as it was made, and which bridges there are.
const LOOK: Duration = Duration::from_secs(5);

/// A bridge of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Whose frames it takes itself.
    pub mac: Mac,
    /// Of its pods.
    pub network: Ipv4Net,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Links, addresses, the rule or its route.
    #[error("routes for answers to pods")]
    Kernel(#[from] netlink::Error),
    /// The tables.
    #[error("rules of nftables (its tool is in the package nftables)")]
    Rules(#[from] packet_filter::Error),
    /// A flag of the kernel's.
    #[error("packets between pods of one node do not go by rules")]
    Bridged(#[from] bridged::Unset),
}

/// Keeps the rules, and says whose addresses may be kept.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) pods: Ipv4Net,
    pub(crate) kernel: Netlink,
    pub(crate) check: Check,
}

impl Keeper {
    /// Passes until dropped.
    pub(crate) async fn run(&self, world: &World, wake: &Wake) {
        let upkeep = Wake::default();
        loop {
            match ensure(self.pods, &self.kernel).await {
                Ok(networks) => {
                    self.check.ready();
                    if world.keep_clients_of(networks) {
                        wake.changed();
                    }
                }
                Err(fault) => {
                    let why = format!("{:#}", anyhow::Error::from(fault));
                    warn!("addresses of clients cannot be kept: {why}");
                    self.check.failed(why);
                }
            }
            upkeep.wait(LOOK).await;
        }
    }
}

/// Makes all that is needed; the networks of which that is true.
///
/// # Errors
///
/// The kernel or the tool refuses.
pub async fn ensure(pods: Ipv4Net, kernel: &Netlink) -> Result<BTreeSet<Ipv4Net>, Fault> {
    bridged::packets_meet_the_rules(Family::Ipv4).await?;
    let bridges = bridges(pods, kernel).await?;
    kernel.keep_marked(KEPT).await?;
    for (table, contents) in tables(pods, &bridges) {
        table.ensure(&contents).await?;
    }
    Ok(bridges.into_iter().map(|bridge| bridge.network).collect())
}

/// The networks of this host's pods.
pub(crate) async fn networks(
    pods: Ipv4Net,
    kernel: &Netlink,
) -> Result<BTreeSet<Ipv4Net>, netlink::Error> {
    let bridges = bridges(pods, kernel).await?;
    Ok(bridges.into_iter().map(|bridge| bridge.network).collect())
}

/// Removes all that; what is not there is fine, and what another cluster has on this host stays.
///
/// # Errors
///
/// The kernel or the tool refuses.
pub async fn remove(pods: Ipv4Net, kernel: &Netlink) -> Result<(), Fault> {
    // It is made first, and goes last.
    if !kernel.keeps_marked(KEPT).await? {
        return Ok(());
    }
    for (table, _) in tables(pods, &[]) {
        table.remove().await?;
    }
    if is_kept_by_another(pods).await? { Ok(()) } else { Ok(kernel.let_marked_go(KEPT).await?) }
}

async fn is_kept_by_another(pods: Ipv4Net) -> Result<bool, Fault> {
    let [(table, _), _] = tables(pods, &[]);
    Ok(table.has_another(TABLES).await?)
}

/// All that, where addresses are not to be kept any more. Connections from them need it as long as nginx does keep them.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) pods: Ipv4Net,
    pub(crate) kernel: Netlink,
}

#[async_trait]
impl Leftover for Left {
    async fn remove(&self) -> Result<(), ReconcileError> {
        let removed = remove(self.pods, &self.kernel).await;
        removed.map_err(|fault| ReconcileError::Leftover(fault.into()))
    }
}

/// What of it is not as it should be, in words.
pub(crate) async fn differences(
    pods: Ipv4Net,
    kernel: &Netlink,
    is_wanted: bool,
) -> Result<Vec<String>, Fault> {
    let mut found = match (kernel.keeps_marked(KEPT).await?, is_wanted) {
        (false, false) => return Ok(Vec::new()),
        (false, true) => vec!["the rule for answers to pods is missing".to_owned()],
        (true, false) if is_kept_by_another(pods).await? => Vec::new(),
        (true, false) => vec!["the rule for answers to pods is left over".to_owned()],
        (true, true) => Vec::new(),
    };
    for (table, contents) in tables(pods, &bridges(pods, kernel).await?) {
        found.extend(table.differences(is_wanted.then_some(&contents)).await?);
    }
    Ok(found)
}

async fn bridges(pods: Ipv4Net, kernel: &Netlink) -> Result<Vec<Bridge>, netlink::Error> {
    let (links, addresses) = (kernel.links().await?, kernel.addresses().await?);
    let links: BTreeMap<u32, _> = links.iter().map(|link| (link.index, link)).collect();
    let bridge = |address: &netlink::Address| {
        let link = links.get(&address.link).filter(|link| link.vxlan.is_none())?;
        let IpAddr::V4(ip) = address.address else { return None };
        let network = Ipv4Net::new(ip, address.prefix_len).ok()?.trunc();
        let bridge = Bridge { mac: link.mac?, network };
        is_of_one_host(pods, network).then_some(bridge)
    };
    let mut found: Vec<_> = addresses.iter().filter_map(bridge).collect();
    found.sort_by_key(|bridge| bridge.network);
    Ok(found)
}

/// Whether its pods are those of this host. That of a bridge which spans hosts, as Weave Net's does, is all of the cluster.
fn is_of_one_host(pods: Ipv4Net, network: Ipv4Net) -> bool {
    pods.contains(&network) && network != pods.trunc() && network.prefix_len() < netlink::HOST
}

/// The tables of this cluster, and what is in them.
pub fn tables(pods: Ipv4Net, bridges: &[Bridge]) -> [(Table, Contents); 2] {
    let (network, length) = (pods.network().to_bits(), pods.prefix_len());
    let name = format!("{TABLES}{network:08x}-{length}");
    let table = |family| Table { family, name: name.clone() };
    // What a host sends from an address that is not its own is its nginxes'.
    let begin = format!(
        "ip saddr {pods} fib saddr type != local ct direction original ct mark set ct mark or {MARK:#x}"
    );
    let answer = format!(
        "ct direction reply ct mark and {MARK:#x} == {MARK:#x} meta mark set meta mark or {MARK:#x}"
    );
    let routed = Contents {
        chains: [
            // Servers of this host answer here.
            chain("output", "type route hook output priority mangle", vec![begin, answer.clone()]),
            chain("prerouting", "type filter hook prerouting priority mangle", vec![answer]),
        ]
        .into(),
        ..Contents::default()
    };
    let take_up = |Bridge { mac, network }: &Bridge| {
        format!(
            "ip daddr {network} meta mark and {MARK:#x} == {MARK:#x} ether daddr set {mac} meta pkttype set host"
        )
    };
    // After those of the family `ip`, to which br_netfilter leads.
    let hook = "type filter hook prerouting priority 10";
    let bridged = Contents {
        chains: [chain("prerouting", hook, bridges.iter().map(take_up).collect())].into(),
        ..Contents::default()
    };
    [(table("ip"), routed), (table("bridge"), bridged)]
}

fn chain(name: &str, hook: &str, rules: Vec<String>) -> (String, Chain) {
    (name.to_owned(), Chain { hook: Some(format!("{hook}; policy accept")), rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_that_spans_all_hosts_says_nothing_of_whose_pods_are_here() {
        let is_of_one_host = |network: &str| {
            super::is_of_one_host("10.244.0.0/16".parse().unwrap(), network.parse().unwrap())
        };
        assert!(is_of_one_host("10.244.3.0/24"));
        for other in ["10.244.0.0/16", "10.0.0.0/8", "10.244.3.1/32", "172.17.0.0/16"] {
            assert!(!is_of_one_host(other), "{other}");
        }
    }

    #[test]
    fn the_bridge_takes_up_answers_to_pods_of_each_network_and_marks_are_the_same_everywhere() {
        let bridge = |last, network: &str| Bridge {
            mac: Mac([2, 0, 0, 0, 0, last]),
            network: network.parse().unwrap(),
        };
        let bridges = [bridge(1, "10.244.0.0/24"), bridge(2, "10.244.1.0/24")];
        let [(_, routed), (table, bridged)] = tables("10.244.0.0/16".parse().unwrap(), &bridges);
        assert_eq!((table.family, table.name.as_str()), ("bridge", "minik8s-clients-0af40000-16"));
        let rules = &bridged.chains["prerouting"].rules;
        assert!(rules[0].starts_with("ip daddr 10.244.0.0/24 "), "{rules:?}");
        assert!(rules[1].contains("ether daddr set 02:00:00:00:00:02 "), "{rules:?}");
        let mut all = routed.chains.values().flat_map(|chain| &chain.rules).chain(rules);
        assert!(all.all(|rule| rule.contains("mark") && rule.contains("0x8000000")));
    }
}
