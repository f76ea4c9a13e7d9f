//! All that DNS tells by itself: the names of Services, by their objects, and which name is meant by a question.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use hickory_proto::{ProtoError, rr::Name};
use ipnet::IpNet;

use super::records::{EndpointRecord, Records};
use crate::world::Hosts;

/// The names of a cluster.
#[derive(Debug)]
pub struct Zone {
    /// `cluster.local.`
    pub(super) origin: Name,
    /// Where this server is reached.
    pub(super) server: IpAddr,
    /// Of these, nobody else knows names.
    pub(super) ranges: Vec<IpNet>,
    /// Before the first complete lists, what is not there may yet come.
    complete: bool,
    /// By namespace and name.
    services: HashMap<String, BTreeMap<String, Records>>,
    /// Who is told of when an address is asked for.
    pointers: HashMap<IpAddr, BTreeSet<Pointer>>,
    namespaces: BTreeSet<String>,
    hosts: KnownHosts,
}

/// What is known of the hosts of DNS objects.
#[derive(Debug)]
enum KnownHosts {
    /// Nothing.
    Nothing,
    /// Their names as they were when an API server answered last.
    Earlier(BTreeSet<String>),
    /// All of them.
    Present(Hosts),
}

/// A name that an address has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Pointer {
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) hostname: Option<String>,
}

/// Whose a name is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning<'a> {
    /// The domain itself.
    Apex,
    /// The name of this server.
    Server,
    /// The version of the specification.
    Version,
    /// Nothing but that there are names below it.
    Inner,
    /// A Service.
    Service(&'a Records),
    /// A port of a Service, by name and protocol, and where its records lead, beside those of endpoints.
    Port { records: &'a Records, port: String, protocol: String },
    /// An endpoint of a headless Service, by one or several addresses.
    Endpoint(Vec<&'a EndpointRecord>),
    /// A pod, by its address.
    Pod(IpAddr),
    /// An address, by what it is called.
    Pointers(Option<&'a BTreeSet<Pointer>>),
    /// A host of DNS objects, by its addresses if these are known.
    Host(&'a BTreeSet<IpAddr>),
    /// A name that may be a host of DNS objects, which are not known yet.
    MaybeHost,
    /// There is no such name.
    Nothing,
    /// Others know.
    Elsewhere,
}

impl Zone {
    /// With no names yet. `ranges`: those of Services and pods.
    ///
    /// # Errors
    ///
    /// `domain` is no domain name.
    pub fn new(domain: &str, server: IpAddr, ranges: Vec<IpNet>) -> Result<Self, ProtoError> {
        let mut origin = Name::from_ascii(domain.to_ascii_lowercase())?;
        origin.set_fqdn(true);
        Ok(Zone {
            origin,
            server,
            ranges,
            complete: false,
            services: HashMap::new(),
            pointers: HashMap::new(),
            namespaces: BTreeSet::new(),
            hosts: KnownHosts::Nothing,
        })
    }

    /// These are all Services.
    pub fn replace(&mut self, all: impl IntoIterator<Item = ((String, String), Records)>) {
        (self.services, self.pointers) = (HashMap::new(), HashMap::new());
        all.into_iter().for_each(|((namespace, name), records)| {
            self.put(&namespace, &name, Some(records));
        });
        self.complete = true;
    }

    /// These are all namespaces.
    pub fn replace_namespaces(&mut self, all: BTreeSet<String>) {
        self.namespaces = all;
    }

    /// These were the hosts of DNS objects before this server began: until all are known, no other name is held to be one.
    #[must_use]
    pub fn with_earlier_hosts(mut self, names: BTreeSet<String>) -> Self {
        self.hosts = KnownHosts::Earlier(names);
        self
    }

    /// These are all hosts of DNS objects.
    pub fn replace_hosts(&mut self, hosts: Hosts) {
        self.hosts = KnownHosts::Present(hosts);
    }

    /// This is one of the Services, or there is no such one.
    pub fn put(&mut self, namespace: &str, name: &str, records: Option<Records>) {
        let before = match self.services.get_mut(namespace) {
            Some(services) => services.remove(name),
            None => None,
        };
        if let Some(before) = before {
            self.unpoint(namespace, name, &before);
        }
        if let Some(records) = records {
            for (address, hostname) in records.addresses() {
                let pointer = pointer(namespace, name, hostname);
                self.pointers.entry(address).or_default().insert(pointer);
            }
            let services = self.services.entry(namespace.to_owned()).or_default();
            services.insert(name.to_owned(), records);
        } else if self.services.get(namespace).is_some_and(BTreeMap::is_empty) {
            self.services.remove(namespace);
        }
    }

    fn unpoint(&mut self, namespace: &str, name: &str, records: &Records) {
        for (address, hostname) in records.addresses() {
            let Some(pointers) = self.pointers.get_mut(&address) else { continue };
            pointers.remove(&pointer(namespace, name, hostname));
            if pointers.is_empty() {
                self.pointers.remove(&address);
            }
        }
    }

    /// Whether what is not here is not there.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// What is asked for.
    pub(super) fn meaning(&self, name: &Name) -> Meaning<'_> {
        if let Some(address) = reversed(name) {
            return self.pointers_of(address);
        }
        if !self.origin.zone_of(name) {
            return self.host(name);
        }
        let labels = labels(name, self.origin.num_labels());
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels[..] {
            [] => Meaning::Apex,
            ["svc" | "pod" | "dns"] => Meaning::Inner,
            ["ns", "dns"] => Meaning::Server,
            ["dns-version"] => Meaning::Version,
            [namespace, "svc" | "pod"] if self.has_namespace(namespace) => Meaning::Inner,
            [address, namespace, "pod"] if self.has_namespace(namespace) => pod(address),
            [service, namespace, "svc"] => self.service(namespace, service),
            [label, service, namespace, "svc"] => self.below(namespace, service, label),
            [port, protocol, service, namespace, "svc"] => {
                self.port(namespace, service, port, protocol)
            }
            _ => Meaning::Nothing,
        }
    }

    /// This name and no other: what is beside it and below it is asked of others.
    fn host(&self, name: &Name) -> Meaning<'_> {
        let is_one_of = |names: &BTreeSet<String>| {
            !names.is_empty() && names.contains(&labels(name, 0).join("."))
        };
        match &self.hosts {
            KnownHosts::Nothing => Meaning::MaybeHost,
            KnownHosts::Earlier(names) if is_one_of(names) => Meaning::MaybeHost,
            KnownHosts::Present(Hosts { names, router }) if is_one_of(names) => {
                Meaning::Host(router)
            }
            KnownHosts::Earlier(_) | KnownHosts::Present(_) => Meaning::Elsewhere,
        }
    }

    fn pointers_of(&self, address: IpAddr) -> Meaning<'_> {
        match self.pointers.get(&address) {
            None if !self.ranges.iter().any(|range| range.contains(&address)) => Meaning::Elsewhere,
            pointers => Meaning::Pointers(pointers),
        }
    }

    fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name) || self.services.contains_key(name)
    }

    fn records(&self, namespace: &str, service: &str) -> Option<&Records> {
        let records = self.services.get(namespace)?.get(service)?;
        let is_empty = matches!(records, Records::Headless(endpoints) if endpoints.is_empty());
        (!is_empty).then_some(records)
    }

    fn service(&self, namespace: &str, service: &str) -> Meaning<'_> {
        self.records(namespace, service).map_or(Meaning::Nothing, Meaning::Service)
    }

    /// One endpoint, or the `_tcp` below which ports are.
    fn below(&self, namespace: &str, service: &str, label: &str) -> Meaning<'_> {
        let Some(records) = self.records(namespace, service) else { return Meaning::Nothing };
        if let Some(protocol) = label.strip_prefix('_') {
            let has_one = records.ports().any(|port| port.protocol == protocol);
            return if has_one { Meaning::Inner } else { Meaning::Nothing };
        }
        let Records::Headless(endpoints) = records else { return Meaning::Nothing };
        let named: Vec<_> = endpoints.iter().filter(|e| e.hostname == label).collect();
        if named.is_empty() { Meaning::Nothing } else { Meaning::Endpoint(named) }
    }

    fn port(&self, namespace: &str, service: &str, port: &str, protocol: &str) -> Meaning<'_> {
        let records = self.records(namespace, service);
        let labels = port.strip_prefix('_').zip(protocol.strip_prefix('_'));
        let (Some(records), Some((port, protocol))) = (records, labels) else {
            return Meaning::Nothing;
        };
        let (port, protocol) = (port.to_owned(), protocol.to_owned());
        match records.ports().any(|named| named.name == port && named.protocol == protocol) {
            true => Meaning::Port { records, port, protocol },
            false => Meaning::Nothing,
        }
    }
}

