//! The kernel's links, addresses, routes and neighbours, through netlink: plain data in and out. What they are for is
//! their owners' matter.
//!
//! Guarantees: what is there already, or gone already, is fine, except for [`Netlink::add_route`],
//! [`Netlink::add_pair`] and [`Netlink::add_vxlan`].

mod error;
mod link;
mod mac;
mod marked;
mod namespace;
mod neighbour;
mod route;
mod vxlan;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

use futures::{Stream, TryStreamExt};
use nix::errno::Errno;
use rtnetlink::{
    AddressMessageBuilder, Handle, new_connection,
    packet_route::{
        AddressFamily,
        address::{
            AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope,
            CacheInfo,
        },
    },
};
use tokio::sync::Mutex;

pub use error::Error;
pub use link::Link;
pub use mac::Mac;
pub use marked::Marked;
pub use namespace::{connect_inside, inside};
pub use neighbour::{Forwarding, Neighbour};
pub use route::Route;
pub use vxlan::Vxlan;

use crate::error::{failed, unless};

/// The network namespace of the thread that opened it, wherever it is used.
#[derive(Clone, Debug)]
pub struct Netlink {
    handle: Handle,
    /// Of those who want a list.
    turn: Arc<Mutex<()>>,
}

/// An address of this host, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address {
    /// The index of its link.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// How long the prefix of its network is.
    pub prefix_len: u8,
    /// Whether the kernel takes it away by itself, unless somebody renews it. One of IPv6 that others were asked for is
    /// not meant: routers and DHCP give such for a while.
    pub temporary: bool,
}

