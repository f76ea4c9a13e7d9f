//! The rules in the words of nftables.
//!
//! Sets have the names of the rules they are for, so that a pod that comes or goes is an element of a set; chains are named
//! by what they say, so that pods for which the same holds share one, and none ever changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::IpAddr,
};

use packet_filter::nftables::{Chain, Contents, Set, SetKind};
use sha2::{Digest, Sha256};

use super::{
    ranges::Range,
    rules::{Allow, At, HOSTS, Peers, PortRange, Ports, Protocol, Refused, Rules},
};
use crate::family::Family;

/// Pods of this host of which nobody has told yet.
fn unknown(ip: &str) -> String {
    format!("{ip} saddr @networks {ip} saddr != @known")
}

/// Longer names are not readable for us either; the kernel's limit is 255 bytes.
const MAX_NAME: usize = 120;
const NUMBERS: &str = "type inet_service";
/// Of what servers take at addresses that are in a set of their own.
const PORTS: &str = "type inet_proto . inet_service";

/// What is in the table that keeps the rules of a family.
pub fn contents(rules: &Rules, family: Family) -> Contents {
    let chains = hooked(family, rules);
    let mut contents = Contents { chains, ..Contents::default() };
    sets(&mut contents, rules, family);
    verdicts(&mut contents, "ingress", Ends { family, peer: "saddr" }, &rules.ingress);
    verdicts(&mut contents, "egress", Ends { family, peer: "daddr" }, &rules.egress);
    contents
}

/// Which of a packet's addresses is that of the peer.
#[derive(Clone, Copy)]
struct Ends {
    family: Family,
    peer: &'static str,
}

/// A map from pods to chains, which are made.
fn verdicts(contents: &mut Contents, map: &str, ends: Ends, pods: &BTreeMap<IpAddr, Vec<Allow>>) {
    let definition = format!("type {} : verdict", ends.family.type_of_addresses());
    contents.sets.insert(map.to_owned(), Set { kind: SetKind::Map, definition });
    for (pod, allows) in pods.iter().filter(|(pod, _)| ends.family.has(**pod)) {
        let rules = chain(allows, ends);
        let name = format!("{map}-{}", digest(&rules.join("\n")));
        let verdict = format!("jump {name}");
        contents.elements.insert((map.to_owned(), pod.to_string()), verdict);
        contents.chains.insert(name, Chain { hook: None, rules });
    }
}

fn sets(contents: &mut Contents, rules: &Rules, family: Family) {
    let isolated = rules.ingress.keys().chain(rules.egress.keys());
    let isolated: BTreeSet<_> = isolated.filter(|pod| family.has(**pod)).collect();
    let itself = isolated.iter().map(|pod| format!("{pod} . {pod}"));
    let networks = rules.networks.iter().filter(|network| family.has_network(network));
    let networks = networks.map(ToString::to_string);
    let addresses = |of: &BTreeSet<IpAddr>| {
        of.iter().filter(|ip| family.has(**ip)).map(IpAddr::to_string).collect()
    };
    let refused = |rules: &Rules, is_there: &dyn Fn(At) -> bool| refused(rules, family, is_there);
    let at_address = |at: At| matches!(at, At::Address(address) if family.has(address));
    let address = family.type_of_addresses();
    let (of_addresses, pairs) = (format!("type {address}"), format!("type {address} . {address}"));
    let ranges = format!("{of_addresses}; flags interval");
    let ports_of_addresses = format!("{of_addresses} . inet_proto . inet_service");
    let clients_of_addresses = format!("{pairs} . inet_proto . inet_service");
    let clients = ports_of_addresses.clone();
    let (here, elsewhere) = (|at: At| at == At::NodesHere, |at: At| at == At::NodesElsewhere);
    let fixed: [(&str, &str, Vec<String>); 14] = [
        ("doors", &of_addresses, addresses(&rules.doors)),
        ("doors-tcp", NUMBERS, door_ports(rules, Protocol::Tcp)),
        ("doors-udp", NUMBERS, door_ports(rules, Protocol::Udp)),
        ("itself", &pairs, itself.collect()),
        ("known", &of_addresses, addresses(&rules.known)),
        ("networks", &ranges, networks.collect()),
        ("nodes-here", &of_addresses, addresses(&rules.nodes_here)),
        ("nodes-elsewhere", &of_addresses, addresses(&rules.nodes_elsewhere)),
        ("refused", &clients_of_addresses, refused(rules, &at_address)),
        ("refused-here", &clients, refused(rules, &here)),
        ("refused-elsewhere", &clients, refused(rules, &elsewhere)),
        ("guarded", &ports_of_addresses, guarded(rules, at_address)),
        ("guarded-here", PORTS, guarded(rules, here)),
        ("guarded-elsewhere", PORTS, guarded(rules, elsewhere)),
    ];
    let peers = rules
        .sets
        .iter()
        .map(|(name, pods)| (set_name(name), of_addresses.as_str(), addresses(pods)));
    let fixed = fixed.map(|(name, definition, elements)| (name.to_owned(), definition, elements));
    for (name, definition, elements) in fixed.into_iter().chain(peers) {
        let elements = elements.into_iter().map(|key| ((name.clone(), key), String::new()));
        contents.elements.extend(elements);
        let set = Set { kind: SetKind::Set, definition: definition.to_owned() };
        contents.sets.insert(name, set);
    }
}

