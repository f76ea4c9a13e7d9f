//! The rules of a Service: a function from a [`ServicePlan`] to a part of the table.
//!
//! What most Services need is in maps: which chain takes connections to an address and a port, and which endpoints they
//! have, by number. The chains are the same for all Services with as many endpoints and the same protocol: so there are as many chains with ten
//! Services as with thousands, and a change touches a few elements. A Service whose clients stay with their endpoint has
//! a chain for each port, and a set of clients for each endpoint, which the kernel fills.

use std::net::SocketAddrV4;

use ipnet::Ipv4Net;
use packet_filter::nftables::{Chain, Contents, Set, SetKind};
use sha2::{Digest, Sha256};

use crate::plan::{PortPlan, Protocol, ServicePlan};

/// Chains, by address, protocol and port.
pub(super) const SERVICES: &str = "services";
/// Endpoints that take datagrams, by address, port and number.
pub(super) const UDP_ENDPOINTS: &str = "endpoints-udp";
/// Endpoints that may be their own clients. The answer has to come by this host, or the client does not take it.
const HAIRPIN: &str = "hairpin";

/// By address, protocol and port.
const KEY: &str = "ip daddr . meta l4proto . th dport";
/// Says of a packet that its answer has to come by this host: Kubernetes' own mark for that.
const MASQUERADE: &str = "0x4000";
const NO_MASQUERADE: &str = "0xffffbfff";
/// How many clients of an endpoint are remembered. Those beyond are served as if there were no affinity.
const CLIENTS: usize = 65_536;

/// What there is whatever Services there are. Before all others who translate addresses: rules of others are about
/// addresses that are none of a Service's.
///
/// Who comes from this host has the virtual IP for an address itself, which is on each node. Who is none of the cluster's
/// pods (`pods`: their range) may have another way from the endpoint's host: the answer comes by this one.
pub(super) fn frame(pods: Ipv4Net) -> Contents {
    let mut frame = Contents::default();
    let mut chain = |name: &str, hook: Option<&str>, rules: &[String]| {
        let chain = Chain { hook: hook.map(str::to_owned), rules: rules.to_vec() };
        frame.chains.insert(name.to_owned(), chain);
    };
    let mark = format!("meta mark set meta mark or {MASQUERADE}");
    let [serve, unmark] =
        ["jump serve".to_owned(), format!("meta mark set meta mark and {NO_MASQUERADE}")];
    let from_outside = format!("ip saddr != {pods} {mark}");
    chain(
        "prerouting",
        Some("type nat hook prerouting priority -101"),
        &[from_outside, serve.clone(), unmark.clone()],
    );
    chain("output", Some("type nat hook output priority -101"), &[mark, serve, unmark]);
    chain("serve", None, &[format!("{KEY} vmap @{SERVICES}")]);
    chain(
        "postrouting",
        Some("type nat hook postrouting priority 99"),
        &[
            format!("meta mark and {MASQUERADE} == {MASQUERADE} oifname != \"lo\" masquerade"),
            format!("ip saddr . ip daddr @{HAIRPIN} masquerade"),
        ],
    );
    let key = "type ipv4_addr . inet_proto . inet_service";
    let sets = [
        (SERVICES, SetKind::Map, format!("{key} : verdict")),
        (HAIRPIN, SetKind::Set, "type ipv4_addr . ipv4_addr".to_owned()),
    ];
    let sets = sets.map(|(name, kind, definition)| (name.to_owned(), Set { kind, definition }));
    frame.sets.extend(sets);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let endpoint = format!("ip daddr . {protocol} dport");
        let definition = format!("typeof {endpoint} . numgen random mod 2 : {endpoint}");
        frame.sets.insert(endpoints(protocol), Set { kind: SetKind::Map, definition });
    }
    frame
}

/// What a Service adds. A port without endpoints is what no Service serves.
pub(super) fn of(plan: &ServicePlan) -> Contents {
    let mut part = Contents::default();
    for port in plan.ports.iter().filter(|port| !port.endpoints.is_empty()) {
        let to = SocketAddrV4::new(plan.ip, port.port);
        let key = format!("{} . {} . {}", to.ip(), port.protocol, to.port());
        let chain = taking(&mut part, plan, port);
        element(&mut part, SERVICES, key, format!("goto {chain}"));
        for (number, endpoint) in port.endpoints.iter().enumerate() {
            let value = format!("{} . {}", endpoint.ip(), endpoint.port());
            let key = format!("{} . {} . {number}", to.ip(), to.port());
            element(&mut part, &endpoints(port.protocol), key, value);
            let same = format!("{} . {}", endpoint.ip(), endpoint.ip());
            element(&mut part, HAIRPIN, same, String::new());
        }
    }
    part
}

fn element(part: &mut Contents, set: &str, key: String, value: String) {
    part.elements.insert((set.to_owned(), key), value);
}

/// The chain that takes connections to a port.
fn taking(part: &mut Contents, plan: &ServicePlan, port: &PortPlan) -> String {
    let count = port.endpoints.len();
    let picking = format!("pick-{}-{count}", port.protocol);
    part.chains.insert(picking.clone(), pick(port.protocol, count));
    let Some(affinity) = plan.affinity else { return picking };
    let id = format!("{}-{}-{}", port.protocol, port.port, short_hash(&plan.uid));
    let (mut known, mut new) = (Vec::new(), Vec::new());
    for (number, endpoint) in port.endpoints.iter().enumerate() {
        let clients = format!("clients-{id}-{}-{}", endpoint.ip(), endpoint.port());
        let take = format!(
            "update @{clients} {{ ip saddr timeout {}s }} meta l4proto {} dnat to {endpoint}",
            affinity.as_secs(),
            port.protocol
        );
        known.push(format!("ip saddr @{clients} {take}"));
        // Each with the same chance, the last one for certain.
        new.push(format!("numgen random mod {} 0 {take}", count - number));
        let definition = format!("type ipv4_addr; flags dynamic,timeout; size {CLIENTS}");
        part.sets.insert(clients, Set { kind: SetKind::Set, definition });
    }
    let full = format!("goto {picking}");
    let rules = known.into_iter().chain(new).chain([full]).collect();
    let staying = format!("stay-{id}");
    part.chains.insert(staying.clone(), Chain { hook: None, rules });
    staying
}

/// A map for each protocol: nft 1.0.6 takes the `th dport` of both for a conflict when it finds it in the kernel.
fn endpoints(protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => "endpoints-tcp".to_owned(),
        Protocol::Udp => UDP_ENDPOINTS.to_owned(),
    }
}

/// Of so many endpoints one takes a connection. Between looking at one map and at the other the number of endpoints may
/// have become smaller: the first of them is always there.
fn pick(protocol: Protocol, count: usize) -> Chain {
    let map = endpoints(protocol);
    let rule = |of: &usize| {
        format!("dnat ip to ip daddr . {protocol} dport . numgen random mod {of} map @{map}")
    };
    let choices = if count == 1 { vec![1] } else { vec![count, 1] };
    Chain { hook: None, rules: choices.iter().map(rule).collect() }
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
