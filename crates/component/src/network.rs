//! Networks as flags such as `--service-cidr` give them.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Why a text is not a network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NetworkFault {
    /// Not of the form `address/length`, of IPv4.
    #[error("{0:?} is not an IPv4 network such as 10.96.0.0/16")]
    Form(String),
    /// Not of the form `address/length`, of either family.
    #[error("{0:?} is not a network such as 10.96.0.0/16 or fd00:96::/108")]
    FormOfAny(String),
    /// The address is not the first one of its network.
    #[error("{given} has host bits set; the network is {network}")]
    HostBits {
        /// What was given.
        given: String,
        /// The network the address lies in.
        network: IpNet,
    },
    /// Two networks of one family, or more than two.
    #[error("{0:?}: one network, or one of IPv4 and one of IPv6")]
    Families(String),
}

/// Reads a network; all programs of a cluster must mean the same one, so it has only one spelling.
///
/// # Errors
/// It is none, is the whole of IPv4, or has host bits set.
pub fn parse(text: &str) -> Result<Ipv4Net, NetworkFault> {
    match parse_any(text) {
        Ok(IpNet::V4(network)) => Ok(network),
        Ok(IpNet::V6(_)) | Err(NetworkFault::FormOfAny(_)) => {
            Err(NetworkFault::Form(text.to_owned()))
        }
        Err(fault) => Err(fault),
    }
}

/// The same of either family.
///
/// # Errors
/// It is none, is the whole of its family, or has host bits set.
pub fn parse_any(text: &str) -> Result<IpNet, NetworkFault> {
    let given = text.parse().ok().filter(|given: &IpNet| given.prefix_len() > 0);
    let given = given.ok_or_else(|| NetworkFault::FormOfAny(text.to_owned()))?;
    let network = given.trunc();
    if network != given {
        return Err(NetworkFault::HostBits { given: text.to_owned(), network });
    }
    Ok(network)
}

/// A range of addresses of the cluster, or one of each family, as `10.96.0.0/16,fd00:96::/108`: the first one's is the
/// cluster's primary family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Networks {
    primary: IpNet,
    secondary: Option<IpNet>,
}

impl Networks {
    /// The first one.
    #[must_use]
    pub fn primary(&self) -> IpNet {
        self.primary
    }

    /// The one of the other family.
    #[must_use]
    pub fn secondary(&self) -> Option<IpNet> {
        self.secondary
    }

    /// All, the primary one first.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<> {
        [self.primary].into_iter().chain(self.secondary)
    }

    /// That of IPv4.
    #[must_use]
    pub fn v4(&self) -> Option<Ipv4Net> {
        self.iter().find_map(|network| match network {
            IpNet::V4(network) => Some(network),
            IpNet::V6(_) => None,
        })
    }

    /// That of IPv6.
    #[must_use]
    pub fn v6(&self) -> Option<Ipv6Net> {
        self.iter().find_map(|network| match network {
            IpNet::V4(_) => None,
            IpNet::V6(network) => Some(network),
        })
    }

    /// What is made of each, in its place; nothing if one can't be had.
    #[must_use]
    pub fn try_map(&self, make: impl Fn(IpNet) -> Option<IpNet>) -> Option<Self> {
        let secondary = match self.secondary {
            Some(network) => Some(make(network)?),
            None => None,
        };
        Some(Self { primary: make(self.primary)?, secondary })
    }

    /// The first address of the primary one that a host can have.
    #[must_use]
    pub fn first_host(&self) -> Option<IpAddr> {
        match self.primary {
            IpNet::V4(network) => network.hosts().next().map(IpAddr::V4),
            // The network's own address is that of all its routers.
            IpNet::V6(network) => network.hosts().nth(1).map(IpAddr::V6),
        }
    }

    /// Whether one of them has the address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.iter().any(|network| network.contains(&address))
    }
}

/// A cluster of one family.
impl From<IpNet> for Networks {
    fn from(primary: IpNet) -> Self {
        Self { primary, secondary: None }
    }
}

impl FromStr for Networks {
    type Err = NetworkFault;

    fn from_str(text: &str) -> Result<Self, NetworkFault> {
        let Some((primary, secondary)) = text.split_once(',') else {
            return Ok(parse_any(text)?.into());
        };
        if secondary.contains(',') {
            return Err(NetworkFault::Families(text.to_owned()));
        }
        let (primary, secondary) = (parse_any(primary)?, parse_any(secondary)?);
        if primary.addr().is_ipv4() == secondary.addr().is_ipv4() {
            return Err(NetworkFault::Families(text.to_owned()));
        }
        Ok(Self { primary, secondary: Some(secondary) })
    }
}

impl fmt::Display for Networks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.primary)?;
        self.secondary.map_or(Ok(()), |secondary| write!(f, ",{secondary}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        assert_eq!(parse("10.96.0.0/16").unwrap().to_string(), "10.96.0.0/16");
        let fault = |text: &str| parse(text).unwrap_err().to_string();
        for text in ["", "10.96.0.0", "10.96.0.0/0", "10.96.0.0/33", "fd00::/64", "x/16"] {
            assert!(fault(text).contains("is not an IPv4 network"), "{text}");
        }
        assert_eq!(
            fault("10.96.0.1/16"),
            "10.96.0.1/16 has host bits set; the network is 10.96.0.0/16"
        );
    }

    #[test]
    fn a_range_is_of_one_family_or_of_both() {
        let both: Networks = "10.96.0.0/16,fd00:96::/108".parse().unwrap();
        assert_eq!(both.to_string(), "10.96.0.0/16,fd00:96::/108");
        assert_eq!(
            (both.v4(), both.v6()),
            (Some(parse("10.96.0.0/16").unwrap()), "fd00:96::/108".parse().ok())
        );
        let turned: Networks = "fd00:96::/108,10.96.0.0/16".parse().unwrap();
        assert_eq!(
            (turned.primary(), turned.secondary()),
            ("fd00:96::/108".parse().unwrap(), "10.96.0.0/16".parse().ok())
        );
        let has = |address: &str| both.contains(address.parse().unwrap());
        assert_eq!(
            ["10.96.1.2", "fd00:96::2", "10.97.1.2", "fd00::2"].map(has),
            [true, true, false, false]
        );
        assert_eq!("fd00:96::/108".parse::<Networks>().unwrap().v4(), None);
        let first = [both, turned].map(|networks| networks.first_host().unwrap().to_string());
        assert_eq!(first, ["10.96.0.1", "fd00:96::1"]);
    }

    #[test]
    fn what_is_no_pair_of_networks_is_refused_with_the_reason() {
        let fault = |text: &str| text.parse::<Networks>().unwrap_err().to_string();
        let why = "one network, or one of IPv4 and one of IPv6";
        for text in
            ["10.0.0.0/16,10.1.0.0/16", "fd00::/64,fd01::/64", "10.0.0.0/16,fd00::/64,fd01::/64"]
        {
            assert_eq!(fault(text), format!("{text:?}: {why}"));
        }
        for (text, part) in
            [("", ""), ("10.0.0.0/16,", ""), ("10.0.0.0/16,::/0", "::/0"), ("x", "x")]
        {
            assert_eq!(
                fault(text),
                format!("{part:?} is not a network such as 10.96.0.0/16 or fd00:96::/108")
            );
        }
        assert_eq!(
            fault("10.0.0.0/16,fd00::1/64"),
            "fd00::1/64 has host bits set; the network is fd00::/64"
        );
    }
}
