//! The virtual IPs as local addresses of the node: on `lo`, over a route that swallows the whole
//! range, so that a packet for an address that nobody holds never leaves the node, and behind rules
//! that let nobody but the Services answer on them.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use async_trait::async_trait;
use futures::TryStreamExt;
use ipnet::Ipv4Net;
use nix::errno::Errno;
use rtnetlink::{
    AddressMessageBuilder, Error, Handle, RouteMessageBuilder, new_connection,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage, AddressScope},
        route::RouteType,
    },
};

use crate::firewall::{self, FirewallError};

/// What went wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// No netlink socket.
    #[error("opening a netlink socket")]
    Open(#[source] std::io::Error),
    /// Ports that no Service serves are not refused.
    #[error("refusing what no Service serves")]
    Firewall(#[from] FirewallError),
    /// There is no loopback device.
    #[error("there is no device named lo")]
    NoLoopback,
    /// A container of another range is there: nothing would ever let its address go.
    #[error("{0} is not in {1}")]
    OutOfRange(Ipv4Addr, Ipv4Net),
    /// The kernel refused.
    #[error("{step}")]
    Kernel {
        /// What was tried.
        step: String,
        /// What it said.
        #[source]
        source: Error,
    },
}

/// IPv4 addresses of the node.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Those of the range on `lo`.
    pub held: BTreeSet<Ipv4Addr>,
    /// All.
    pub all: BTreeSet<Ipv4Addr>,
}

/// The node's hold on virtual IPs.
#[async_trait]
pub trait Addresses: Send + Sync {
    /// Makes sure that packets for the range stay on this node.
    async fn fence(&self) -> Result<(), AddressError>;

    /// Makes sure that a connection to an address of the range is refused unless a server has bound
    /// itself to that very address: servers of the host that listen on all of its addresses are not
    /// meant.
    async fn refuse_unserved(&self) -> Result<(), AddressError>;

    /// The addresses that the node has.
    async fn list(&self) -> Result<Listed, AddressError>;

    /// Takes an address; one that is held already is fine.
    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError>;

    /// Lets an address go; one that is not held is fine.
    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError>;
}

/// The addresses of `lo` through netlink.
#[derive(Debug)]
pub struct Loopback {
    handle: Handle,
    index: u32,
    range: Ipv4Net,
}

impl Loopback {
    /// For the addresses of `range`; others on `lo` are never looked at.
    pub async fn open(range: Ipv4Net) -> Result<Self, AddressError> {
        let (connection, handle, _) = new_connection().map_err(AddressError::Open)?;
        tokio::spawn(connection);
        let mut links = handle.link().get().match_name("lo".to_owned()).execute();
        let link = links.try_next().await.map_err(failed("looking for lo"))?;
        let index = link.ok_or(AddressError::NoLoopback)?.header.index;
        Ok(Loopback { handle, index, range })
    }

    fn is_virtual(&self, message: &AddressMessage, address: Ipv4Addr) -> bool {
        let header = &message.header;
        header.index == self.index && header.prefix_len == 32 && self.range.contains(&address)
    }

    fn message(&self, address: Ipv4Addr) -> AddressMessage {
        AddressMessageBuilder::<Ipv4Addr>::new().index(self.index).address(address, 32).build()
    }
}

#[async_trait]
impl Addresses for Loopback {
    async fn fence(&self) -> Result<(), AddressError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(self.range.network(), self.range.prefix_len())
            .kind(RouteType::BlackHole)
            .build();
        let done = self.handle.route().add(route).replace().execute().await;
        done.map_err(failed(format!("adding a blackhole route for {}", self.range)))
    }

    async fn refuse_unserved(&self) -> Result<(), AddressError> {
        Ok(firewall::refuse_unserved(self.range).await?)
    }

    async fn list(&self) -> Result<Listed, AddressError> {
        let mut found = Listed::default();
        let mut addresses = self.handle.address().get().execute();
        while let Some(message) = addresses.try_next().await.map_err(failed("listing addresses"))? {
            let Some(address) = local(&message) else { continue };
            found.all.insert(address);
            if self.is_virtual(&message, address) {
                found.held.insert(address);
            }
        }
        Ok(found)
    }

    /// With the scope of the host: never chosen as the source of packets to elsewhere.
    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        if !self.range.contains(&address) {
            return Err(AddressError::OutOfRange(address, self.range));
        }
        let mut request = self.handle.address().add(self.index, IpAddr::V4(address), 32);
        request.message_mut().header.scope = AddressScope::Host;
        let done = request.execute().await;
        unless(done, Errno::EEXIST).map_err(failed(format!("adding {address} to lo")))
    }

    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        let done = self.handle.address().del(self.message(address)).execute().await;
        unless(done, Errno::EADDRNOTAVAIL).map_err(failed(format!("removing {address} from lo")))
    }
}

fn failed(step: impl Into<String>) -> impl FnOnce(Error) -> AddressError {
    let step = step.into();
    move |source| AddressError::Kernel { step, source }
}

/// Takes the answer `harmless` for success.
fn unless(done: Result<(), Error>, harmless: Errno) -> Result<(), Error> {
    match done {
        Err(Error::NetlinkError(answer)) if answer.raw_code() == -(harmless as i32) => Ok(()),
        other => other,
    }
}

fn local(message: &AddressMessage) -> Option<Ipv4Addr> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    })
}
