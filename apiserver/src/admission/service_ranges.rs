//! The ranges out of which services get virtual IPs: those of `--service-cidr`, and those of `ServiceCIDR`s that are ready
//! (Kubernetes: `ipallocator.MetaAllocator`).

use std::{net::IpAddr, ops::Range};

use api_machinery::IpFamily;
use api_types::api::networking::v1::ServiceCIDR;
use component::network::Networks;
use ipnet::IpNet;

use crate::objects::Objects;

/// The object of the ranges of `--service-cidr`, which count whatever this one says: it may be of a server of before.
pub(crate) const DEFAULT: &str = "kubernetes";

/// Each once; `own` are the first.
pub(crate) fn all(objects: Objects<'_>, own: Networks) -> Vec<IpNet> {
    with(own, &there(objects), is_ready)
}

/// Those too that are to go or are not ready yet: Services may have addresses of them.
pub(crate) fn known(objects: Objects<'_>, own: Networks) -> Vec<IpNet> {
    with(own, &there(objects), is_heeded)
}

fn there(objects: Objects<'_>) -> Vec<ServiceCIDR> {
    objects.all("networking.k8s.io", "servicecidrs")
}

fn with(own: Networks, there: &[ServiceCIDR], picked: fn(&ServiceCIDR) -> bool) -> Vec<IpNet> {
    let mut ranges: Vec<_> = own.iter().collect();
    for range in there.iter().filter(|range| picked(range)).flat_map(nets) {
        if !ranges.iter().any(|known| known.contains(&range)) {
            ranges.push(range);
        }
    }
    ranges
}

fn is_heeded(range: &ServiceCIDR) -> bool {
    range.metadata.name.as_deref() != Some(DEFAULT)
}

/// One that is to go gives no more.
fn is_ready(range: &ServiceCIDR) -> bool {
    let status = range.status.as_ref().and_then(|status| status.conditions.as_ref());
    let mut told = status.into_iter().flatten();
    range.metadata.deletion_timestamp.is_none()
        && is_heeded(range)
        && told.any(|told| told.type_ == "Ready" && told.status == "True")
}

/// The smallest ones have no address that is given; of IPv6 Kubernetes takes none larger than a /64.
fn nets(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    let cidrs = range.spec.as_ref().and_then(|spec| spec.cidrs.as_ref());
    let nets = cidrs.into_iter().flatten().filter_map(|cidr| cidr.parse::<IpNet>().ok());
    let is_one = |net: &IpNet| match net {
        IpNet::V4(net) => net.prefix_len() <= 30,
        IpNet::V6(net) => (64..=127).contains(&net.prefix_len()),
    };
    nets.filter(is_one).map(|net| net.trunc())
}

/// Those of the family.
pub(super) fn of_family(ranges: &[IpNet], family: IpFamily) -> Vec<IpNet> {
    ranges.iter().copied().filter(|range| IpFamily::of(range.addr()) == family).collect()
}

/// What is given of a range, as numbers: neither its network's own address nor, of IPv4, the broadcast address.
fn numbers(range: &IpNet) -> Range<u128> {
    match range {
        IpNet::V4(range) => {
            let (first, last) = (range.network().to_bits(), range.broadcast().to_bits());
            u128::from(first) + 1..u128::from(last)
        }
        // The last of all addresses is nobody's.
        IpNet::V6(range) => {
            range.network().to_bits() + 1..range.broadcast().to_bits().saturating_add(1)
        }
    }
}

fn count(range: &IpNet) -> u128 {
    let Range { start, end } = numbers(range);
    end.saturating_sub(start)
}

/// How many addresses they have.
pub(super) fn size(ranges: &[IpNet]) -> u128 {
    ranges.iter().map(count).fold(0, u128::saturating_add)
}

/// Every address of the ranges, beginning with that of this number.
pub(super) fn from(ranges: &[IpNet], start: u128) -> impl Iterator<Item = IpAddr> {
    let size = size(ranges);
    (start..size).chain(0..start.min(size)).filter_map(|number| nth(ranges, number))
}

fn nth(ranges: &[IpNet], mut number: u128) -> Option<IpAddr> {
    for range in ranges {
        let count = count(range);
        if number < count {
            let number = numbers(range).start + number;
            return Some(match range {
                IpNet::V4(_) => IpAddr::V4(u32::try_from(number).ok()?.into()),
                IpNet::V6(_) => IpAddr::V6(number.into()),
            });
        }
        number -= count;
    }
    None
}

/// Whether the address is one of the range's that are given.
pub(super) fn can_be_given(range: IpNet, ip: IpAddr) -> bool {
    let number = match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    range.contains(&ip) && numbers(&range).contains(&number)
}

