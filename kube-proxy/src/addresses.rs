//! The virtual IPs as local addresses of the node: on `lo`, over a route that swallows the whole
//! range, so that a packet for an address that nobody holds never leaves the node, and behind rules
//! that let nobody but the Services answer on them.

use std::{collections::BTreeSet, net::Ipv4Addr};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use netlink::{Address, Netlink, Route};

use crate::firewall;

/// What went wrong with an address.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The kernel refused.
    #[error("addresses of lo")]
    Kernel(#[from] netlink::Error),
    /// The packet filter lets in what no Service serves.
    #[error("refusing what no Service serves")]
    Firewall(#[from] packet_filter::Error),
    /// There is no loopback device.
    #[error("there is no device named lo")]
    NoLoopback,
    /// A container of another range is there: nothing would ever let its address go.
    #[error("{0} is not in {1}")]
    OutOfRange(Ipv4Addr, Ipv4Net),
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
    /// meant. Datagrams to a pod that does not listen are met with silence.
    async fn guard(&self) -> Result<(), AddressError>;

    /// The addresses that the node has.
    async fn list(&self) -> Result<Listed, AddressError>;

    /// Takes an address; one that is held already is fine.
    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError>;

    /// Lets an address go; one that is not held is fine.
    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError>;
}

/// The addresses of `lo`.
#[derive(Debug)]
pub struct Loopback {
    netlink: Netlink,
    index: u32,
    range: Ipv4Net,
    pods: Ipv4Net,
    not_listed: Option<Ipv4Addr>,
}

impl Loopback {
    /// For the addresses of `range`; others on `lo` are never looked at. `pods` are those of all pods.
    pub async fn open(range: Ipv4Net, pods: Ipv4Net) -> Result<Self, AddressError> {
        let netlink = Netlink::open()?;
        let index = netlink.link("lo").await?.ok_or(AddressError::NoLoopback)?;
        Ok(Loopback { netlink, index, range, pods, not_listed: None })
    }

    /// With one that is never said to be held: somebody else takes it.
    #[must_use]
    pub fn without(self, address: Option<Ipv4Addr>) -> Self {
        Loopback { not_listed: address, ..self }
    }

    fn is_virtual(&self, address: &Address) -> bool {
        address.link == self.index
            && address.prefix_len == 32
            && self.range.contains(&address.address)
            && self.not_listed != Some(address.address)
    }
}

#[async_trait]
impl Addresses for Loopback {
    async fn fence(&self) -> Result<(), AddressError> {
        Ok(self.netlink.replace_route(&Route::blackhole(self.range)).await?)
    }

    async fn guard(&self) -> Result<(), AddressError> {
        Ok(firewall::guard(self.range, self.pods).await?)
    }

    async fn list(&self) -> Result<Listed, AddressError> {
        let all = self.netlink.addresses().await?;
        let held = all.iter().filter(|address| self.is_virtual(address));
        let held = held.map(|address| address.address).collect();
        Ok(Listed { held, all: all.iter().map(|address| address.address).collect() })
    }

    async fn take(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        if !self.range.contains(&address) {
            return Err(AddressError::OutOfRange(address, self.range));
        }
        Ok(self.netlink.add_host_address(self.index, address).await?)
    }

    async fn release(&self, address: Ipv4Addr) -> Result<(), AddressError> {
        Ok(self.netlink.remove_host_address(self.index, address).await?)
    }
}
