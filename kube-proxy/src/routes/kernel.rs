//! The kernel's routes.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;
use netlink::{Error, Netlink};
use nix::errno::Errno;

use super::{Change, Found, Owner, Route};

/// The mark on our routes (`ip route show proto 138`): the number of a routing daemon, of those that
/// neither the kernel nor iproute2's list gives to anybody.
pub const PROTOCOL: u8 = 138;

/// Why a route could not be brought about. Trying again does not help before something changes.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The gateway can't be reached directly.
    #[error(
        "{gateway} is not on a network segment of this host: put both nodes on one segment, or add \
         a route of your own to {destination}"
    )]
    NotOnLink {
        /// Who is not reached.
        gateway: Ipv4Addr,
        /// Where the route was to lead.
        destination: Ipv4Net,
    },
    /// There is a route that does not lead to the node.
    #[error("{0} is a network of this host or one that leads nowhere here: remove that route")]
    InTheWay(Ipv4Net),
    /// Anything else.
    #[error("the kernel refused the route to {destination}: {said}")]
    Other {
        /// Where it was to lead.
        destination: Ipv4Net,
        /// What the kernel said.
        said: String,
    },
}

/// The routing table of one network namespace.
#[derive(Clone, Debug)]
pub struct Kernel {
    netlink: Netlink,
}

impl Kernel {
    /// That of the calling thread's namespace, wherever it is used then. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// No right to open a netlink socket.
    pub fn open() -> Result<Self, Error> {
        Ok(Kernel { netlink: Netlink::open()? })
    }

    /// The IPv4 addresses of this host.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, Error> {
        Ok(self.netlink.addresses().await?.iter().map(|address| address.address).collect())
    }

    /// The routes of the main table that lead into the network.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn routes(&self, network: Ipv4Net) -> Result<Vec<Found>, Error> {
        let found = self.netlink.routes().await?.into_iter().map(Found::from);
        Ok(found.filter(|route| network.contains(&route.destination)).collect())
    }

    /// Does it. What is done already is fine.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub async fn apply(&self, change: &Change) -> Result<(), Refusal> {
        let result = match change {
            Change::Add(route) => self.netlink.add_route(&ours(route)).await,
            Change::Replace(route) => self.netlink.replace_route(&ours(route)).await,
            Change::Remove(destination) => self.netlink.remove_route(*destination, PROTOCOL).await,
        };
        result.map_err(|error| refusal(change, error))
    }
}

fn refusal(change: &Change, error: Error) -> Refusal {
    let destination = match change {
        Change::Add(route) | Change::Replace(route) => route.destination,
        Change::Remove(destination) => *destination,
    };
    match (change, error.errno()) {
        (Change::Add(route) | Change::Replace(route), Some(Errno::ENETUNREACH)) => {
            Refusal::NotOnLink { gateway: route.gateway, destination }
        }
        (Change::Add(_), Some(Errno::EEXIST)) => Refusal::InTheWay(destination),
        _ => Refusal::Other { destination, said: format!("{:#}", anyhow::Error::from(error)) },
    }
}

fn ours(route: &Route) -> netlink::Route {
    let Route { destination, gateway, .. } = *route;
    netlink::Route { destination, gateway: Some(gateway), protocol: PROTOCOL, unicast: true }
}

impl From<netlink::Route> for Found {
    fn from(route: netlink::Route) -> Self {
        let owner = match route.protocol {
            PROTOCOL => Owner::Us,
            protocol if route.unicast && protocol != netlink::Route::KERNEL => Owner::Administrator,
            _ => Owner::Nobody,
        };
        Found { destination: route.destination, gateway: route.gateway, owner }
    }
}
