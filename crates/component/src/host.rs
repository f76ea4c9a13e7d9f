//! What a program has to know of the host it runs on.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket},
};

/// The host's name.
///
/// # Errors
/// The kernel doesn't tell it.
pub fn name() -> io::Result<String> {
    fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned())
}

/// The name of the node that this host is: the one given, else the host's, which Kubernetes wants in lower case.
///
/// # Errors
/// None is given, and the kernel doesn't tell the host's.
pub fn node_name(given: Option<&str>) -> io::Result<String> {
    given.map_or_else(|| name().map(|name| name.to_lowercase()), |given| Ok(given.to_owned()))
}

/// The address that packets to other hosts would have; a host without a default route has none.
#[must_use]
pub fn address() -> Option<IpAddr> {
    source(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
}

/// The same of IPv6, but for one that the host gives up again for the sake of privacy if its link has a lasting one.
#[must_use]
pub fn ipv6_address() -> Option<IpAddr> {
    let to = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
    let found = source(Ipv6Addr::UNSPECIFIED.into(), to.into())?;
    let held = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    Some(lasting(found, &held))
}

/// Instead of a temporary address a lasting one of its link and scope that nothing speaks against, if there is one.
fn lasting(found: IpAddr, held: &str) -> IpAddr {
    let held: Vec<Held> = held.lines().filter_map(Held::read).collect();
    let Some(own) = held.iter().find(|it| IpAddr::V6(it.address) == found) else { return found };
    if own.flags & TEMPORARY == 0 {
        return found;
    }
    let is_beside = |it: &&Held| {
        it.link == own.link && it.scope == own.scope && it.flags & (TEMPORARY | UNFIT) == 0
    };
    held.iter().find(is_beside).map_or(found, |it| it.address.into())
}

/// `IFA_F_TEMPORARY`.
const TEMPORARY: u8 = 0x01;
/// `IFA_F_DADFAILED`, `IFA_F_DEPRECATED` and `IFA_F_TENTATIVE`.
const UNFIT: u8 = 0x08 | 0x20 | 0x40;

/// A line of `/proc/net/if_inet6`: address, link, length of the prefix, scope, flags and the link's name.
struct Held {
    address: Ipv6Addr,
    link: String,
    scope: String,
    flags: u8,
}

impl Held {
    fn read(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?.into();
        let link = words.next()?.to_owned();
        let scope = words.nth(1)?.to_owned();
        let flags = u8::from_str_radix(words.next()?, 16).ok()?;
        Some(Self { address, link, scope, flags })
    }
}

fn source(any: IpAddr, to: IpAddr) -> Option<IpAddr> {
    // Connecting a UDP socket sends nothing.
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((to, 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_found_at_an_address_that_lasts() {
        let held = "\
fe800000000000000000000000000001 02 40 20 80     eth0
20010db8000000000000000000000003 02 40 00 20     eth0
20010db8000000000000000000000002 02 40 00 00     eth0
20010db8000000000000000000000009 02 40 00 01     eth0
20010db8000100000000000000000009 03 40 00 01     eth1
";
        let check = |found: &str, expected: &str| {
            assert_eq!(lasting(found.parse().unwrap(), held).to_string(), expected);
        };
        check("2001:db8::9", "2001:db8::2");
        check("2001:db8::3", "2001:db8::3");
        // There is no other.
        check("2001:db8:1::9", "2001:db8:1::9");
    }
}