fn pointer(namespace: &str, service: &str, hostname: Option<&str>) -> Pointer {
    Pointer {
        namespace: namespace.to_owned(),
        service: service.to_owned(),
        hostname: hostname.map(str::to_owned),
    }
}

/// Those of a name above the last `but`, in lower case.
fn labels(name: &Name, but: u8) -> Vec<String> {
    let wanted = usize::from(name.num_labels().saturating_sub(but));
    let label = |label: &[u8]| String::from_utf8_lossy(label).to_ascii_lowercase();
    name.iter().take(wanted).map(label).collect()
}

/// The address of `4.3.2.1.in-addr.arpa`, or of 32 digits below `ip6.arpa`.
pub(super) fn reversed(name: &Name) -> Option<IpAddr> {
    let labels = labels(name, 0);
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    match labels[..] {
        [d, c, b, a, "in-addr", "arpa"] => {
            format!("{a}.{b}.{c}.{d}").parse::<Ipv4Addr>().ok().map(IpAddr::V4)
        }
        [ref digits @ .., "ip6", "arpa"] => reversed_digits(digits).map(IpAddr::V6),
        _ => None,
    }
}

fn reversed_digits(digits: &[&str]) -> Option<Ipv6Addr> {
    if digits.len() != 32 {
        return None;
    }
    let digit = |label: &&str| label.chars().next().filter(|_| label.len() == 1)?.to_digit(16);
    let add = |number: u128, label| Some(number << 4 | u128::from(digit(label)?));
    digits.iter().rev().try_fold(0, add).map(Ipv6Addr::from_bits)
}

/// Three dashes are for three dots, if there is nothing but numbers between them.
fn pod(label: &str) -> Meaning<'static> {
    let v4 = label.replace('-', ".").parse().map(IpAddr::V4);
    let address = v4.or_else(|_| label.replace('-', ":").parse().map(IpAddr::V6));
    address.map_or(Meaning::Nothing, Meaning::Pod)
}

#[cfg(test)]
#[path = "zone_tests.rs"]
mod tests;
