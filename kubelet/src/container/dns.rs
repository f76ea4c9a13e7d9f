//! `/etc/resolv.conf` of a pod, from its `dnsPolicy`, its `dnsConfig` and the node's file. Pure.

use std::{net::IpAddr, path::PathBuf};

use api_types::api::core::v1::Pod;
use component::resolv_conf::Resolver;

use crate::spec;

/// The most name servers that a resolver asks.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
/// Of the search line.
const MAX_SEARCH_CHARACTERS: usize = 2048;

/// The cluster's DNS, for pods with `dnsPolicy: ClusterFirst`, and the node's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterDns {
    /// Name servers; none: pods use the node's.
    pub servers: Vec<String>,
    /// The cluster's domain.
    pub domain: String,
    /// The node's `resolv.conf`.
    pub node_file: PathBuf,
}

/// A pod's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Its content.
    pub text: String,
    /// What was left out of it, for events with the reason `DNSConfigForming`.
    pub warnings: Vec<String>,
}

/// The pod's file; `node` is the content of the node's.
pub fn resolv_conf(pod: &Pod, cluster: &ClusterDns, node: &str) -> ResolvConf {
    let mut warnings = Vec::new();
    let policy = spec::spec(pod).and_then(|spec| spec.dns_policy.as_deref());
    let cluster_first = match policy.unwrap_or("ClusterFirst") {
        "ClusterFirst" => !spec::host_network(pod),
        "ClusterFirstWithHostNet" => true,
        _ => false,
    };
    let mut resolver = match policy {
        Some("None") => Resolver::default(),
        _ => Resolver::parse(node),
    };
    if cluster_first && !cluster.servers.is_empty() {
        resolver = of_cluster(pod, cluster, resolver.searches);
    } else if !spec::host_network(pod) {
        drop_loopback(&mut resolver, &mut warnings);
    }
    add_config(&mut resolver, pod);
    shorten(&mut resolver, &mut warnings);
    ResolvConf { text: resolver.render(), warnings }
}

fn of_cluster(pod: &Pod, cluster: &ClusterDns, mut node_searches: Vec<String>) -> Resolver {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let domain = &cluster.domain;
    let mut searches =
        vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    searches.append(&mut node_searches);
    Resolver { servers: cluster.servers.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

/// In a network of its own, a pod's loopback addresses are its own too.
fn drop_loopback(resolver: &mut Resolver, warnings: &mut Vec<String>) {
    let is_loopback =
        |server: &String| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let (dropped, kept) = std::mem::take(&mut resolver.servers).into_iter().partition(is_loopback);
    resolver.servers = kept;
    let dropped: Vec<String> = dropped;
    if !dropped.is_empty() {
        warnings.push(format!(
            "Nameservers of the node that a pod cannot reach have been omitted: {}",
            dropped.join(" ")
        ));
    }
}

fn add_config(resolver: &mut Resolver, pod: &Pod) {
    let Some(config) = spec::spec(pod).and_then(|spec| spec.dns_config.as_ref()) else { return };
    resolver.servers.extend(config.nameservers.iter().flatten().cloned());
    resolver.searches.extend(config.searches.iter().flatten().cloned());
    for option in config.options.iter().flatten() {
        let name = option.name.clone().unwrap_or_default();
        resolver.options.retain(|o| o != &name && !o.starts_with(&format!("{name}:")));
        resolver.options.push(match &option.value {
            Some(value) => format!("{name}:{value}"),
            None => name,
        });
    }
}

/// Leaves out what is named twice, and what resolvers would not read.
fn shorten(resolver: &mut Resolver, warnings: &mut Vec<String>) {
    remove_repeated(&mut resolver.servers);
    remove_repeated(&mut resolver.searches);
    if resolver.servers.len() > MAX_SERVERS {
        resolver.servers.truncate(MAX_SERVERS);
        warnings.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied \
             nameserver line is: {}",
            resolver.servers.join(" ")
        ));
    }
    let all = resolver.searches.len();
    resolver.searches.truncate(MAX_SEARCHES);
    while resolver.searches.join(" ").len() > MAX_SEARCH_CHARACTERS {
        resolver.searches.pop();
    }
    if resolver.searches.len() < all {
        warnings.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied \
             search line is: {}",
            resolver.searches.join(" ")
        ));
    }
}

fn remove_repeated(words: &mut Vec<String>) {
    let mut seen = std::collections::BTreeSet::new();
    words.retain(|word| seen.insert(word.clone()));
}

#[cfg(test)]
#[path = "dns_tests.rs"]
mod tests;