fn refused(rules: &Rules, family: Family, is_there: impl Fn(At) -> bool) -> Vec<String> {
    let there = rules.refused.iter().filter(|it| is_there(it.at) && family.has(it.client));
    let key = |it: &Refused| {
        let Refused { client, at, protocol, port } = it;
        format!("{client} . {}{protocol} . {port}", address(*at))
    };
    there.map(key).collect()
}

fn guarded(rules: &Rules, is_there: impl Fn(At) -> bool) -> Vec<String> {
    let there = rules.guarded.iter().filter(|(at, ..)| is_there(*at));
    there.map(|(at, protocol, port)| format!("{}{protocol} . {port}", address(*at))).collect()
}

fn door_ports(rules: &Rules, protocol: Protocol) -> Vec<String> {
    let own = rules.door_ports.iter().filter(|(of, _)| *of == protocol);
    own.map(|(_, port)| port.to_string()).collect()
}

/// As a part of a key.
fn address(at: At) -> String {
    match at {
        At::Address(address) => format!("{address} . "),
        At::NodesHere | At::NodesElsewhere => String::new(),
    }
}

/// Replies pass, whoever isolates whom by now; a flow of datagrams may never end, so of those nothing else does. What is
/// not known does not pass: a pod that comes is known before it is let out.
///
/// Of IPv6, neighbours ask for each other in packets of their own, and at addresses of their links nobody is known. Nor is
/// anybody who hears what is for many.
fn hooked(family: Family, rules: &Rules) -> BTreeMap<String, Chain> {
    let ip = family.word();
    let replies = [
        "meta l4proto != udp ct state established,related accept",
        "ct state established ct direction reply accept",
        "ct state related accept",
    ];
    let replies = replies.map(str::to_owned);
    let forward = [
        format!("{ip} saddr . {ip} daddr @itself accept"),
        format!("{ip} daddr @networks {ip} daddr != @known drop"),
    ];
    let on_links = match family {
        Family::Ipv4 => {
            vec!["ip saddr @networks ip daddr { 224.0.0.0/4, 255.255.255.255 } drop".to_owned()]
        }
        Family::Ipv6 => on_links(&rules.links),
    };
    let sent = rules.isolates_egress.then(|| format!("{} drop", unknown(ip)));
    let of_pods = [format!("{ip} saddr vmap @egress"), format!("{ip} daddr vmap @ingress")];
    let forward = replies.clone().into_iter().chain(on_links).chain(forward).chain(sent);
    let forward = forward.chain(served(ip, "elsewhere")).chain(of_pods).collect();
    let input = replies.into_iter().chain(served(ip, "here")).collect();
    let chain = |hook: &str, rules: Vec<String>| {
        let of = format!("type filter hook {hook} priority filter - 5; policy accept");
        (hook.to_owned(), Chain { hook: Some(of), rules })
    };
    BTreeMap::from([chain("forward", forward), chain("input", input)])
}

/// Between ports of a bridge, of which those of others are no matter of ours.
fn on_links(links: &BTreeSet<String>) -> Vec<String> {
    let mut rules = vec![
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept".to_owned(),
        "ip6 saddr @networks ip6 daddr ff00::/8 drop".to_owned(),
    ];
    if !links.is_empty() {
        let links = joined(links.iter().map(|link| format!("\"{link}\"")));
        let drop = |end| format!("iifname {{ {links} }} ip6 {end} fe80::/10 drop");
        rules.extend(["saddr", "daddr"].map(drop));
    }
    rules
}