pub(super) fn shown(ranges: &[IpNet]) -> String {
    ranges.iter().map(IpNet::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_range_gives_out_neither_its_network_nor_its_broadcast_address() {
        let check = |range: &str, expected: &[&str]| {
            let range: IpNet = range.parse().unwrap();
            let given: Vec<_> = from(&[range], 0).map(|ip| ip.to_string()).collect();
            assert_eq!(given, expected);
            let bounds = [range.network(), range.broadcast()];
            let given = bounds.map(|ip| can_be_given(range, ip));
            assert_eq!(given, [false, range.network().is_ipv6()], "{range}");
        };
        check("10.96.0.76/30", &["10.96.0.77", "10.96.0.78"]);
        check("fd00:96::8/126", &["fd00:96::9", "fd00:96::a", "fd00:96::b"]);
        let range = "10.96.0.76/30".parse().unwrap();
        assert!(!can_be_given(range, "10.96.0.81".parse().unwrap()));
        assert!(!can_be_given(range, "::10.96.0.77".parse().unwrap()));
    }

    #[test]
    fn every_address_comes_once_from_wherever_it_begins() {
        let ranges = ranges(&["10.0.0.0/30", "10.0.1.0/29", "fd00::/125", "10.0.2.0/30"]);
        let all: Vec<_> = from(&ranges, 0).collect();
        assert_eq!((all.len() as u128, all.len()), (size(&ranges), 2 + 6 + 7 + 2));
        for start in 0..all.len() {
            let (before, after) = all.split_at(start);
            assert_eq!(from(&ranges, start as u128).collect::<Vec<_>>(), [after, before].concat());
        }
    }

    #[test]
    fn of_a_range_that_nobody_can_count_through_addresses_come_from_anywhere() {
        let ranges = ranges(&["fd00:96::/64"]);
        let last = size(&ranges) - 1;
        let mut given = from(&ranges, last).map(|ip| ip.to_string());
        let two = (given.next(), given.next());
        assert_eq!(two, (Some("fd00:96::ffff:ffff:ffff:ffff".into()), Some("fd00:96::1".into())));
    }

    #[test]
    fn a_range_that_is_not_ready_or_is_to_go_or_was_this_server_s_gives_nothing() {
        let range = |metadata: &str, status: &str| -> ServiceCIDR {
            let text = format!(
                r#"{{"metadata":{metadata},"status":{{"conditions":[{{"type":"Ready","status":"{status}","reason":"","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}}]}}}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        assert!(is_ready(&range("{}", "True")));
        assert!(!is_ready(&range("{}", "False")));
        let going = r#"{"deletionTimestamp":"2026-01-01T00:00:00Z"}"#;
        assert!(!is_ready(&range(going, "True")));
        assert!(!is_ready(&range(r#"{"name":"kubernetes"}"#, "True")));
        assert!(!is_ready(&ServiceCIDR::default()));
    }

    #[test]
    fn a_range_of_too_few_addresses_or_too_many_gives_none() {
        let range = |cidr: &str| -> ServiceCIDR {
            serde_json::from_str(&format!(r#"{{"metadata":{{}},"spec":{{"cidrs":["{cidr}"]}}}}"#))
                .unwrap()
        };
        let given = |cidr: &str| shown(&nets(&range(cidr)).collect::<Vec<_>>());
        for cidr in ["10.0.0.8/30", "fd00::8/127", "fd00::/64"] {
            assert_eq!(given(cidr), cidr);
        }
        for cidr in ["10.0.0.8/31", "10.0.0.8/32", "fd00::8/128", "fd00::/63"] {
            assert_eq!(given(cidr), "");
        }
    }

    #[test]
    fn services_may_have_addresses_of_ranges_that_give_none_any_more() {
        let range = |metadata: &str, cidr: &str| -> ServiceCIDR {
            let text = format!(r#"{{"metadata":{metadata},"spec":{{"cidrs":["{cidr}"]}}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        let going = r#"{"name":"a","deletionTimestamp":"2026-01-01T00:00:00Z"}"#;
        let there = [
            range(going, "10.0.1.0/24"),
            range(r#"{"name":"b"}"#, "fd00:2::/112"),
            range(r#"{"name":"kubernetes"}"#, "10.0.3.0/24"),
        ];
        let own: Networks = "10.0.0.0/24,fd00:1::/112".parse().unwrap();
        let known = shown(&with(own, &there, is_heeded));
        assert_eq!(known, "10.0.0.0/24, fd00:1::/112, 10.0.1.0/24, fd00:2::/112");
        assert_eq!(with(own, &there, is_ready), own.iter().collect::<Vec<_>>());
        let of_v6 = of_family(&with(own, &there, is_heeded), IpFamily::V6);
        assert_eq!(shown(&of_v6), "fd00:1::/112, fd00:2::/112");
    }
}
