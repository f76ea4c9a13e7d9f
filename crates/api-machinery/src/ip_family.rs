//! The families of IP addresses, as objects name them.

use std::{fmt, net::IpAddr};

use api_types::api::core::v1::Service;

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IpFamily {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl IpFamily {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// That of an address as it is written; nothing if it is none.
    #[must_use]
    pub fn of_text(address: &str) -> Option<Self> {
        address.parse().ok().map(Self::of)
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.as_str() == name)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::V4 => Self::V6,
            Self::V6 => Self::V4,
        }
    }
}

/// Those of a Service's addresses, the primary one first (Kubernetes: `getAddressTypesForService`).
#[must_use]
pub fn families(service: &Service) -> Vec<IpFamily> {
    let spec = service.spec.as_ref();
    let named = spec.and_then(|spec| spec.ip_families.as_ref()).into_iter().flatten();
    let named: Vec<_> = named.filter_map(|name| IpFamily::named(name)).collect();
    if !named.is_empty() {
        return named;
    }
    // Of an API server that does not say.
    let ip = spec.and_then(|spec| spec.cluster_ip.as_ref());
    let of_ip = ip.and_then(|ip| IpFamily::of_text(ip));
    of_ip.map_or_else(|| IpFamily::ALL.to_vec(), |family| vec![family])
}

impl fmt::Display for IpFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
