//! The addresses that Services of the type LoadBalancer are given.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use api_machinery::IpFamily;
use ipnet::{IpAddrRange, IpNet, Ipv4AddrRange, Ipv6AddrRange};

/// Ranges of addresses of either family, in the order in which they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Vec<AddressRange>);

/// Addresses of one family one after another, as `192.0.2.64/28` or `192.0.2.64-192.0.2.79`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRange {
    text: String,
    first: IpAddr,
    last: IpAddr,
}

/// Why a text is no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeFault {
    /// Neither notation.
    #[error(
        "{0:?} is neither a network such as 192.0.2.64/28 or fd00::40/122 nor two addresses such as 192.0.2.64-192.0.2.79"
    )]
    Form(String),
    /// The first comes after the last.
    #[error("{0} ends before it begins")]
    Reversed(String),
    /// It is not a network.
    #[error(transparent)]
    Network(#[from] component::network::NetworkFault),
}

/// Why ranges are none for Services.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("--load-balancer-pool: {range} overlaps {whose}: give addresses that nobody else has")]
pub struct PoolFault {
    range: String,
    whose: String,
}

/// Those of which no host on a network segment may have one.
const UNUSABLE: [&str; 6] =
    ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/8", "fe80::/10", "ff00::/8"];

impl Pool {
    /// `others`: which networks may not be meant, each with its flag.
    ///
    /// # Errors
    /// An address would be somebody else's, or nobody's.
    pub fn new(ranges: Vec<AddressRange>, others: &[(&str, IpNet)]) -> Result<Self, PoolFault> {
        for range in &ranges {
            let flag = others.iter().find(|(_, other)| range.overlaps(*other));
            let flag = flag.map(|(flag, other)| format!("{flag} {other}"));
            let unusable = UNUSABLE.iter().filter_map(|it| it.parse().ok());
            let unusable = unusable.into_iter().find(|it| range.overlaps(*it));
            let unusable = unusable.map(|it| format!("{it}, which is no network of hosts"));
            if let Some(whose) = flag.or(unusable) {
                return Err(PoolFault { range: range.text.clone(), whose });
            }
        }
        Ok(Self(ranges))
    }

    /// Whether there are no addresses to be given.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has addresses of this family.
    pub(crate) fn has(&self, family: IpFamily) -> bool {
        self.of(family).next().is_some()
    }

    /// The range that has the address.
    pub(crate) fn range_of(&self, address: IpAddr) -> Option<&AddressRange> {
        self.0.iter().find(|range| range.contains(address))
    }

    /// The first address of a family that nobody has.
    pub(crate) fn free(&self, family: IpFamily, taken: &BTreeSet<IpAddr>) -> Option<IpAddr> {
        let mut all = self.of(family).flat_map(AddressRange::addresses);
        all.find(|address| !taken.contains(address))
    }

    /// What there is of one family, in words.
    pub(crate) fn text_of(&self, family: IpFamily) -> String {
        text(self.of(family))
    }

    fn of(&self, family: IpFamily) -> impl Iterator<Item = &AddressRange> {
        self.0.iter().filter(move |range| IpFamily::of(range.first) == family)
    }
}

fn text<'a>(ranges: impl Iterator<Item = &'a AddressRange>) -> String {
    let texts: Vec<_> = ranges.map(|range| range.text.as_str()).collect();
    texts.join(",")
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self.0.iter()))
    }
}

