//! Ranges of addresses and what is left of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::family::Family;

/// The addresses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub first: IpAddr,
    /// The last.
    pub last: IpAddr,
}

impl Range {
    /// All there are of a family.
    pub fn all(family: Family) -> Self {
        let all_ones = Ipv6Addr::from_bits(u128::MAX);
        match family {
            Family::Ipv4 => {
                let (first, last) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST);
                Range { first: first.into(), last: last.into() }
            }
            Family::Ipv6 => Range { first: Ipv6Addr::UNSPECIFIED.into(), last: all_ones.into() },
        }
    }

    /// That of its addresses.
    pub fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// Whether the address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

/// A network less some parts of it.
pub fn block(cidr: IpNet, except: &[IpNet]) -> Vec<Range> {
    let mut except: Vec<_> = except.iter().filter(|part| cidr.contains(*part)).collect();
    except.sort_by_key(|part| part.network());
    let family = Family::of(cidr.addr());
    let mut left = Vec::new();
    // Nothing after the last address that there is.
    let mut next = Some(bits(cidr.network()));
    for part in except {
        let (first, last) = (bits(part.network()), bits(part.broadcast()));
        let before = next.zip(first.checked_sub(1));
        left.extend(before.and_then(|(next, last)| between(family, next, last)));
        next = next.and_then(|next| Some(next.max(last.checked_add(1)?)));
    }
    left.extend(next.and_then(|next| between(family, next, bits(cidr.broadcast()))));
    left
}

/// What is in any of the ranges, as few of them as can be, in order.
pub fn union(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        let after = |last: &Range| bits(last.last).saturating_add(1);
        match merged.last_mut() {
            Some(last) if last.family() == range.family() && bits(range.first) <= after(last) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(ip) => ip.to_bits().into(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

fn between(family: Family, first: u128, last: u128) -> Option<Range> {
    let address = |bits: u128| match family {
        Family::Ipv4 => u32::try_from(bits).ok().map(|bits| Ipv4Addr::from_bits(bits).into()),
        Family::Ipv6 => Some(Ipv6Addr::from_bits(bits).into()),
    };
    (first <= last).then_some(())?;
    Some(Range { first: address(first)?, last: address(last)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(ranges: &[Range]) -> String {
        ranges.iter().map(|r| format!("{}-{}", r.first, r.last)).collect::<Vec<_>>().join(" ")
    }

    fn check(cidr: &str, except: &[&str], expected: &str) {
        let except: Vec<_> = except.iter().map(|part| part.parse().unwrap()).collect();
        assert_eq!(shown(&block(cidr.parse().unwrap(), &except)), expected);
    }

    #[test]
    fn a_block_less_its_exceptions() {
        check("10.0.0.0/24", &[], "10.0.0.0-10.0.0.255");
        check("10.0.0.0/24", &["10.0.0.0/25"], "10.0.0.128-10.0.0.255");
        check("10.0.0.0/24", &["10.0.0.128/25"], "10.0.0.0-10.0.0.127");
        check(
            "10.0.0.0/24",
            &["10.0.0.64/26", "10.0.0.8/32"],
            "10.0.0.0-10.0.0.7 10.0.0.9-10.0.0.63 10.0.0.128-10.0.0.255",
        );
        check("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.128/25"], "");
        check("10.0.0.0/24", &["10.0.0.0/25", "10.0.0.64/26"], "10.0.0.128-10.0.0.255");
        check("0.0.0.0/0", &["255.255.255.255/32"], "0.0.0.0-255.255.255.254");
        check("0.0.0.0/0", &["192.0.2.0/24"], "0.0.0.0-192.0.1.255 192.0.3.0-255.255.255.255");
        let last = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        check("::/0", &[], &format!("::-{last}"));
        check("::/0", &["8000::/1"], "::-7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        check(
            "2001:db8::/126",
            &["2001:db8::2/128", "10.0.0.0/8"],
            "2001:db8::-2001:db8::1 2001:db8::3-2001:db8::3",
        );
    }

    #[test]
    fn ranges_that_meet_are_one() {
        let range = |first: &str, last: &str| Range {
            first: first.parse().unwrap(),
            last: last.parse().unwrap(),
        };
        let ranges = vec![
            range("10.0.1.0", "10.0.1.255"),
            range("10.0.0.0", "10.0.0.255"),
            range("10.0.0.7", "10.0.0.9"),
            range("10.0.3.0", "255.255.255.255"),
            range("255.255.255.255", "255.255.255.255"),
            range("::1", "::ffff"),
        ];
        let expected = "10.0.0.0-10.0.1.255 10.0.3.0-255.255.255.255 ::1-::ffff";
        assert_eq!(shown(&union(ranges)), expected);
    }
}
