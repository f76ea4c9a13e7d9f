//! The kernel's routes, through netlink.

use std::{
    collections::BTreeSet,
    io,
    net::{IpAddr, Ipv4Addr},
};

use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::{
    Error, Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        address::AddressAttribute,
        route::{
            RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
        },
    },
};

use super::{Change, Found, Owner, Route};

/// The mark on our routes (`ip route show proto 138`): the number of a routing daemon, of those that
/// neither the kernel nor iproute2's list gives to anybody.
pub const PROTOCOL: u8 = 138;

/// What went wrong with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// No netlink socket.
    #[error("opening a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel did not answer.
    #[error("{step}")]
    Asking {
        /// What was asked.
        step: &'static str,
        /// What it said.
        #[source]
        source: Error,
    },
}

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
    #[error("the kernel refused the route to {destination}: {source}")]
    Other {
        /// Where it was to lead.
        destination: Ipv4Net,
        /// What the kernel said.
        source: Error,
    },
}

/// The routing table of one network namespace.
#[derive(Clone, Debug)]
pub struct Kernel {
    handle: Handle,
}

impl Kernel {
    /// That of the calling thread's namespace, wherever it is used then. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// No right to open a netlink socket.
    pub fn open() -> Result<Self, KernelError> {
        let (connection, handle, _) = new_connection().map_err(KernelError::Open)?;
        tokio::spawn(connection);
        Ok(Kernel { handle })
    }

    /// The IPv4 addresses of this host.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn addresses(&self) -> Result<BTreeSet<Ipv4Addr>, KernelError> {
        let mut found = BTreeSet::new();
        let mut addresses = self.handle.address().get().execute();
        let failed = |source| KernelError::Asking { step: "listing addresses", source };
        while let Some(message) = addresses.try_next().await.map_err(failed)? {
            found.extend(message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
                _ => None,
            }));
        }
        Ok(found)
    }

    /// The routes of the main table that lead into the network.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn routes(&self, network: Ipv4Net) -> Result<Vec<Found>, KernelError> {
        let any = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let routes = self.handle.route().get(any).execute();
        let failed = |source| KernelError::Asking { step: "listing routes", source };
        let found: Vec<RouteMessage> = routes.try_collect().await.map_err(failed)?;
        let found = found.iter().filter_map(read);
        Ok(found.filter(|route| network.contains(&route.destination)).collect())
    }

    /// Does it. What is done already is fine.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub async fn apply(&self, change: &Change) -> Result<(), Refusal> {
        let routes = self.handle.route();
        let (destination, result) = match change {
            Change::Add(route) => (route.destination, routes.add(write(route)).execute().await),
            Change::Replace(route) => {
                (route.destination, routes.add(write(route)).replace().execute().await)
            }
            Change::Remove(destination) => {
                let removed = routes.del(to(*destination).build()).execute().await;
                (*destination, harmless_if(removed, Errno::ESRCH))
            }
        };
        result.map_err(|source| refusal(change, destination, source))
    }
}

fn refusal(change: &Change, destination: Ipv4Net, source: Error) -> Refusal {
    match (change, errno(&source)) {
        (Change::Add(route) | Change::Replace(route), Some(Errno::ENETUNREACH)) => {
            Refusal::NotOnLink { gateway: route.gateway, destination }
        }
        (Change::Add(_), Some(Errno::EEXIST)) => Refusal::InTheWay(destination),
        _ => Refusal::Other { destination, source },
    }
}

fn errno(error: &Error) -> Option<Errno> {
    match error {
        Error::NetlinkError(answer) => Some(Errno::from_raw(-answer.raw_code())),
        _ => None,
    }
}

fn harmless_if(result: Result<(), Error>, harmless: Errno) -> Result<(), Error> {
    result.or_else(|error| if errno(&error) == Some(harmless) { Ok(()) } else { Err(error) })
}

/// Our route to the network; the kernel removes none of another protocol by it.
fn to(destination: Ipv4Net) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination.network(), destination.prefix_len())
        .protocol(RouteProtocol::Other(PROTOCOL))
}

fn write(route: &Route) -> RouteMessage {
    to(route.destination).gateway(route.gateway).build()
}

fn read(message: &RouteMessage) -> Option<Found> {
    let header = &message.header;
    if header.address_family != AddressFamily::Inet || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let (mut network, mut gateway) = (Ipv4Addr::UNSPECIFIED, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => gateway = Some(*address),
            _ => {}
        }
    }
    let destination = Ipv4Net::new(network, header.destination_prefix_length).ok()?;
    let owner = match (header.kind, header.protocol) {
        (_, RouteProtocol::Other(PROTOCOL)) => Owner::Us,
        (RouteType::Unicast, protocol) if protocol != RouteProtocol::Kernel => Owner::Administrator,
        _ => Owner::Nobody,
    };
    Some(Found { destination, gateway, owner })
}
