//! The rules of a host from what there is in the cluster. A function from values to values.
//!
//! A pod is isolated in a direction as soon as one policy of that type selects it; what any of them allows is allowed. A
//! pod's own node always reaches it and is reached by it: only what is forwarded is looked at, and what a pod asks of
//! servers of hosts that would ask on for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    facts::{Cluster, Here, Pod, Policy, Rule, Service},
    rules::{Allow, HOSTS, Peers, PortRange, Ports, Refused, Rules},
    selection::{Selected, Sets},
};

/// The rules of this host.
pub fn compile(cluster: &Cluster, here: &Here) -> Rules {
    let concerned = concerned(cluster, here);
    let mut sets = Sets::new();
    let policies: Vec<_> = cluster
        .policies
        .iter()
        .filter(|policy| concerned.iter().any(|pod| is_for(policy, pod)))
        .map(|policy| Isolating::new(policy, cluster, &mut sets))
        .collect();
    let mut local = BTreeMap::new();
    let (mut ingress, mut egress) = (BTreeMap::new(), BTreeMap::new());
    for pod in concerned {
        ingress.extend(ingress_of(pod, &policies).map(|allows| (pod.address, allows)));
        if here.nodes.contains(&pod.node) {
            local.insert(pod.address, pod);
            egress.extend(egress_of(pod, &policies).map(|allows| (pod.address, allows)));
        }
    }
    let mut rules = Rules {
        sets,
        ingress,
        egress,
        known: local.keys().copied().collect(),
        networks: here.networks.clone(),
        links: here.links.clone(),
        isolates_egress: cluster.policies.iter().any(|policy| policy.egress.is_some()),
        nodes_here: here.node_addresses.clone(),
        nodes_elsewhere: cluster.nodes_elsewhere.clone(),
        doors: here.doors.clone(),
        door_ports: here.door_ports.clone(),
        ..Rules::default()
    };
    refuse(&mut rules, &cluster.services, &here.addresses);
    rules.ingress.retain(|address, _| local.contains_key(address));
    let_hosts_in(&mut rules, cluster);
    keep_used_sets(&mut rules);
    rules
}

/// The pods of this host, and those to which servers lead that its pods meet.
fn concerned<'a>(cluster: &'a Cluster, here: &Here) -> Vec<&'a Pod> {
    let endpoints = endpoints(cluster);
    let is_concerned =
        |pod: &&Pod| here.nodes.contains(&pod.node) || endpoints.contains(&pod.address);
    cluster.pods.iter().filter(is_concerned).collect()
}

fn is_for(policy: &Policy, pod: &Pod) -> bool {
    policy.namespace == pod.namespace && policy.selector.matches(&pod.labels)
}

/// A policy whose rules are selected.
struct Isolating<'a> {
    policy: &'a Policy,
    ingress: Option<Vec<Selected>>,
    egress: Option<Vec<Allow>>,
}

impl<'a> Isolating<'a> {
    fn new(policy: &'a Policy, cluster: &Cluster, sets: &mut Sets) -> Self {
        let Policy { namespace, name, .. } = policy;
        let mut select = |direction: &str, rules: &[Rule]| -> Vec<Selected> {
            let select = |(i, rule): (usize, &Rule)| {
                let name = format!("{namespace}/{name}/{direction}/{i}");
                Selected::new(name, namespace, rule, cluster, sets)
            };
            rules.iter().enumerate().map(select).collect()
        };
        let ingress = policy.ingress.as_ref().map(|rules| select("ingress", rules));
        let egress = policy.egress.as_ref().map(|rules| select("egress", rules));
        let egress =
            egress.map(|rules| rules.iter().flat_map(|rule| rule.from(cluster, sets)).collect());
        Isolating { policy, ingress, egress }
    }
}

/// Nothing of a pod that is not isolated.
fn ingress_of(pod: &Pod, policies: &[Isolating<'_>]) -> Option<Vec<Allow>> {
    let rules =
        policies.iter().filter(|p| is_for(p.policy, pod)).filter_map(|p| p.ingress.as_ref());
    let mut rules = rules.peekable();
    rules.peek()?;
    Some(rules.flatten().filter_map(|rule| rule.to(pod)).collect())
}

fn egress_of(pod: &Pod, policies: &[Isolating<'_>]) -> Option<Vec<Allow>> {
    let rules = policies.iter().filter(|p| is_for(p.policy, pod)).filter_map(|p| p.egress.as_ref());
    let mut rules = rules.peekable();
    rules.peek()?;
    Some(rules.flatten().cloned().collect())
}

fn endpoints(cluster: &Cluster) -> BTreeSet<IpAddr> {
    cluster.services.iter().flat_map(|s| &s.endpoints).map(|(address, _)| *address).collect()
}

/// A server may lead a client to any endpoint: who may not reach all of them reaches none that way. What the host itself
/// serves, at an address of its `own`, its pods reach anyway.
fn refuse(rules: &mut Rules, services: &[Service], own: &BTreeSet<IpAddr>) {
    let mut refused = BTreeSet::new();
    for service in services {
        let Service { at, protocol, port, endpoints } = service;
        let isolated = endpoints.iter().any(|(pod, _)| rules.ingress.contains_key(pod));
        if isolated || rules.isolates_egress {
            rules.guarded.insert((*at, *protocol, *port));
        }
        let clients = rules.known.iter().filter(|client| at.may_take(**client));
        let clients = clients.filter(|c| isolated || rules.egress.contains_key(*c));
        for client in clients {
            let reaches = |(pod, port): &(IpAddr, u16)| {
                let port = Some((*protocol, *port));
                client == pod
                    || own.contains(pod)
                    || rules.egress.get(client).is_none_or(|e| rules.allows(e, *pod, port))
                        && rules.ingress.get(pod).is_none_or(|i| rules.allows(i, *client, port))
            };
            // At a node's port each is led within his family.
            let mut own = endpoints.iter().filter(|(pod, _)| pod.is_ipv4() == client.is_ipv4());
            if !own.all(reaches) {
                let (at, client) = (*at, *client);
                refused.insert(Refused { client, at, protocol: *protocol, port: *port });
            }
        }
    }
    rules.refused = refused;
}

/// At the ports to which servers lead those of other hosts are let in: whom they must not serve, his own host has not let go
/// there.
fn let_hosts_in(rules: &mut Rules, cluster: &Cluster) {
    let mut ports: BTreeMap<IpAddr, Vec<PortRange>> = BTreeMap::new();
    for (pod, protocol, port) in &cluster.led_to {
        let range = PortRange { protocol: *protocol, first: *port, last: *port };
        ports.entry(*pod).or_default().push(range);
    }
    for (pod, allows) in &mut rules.ingress {
        if let Some(ports) = ports.remove(pod) {
            let peers = Peers::Some { set: Some(HOSTS.to_owned()), blocks: Vec::new() };
            allows.push(Allow { peers, ports: Ports::of(ports) });
        }
    }
    rules.sets.insert(HOSTS.to_owned(), cluster.hosts.clone());
}

fn keep_used_sets(rules: &mut Rules) {
    let allows = rules.ingress.values().chain(rules.egress.values()).flatten();
    let used: BTreeSet<&String> = allows
        .filter_map(|allow| match &allow.peers {
            Peers::Some { set, .. } => set.as_ref(),
            Peers::All => None,
        })
        .collect();
    rules.sets.retain(|name, _| used.contains(name));
}

#[cfg(test)]
#[path = "compile_tests.rs"]
mod tests;
