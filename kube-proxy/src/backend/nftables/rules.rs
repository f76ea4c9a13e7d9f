//! The rules of a Service: a function from a [`ServicePlan`] to a part of the table of a family.
//!
//! What most Services need is in maps: which chain takes connections to an address and a port, and which endpoints they
//! have, by number. The chains are the same for all Services with as many endpoints and the same protocol: so there are as many chains with ten
//! Services as with thousands, and a change touches a few elements. A Service whose clients stay with their endpoint has
//! a chain for each port, and a set of clients for each endpoint, which the kernel fills. Node ports, external IPs and load
//! balancers' addresses are further addresses and ports, with chains in front where it matters from where one comes.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use component::dual_stack::DualStack;
use ipnet::IpNet;
use packet_filter::nftables::{Chain, Contents, Set, SetKind};
use sha2::{Digest, Sha256};

use super::taken::Taken;
use crate::{
    backend::service::{self, Door},
    family::Family,
    plan::{PortPlan, Protocol, ServicePlan},
};

/// Chains, by address, protocol and port.
pub(super) const SERVICES: &str = "services";
/// Endpoints that take datagrams, by address, port and number.
pub(super) const UDP_ENDPOINTS: &str = "endpoints-udp";
/// Endpoints that may be their own clients. The answer has to come by this host, or the client does not take it.
const HAIRPIN: &str = "hairpin";

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
pub(super) fn frame(pods: IpNet) -> Contents {
    let family = Family::of(pods.addr());
    let (ip, addresses) = (family.word(), family.type_of_addresses());
    let mut frame = Contents::default();
    let mut chain = |name: &str, hook: Option<&str>, rules: &[String]| {
        let chain = Chain { hook: hook.map(str::to_owned), rules: rules.to_vec() };
        frame.chains.insert(name.to_owned(), chain);
    };
    let mark = format!("meta mark set meta mark or {MASQUERADE}");
    let [serve, unmark] = ["jump serve".to_owned(), unmark()];
    let from_outside = format!("{ip} saddr != {pods} {mark}");
    chain(
        "prerouting",
        Some("type nat hook prerouting priority -101"),
        &[from_outside, serve.clone(), unmark.clone()],
    );
    chain("output", Some("type nat hook output priority -101"), &[mark, serve, unmark]);
    // By address, protocol and port.
    let key = format!("{ip} daddr . meta l4proto . th dport");
    chain("serve", None, &[format!("{key} vmap @{SERVICES}")]);
    chain(
        "postrouting",
        Some("type nat hook postrouting priority 99"),
        &[
            format!("meta mark and {MASQUERADE} == {MASQUERADE} oifname != \"lo\" masquerade"),
            // Those of the host itself would have another address on their way to itself.
            format!(
                "oifname != \"lo\" ct status dnat {ip} saddr . {ip} daddr @{HAIRPIN} masquerade"
            ),
        ],
    );
    let key = format!("type {addresses} . inet_proto . inet_service");
    let sets = [
        (SERVICES, SetKind::Map, format!("{key} : verdict")),
        (HAIRPIN, SetKind::Set, format!("type {addresses} . {addresses}")),
    ];
    let sets = sets.map(|(name, kind, definition)| (name.to_owned(), Set { kind, definition }));
    frame.sets.extend(sets);
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let endpoint = format!("{ip} daddr . {protocol} dport");
        let definition = format!("typeof {endpoint} . numgen random mod 2 : {endpoint}");
        frame.sets.insert(endpoints(protocol), Set { kind: SetKind::Map, definition });
    }
    frame
}

fn unmark() -> String {
    format!("meta mark set meta mark and {NO_MASQUERADE}")
}

/// What of this host no Service takes, whatever it says.
#[derive(Debug)]
pub(super) struct Spared {
    /// The ranges of all pods: what is there is theirs.
    pub(super) pods: DualStack,
    /// Where servers of the host listen.
    pub(super) taken: Taken,
}

impl Spared {
    fn has(&self, protocol: Protocol, socket: SocketAddr) -> bool {
        // What comes from loopback may not leave the host, wherever it is led.
        let ip = socket.ip();
        ip.is_loopback() || self.pods.contains(ip) || self.taken.has(protocol, socket)
    }

    /// Where a Service is not served, as a server of the host listens there.
    pub(super) fn clashing(&self, plan: &ServicePlan) -> BTreeSet<(Protocol, SocketAddr)> {
        let sockets = plan.ports.iter().flat_map(|port| {
            let is_led = |socket: &SocketAddr| {
                let endpoints = &port.outside_endpoints;
                endpoints.iter().any(|endpoint| endpoint.is_ipv4() == socket.is_ipv4())
            };
            let doors = service::outside(plan, port).into_iter().flat_map(|door| door.sockets);
            doors.filter(is_led).map(move |socket| (port.protocol, socket)).collect::<Vec<_>>()
        });
        let may_be = |ip: IpAddr| !ip.is_loopback() && !self.pods.contains(ip);
        sockets.filter(|(of, it)| may_be(it.ip()) && self.taken.has(*of, *it)).collect()
    }
}