impl AddressRange {
    fn addresses(&self) -> IpAddrRange {
        match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => Ipv4AddrRange::new(first, last).into(),
            (IpAddr::V6(first), IpAddr::V6(last)) => Ipv6AddrRange::new(first, last).into(),
            _ => unreachable!("both are of one family"),
        }
    }

    /// All addresses of IPv4 come before those of IPv6.
    fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    fn overlaps(&self, network: IpNet) -> bool {
        self.first <= network.broadcast() && network.network() <= self.last
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for AddressRange {
    type Err = RangeFault;

    fn from_str(text: &str) -> Result<Self, RangeFault> {
        let form = || RangeFault::Form(text.to_owned());
        let (first, last) = if text.contains('/') {
            let network = component::network::parse_any(text)?;
            (network.network(), network.broadcast())
        } else {
            let (first, last) = text.split_once('-').ok_or_else(form)?;
            let address = |text: &str| text.parse::<IpAddr>().map_err(|_| form());
            (address(first)?, address(last)?)
        };
        if first.is_ipv4() != last.is_ipv4() {
            return Err(form());
        }
        if first > last {
            return Err(RangeFault::Reversed(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), first, last })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Of ranges as the flag has them.
    pub(crate) fn pool(text: &str) -> Pool {
        Pool::new(text.split(',').map(|range| range.parse().unwrap()).collect(), &[]).unwrap()
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        let check = |text: &str, expected: &str| {
            let fault = text.parse::<AddressRange>().unwrap_err().to_string();
            assert!(fault.contains(expected), "{text}: {fault}");
        };
        for text in ["", "192.0.2.1", "192.0.2.1-", "192.0.2.1-fd00::1", "a-b"] {
            check(text, "nor two addresses such as 192.0.2.64-192.0.2.79");
        }
        for text in ["192.0.2.9-192.0.2.8", "fd00::2-fd00::1"] {
            check(text, &format!("{text} ends before it begins"));
        }
        check("192.0.2.1/28", "192.0.2.1/28 has host bits set; the network is 192.0.2.0/28");
        check("fd00::1/120", "fd00::1/120 has host bits set; the network is fd00::/120");
        for text in ["0.0.0.0/0", "::/0"] {
            check(text, "is not a network such as");
        }
    }

    #[test]
    fn addresses_of_others_are_refused() {
        let others = [
            ("--cluster-cidr", "10.244.0.0/16".parse().unwrap()),
            ("--service-cidr", "10.96.0.0/16".parse().unwrap()),
            ("--reserved-addresses", "192.0.2.70/32".parse().unwrap()),
            ("--service-cidr", "fd00:96::/112".parse().unwrap()),
        ];
        let check = |text: &str, expected: Option<&str>| {
            let made = Pool::new(vec![text.parse().unwrap()], &others);
            let expected = expected.map(|whose| {
                format!("--load-balancer-pool: {text} overlaps {whose}: give addresses that nobody else has")
            });
            assert_eq!(made.err().map(|fault| fault.to_string()), expected);
        };
        check("10.97.0.0/16", None);
        check("10.95.255.255-10.95.255.255", None);
        check("10.96.3.0/24", Some("--service-cidr 10.96.0.0/16"));
        check("10.0.0.0/8", Some("--cluster-cidr 10.244.0.0/16"));
        check("10.95.0.0-10.96.0.0", Some("--service-cidr 10.96.0.0/16"));
        check("192.0.2.64-192.0.2.69", None);
        check("192.0.2.64/28", Some("--reserved-addresses 192.0.2.70/32"));
        check("127.0.0.2-127.0.0.3", Some("127.0.0.0/8, which is no network of hosts"));
        check("255.255.255.255/32", Some("224.0.0.0/3, which is no network of hosts"));
        check("fd00:95::/112", None);
        check("fd00:95::ffff-fd00:96::", Some("--service-cidr fd00:96::/112"));
        check("::ffff:192.0.2.1-::ffff:192.0.2.2", Some("::/8, which is no network of hosts"));
        check("fe80::5/128", Some("fe80::/10, which is no network of hosts"));
    }

    #[test]
    fn all_addresses_of_all_ranges_are_given_in_their_order() {
        let pool = pool("192.0.2.8/31,fd00::8/127,192.0.2.1-192.0.2.2,fd00::1-fd00::1");
        let given = |family| {
            let mut given = Vec::new();
            while let Some(address) = pool.free(family, &given.iter().copied().collect()) {
                given.push(address);
            }
            given.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(given(IpFamily::V4), [8, 9, 1, 2].map(|last| format!("192.0.2.{last}")));
        assert_eq!(given(IpFamily::V6), [8, 9, 1].map(|last| format!("fd00::{last}")));
        let range = |ip: &str| pool.range_of(ip.parse().unwrap()).map(ToString::to_string);
        assert_eq!(range("192.0.2.2").as_deref(), Some("192.0.2.1-192.0.2.2"));
        assert_eq!(range("fd00::9").as_deref(), Some("fd00::8/127"));
        assert_eq!((range("192.0.2.3"), range("fd00::2")), (None, None));
        assert_eq!(Pool::default().free(IpFamily::V4, &BTreeSet::new()), None);
    }

    #[test]
    fn a_large_range_is_given_from_its_beginning() {
        let (pool, taken) = (pool("fd00::/64"), ["fd00::".parse().unwrap()].into());
        assert_eq!(pool.free(IpFamily::V6, &taken), Some("fd00::1".parse().unwrap()));
        assert!(pool.has(IpFamily::V6) && !pool.has(IpFamily::V4));
    }
}
