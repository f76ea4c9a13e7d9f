//! What is let through, as plain data: sets of addresses, and for pods that are isolated in a direction, which of
//! their traffic is allowed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use ipnet::IpNet;

use super::ranges::Range;

/// The name of the set of other hosts' addresses. No rule's name is like it.
pub(super) const HOSTS: &str = "hosts";

/// The protocols that policies know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A stream of bytes.
    Tcp,
    /// Datagrams.
    Udp,
    /// Streams of messages.
    Sctp,
}

/// Ports of a protocol, from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortRange {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// Which ports are allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All, of all protocols.
    All,
    /// These, in order; no two overlap.
    Some(Vec<PortRange>),
}

/// Who is allowed at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peers {
    /// Everybody.
    All,
    /// These.
    Some {
        /// The name of a set of pods.
        set: Option<String>,
        /// Addresses, in order; no two ranges overlap.
        blocks: Vec<Range>,
    },
}

/// Traffic that is allowed: with these peers to these ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// The other end.
    pub peers: Peers,
    /// The ports of the destination.
    pub ports: Ports,
}

/// Where a server of a host takes connections for pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// At this address, whoever has it.
    Address(IpAddr),
    /// At [`Rules::nodes_here`].
    NodesHere,
    /// At [`Rules::nodes_elsewhere`].
    NodesElsewhere,
}

impl At {
    /// Whether a pod with this address can come there.
    pub(super) fn may_take(self, client: IpAddr) -> bool {
        match self {
            At::Address(address) => address.is_ipv4() == client.is_ipv4(),
            At::NodesHere | At::NodesElsewhere => true,
        }
    }
}

/// A way through a server of a host (an nginx, the cluster's DNS) that a pod must not take.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refused {
    /// The pod.
    pub client: IpAddr,
    /// Where it connects to.
    pub at: At,
    /// By this protocol.
    pub protocol: Protocol,
    /// At this port.
    pub port: u16,
}

/// All that the kernel is to go by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// The sets of pods, by name.
    pub sets: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What those pods of this host may be sent that are isolated for ingress.
    pub ingress: BTreeMap<IpAddr, Vec<Allow>>,
    /// What those may send that are isolated for egress.
    pub egress: BTreeMap<IpAddr, Vec<Allow>>,
    /// What servers must not do for a pod. Those of other hosts do not know whom they serve: he comes from this host.
    pub refused: BTreeSet<Refused>,
    /// The pods of this host. Others have no traffic in [`Rules::networks`].
    pub known: BTreeSet<IpAddr>,
    /// The networks of this host's pods.
    pub networks: BTreeSet<IpNet>,
    /// The links by which their packets come in.
    pub links: BTreeSet<String>,
    /// Whether any pod of the cluster may be isolated for egress: then pods that are not known send nothing.
    pub isolates_egress: bool,
    /// Where servers do nothing for pods that are not known.
    pub guarded: BTreeSet<(At, Protocol, u16)>,
    /// The addresses at which this host has node ports.
    pub nodes_here: BTreeSet<IpAddr>,
    /// Those at which other hosts may have them.
    pub nodes_elsewhere: BTreeSet<IpAddr>,
    /// Those at which other hosts look at who comes by node ports of this one.
    pub doors: BTreeSet<IpAddr>,
    /// The node ports that rules of this host lead on: who comes so is another host, for whom it has let go there.
    pub door_ports: BTreeSet<(Protocol, u16)>,
}

/// A first packet of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Who sends it.
    pub from: IpAddr,
    /// To whom.
    pub to: IpAddr,
    /// Protocol and port of the destination; none of other protocols.
    pub port: Option<(Protocol, u16)>,
}

impl Rules {
    /// Whether the packet is forwarded between two pods, or a pod and another host.
    pub fn forwards(&self, packet: &Packet) -> bool {
        if packet.from == packet.to {
            return true;
        }
        let by = |of: &BTreeMap<IpAddr, Vec<Allow>>, pod: IpAddr, peer: IpAddr| {
            of.get(&pod).is_none_or(|allows| self.allows(allows, peer, packet.port))
        };
        by(&self.egress, packet.from, packet.to) && by(&self.ingress, packet.to, packet.from)
    }

    /// Whether traffic with the peer is among what is allowed.
    pub(super) fn allows(
        &self,
        allows: &[Allow],
        peer: IpAddr,
        port: Option<(Protocol, u16)>,
    ) -> bool {
        allows.iter().any(|allow| self.has(&allow.peers, peer) && allow.ports.contain(port))
    }

    fn has(&self, peers: &Peers, peer: IpAddr) -> bool {
        let Peers::Some { set, blocks } = peers else { return true };
        let set = set.as_ref().and_then(|name| self.sets.get(name));
        set.is_some_and(|set| set.contains(&peer)) || blocks.iter().any(|b| b.contains(peer))
    }
}

impl Ports {
    /// Ports as they come, without any two that overlap.
    pub fn of(mut ranges: Vec<PortRange>) -> Self {
        ranges.sort();
        let mut merged: Vec<PortRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last)
                    if last.protocol == range.protocol
                        && u32::from(range.first) <= u32::from(last.last) + 1 =>
                {
                    last.last = last.last.max(range.last);
                }
                _ => merged.push(range),
            }
        }
        Ports::Some(merged)
    }

    fn contain(&self, port: Option<(Protocol, u16)>) -> bool {
        let Ports::Some(ranges) = self else { return true };
        port.is_some_and(|(protocol, port)| {
            ranges.iter().any(|r| r.protocol == protocol && (r.first..=r.last).contains(&port))
        })
    }
}

impl Protocol {
    /// By its name in a manifest; absent means TCP.
    pub fn named(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            "SCTP" => Some(Protocol::Sctp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}