/// What servers here or elsewhere must not take.
fn served(ip: &str, nodes: &str) -> [String; 4] {
    const PORT: &str = "meta l4proto . th dport";
    let (at_nodes, unknown) = (format!("{ip} daddr @nodes-{nodes}"), unknown(ip));
    [
        format!("{ip} saddr . {ip} daddr . {PORT} @refused drop"),
        format!("{unknown} {ip} daddr . {PORT} @guarded drop"),
        format!("{at_nodes} {ip} saddr . {PORT} @refused-{nodes} drop"),
        format!("{unknown} {at_nodes} {PORT} @guarded-{nodes} drop"),
    ]
}

/// What is allowed returns, to be looked at for the other end.
fn chain(allows: &[Allow], ends: Ends) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for Allow { peers, ports } in allows {
        for who in who(peers, ends) {
            rules.extend(what(ports).into_iter().map(|what| format!("{who}{what}return")));
        }
        rules.extend(through_doors(peers, ports, ends));
    }
    let mut seen = BTreeSet::new();
    rules.retain(|rule| seen.insert(rule.clone()));
    rules.push("drop".to_owned());
    rules
}

fn who(peers: &Peers, Ends { family, peer }: Ends) -> Vec<String> {
    let Peers::Some { set, blocks } = peers else { return vec![String::new()] };
    let own: Vec<_> = blocks.iter().filter(|block| block.family() == family).collect();
    if own == [&Range::all(family)] {
        return vec![String::new()];
    }
    let ip = family.word();
    let set =
        set.as_ref().map(|name| format!("{}{ip} {peer} @{} ", directly(name), set_name(name)));
    let blocks = (!own.is_empty())
        .then(|| format!("{ip} {peer} {{ {} }} ", joined(own.into_iter().map(range))));
    set.into_iter().chain(blocks).collect()
}

/// A server of another host asks the pod itself. What is led here by a port of this host comes from whomever it stands
/// for, who was not looked at.
fn directly(set: &str) -> &'static str {
    if set == HOSTS { "ct status & dnat == 0 " } else { "" }
}

/// Or it comes by a node port that rules of this host lead on, where its own host has let go whom it stands for.
fn through_doors(peers: &Peers, ports: &Ports, Ends { family, peer }: Ends) -> Vec<String> {
    let ip = family.word();
    let Peers::Some { set: Some(set), .. } = peers else { return Vec::new() };
    if set != HOSTS {
        return Vec::new();
    }
    let rule = |protocol: Protocol| {
        let what = match ports {
            Ports::All => String::new(),
            Ports::Some(ranges) => of_protocol(ranges, protocol)?,
        };
        Some(format!(
            "ct original {ip} daddr @doors meta l4proto {protocol} ct original proto-dst @doors-{protocol} \
             {ip} {peer} @{} {what}return",
            set_name(set)
        ))
    };
    [Protocol::Tcp, Protocol::Udp].into_iter().filter_map(rule).collect()
}

fn range(Range { first, last }: &Range) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn what(ports: &Ports) -> Vec<String> {
    let Ports::Some(ranges) = ports else { return vec![String::new()] };
    let all = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter();
    all.filter_map(|protocol| of_protocol(ranges, protocol)).collect()
}

fn of_protocol(ranges: &[PortRange], protocol: Protocol) -> Option<String> {
    let own: Vec<_> = ranges.iter().filter(|range| range.protocol == protocol).collect();
    match own.as_slice() {
        [] => None,
        [PortRange { first: 0, last: u16::MAX, .. }] => Some(format!("meta l4proto {protocol} ")),
        own => Some(format!("{protocol} dport {{ {} }} ", joined(own.iter().map(|r| port(r))))),
    }
}

fn port(PortRange { first, last, .. }: &PortRange) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

/// With a letter in front, as nftables wants it.
fn set_name(rule: &str) -> String {
    if rule.len() <= MAX_NAME { format!("p/{rule}") } else { format!("p-{}", digest(rule)) }
}

fn joined(elements: impl IntoIterator<Item = impl Display>) -> String {
    elements.into_iter().map(|element| element.to_string()).collect::<Vec<_>>().join(", ")
}

fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
