//! Where the host's own servers listen. Rules would take their connections away: the kernel translates addresses before it
//! looks who listens.

use std::{
    collections::BTreeSet,
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::plan::Protocol;

/// What a line has in its fourth column: of TCP `LISTEN`, of UDP a socket that is connected to nobody.
const LISTENING: [(Protocol, &str); 2] = [(Protocol::Tcp, "0A"), (Protocol::Udp, "07")];

/// Sockets that listen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken(BTreeSet<(Protocol, SocketAddr)>);

impl FromIterator<(Protocol, SocketAddr)> for Taken {
    fn from_iter<I: IntoIterator<Item = (Protocol, SocketAddr)>>(sockets: I) -> Self {
        Taken(sockets.into_iter().collect())
    }
}

impl Taken {
    /// Those of this network namespace.
    pub(super) fn read() -> io::Result<Self> {
        let mut taken = BTreeSet::new();
        for (protocol, state) in LISTENING {
            for family in ["", "6"] {
                let text = fs::read_to_string(format!("/proc/thread-self/net/{protocol}{family}"));
                match text {
                    Ok(text) => taken.extend(listening(&text, state).map(|it| (protocol, it))),
                    // A kernel without IPv6.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(Taken(taken))
    }

    /// Those that were there before, too: clients that ask by UDP have a port for a moment.
    pub(super) fn since(self, before: Option<&Taken>) -> Self {
        match before {
            Some(before) => Taken(self.0.intersection(&before.0).copied().collect()),
            None => self,
        }
    }

    /// Whether somebody listens there, be it at all addresses.
    pub(super) fn has(&self, protocol: Protocol, socket: SocketAddr) -> bool {
        let everywhere: IpAddr = match socket {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let everywhere = SocketAddr::new(everywhere, socket.port());
        [socket, everywhere].iter().any(|it| self.0.contains(&(protocol, *it)))
    }
}

/// In the words of `/proc/net/tcp`.
fn listening(text: &str, state: &str) -> impl Iterator<Item = SocketAddr> {
    text.lines().skip(1).flat_map(move |line| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().filter(|_| columns.nth(1) == Some(state));
        local.map(sockets).unwrap_or_default()
    })
}

/// `0100007F:0050`; an address of IPv6 has four such words. Who listens at `::` may take IPv4, too, which is not told,
/// and `::ffff:A.B.C.D` is one of IPv4.
fn sockets(text: &str) -> Vec<SocketAddr> {
    let read = || {
        let (address, port) = text.split_once(':')?;
        Some((address_of(address)?, u16::from_str_radix(port, 16).ok()?))
    };
    let Some((address, port)) = read() else { return Vec::new() };
    let at = |address: IpAddr| SocketAddr::new(address, port);
    match address {
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => vec![at(address), at(Ipv4Addr::UNSPECIFIED.into())],
        address => vec![at(address.to_canonical())],
    }
}

fn address_of(text: &str) -> Option<IpAddr> {
    // Each as the kernel has it in memory.
    let word = |at: usize| Some(u32::from_str_radix(text.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match text.len() {
        8 => Some(word(0)?.into()),
        32 => {
            let words = [word(0)?, word(8)?, word(16)?, word(24)?];
            let bytes: [u8; 16] = words.concat().try_into().ok()?;
            Some(bytes.into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_listen_are_read() {
        let text = "  sl  local_address rem_address   st tx_queue
   0: 0100007F:0CEA 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1
   1: 00000000:1A0B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2
   2: 0100007F:0CEA 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 3
   3: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0
   4: 0000000000000000FFFF00000100007F:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0
   5: 00000000000000000000000001000000:0051 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0
";
        let found: Vec<_> = listening(text, "0A").map(|socket| socket.to_string()).collect();
        let expected =
            ["127.0.0.1:3306", "0.0.0.0:6667", "[::]:22", "0.0.0.0:22", "127.0.0.1:80", "[::1]:81"];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_server_at_all_addresses_is_at_each_and_one_that_has_just_come_may_be_a_client() {
        let taken = |sockets: &[&str]| {
            let udp = |socket: &&str| (Protocol::Udp, socket.parse().unwrap());
            sockets.iter().map(udp).collect::<Taken>()
        };
        let here = "192.0.2.1:53".parse().unwrap();
        assert!(taken(&["0.0.0.0:53"]).has(Protocol::Udp, here));
        assert!(taken(&["192.0.2.1:53"]).has(Protocol::Udp, here));
        assert!(!taken(&["0.0.0.0:53"]).has(Protocol::Tcp, here));
        assert!(!taken(&["192.0.2.2:53", "0.0.0.0:54", "[::]:53"]).has(Protocol::Udp, here));
        let there = "[2001:db8::1]:53".parse().unwrap();
        assert!(taken(&["[::]:53"]).has(Protocol::Udp, there));
        assert!(!taken(&["0.0.0.0:53"]).has(Protocol::Udp, there));
        let now = taken(&["0.0.0.0:53", "0.0.0.0:40000"]);
        assert_eq!(now.clone().since(None), now);
        assert_eq!(now.since(Some(&taken(&["0.0.0.0:53"]))), taken(&["0.0.0.0:53"]));
    }
}
