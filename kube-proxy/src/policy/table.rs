//! The rules in the words of nftables.
//!
//! Sets have the names of the rules they are for, so that a pod that comes or goes is an element of a set; chains are named
//! by what they say, so that pods for which the same holds share one, and none ever changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::Ipv4Addr,
};

use packet_filter::nftables::{Chain, Contents, Set, SetKind};
use sha2::{Digest, Sha256};

use super::{
    ranges::Range,
    rules::{Allow, At, HOSTS, Peers, PortRange, Ports, Protocol, Refused, Rules},
};

/// Pods of this host of which nobody has told yet.
const UNKNOWN: &str = "ip saddr @networks ip saddr != @known";
/// Longer names are not readable for us either; the kernel's limit is 255 bytes.
const MAX_NAME: usize = 120;
const ADDRESSES: &str = "type ipv4_addr";
/// Of what servers take: at addresses that the key has, or that are in a set of their own.
const PORTS_OF_ADDRESSES: &str = "type ipv4_addr . inet_proto . inet_service";
const PORTS: &str = "type inet_proto . inet_service";
const CLIENTS_OF_ADDRESSES: &str = "type ipv4_addr . ipv4_addr . inet_proto . inet_service";
const CLIENTS: &str = PORTS_OF_ADDRESSES;

/// What is in the table that keeps the rules.
pub fn contents(rules: &Rules) -> Contents {
    let mut contents = Contents { chains: hooked(rules.isolates_egress), ..Contents::default() };
    sets(&mut contents, rules);
    verdicts(&mut contents, "ingress", "saddr", &rules.ingress);
    verdicts(&mut contents, "egress", "daddr", &rules.egress);
    contents
}

/// A map from pods to chains, which are made.
fn verdicts(contents: &mut Contents, map: &str, peer: &str, pods: &BTreeMap<Ipv4Addr, Vec<Allow>>) {
    let definition = "type ipv4_addr : verdict".to_owned();
    contents.sets.insert(map.to_owned(), Set { kind: SetKind::Map, definition });
    for (pod, allows) in pods {
        let rules = chain(allows, peer);
        let name = format!("{map}-{}", digest(&rules.join("\n")));
        let verdict = format!("jump {name}");
        contents.elements.insert((map.to_owned(), pod.to_string()), verdict);
        contents.chains.insert(name, Chain { hook: None, rules });
    }
}

fn sets(contents: &mut Contents, rules: &Rules) {
    let isolated: BTreeSet<_> = rules.ingress.keys().chain(rules.egress.keys()).collect();
    let itself = isolated.iter().map(|pod| format!("{pod} . {pod}"));
    let networks = rules.networks.iter().map(ToString::to_string);
    let addresses = |of: &BTreeSet<Ipv4Addr>| of.iter().map(Ipv4Addr::to_string).collect();
    let at_address = |at: At| matches!(at, At::Address(_));
    let (here, elsewhere) = (|at: At| at == At::NodesHere, |at: At| at == At::NodesElsewhere);
    let fixed: [(&str, &str, Vec<String>); 11] = [
        ("itself", "type ipv4_addr . ipv4_addr", itself.collect()),
        ("known", ADDRESSES, addresses(&rules.known)),
        ("networks", "type ipv4_addr; flags interval", networks.collect()),
        ("nodes-here", ADDRESSES, addresses(&rules.nodes_here)),
        ("nodes-elsewhere", ADDRESSES, addresses(&rules.nodes_elsewhere)),
        ("refused", CLIENTS_OF_ADDRESSES, refused(rules, at_address)),
        ("refused-here", CLIENTS, refused(rules, here)),
        ("refused-elsewhere", CLIENTS, refused(rules, elsewhere)),
        ("guarded", PORTS_OF_ADDRESSES, guarded(rules, at_address)),
        ("guarded-here", PORTS, guarded(rules, here)),
        ("guarded-elsewhere", PORTS, guarded(rules, elsewhere)),
    ];
    let peers = rules.sets.iter().map(|(name, pods)| (set_name(name), ADDRESSES, addresses(pods)));
    let fixed = fixed.map(|(name, definition, elements)| (name.to_owned(), definition, elements));
    for (name, definition, elements) in fixed.into_iter().chain(peers) {
        let elements = elements.into_iter().map(|key| ((name.clone(), key), String::new()));
        contents.elements.extend(elements);
        let set = Set { kind: SetKind::Set, definition: definition.to_owned() };
        contents.sets.insert(name, set);
    }
}