impl Netlink {
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Open`]: no right to do so.
    pub fn open() -> Result<Self, Error> {
        let (connection, handle, _) = new_connection().map_err(Error::Open)?;
        tokio::spawn(connection);
        Ok(Netlink { handle, turn: Arc::default() })
    }

    /// What the kernel lists. It makes one list at a time for a socket, and refuses to begin another meanwhile: one that
    /// nobody waits for any more is read to its end, too.
    async fn list<T, S>(&self, ask: impl FnOnce() -> S) -> Result<Vec<T>, rtnetlink::Error>
    where
        T: Send + 'static,
        S: Stream<Item = Result<T, rtnetlink::Error>> + Send + 'static,
    {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let listed = ask();
        let reading = tokio::spawn(async move {
            let listed = listed.try_collect().await;
            drop(turn);
            listed
        });
        reading.await.expect("reading a list does not panic")
    }

    /// All addresses of the host, but for those of IPv6 that mean something on their link alone, or that another host may
    /// have or has.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn addresses(&self) -> Result<Vec<Address>, Error> {
        let listed = self.list(|| self.handle.address().get().execute()).await;
        Ok(listed.map_err(failed("listing addresses"))?.iter().filter_map(read).collect())
    }

    /// Gives a link an address of the host alone: it is never chosen as the source of packets to
    /// elsewhere, of IPv6 as long as there is another.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_host_address(&self, link: u32, address: IpAddr) -> Result<(), Error> {
        let mut request = self.handle.address().add(link, address, host_prefix(address));
        of_host(request.message_mut(), address, FOREVER);
        let added = request.execute().await.map_err(failed(format!("adding {address}")));
        unless(added, Errno::EEXIST)
    }

    /// The same for so long, in whole seconds, from now on, if it is there as well. The kernel may take a second more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn lend_host_address(
        &self,
        link: u32,
        address: IpAddr,
        lifetime: Duration,
    ) -> Result<(), Error> {
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(FOREVER);
        let mut request = self.handle.address().add(link, address, host_prefix(address)).replace();
        of_host(request.message_mut(), address, seconds);
        if address.is_ipv6() {
            // The route that comes with it otherwise outlives it.
            let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
            request.message_mut().attributes.push(AddressAttribute::Flags(flags));
        }
        request.execute().await.map_err(failed(format!("adding {address} for a while")))
    }

    /// Takes such an address away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_host_address(&self, link: u32, address: IpAddr) -> Result<(), Error> {
        let prefix_len = host_prefix(address);
        self.remove_address(Address { link, address, prefix_len, temporary: false }).await
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_address(&self, address: Address) -> Result<(), Error> {
        let Address { link, address, prefix_len, .. } = address;
        let message = match address {
            IpAddr::V4(ip) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(link).address(ip, prefix_len).build()
            }
            IpAddr::V6(ip) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(link).address(ip, prefix_len).build()
            }
        };
        let removed = self.handle.address().del(message).execute().await;
        unless(removed.map_err(failed(format!("removing {address}"))), Errno::EADDRNOTAVAIL)
    }
}

/// The length of the prefix of a network that is one address of IPv4.
pub const HOST: u8 = 32;
/// The lifetime of an address that stays.
const FOREVER: u32 = u32::MAX;

/// The same of either family.
pub fn host_prefix(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => HOST,
        IpAddr::V6(_) => 128,
    }
}

/// Makes it one of the host alone, for so many seconds. IPv6 knows no such scope; one that is not preferred comes last. Nobody
/// else is asked whether it is his.
fn of_host(message: &mut AddressMessage, address: IpAddr, seconds: u32) {
    let mut lifetimes = CacheInfo::default();
    (lifetimes.ifa_preferred, lifetimes.ifa_valid) = match address {
        IpAddr::V4(_) => (seconds, seconds),
        IpAddr::V6(_) => (0, seconds),
    };
    match address {
        IpAddr::V4(_) => message.header.scope = AddressScope::Host,
        IpAddr::V6(_) => message.header.flags = AddressHeaderFlags::Nodad,
    }
    message.attributes.push(AddressAttribute::CacheInfo(lifetimes));
}

/// Whether nobody else has it, as far as the kernel has found out: until then no server can listen there.
fn is_held(flags: AddressHeaderFlags) -> bool {
    let is_asked_for = flags.contains(AddressHeaderFlags::Tentative)
        && !flags.contains(AddressHeaderFlags::Optimistic);
    !is_asked_for && !flags.contains(AddressHeaderFlags::Dadfailed)
}

fn read(message: &AddressMessage) -> Option<Address> {
    if !is_held(message.header.flags) {
        return None;
    }
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        // All that is said of IPv6, unless the link's other end has one that is known.
        AddressAttribute::Address(address @ IpAddr::V6(_)) => Some(*address),
        _ => None,
    });
    let address = address.filter(|address| match address {
        IpAddr::V4(_) => true,
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    });
    let (link, prefix_len) = (message.header.index, message.header.prefix_len);
    Some(Address { link, address: address?, prefix_len, temporary: is_temporary(message) })
}

fn is_temporary(message: &AddressMessage) -> bool {
    let is_finite = |attribute: &AddressAttribute| matches!(attribute, AddressAttribute::CacheInfo(info) if info.ifa_valid != FOREVER);
    let is_ours = message.header.family != AddressFamily::Inet6
        || message.header.flags.contains(AddressHeaderFlags::Nodad);
    is_ours && message.attributes.iter().any(is_finite)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_counts_once_nobody_else_has_it() {
        let (tentative, optimistic) =
            (AddressHeaderFlags::Tentative, AddressHeaderFlags::Optimistic);
        assert!(is_held(AddressHeaderFlags::Permanent));
        assert!(is_held(tentative | optimistic));
        assert!(!is_held(tentative));
        assert!(!is_held(AddressHeaderFlags::Permanent | AddressHeaderFlags::Dadfailed));
    }

    #[tokio::test]
    async fn lists_that_are_asked_for_together_come_after_each_other() {
        let kernel = Netlink::open().unwrap();
        for _ in 0..50 {
            let given_up = tokio::time::timeout(Duration::ZERO, kernel.links());
            let lists =
                futures::join!(kernel.links(), kernel.addresses(), kernel.routes(), given_up);
            assert!(!lists.0.unwrap().is_empty());
            lists.1.unwrap();
            lists.2.unwrap();
        }
    }
}
