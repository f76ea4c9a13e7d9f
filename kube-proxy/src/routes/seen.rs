//! What the kernel has, and whose it is. Pure.

use std::{collections::BTreeSet, net::IpAddr};

use component::dual_stack::DualStack;
use netlink::{Address, Forwarding, Link, Neighbour};

use super::{Found, Owner};

/// The mark on our routes (`ip route show proto 138`): the number of a routing daemon, of those that
/// neither the kernel nor iproute2's list gives to anybody.
pub const PROTOCOL: u8 = 138;

/// What the kernel has.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The host's addresses.
    pub addresses: Vec<Address>,
    /// The main table.
    pub routes: Vec<netlink::Route>,
    /// All links.
    pub links: Vec<Link>,
    /// Who is behind them, by hand.
    pub neighbours: Vec<Neighbour>,
    /// Where VXLANs send frames.
    pub forwardings: Vec<Forwarding>,
}

impl Seen {
    /// This host's addresses.
    pub fn local(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().map(|address| address.address).collect()
    }

    /// What connects the hosts. Ours are none of it: they pass through it.
    pub(super) fn routes_of_others(&self) -> Vec<netlink::Route> {
        self.routes.iter().filter(|route| route.protocol != PROTOCOL).copied().collect()
    }

    pub(super) fn addresses_of(&self, link: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.link == link)
    }

    /// The routes into the networks; `vxlan` is our link.
    pub(super) fn found(&self, networks: DualStack, vxlan: Option<u32>) -> Vec<Found> {
        let inside = self.routes.iter().filter(|route| networks.encloses(&route.destination));
        inside
            .map(|route| Found {
                destination: route.destination,
                gateway: route.gateway,
                by_vxlan: vxlan.is_some() && route.link == vxlan,
                owner: owner(route),
            })
            .collect()
    }
}

fn owner(route: &netlink::Route) -> Owner {
    match route.protocol {
        PROTOCOL => Owner::Us,
        protocol if route.unicast && protocol != netlink::Route::KERNEL => Owner::Administrator,
        _ => Owner::Nobody,
    }
}
