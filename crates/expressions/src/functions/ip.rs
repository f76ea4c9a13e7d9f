//! Addresses and networks (Kubernetes: `cel/library/ip.go`, `cidr.go`).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::{
    arguments::{opaque, text},
    signature::{Answer, Row},
};
use crate::{
    budget::EvaluationError,
    value::{Opaque, Value},
};

pub(super) const ROWS: &[Row] = &[
    ("ip(string): net.IP", |_, a| Ok(Value::opaque(Address(address_of(text(a, 0)?)?)))),
    ("isIP(string): bool", |_, a| Ok(Value::Bool(address_of(text(a, 0)?).is_ok()))),
    ("ip.isCanonical(string): bool", |_, a| {
        let text = text(a, 0)?;
        Ok(Value::Bool(address_of(text)?.to_string() == **text))
    }),
    ("(net.IP).family(): int", |_, a| Ok(Value::Int(if address(a, 0)?.is_ipv4() { 4 } else { 6 }))),
    ("(net.IP).isUnspecified(): bool", |_, a| is(a, IpAddr::is_unspecified)),
    ("(net.IP).isLoopback(): bool", |_, a| is(a, IpAddr::is_loopback)),
    ("(net.IP).isLinkLocalMulticast(): bool", |_, a| is(a, is_link_local_multicast)),
    ("(net.IP).isLinkLocalUnicast(): bool", |_, a| is(a, is_link_local)),
    ("(net.IP).isGlobalUnicast(): bool", |_, a| is(a, is_global)),
    ("cidr(string): net.CIDR", |_, a| Ok(Value::opaque(Network(network_of(text(a, 0)?)?)))),
    ("isCIDR(string): bool", |_, a| Ok(Value::Bool(network_of(text(a, 0)?).is_ok()))),
    ("(net.CIDR).containsIP(string): bool", |_, a| {
        Ok(Value::Bool(network(a, 0)?.contains(&address_of(text(a, 1)?)?)))
    }),
    ("(net.CIDR).containsIP(net.IP): bool", |_, a| {
        Ok(Value::Bool(network(a, 0)?.contains(&address(a, 1)?)))
    }),
    ("(net.CIDR).containsCIDR(string): bool", |_, a| {
        Ok(Value::Bool(network(a, 0)?.contains(&network_of(text(a, 1)?)?)))
    }),
    ("(net.CIDR).containsCIDR(net.CIDR): bool", |_, a| {
        Ok(Value::Bool(network(a, 0)?.contains(&network(a, 1)?)))
    }),
    ("(net.CIDR).ip(): net.IP", |_, a| Ok(Value::opaque(Address(network(a, 0)?.addr())))),
    ("(net.CIDR).masked(): net.CIDR", |_, a| Ok(Value::opaque(Network(network(a, 0)?.trunc())))),
    ("(net.CIDR).prefixLength(): int", |_, a| {
        Ok(Value::Int(i64::from(network(a, 0)?.prefix_len())))
    }),
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Address(pub(crate) IpAddr);

impl Opaque for Address {
    fn type_name(&self) -> &str {
        "net.IP"
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>() == Some(self)
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Network(pub(crate) IpNet);

impl Opaque for Network {
    fn type_name(&self) -> &str {
        "net.CIDR"
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>() == Some(self)
    }
}

fn address(args: &[Value], i: usize) -> Result<IpAddr, EvaluationError> {
    opaque::<Address>(args, i).map(|it| it.0)
}

fn network(args: &[Value], i: usize) -> Result<IpNet, EvaluationError> {
    opaque::<Network>(args, i).map(|it| it.0)
}

/// No address of version 4 in the clothes of version 6.
fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(it) if it.to_ipv4_mapped().is_some())
}

fn address_of(text: &str) -> Result<IpAddr, EvaluationError> {
    let fault = |why: &str| {
        let shown: String = text.chars().take(64).collect();
        EvaluationError::new(format_args!(
            "IP Address {shown:?} parse error during conversion from string: {why}"
        ))
    };
    let address: IpAddr = text.parse().map_err(|_| fault("unable to parse IP"))?;
    if is_mapped(address) {
        return Err(fault("IPv4-mapped IPv6 address is not allowed"));
    }
    Ok(address)
}

fn network_of(text: &str) -> Result<IpNet, EvaluationError> {
    let fault = |why: &str| {
        EvaluationError::new(format_args!(
            "network address parse error during conversion from string: {why}"
        ))
    };
    let network: IpNet = text.parse().map_err(|_| fault("invalid CIDR address"))?;
    if is_mapped(network.addr()) {
        return Err(fault("IPv4-mapped IPv6 address is not allowed"));
    }
    Ok(network)
}

fn is(args: &[Value], is: fn(&IpAddr) -> bool) -> Answer {
    Ok(Value::Bool(is(&address(args, 0)?)))
}

fn is_link_local_multicast(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => it.octets()[..3] == [224, 0, 0],
        IpAddr::V6(it) => it.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(it) => it.is_link_local(),
        IpAddr::V6(it) => it.is_unicast_link_local(),
    }
}

fn is_global(address: &IpAddr) -> bool {
    *address != IpAddr::V4(Ipv4Addr::BROADCAST)
        && !address.is_unspecified()
        && !address.is_loopback()
        && !address.is_multicast()
        && !is_link_local(address)
}
