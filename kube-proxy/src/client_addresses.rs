//! Has nginx speak to endpoints from the addresses of the pods that it serves, so that these see who asks. The answers are
//! for pods, and have to come to the nginx: to whatever connection this host has begun from a pod's address they are, they
//! are marked, and stay here by a rule for routes; one that would go from one port of a bridge to another is taken up by
//! the bridge.
//!
//! That is so for the pods of this host alone, at whose addresses all answers come by this host wherever endpoints are:
//! those of other hosts would get answers to what they have not asked.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use component::{Check, dual_stack::DualStack};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Mac, Marked, Netlink};
use packet_filter::nftables::{Chain, Contents, Table};
use tracing::warn;

use crate::{
    backend::Leftover, bridged, family::Family, reconciler::ReconcileError, wake::Wake,
    world::World,
};

/// A bit of the marks of packets and connections that neither Kubernetes nor Docker uses.
const MARK: u32 = 0x0800_0000;
/// Of the table of routes and of the rule that leads there.
const NUMBER: u8 = 138;
/// What the names of the tables of all clusters begin with, which have the rule and its route together on one host.
const TABLES: &str = "minik8s-clients-";
/// The family of the tables for bridges.
const BRIDGES: &str = "bridge";
/// How often it is looked whether all is as it was made, and which bridges there are.
const LOOK: Duration = Duration::from_secs(5);

/// A bridge of pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Whose frames it takes itself.
    pub mac: Mac,
    /// Of its pods, of one family.
    pub network: IpNet,
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
    pub(crate) pods: DualStack,
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

/// Makes all that is needed, and removes what was needed for a family that pods have no more; the networks of which that is
/// true.
///
/// # Errors
///
/// The kernel or the tool refuses.
pub async fn ensure(pods: DualStack, kernel: &Netlink) -> Result<BTreeSet<IpNet>, Fault> {
    for family in Family::BOTH {
        if !has_family(&pods, family) {
            let_go(&pods, family, kernel).await?;
            continue;
        }
        bridged::packets_meet_the_rules(family).await?;
        kernel.keep_marked(kept(family)).await?;
    }
    let bridges = bridges(&pods, kernel).await?;
    for (table, contents) in tables(&pods, &bridges) {
        table.ensure(&contents).await?;
    }
    Ok(bridges.into_iter().map(|bridge| bridge.network).collect())
}

/// The networks of this host's pods.
pub(crate) async fn networks(
    pods: DualStack,
    kernel: &Netlink,
) -> Result<BTreeSet<IpNet>, netlink::Error> {
    let bridges = bridges(&pods, kernel).await?;
    Ok(bridges.into_iter().map(|bridge| bridge.network).collect())
}

/// Removes all that; what is not there is fine, and what another cluster has on this host stays.
///
/// # Errors
///
/// The kernel or the tool refuses.
pub async fn remove(pods: DualStack, kernel: &Netlink) -> Result<(), Fault> {
    // They are made first, and go last.
    if !keeps_any(kernel).await? {
        return Ok(());
    }
    table(&pods, BRIDGES).remove().await?;
    for family in Family::BOTH {
        let_go(&pods, family, kernel).await?;
    }
    Ok(())
}

async fn keeps_any(kernel: &Netlink) -> Result<bool, netlink::Error> {
    let [v4, v6] = Family::BOTH.map(kept);
    Ok(kernel.keeps_marked(v4).await? || kernel.keeps_marked(v6).await?)
}

/// Of one family.
async fn let_go(pods: &DualStack, family: Family, kernel: &Netlink) -> Result<(), Fault> {
    if !kernel.keeps_marked(kept(family)).await? {
        return Ok(());
    }
    let table = table(pods, family.word());
    if !table.differences(None).await?.is_empty() {
        table.remove().await?;
    }
    match table.has_another(TABLES).await? {
        true => Ok(()),
        false => Ok(kernel.let_marked_go(kept(family)).await?),
    }
}

/// The packets that are to stay here.
fn kept(family: Family) -> Marked {
    let to = match family {
        Family::Ipv4 => IpNet::V4(Ipv4Net::default()),
        Family::Ipv6 => IpNet::V6(Ipv6Net::default()),
    };
    Marked { mark: MARK, number: NUMBER, to }
}

fn has_family(pods: &DualStack, family: Family) -> bool {
    pods.iter().any(|range| family.has_network(&range))
}

/// All that, where addresses are not to be kept any more. Connections from them need it as long as nginx does keep them.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) pods: DualStack,
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
    pods: DualStack,
    kernel: &Netlink,
    is_wanted: bool,
) -> Result<Vec<String>, Fault> {
    let mut found = Vec::new();
    if !is_wanted && !keeps_any(kernel).await? {
        return Ok(found);
    }
    for family in Family::BOTH {
        let is_wanted = is_wanted && has_family(&pods, family);
        found.extend(difference(&pods, family, kernel, is_wanted).await?);
    }
    for (table, contents) in tables(&pods, &bridges(&pods, kernel).await?) {
        found.extend(table.differences(is_wanted.then_some(&contents)).await?);
    }
    Ok(found)
}

/// Of the rule of a family, and of the table of one that pods don't have.
async fn difference(
    pods: &DualStack,
    family: Family,
    kernel: &Netlink,
    is_wanted: bool,
) -> Result<Vec<String>, Fault> {
    let (word, table) = (family.word(), table(pods, family.word()));
    let rule = match (kernel.keeps_marked(kept(family)).await?, is_wanted) {
        (false, true) => Some(format!("the {word} rule for answers to pods is missing")),
        (true, false) if !table.has_another(TABLES).await? => {
            Some(format!("the {word} rule for answers to pods is left over"))
        }
        _ => None,
    };
    let left = match has_family(pods, family) {
        true => Vec::new(),
        false => table.differences(None).await?,
    };
    Ok(rule.into_iter().chain(left).collect())
}

