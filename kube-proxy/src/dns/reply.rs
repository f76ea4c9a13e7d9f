//! What is answered to a question: a function from the zone.

use std::{collections::BTreeSet, net::IpAddr};

use hickory_proto::{
    ProtoError,
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT},
    },
};

use super::{
    records::{EndpointRecord, NamedPort, Records},
    zone::{Meaning, Pointer, Zone, reversed},
};

/// For how many seconds a record may be kept, and that there is none.
const TTL: u32 = 5;
/// Of the specification.
const VERSION: &str = "1.0.1";
/// How many aliases are followed.
const ALIASES: usize = 8;

/// An answer.
#[derive(Debug, Default, PartialEq)]
pub struct Reply {
    /// How the question ends.
    pub outcome: Outcome,
    /// The records that were asked for, aliases on the way to them first.
    pub answers: Vec<Record>,
    /// What the client will ask for next.
    pub additionals: Vec<Record>,
    /// Says for how long there is nothing.
    pub soa: Option<Record>,
}

/// How a question ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// There is such a name; without records none of the type that was asked for.
    #[default]
    Found,
    /// There is no such name.
    NotFound,
    /// It is not known yet.
    NotYet,
    /// Others know of this name.
    Onward(Name),
}

/// Answers a question as far as the zone goes.
#[must_use]
pub fn reply(zone: &Zone, name: &Name, kind: RecordType) -> Reply {
    let mut reply = Reply::default();
    let mut name = name.clone();
    for _ in 0..=ALIASES {
        let meaning = zone.meaning(&name);
        if meaning == Meaning::Elsewhere {
            reply.outcome = Outcome::Onward(name);
            return reply;
        }
        let is_unknown = match meaning {
            Meaning::Host(addresses) => addresses.is_empty(),
            Meaning::MaybeHost => true,
            _ => false,
        };
        if !zone.is_complete() && !is_fixed(&meaning) || is_unknown {
            return Reply { outcome: Outcome::NotYet, ..Reply::default() };
        }
        if let Meaning::Service(Records::External(target)) = meaning
            && let Ok(target) = absolute(target)
        {
            reply.answers.push(record(&name, RData::CNAME(CNAME(target.clone()))));
            if kind == RecordType::CNAME {
                return reply;
            }
            name = target;
            continue;
        }
        end(zone, &name, kind, &meaning, &mut reply);
        return reply;
    }
    // They go round in circles.
    Reply { outcome: Outcome::NotYet, ..Reply::default() }
}

/// Known without any list.
fn is_fixed(meaning: &Meaning<'_>) -> bool {
    matches!(meaning, Meaning::Apex | Meaning::Server | Meaning::Version | Meaning::Pod(_))
}

/// The last name, whose records are wanted.
fn end(zone: &Zone, name: &Name, kind: RecordType, meaning: &Meaning<'_>, reply: &mut Reply) {
    if *meaning == Meaning::Nothing || *meaning == Meaning::Pointers(None) {
        reply.outcome = Outcome::NotFound;
        reply.soa = Some(soa(zone, name));
        return;
    }
    let Ok((answers, additionals)) = found(zone, name, kind, meaning) else {
        reply.outcome = Outcome::NotFound;
        return;
    };
    if answers.is_empty() {
        reply.soa = Some(soa(zone, name));
    }
    reply.answers.extend(answers);
    reply.additionals = additionals;
}

type Sections = (Vec<Record>, Vec<Record>);

/// # Errors
///
/// A name would be longer than names may be: who could not be asked for has no records.
fn found(
    zone: &Zone,
    name: &Name,
    kind: RecordType,
    meaning: &Meaning<'_>,
) -> Result<Sections, ProtoError> {
    let answers = match (meaning, kind) {
        (Meaning::Apex, RecordType::SOA) => vec![soa(zone, name)],
        (Meaning::Apex, RecordType::NS) => vec![record(name, RData::NS(NS(server(zone)?)))],
        (Meaning::Version, RecordType::TXT) => {
            vec![record(name, RData::TXT(TXT::new(vec![VERSION.to_owned()])))]
        }
        (meaning, RecordType::A | RecordType::AAAA) => {
            let all = addresses(zone, meaning).into_iter().map(|it| of_address(name, it));
            all.filter(|record| record.record_type() == kind).collect()
        }
        (Meaning::Pointers(Some(pointers)), RecordType::PTR) => {
            let pointer = |pointer| Ok(record(name, RData::PTR(PTR(pointed(zone, pointer)?))));
            pointers.iter().map(pointer).collect::<Result<_, ProtoError>>()?
        }
        (Meaning::Port { records, port, protocol }, RecordType::SRV) => {
            let is_meant = |it: &&NamedPort| it.name == *port && it.protocol == *protocol;
            return services(name, records, is_meant);
        }
        _ => Vec::new(),
    };
    Ok((answers, Vec::new()))
}

