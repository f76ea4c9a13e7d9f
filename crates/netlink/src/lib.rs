//! The kernel's links, addresses, routes and neighbours, through netlink: plain data in and out. What they are for is
//! their owners' matter.
//!
//! Guarantees: what is there already, or gone already, is fine, except for [`Netlink::add_route`],
//! [`Netlink::add_pair`] and [`Netlink::add_vxlan`].

mod error;
mod link;
mod mac;
mod namespace;
mod neighbour;
mod route;
mod vxlan;

use std::net::{IpAddr, Ipv4Addr};

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    AddressMessageBuilder, Handle, new_connection,
    packet_route::{
        AddressFamily,
        address::{AddressAttribute, AddressMessage, AddressScope},
    },
};

pub use error::Error;
pub use link::Link;
pub use mac::Mac;
pub use namespace::{connect_inside, inside};
pub use neighbour::{Forwarding, Neighbour};
pub use route::Route;
pub use vxlan::Vxlan;

use crate::error::{failed, unless};

/// The network namespace of the thread that opened it, wherever it is used.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
}

/// An IPv4 address of this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of its link.
    pub link: u32,
    /// The address.
    pub address: Ipv4Addr,
    /// How long the prefix of its network is.
    pub prefix_len: u8,
}

impl Netlink {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Open`]: no right to do so.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = new_connection().map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Netlink { handle })
    }

    /// All IPv4 addresses of the host.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let listed: Result<Vec<_>, _> = self.handle.address().get().execute().try_collect().await;
        Ok(listed.map_err(failed("listing addresses"))?.iter().filter_map(read).collect())
    }

    /// Gives a link an address of the host alone: it is never chosen as the source of packets to
    /// elsewhere.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_host_address(&self, link: u32, address: Ipv4Addr) -> Result<(), Error> {
        let mut request = self.handle.address().add(link, IpAddr::V4(address), HOST);
        request.message_mut().header.scope = AddressScope::Host;
        let added = request.execute().await.map_err(failed(format!("adding {address}")));
        unless(added, Errno::EEXIST)
    }

    /// Takes such an address away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_host_address(&self, link: u32, address: Ipv4Addr) -> Result<(), Error> {
        self.remove_address(Address { link, address, prefix_len: HOST }).await
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_address(&self, address: Address) -> Result<(), Error> {
        let Address { link, address, prefix_len } = address;
        let message =
            AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(address, prefix_len);
        let removed = self.handle.address().del(message.build()).execute().await;
        unless(removed.map_err(failed(format!("removing {address}"))), Errno::EADDRNOTAVAIL)
    }
}

/// The length of the prefix of a network that is one address.
pub const HOST: u8 = 32;

fn read(message: &AddressMessage) -> Option<Address> {
    if message.header.family != AddressFamily::Inet {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(IpAddr::V4(address)) => Some(*address),
        _ => None,
    });
    let (link, prefix_len) = (message.header.index, message.header.prefix_len);
    Some(Address { link, address: address?, prefix_len })
}