/// What a Service adds to the table of a family. A port without endpoints is what no Service serves.
pub(super) fn of(family: Family, plan: &ServicePlan, spared: &Spared) -> Contents {
    let mut part = Contents::default();
    for port in &plan.ports {
        let endpoints = family.among(&port.endpoints, SocketAddr::ip);
        let inside = Way { family, plan, port, endpoints, name: "" };
        let own = plan.ips.iter().filter(|ip| family.has(**ip));
        let sockets = own.map(|ip| SocketAddr::new(*ip, port.port)).collect();
        inside.lead(&mut part, &Door { sockets, only: None }, Way::taking);
        let endpoints = family.among(&port.outside_endpoints, SocketAddr::ip);
        let outside = Way { family, plan, port, endpoints, name: "-outside" };
        for mut door in service::outside(plan, port) {
            let is_led = |it: &SocketAddr| family.has(it.ip()) && !spared.has(port.protocol, *it);
            door.sockets.retain(is_led);
            outside.lead(&mut part, &door, |way, part| way.admitting(part, &door));
        }
    }
    part
}

fn element(part: &mut Contents, set: &str, key: String, value: String) {
    part.elements.insert((set.to_owned(), key), value);
}

fn chain(part: &mut Contents, name: String, rules: Vec<String>) -> String {
    part.chains.insert(name.clone(), Chain { hook: None, rules });
    name
}

/// How connections to a port come to its endpoints.
struct Way<'a> {
    family: Family,
    plan: &'a ServicePlan,
    port: &'a PortPlan,
    endpoints: BTreeSet<SocketAddr>,
    /// What its chains' names end with.
    name: &'static str,
}

impl Way<'_> {
    /// Has a chain take what comes to the door.
    fn lead(
        &self,
        part: &mut Contents,
        door: &Door<'_>,
        take: impl Fn(&Self, &mut Contents) -> String,
    ) {
        if self.endpoints.is_empty() || door.sockets.is_empty() {
            return;
        }
        let (chain, protocol) = (take(self, part), self.port.protocol);
        for to in &door.sockets {
            let key = format!("{} . {protocol} . {}", to.ip(), to.port());
            element(part, SERVICES, key, format!("goto {chain}"));
            for (number, endpoint) in self.endpoints.iter().enumerate() {
                let value = format!("{} . {}", endpoint.ip(), endpoint.port());
                let key = format!("{} . {} . {number}", to.ip(), to.port());
                element(part, &endpoints(protocol), key, value);
            }
        }
        for endpoint in &self.endpoints {
            let same = format!("{} . {}", endpoint.ip(), endpoint.ip());
            element(part, HAIRPIN, same, String::new());
        }
    }

    /// The chain that takes what comes from outside. The endpoints of this host answer by it anyway: where there are no others,
    /// they see who comes. Who may not come by a load balancer meets what listens there: nobody.
    fn admitting(&self, part: &mut Contents, door: &Door<'_>) -> String {
        let mut taking = self.taking(part);
        if self.plan.outside.local_only {
            let rules = vec![unmark(), format!("goto {taking}")];
            taking = chain(part, format!("seen-{taking}"), rules);
        }
        let Some(ranges) = door.only else { return taking };
        let ip = self.family.word();
        let own = ranges.iter().filter(|range| self.family.has_network(range));
        let rules = own.map(|range| format!("{ip} saddr {range} goto {taking}")).collect();
        chain(part, format!("admit-{}", self.id()), rules)
    }

    /// The chain that takes connections.
    fn taking(&self, part: &mut Contents) -> String {
        let Way { family, plan, port, endpoints, .. } = self;
        let (ip, addresses) = (family.word(), family.type_of_addresses());
        let count = endpoints.len();
        let picking = format!("pick-{}-{count}", port.protocol);
        part.chains.insert(picking.clone(), pick(*family, port.protocol, count));
        let Some(affinity) = plan.affinity else { return picking };
        let (mut known, mut new) = (Vec::new(), Vec::new());
        for (number, endpoint) in endpoints.iter().enumerate() {
            // No name has colons.
            let address = endpoint.ip().to_string().replace(':', "-");
            let clients = format!("clients-{}-{address}-{}", self.id(), endpoint.port());
            let take = format!(
                "update @{clients} {{ {ip} saddr timeout {}s }} meta l4proto {} dnat to {endpoint}",
                affinity.as_secs(),
                port.protocol
            );
            known.push(format!("{ip} saddr @{clients} {take}"));
            // Each with the same chance, the last one for certain.
            new.push(format!("numgen random mod {} 0 {take}", count - number));
            let definition = format!("type {addresses}; flags dynamic,timeout; size {CLIENTS}");
            part.sets.insert(clients, Set { kind: SetKind::Set, definition });
        }
        let full = format!("goto {picking}");
        let rules = known.into_iter().chain(new).chain([full]).collect();
        chain(part, format!("stay-{}{}", self.id(), self.name), rules)
    }

    /// Clients are the same whichever way they come.
    fn id(&self) -> String {
        let PortPlan { protocol, port, .. } = self.port;
        format!("{protocol}-{port}-{}", short_hash(&self.plan.uid))
    }
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
fn pick(family: Family, protocol: Protocol, count: usize) -> Chain {
    let (ip, map) = (family.word(), endpoints(protocol));
    let rule = |of: &usize| {
        format!("dnat {ip} to {ip} daddr . {protocol} dport . numgen random mod {of} map @{map}")
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
