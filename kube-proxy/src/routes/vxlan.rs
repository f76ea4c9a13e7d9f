//! The VXLAN by which nodes behind a router are reached: one link per host, on it one neighbour per network
//! of pods, and one host per neighbour. Nothing is learnt from packets, and nothing is flooded.
//!
//! What hosts have to know of each other follows from their nodes' addresses, so nothing is announced. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr},
};

use api_types::api::core::v1::Node;
use component::dual_stack::DualStack;
use netlink::{HOST, Link, Mac, Vxlan};

use super::{
    Host, Over, Route, ipv4_address, pod_cidrs, seen::Seen, settings::PREFIX, underlay::Underlay,
};

/// What it puts around a packet: Ethernet, VXLAN, UDP and IPv4.
const OVERHEAD: u32 = 50;
/// Of links whose MTU is not known.
const USUAL_MTU: u32 = 1500;
/// What every host takes (RFC 791), however short a link says that its packets are.
const LEAST_MTU: u32 = 576;

/// The link as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// What cannot be changed.
    pub vxlan: Vxlan,
    /// By which the other hosts know this one.
    pub mac: Mac,
    /// The longest packet.
    pub mtu: u32,
    /// What this host itself is for other hosts' pods: an address of its pod CIDR that no pod has.
    pub address: IpAddr,
}

/// All that should be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// The link.
    pub device: Option<Device>,
    /// Who is behind it.
    pub neighbours: BTreeMap<IpAddr, Mac>,
    /// Where frames are sent.
    pub forwardings: BTreeMap<Mac, Ipv4Addr>,
}

/// One step towards that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is no such link.
    Make(Device),
    /// It is there, as another network or with another port.
    Remake(Device),
    /// It is there, but not as it should be.
    Configure(Device),
    /// A link that is not needed any more.
    Remove(String),
    /// Not there, or with another MAC address.
    SetNeighbour(IpAddr, Mac),
    /// No longer wanted.
    RemoveNeighbour(IpAddr, Mac),
    /// Not there, or to another host.
    SetForwarding(Mac, Ipv4Addr),
    /// No longer wanted.
    RemoveForwarding(Mac, Ipv4Addr),
}

/// The MAC address of the VXLAN's end on the host of this address.
pub fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    // A local address, by its second bit.
    Mac([0x02, 0x8a, a, b, c, d])
}

/// What `routes` need. Nothing, if none of them passes through the VXLAN or if this host's node is not
/// complete yet.
pub fn wanted(
    host: &Host,
    own: Option<&Node>,
    underlay: &Underlay<'_>,
    routes: &[Route],
) -> Overlay {
    // Routes for which an administrator's stand in count too: the other host may not have such ones.
    let remote = |route: &Route| match route.over {
        Over::Vxlan { remote } => Some((route.gateway, remote)),
        Over::Segment => None,
    };
    let peers: Vec<_> = routes.iter().filter_map(remote).collect();
    let ipv4_pods = |node| pod_cidrs(node).into_iter().find(|cidr| cidr.addr().is_ipv4());
    let own = own.and_then(|node| Some((ipv4_address(host, node)?, ipv4_pods(node)?)));
    let Some((address, pods)) = own.filter(|_| !peers.is_empty()) else {
        return Overlay::default();
    };
    let mtus = peers.iter().filter_map(|(_, remote)| underlay.mtu((*remote).into()));
    let mtu = mtus.min().unwrap_or(USUAL_MTU).saturating_sub(OVERHEAD).max(LEAST_MTU);
    Overlay {
        device: Some(Device {
            name: host.vxlan.name(),
            vxlan: Vxlan { id: host.vxlan.id, port: host.vxlan.port, learning: false },
            mac: mac(address),
            mtu,
            address: pods.network(),
        }),
        neighbours: peers.iter().map(|(gateway, remote)| (*gateway, mac(*remote))).collect(),
        forwardings: peers.iter().map(|(_, remote)| (mac(*remote), *remote)).collect(),
    }
}

/// The index of our link, if there is one that can stay.
pub(super) fn staying(overlay: &Overlay, cluster: DualStack, seen: &Seen) -> Option<u32> {
    let device = overlay.device.as_ref()?;
    let link = seen.links.iter().find(|link| link.name == device.name)?;
    let stays = link.vxlan == Some(device.vxlan) && is_ours(link, cluster, seen);
    stays.then_some(link.index)
}