/// Of both families.
fn addresses(zone: &Zone, meaning: &Meaning<'_>) -> BTreeSet<IpAddr> {
    match meaning {
        Meaning::Server => [zone.server].into(),
        Meaning::Pod(address) => [*address].into(),
        Meaning::Host(addresses) => (*addresses).clone(),
        Meaning::Service(records) => records.addresses().map(|(address, _)| address).collect(),
        Meaning::Endpoint(endpoints) => endpoints.iter().map(|it| it.address).collect(),
        _ => BTreeSet::new(),
    }
}

fn of_address(name: &Name, address: IpAddr) -> Record {
    let data = match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    };
    record(name, data)
}

/// SRV records, and the addresses of those that they name.
fn services(
    name: &Name,
    records: &Records,
    is_meant: impl Fn(&&NamedPort) -> bool,
) -> Result<Sections, ProtoError> {
    let (mut answers, mut additionals) = (BTreeSet::new(), BTreeSet::new());
    let service = name.trim_to(usize::from(name.num_labels()) - 2);
    match records {
        Records::Virtual { addresses, ports } => {
            for port in ports.iter().filter(&is_meant) {
                answers.insert((port.number, service.clone()));
                additionals.extend(addresses.iter().map(|address| (service.clone(), *address)));
            }
        }
        Records::Headless(endpoints) => {
            for EndpointRecord { hostname, address, ports } in endpoints {
                let target = service.prepend_label(hostname.as_str())?;
                for port in ports.iter().filter(&is_meant) {
                    answers.insert((port.number, target.clone()));
                    additionals.insert((target.clone(), *address));
                }
            }
        }
        Records::External(_) => {}
    }
    let answers = answers.into_iter().map(|(number, target)| {
        // All alike.
        record(name, RData::SRV(SRV::new(0, 100, number, target)))
    });
    let additionals = additionals.into_iter().map(|(it, address)| of_address(&it, address));
    Ok((answers.collect(), additionals.collect()))
}

fn pointed(zone: &Zone, pointer: &Pointer) -> Result<Name, ProtoError> {
    let Pointer { namespace, service, hostname } = pointer;
    let labels = hostname.iter().map(String::as_str).chain([service, namespace, "svc"]);
    Name::from_labels(labels.map(str::as_bytes))?.append_domain(&zone.origin)
}

fn server(zone: &Zone) -> Result<Name, ProtoError> {
    zone.origin.prepend_label("dns")?.prepend_label("ns")
}

/// Of the part of the tree in which the name is.
fn soa(zone: &Zone, name: &Name) -> Record {
    let within = match zone.origin.zone_of(name) {
        true => zone.origin.clone(),
        // `10.in-addr.arpa`, `d.f.ip6.arpa`: who has the addresses, has the names.
        false => match reversed(name) {
            Some(IpAddr::V4(_)) => name.trim_to(3),
            Some(IpAddr::V6(_)) => name.trim_to(4),
            // A host of DNS objects.
            None => name.clone(),
        },
    };
    let of = |label: &str| zone.origin.prepend_label(label).unwrap_or_else(|_| zone.origin.clone());
    let server = server(zone).unwrap_or_else(|_| zone.origin.clone());
    record(&within, RData::SOA(SOA::new(server, of("hostmaster"), 1, 7200, 1800, 86_400, TTL)))
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL, data)
}

/// Another name is always meant as a whole.
fn absolute(name: &str) -> Result<Name, ProtoError> {
    let mut name = Name::from_ascii(name)?;
    name.set_fqdn(true);
    Ok(name)
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
