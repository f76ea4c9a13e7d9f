//! The addresses that Services of the type LoadBalancer are given.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::str::FromStr;

use ipnet::Ipv4Net;

/// Ranges of addresses, in the order in which they are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool(Vec<AddressRange>);

/// Addresses one after another, as `192.0.2.64/28` or `192.0.2.64-192.0.2.79`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressRange {
    text: String,
    first: u32,
    last: u32,
}

/// Why a text is no range.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RangeFault {
    /// Neither notation.
    #[error(
        "{0:?} is neither an IPv4 network such as 192.0.2.64/28 nor two addresses such as 192.0.2.64-192.0.2.79"
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
const UNUSABLE: [&str; 3] = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"];

impl Pool {
    /// `others`: which networks may not be meant, each with its flag.
    ///
    /// # Errors
    /// An address would be somebody else's, or nobody's.
    pub fn new(ranges: Vec<AddressRange>, others: &[(&str, Ipv4Net)]) -> Result<Self, PoolFault> {
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

    /// The range that has the address.
    pub(crate) fn range_of(&self, address: Ipv4Addr) -> Option<&AddressRange> {
        self.0.iter().find(|range| range.numbers().contains(&address.to_bits()))
    }

    /// The first address that nobody has.
    pub(crate) fn free(&self, taken: &BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let mut all = self.0.iter().flat_map(AddressRange::numbers).map(Ipv4Addr::from_bits);
        all.find(|address| !taken.contains(address))
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.0.iter().map(|range| range.text.as_str()).collect();
        f.write_str(&texts.join(","))
    }
}

impl AddressRange {
    fn numbers(&self) -> RangeInclusive<u32> {
        self.first..=self.last
    }

    fn overlaps(&self, network: Ipv4Net) -> bool {
        let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
        self.first <= last && first <= self.last
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
        if text.contains('/') {
            let network = component::network::parse(text)?;
            let (first, last) = (network.network().to_bits(), network.broadcast().to_bits());
            return Ok(Self { text: text.to_owned(), first, last });
        }
        let (first, last) = text.split_once('-').ok_or_else(form)?;
        let number = |text: &str| text.parse().map(Ipv4Addr::to_bits).map_err(|_| form());
        let (first, last) = (number(first)?, number(last)?);
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
        check("192.0.2.9-192.0.2.8", "192.0.2.9-192.0.2.8 ends before it begins");
        check("192.0.2.1/28", "192.0.2.1/28 has host bits set; the network is 192.0.2.0/28");
        check("0.0.0.0/0", "is not an IPv4 network");
    }

    #[test]
    fn addresses_of_others_are_refused() {
        let others = [
            ("--cluster-cidr", "10.244.0.0/16".parse().unwrap()),
            ("--service-cidr", "10.96.0.0/16".parse().unwrap()),
            ("--reserved-addresses", "192.0.2.70/32".parse().unwrap()),
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
    }

    #[test]
    fn all_addresses_of_all_ranges_are_given_in_their_order() {
        let pool = pool("192.0.2.8/31,192.0.2.1-192.0.2.2");
        let mut given = Vec::new();
        while let Some(address) = pool.free(&given.iter().copied().collect()) {
            given.push(address);
        }
        assert_eq!(given, [8, 9, 1, 2].map(|last| Ipv4Addr::new(192, 0, 2, last)));
        let range = |last| pool.range_of(Ipv4Addr::new(192, 0, 2, last)).map(ToString::to_string);
        assert_eq!(range(2).as_deref(), Some("192.0.2.1-192.0.2.2"));
        assert_eq!(range(3), None);
        assert_eq!(Pool::default().free(&BTreeSet::new()), None);
    }
}