async fn bridges(pods: &DualStack, kernel: &Netlink) -> Result<Vec<Bridge>, netlink::Error> {
    let (links, addresses) = (kernel.links().await?, kernel.addresses().await?);
    let links: BTreeMap<u32, _> = links.iter().map(|link| (link.index, link)).collect();
    let bridge = |address: &netlink::Address| {
        let link = links.get(&address.link).filter(|link| link.vxlan.is_none())?;
        let network = IpNet::new(address.address, address.prefix_len).ok()?.trunc();
        let bridge = Bridge { mac: link.mac?, network };
        is_of_one_host(pods, &network).then_some(bridge)
    };
    let mut found: Vec<_> = addresses.iter().filter_map(bridge).collect();
    found.sort_by_key(|bridge| bridge.network);
    Ok(found)
}

/// Whether its pods are those of this host. That of a bridge which spans hosts, as Weave Net's does, is all of the cluster.
fn is_of_one_host(pods: &DualStack, network: &IpNet) -> bool {
    let is_all = || pods.iter().any(|range| range.trunc() == *network);
    pods.encloses(network) && !is_all() && network.prefix_len() < network.max_prefix_len()
}

/// The tables of this cluster, and what is in them.
pub fn tables(pods: &DualStack, bridges: &[Bridge]) -> Vec<(Table, Contents)> {
    let routed = pods.iter().map(|range| {
        let family = Family::of(range.addr()).word();
        (table(pods, family), routed(family, range))
    });
    routed.chain([(table(pods, BRIDGES), bridged(bridges))]).collect()
}

/// Of a family, in the words of nftables. Named after the range of IPv4 in any case.
fn table(pods: &DualStack, family: &'static str) -> Table {
    let (network, length) = (pods.v4.network().to_bits(), pods.v4.prefix_len());
    Table { family, name: format!("{TABLES}{network:08x}-{length}") }
}

fn routed(family: &str, pods: IpNet) -> Contents {
    // What a host sends from an address that is not its own is its nginxes'.
    let begin = format!(
        "{family} saddr {pods} fib saddr type != local ct direction original ct mark set ct mark or {MARK:#x}"
    );
    let answer = format!(
        "ct direction reply ct mark and {MARK:#x} == {MARK:#x} meta mark set meta mark or {MARK:#x}"
    );
    let chains = [
        // Servers of this host answer here.
        chain("output", "type route hook output priority mangle", vec![begin, answer.clone()]),
        chain("prerouting", "type filter hook prerouting priority mangle", vec![answer]),
    ];
    Contents { chains: chains.into(), ..Contents::default() }
}

fn bridged(bridges: &[Bridge]) -> Contents {
    let take_up = |Bridge { mac, network }: &Bridge| {
        let family = Family::of(network.addr()).word();
        format!(
            "{family} daddr {network} meta mark and {MARK:#x} == {MARK:#x} ether daddr set {mac} meta pkttype set host"
        )
    };
    // After those of the families `ip` and `ip6`, to which br_netfilter leads.
    let hook = "type filter hook prerouting priority 10";
    let chains = [chain("prerouting", hook, bridges.iter().map(take_up).collect())];
    Contents { chains: chains.into(), ..Contents::default() }
}

fn chain(name: &str, hook: &str, rules: Vec<String>) -> (String, Chain) {
    (name.to_owned(), Chain { hook: Some(format!("{hook}; policy accept")), rules })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bridge_that_spans_all_hosts_says_nothing_of_whose_pods_are_here() {
        let pods = "10.244.0.0/16,fd00:10:244::/56".parse().unwrap();
        let is_of_one_host =
            |network: &str| super::is_of_one_host(&pods, &network.parse().unwrap());
        assert!(is_of_one_host("10.244.3.0/24") && is_of_one_host("fd00:10:244:3::/64"));
        for other in ["10.244.0.0/16", "10.0.0.0/8", "10.244.3.1/32", "172.17.0.0/16"] {
            assert!(!is_of_one_host(other), "{other}");
        }
        for other in ["fd00:10:244::/56", "fd00:10:244::1/128", "2001:db8::/64"] {
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
        let both = [&bridges[..], &[bridge(2, "fd00:10:244:1::/64")]].concat();
        let pods = "10.244.0.0/16,fd00:10:244::/56".parse().unwrap();
        let tables = tables(&pods, &both);
        let names: Vec<_> = tables.iter().map(|(table, _)| (table.family, &*table.name)).collect();
        assert_eq!(names, ["ip", "ip6", "bridge"].map(|it| (it, "minik8s-clients-0af40000-16")));
        let rules = &tables[2].1.chains["prerouting"].rules;
        assert!(rules[0].starts_with("ip daddr 10.244.0.0/24 "), "{rules:?}");
        assert!(rules[1].contains("ether daddr set 02:00:00:00:00:02 "), "{rules:?}");
        assert!(rules[2].starts_with("ip6 daddr fd00:10:244:1::/64 "), "{rules:?}");
        let begin = &tables[1].1.chains["output"].rules[0];
        assert!(begin.starts_with("ip6 saddr fd00:10:244::/56 fib "), "{begin}");
        let mut all = tables.iter().flat_map(|(_, it)| it.chains.values()).flat_map(|it| &it.rules);
        assert!(all.all(|rule| rule.contains("mark") && rule.contains("0x8000000")));
        let of_one = super::tables(&"10.244.0.0/16".parse().unwrap(), &bridges);
        assert_eq!(
            of_one.iter().map(|(table, _)| table.family).collect::<Vec<_>>(),
            ["ip", "bridge"]
        );
    }
}
