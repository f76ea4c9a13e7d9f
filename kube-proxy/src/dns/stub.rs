//! Domains that others know, as a flag says it.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use hickory_proto::rr::Name;

/// Of all DNS servers.
pub(super) const PORT: u16 = 53;

/// A domain, and who knows its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stub {
    /// The domain.
    pub domain: Name,
    /// Its servers.
    pub servers: Vec<SocketAddr>,
}

/// `corp.example=192.0.2.1,192.0.2.2:5353`.
impl FromStr for Stub {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (domain, servers) =
            text.split_once('=').ok_or("must be DOMAIN=ADDRESS[:PORT][,ADDRESS[:PORT]…]")?;
        let mut domain = Name::from_ascii(domain).map_err(|error| error.to_string())?;
        if domain.num_labels() == 0 {
            return Err("must be a domain; for all names there is --dns-upstream".to_owned());
        }
        domain.set_fqdn(true);
        let servers = servers.split(',').map(server).collect::<Result<_, _>>()?;
        Ok(Stub { domain, servers })
    }
}

/// An address, with a port or without.
pub(crate) fn server(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, PORT));
    address.or_else(|_| text.parse()).map_err(|_| format!("{text:?} is not ADDRESS[:PORT]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_has_servers_with_and_without_ports() {
        let stub: Stub = "corp.example=192.0.2.1,192.0.2.2:5353,fd00::1".parse().unwrap();
        assert_eq!(stub.domain, Name::from_ascii("corp.example.").unwrap());
        let servers = stub.servers.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(servers, ["192.0.2.1:53", "192.0.2.2:5353", "[fd00::1]:53"]);
    }

    #[test]
    fn what_is_no_domain_with_servers_is_refused() {
        for wrong in ["corp.example", "=192.0.2.1", ".=192.0.2.1", "a..b=192.0.2.1", "a=", "a=b"] {
            assert!(wrong.parse::<Stub>().is_err(), "{wrong}");
        }
    }
}
