//! Ranges of addresses and what is left of them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// The addresses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// The first.
    pub first: Ipv4Addr,
    /// The last.
    pub last: Ipv4Addr,
}

impl Range {
    /// All there are.
    pub const ALL: Range = Range { first: Ipv4Addr::UNSPECIFIED, last: Ipv4Addr::BROADCAST };

    /// Whether the address is one of them.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

/// A network less some parts of it.
pub fn block(cidr: Ipv4Net, except: &[Ipv4Net]) -> Vec<Range> {
    let mut except: Vec<_> = except.iter().filter(|part| cidr.contains(*part)).collect();
    except.sort_by_key(|part| part.network());
    let mut left = Vec::new();
    // Beyond the last address, at the end.
    let mut next = u64::from(cidr.network().to_bits());
    for part in except {
        let (first, last) = (part.network().to_bits(), part.broadcast().to_bits());
        left.extend(between(next, u64::from(first)));
        next = next.max(u64::from(last) + 1);
    }
    left.extend(between(next, u64::from(cidr.broadcast().to_bits()) + 1));
    left
}

/// What is in any of the ranges, as few of them as can be, in order.
pub fn union(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort();
    let mut merged: Vec<Range> = Vec::new();
    for range in ranges {
        let after = |last: &Range| u64::from(last.last.to_bits()) + 1;
        match merged.last_mut() {
            Some(last) if u64::from(range.first.to_bits()) <= after(last) => {
                last.last = last.last.max(range.last);
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn between(first: u64, end: u64) -> Option<Range> {
    let address = |bits: u64| u32::try_from(bits).ok().map(Ipv4Addr::from_bits);
    let last = end.checked_sub(1).filter(|last| *last >= first)?;
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
        ];
        assert_eq!(shown(&union(ranges)), "10.0.0.0-10.0.1.255 10.0.3.0-255.255.255.255");
    }
}