fn refused(rules: &Rules, is_there: impl Fn(At) -> bool) -> Vec<String> {
    let there = rules.refused.iter().filter(|it| is_there(it.at));
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

/// As a part of a key.
fn address(at: At) -> String {
    match at {
        At::Address(address) => format!("{address} . "),
        At::NodesHere | At::NodesElsewhere => String::new(),
    }
}

/// Replies pass, whoever isolates whom by now; a flow of datagrams may never end, so of those nothing else does. What is
/// not known does not pass: a pod that comes is known before it is let out.
fn hooked(isolates_egress: bool) -> BTreeMap<String, Chain> {
    let replies = [
        "meta l4proto != udp ct state established,related accept",
        "ct state established ct direction reply accept",
        "ct state related accept",
    ];
    let replies = replies.map(str::to_owned);
    let forward = [
        "ip saddr . ip daddr @itself accept".to_owned(),
        "ip daddr @networks ip daddr != @known drop".to_owned(),
    ];
    let sent = isolates_egress.then(|| format!("{UNKNOWN} drop"));
    let of_pods = ["ip saddr vmap @egress".to_owned(), "ip daddr vmap @ingress".to_owned()];
    let forward = replies.clone().into_iter().chain(forward).chain(sent);
    let forward = forward.chain(served("elsewhere")).chain(of_pods).collect();
    let input = replies.into_iter().chain(served("here")).collect();
    let chain = |hook: &str, rules: Vec<String>| {
        let of = format!("type filter hook {hook} priority filter - 5; policy accept");
        (hook.to_owned(), Chain { hook: Some(of), rules })
    };
    BTreeMap::from([chain("forward", forward), chain("input", input)])
}

/// What servers here or elsewhere must not take.
fn served(nodes: &str) -> [String; 4] {
    const PORT: &str = "meta l4proto . th dport";
    let at_nodes = format!("ip daddr @nodes-{nodes}");
    [
        format!("ip saddr . ip daddr . {PORT} @refused drop"),
        format!("{UNKNOWN} ip daddr . {PORT} @guarded drop"),
        format!("{at_nodes} ip saddr . {PORT} @refused-{nodes} drop"),
        format!("{UNKNOWN} {at_nodes} {PORT} @guarded-{nodes} drop"),
    ]
}

/// What is allowed returns, to be looked at for the other end.
fn chain(allows: &[Allow], peer: &str) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for Allow { peers, ports } in allows {
        for who in who(peers, peer) {
            rules.extend(what(ports).into_iter().map(|what| format!("{who}{what}return")));
        }
    }
    let mut seen = BTreeSet::new();
    rules.retain(|rule| seen.insert(rule.clone()));
    rules.push("drop".to_owned());
    rules
}

fn who(peers: &Peers, peer: &str) -> Vec<String> {
    let Peers::Some { set, blocks } = peers else { return vec![String::new()] };
    let set = set.as_ref().map(|name| format!("{}ip {peer} @{} ", directly(name), set_name(name)));
    let blocks = (!blocks.is_empty())
        .then(|| format!("ip {peer} {{ {} }} ", joined(blocks.iter().map(range))));
    set.into_iter().chain(blocks).collect()
}

/// A server of another host asks the pod itself. What is led here by a port of this host comes from whomever it stands
/// for, who was not looked at.
fn directly(set: &str) -> &'static str {
    if set == HOSTS { "ct status & dnat == 0 " } else { "" }
}

fn range(Range { first, last }: &Range) -> String {
    if first == last { first.to_string() } else { format!("{first}-{last}") }
}

fn what(ports: &Ports) -> Vec<String> {
    let Ports::Some(ranges) = ports else { return vec![String::new()] };
    let of = |protocol: Protocol| {
        let own: Vec<_> = ranges.iter().filter(|range| range.protocol == protocol).collect();
        match own.as_slice() {
            [] => None,
            [PortRange { first: 0, last: u16::MAX, .. }] => {
                Some(format!("meta l4proto {protocol} "))
            }
            own => Some(format!("{protocol} dport {{ {} }} ", joined(own.iter().map(|r| port(r))))),
        }
    };
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].into_iter().filter_map(of).collect()
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