/// What to do before routes are added.
pub(super) fn additions(overlay: &Overlay, cluster: DualStack, seen: &Seen) -> Vec<Change> {
    let Some(device) = &overlay.device else { return Vec::new() };
    let link = staying(overlay, cluster, seen);
    let mut changes: Vec<_> = device_change(device, cluster, seen).into_iter().collect();
    // A link that gets another MAC address, or was down, forgets who is behind it.
    let link = link.filter(|_| changes.is_empty());
    let neighbours = seen.neighbours.iter().filter(|found| Some(found.link) == link);
    let there: BTreeSet<_> = neighbours.map(|found| (found.address, found.mac)).collect();
    let wanted = overlay.neighbours.iter().map(|(address, mac)| (*address, *mac));
    let missing = wanted.filter(|neighbour| !there.contains(neighbour));
    changes.extend(missing.map(|(address, mac)| Change::SetNeighbour(address, mac)));
    let forwardings = seen.forwardings.iter().filter(|found| Some(found.link) == link);
    let there: BTreeSet<_> = forwardings.map(|found| (found.mac, found.remote)).collect();
    let wanted = overlay.forwardings.iter().map(|(mac, remote)| (*mac, *remote));
    let missing = wanted.filter(|forwarding| !there.contains(forwarding));
    changes.extend(missing.map(|(mac, remote)| Change::SetForwarding(mac, remote)));
    changes
}

/// What to do when no route needs it any more.
pub(super) fn removals(overlay: &Overlay, cluster: DualStack, seen: &Seen) -> Vec<Change> {
    let link = staying(overlay, cluster, seen);
    let name = overlay.device.as_ref().map(|device| device.name.as_str());
    let neighbours = seen.neighbours.iter().filter(|found| {
        Some(found.link) == link && !overlay.neighbours.contains_key(&found.address)
    });
    let forwardings = seen.forwardings.iter().filter(|found| {
        Some(found.link) == link && overlay.forwardings.get(&found.mac) != Some(&found.remote)
    });
    // One that keeps its name is made anew instead.
    let links = seen
        .links
        .iter()
        .filter(|found| is_ours(found, cluster, seen) && Some(found.name.as_str()) != name);
    let neighbours = neighbours.map(|found| Change::RemoveNeighbour(found.address, found.mac));
    let forwardings = forwardings.map(|found| Change::RemoveForwarding(found.mac, found.remote));
    let links = links.map(|found| Change::Remove(found.name.clone()));
    neighbours.chain(forwardings).chain(links).collect()
}

fn device_change(device: &Device, cluster: DualStack, seen: &Seen) -> Option<Change> {
    let found = seen.links.iter().find(|link| link.name == device.name);
    // Somebody else's stays: the kernel will refuse this one.
    let Some(found) = found.filter(|link| is_ours(link, cluster, seen)) else {
        return Some(Change::Make(device.clone()));
    };
    if found.vxlan != Some(device.vxlan) {
        return Some(Change::Remake(device.clone()));
    }
    let addresses: Vec<_> = seen.addresses_of(found.index).collect();
    let is_right = (found.mac, found.mtu, found.up) == (Some(device.mac), device.mtu, true)
        && matches!(addresses[..], [one] if (one.address, one.prefix_len) == (device.address, HOST));
    (!is_right).then(|| Change::Configure(device.clone()))
}

/// Clusters that share a host are told apart by their pods' addresses.
pub(super) fn is_ours(link: &Link, cluster: DualStack, seen: &Seen) -> bool {
    let mut addresses = seen.addresses_of(link.index);
    link.vxlan.is_some()
        && link.name.starts_with(PREFIX)
        && addresses.all(|address| cluster.contains(address.address))
}

impl Change {
    /// Whether routes need it.
    pub(super) fn is_addition(&self) -> bool {
        !matches!(
            self,
            Change::Remove(_) | Change::RemoveNeighbour(..) | Change::RemoveForwarding(..)
        )
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Make(Device { name, .. }) => write!(f, "link {name} is missing"),
            Change::Remake(Device { name, vxlan: Vxlan { id, port, .. }, .. }) => {
                write!(f, "link {name} is not the VXLAN {id} of port {port} without learning")
            }
            Change::Configure(Device { name, mac, mtu, address, .. }) => {
                write!(f, "link {name} is not up with MAC {mac}, MTU {mtu} and address {address}")
            }
            Change::Remove(name) => write!(f, "link {name} is left over"),
            Change::SetNeighbour(address, mac) => {
                write!(f, "neighbour {address} is missing or not {mac}")
            }
            Change::RemoveNeighbour(address, _) => write!(f, "neighbour {address} is left over"),
            Change::SetForwarding(mac, remote) => {
                write!(f, "forwarding of {mac} to {remote} is missing")
            }
            Change::RemoveForwarding(mac, remote) => {
                write!(f, "forwarding of {mac} to {remote} is left over")
            }
        }
    }
}

#[cfg(test)]
mod tests;
