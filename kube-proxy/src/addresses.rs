//! The virtual IPs as local addresses of the node: on `lo`, over routes that swallow the whole
//! ranges, so that a packet for an address that nobody holds never leaves the node, and behind rules
//! that let nobody but the Services answer on them.

use std::{collections::BTreeSet, net::IpAddr};

use async_trait::async_trait;
use component::dual_stack::DualStack;
use netlink::{Address, Netlink, Route, host_prefix};

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
    OutOfRange(IpAddr, DualStack),
}

/// Addresses of the node.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// Those of the ranges on `lo`.
    pub held: BTreeSet<IpAddr>,
    /// All.
    pub all: BTreeSet<IpAddr>,
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
    async fn take(&self, address: IpAddr) -> Result<(), AddressError>;

    /// Lets an address go; one that is not held is fine.
    async fn release(&self, address: IpAddr) -> Result<(), AddressError>;
}

/// The addresses of `lo`.
#[derive(Debug)]
pub struct Loopback {
    netlink: Netlink,
    index: u32,
    ranges: DualStack,
    pods: DualStack,
    not_listed: Option<IpAddr>,
}

impl Loopback {
    /// For the addresses of `ranges`; others on `lo` are never looked at. `pods` are those of all pods.
    pub async fn open(ranges: DualStack, pods: DualStack) -> Result<Self, AddressError> {
        let netlink = Netlink::open()?;
        let index = netlink.link("lo").await?.ok_or(AddressError::NoLoopback)?;
        Ok(Loopback { netlink, index, ranges, pods, not_listed: None })
    }

    /// With one that is never said to be held: somebody else takes it.
    #[must_use]
    pub fn without(self, address: Option<IpAddr>) -> Self {
        Loopback { not_listed: address, ..self }
    }

    fn is_virtual(&self, address: &Address) -> bool {
        address.link == self.index
            && address.prefix_len == host_prefix(address.address)
            && self.ranges.contains(address.address)
            && self.not_listed != Some(address.address)
    }
}

#[async_trait]
impl Addresses for Loopback {
    async fn fence(&self) -> Result<(), AddressError> {
        for range in self.ranges.iter() {
            self.netlink.replace_route(&Route::blackhole(range)).await?;
        }
        Ok(())
    }

    async fn guard(&self) -> Result<(), AddressError> {
        Ok(firewall::guard(&self.ranges, &self.pods).await?)
    }

    async fn list(&self) -> Result<Listed, AddressError> {
        let all = self.netlink.addresses().await?;
        let held = all.iter().filter(|address| self.is_virtual(address));
        let held = held.map(|address| address.address).collect();
        Ok(Listed { held, all: all.iter().map(|address| address.address).collect() })
    }

    async fn take(&self, address: IpAddr) -> Result<(), AddressError> {
        if !self.ranges.contains(address) {
            return Err(AddressError::OutOfRange(address, self.ranges));
        }
        Ok(self.netlink.add_host_address(self.index, address).await?)
    }

    async fn release(&self, address: IpAddr) -> Result<(), AddressError> {
        Ok(self.netlink.remove_host_address(self.index, address).await?)
    }
}
