//! The kernel's routes, and the VXLAN that some of them pass through.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;
use netlink::{Address, Error, Forwarding, HOST, Neighbour, Netlink};
use nix::errno::Errno;

use super::{
    Change, Route,
    seen::{PROTOCOL, Seen},
    steps::Step,
    vxlan::{self, Device},
};

/// Why a route could not be brought about. Trying again does not help before something changes.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refusal {
    /// The gateway can't be reached directly.
    #[error(
        "{gateway} is not on a network segment of this host: put both nodes on one segment, let kube-proxy use \
         its VXLAN, or add a route of your own to {destination}"
    )]
    NotOnLink {
        /// Who is not reached.
        gateway: IpAddr,
        /// Where the route was to lead.
        destination: IpNet,
    },
    /// This host's end of the VXLAN is not known.
    #[error(
        "the VXLAN to {0} has to wait: this host's own node has no pod CIDR or no InternalIP yet"
    )]
    NoOwnNode(IpNet),
    /// Something of the VXLAN.
    #[error("the kernel refused the VXLAN: {said}")]
    Vxlan {
        /// What the kernel said.
        said: String,
    },
    /// There is a route that does not lead to the node.
    #[error("{0} is a network of this host or one that leads nowhere here: remove that route")]
    InTheWay(IpNet),
    /// Anything else.
    #[error("the kernel refused the route to {destination}: {said}")]
    Other {
        /// Where it was to lead.
        destination: IpNet,
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

    /// The addresses of this host.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn addresses(&self) -> Result<BTreeSet<IpAddr>, Error> {
        Ok(self.netlink.addresses().await?.iter().map(|address| address.address).collect())
    }

    /// The names of the links that have an address in one of these networks.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn links_in(&self, networks: &BTreeSet<IpNet>) -> Result<BTreeSet<String>, Error> {
        let is_in = |ip: IpAddr| networks.iter().any(|network| network.contains(&ip));
        let addresses = self.netlink.addresses().await?.into_iter();
        let own: BTreeSet<u32> =
            addresses.filter(|it| is_in(it.address)).map(|it| it.link).collect();
        let links = self.netlink.links().await?.into_iter();
        Ok(links.filter(|link| own.contains(&link.index)).map(|link| link.name).collect())
    }

    /// What there is.
    ///
    /// # Errors
    ///
    /// The kernel does not answer.
    pub async fn look(&self) -> Result<Seen, Error> {
        Ok(Seen {
            addresses: self.netlink.addresses().await?,
            routes: self.netlink.routes().await?,
            links: self.netlink.links().await?,
            neighbours: self.netlink.neighbours().await?,
            forwardings: self.netlink.forwardings().await?,
        })
    }

    /// Does it; `vxlan` is the name of our link. What is done already is fine.
    ///
    /// # Errors
    ///
    /// The kernel refuses.
    pub async fn apply(&self, step: &Step, vxlan: &str) -> Result<(), Refusal> {
        match step {
            Step::Route(change) => {
                self.change_route(change, vxlan).await.map_err(|error| refusal(change, error))
            }
            Step::Vxlan(change) => self
                .change_vxlan(change, vxlan)
                .await
                .map_err(|error| Refusal::Vxlan { said: said(error) }),
        }
    }

    async fn change_route(&self, change: &Change, vxlan: &str) -> Result<(), Error> {
        match change {
            Change::Add(route) => self.netlink.add_route(&self.ours(route, vxlan).await?).await,
            Change::Replace(route) => {
                self.netlink.replace_route(&self.ours(route, vxlan).await?).await
            }
            Change::Remove(destination) => self.netlink.remove_route(*destination, PROTOCOL).await,
        }
    }

    /// A link that is not there was refused, or has gone since: the kernel will say so.
    async fn ours(&self, route: &Route, vxlan: &str) -> Result<netlink::Route, Error> {
        let Route { destination, gateway, .. } = *route;
        let link = if route.by_vxlan() { self.netlink.link(vxlan).await? } else { None };
        let gateway = Some(gateway);
        Ok(netlink::Route {
            destination,
            gateway,
            link,
            mtu: None,
            protocol: PROTOCOL,
            unicast: true,
        })
    }

    async fn change_vxlan(&self, change: &vxlan::Change, name: &str) -> Result<(), Error> {
        let link = self.netlink.link(name).await?;
        match (change, link) {
            (vxlan::Change::Make(device), _) => self.make(device).await,
            (vxlan::Change::Remake(device), link) => {
                if let Some(link) = link {
                    self.netlink.remove_link(link).await?;
                }
                self.make(device).await
            }
            (vxlan::Change::Configure(device), Some(link)) => self.configure(device, link).await,
            (vxlan::Change::Remove(name), _) => match self.netlink.link(name).await? {
                Some(link) => self.netlink.remove_link(link).await,
                None => Ok(()),
            },
            (change, Some(link)) => self.change_entry(change, link).await,
            // It was refused, which is told, or has gone since, and its entries with it.
            (_, None) => Ok(()),
        }
    }

    async fn make(&self, device: &Device) -> Result<(), Error> {
        self.netlink.add_vxlan(&device.name, device.vxlan, device.mac, device.mtu).await?;
        match self.netlink.link(&device.name).await? {
            Some(link) => self.configure(device, link).await,
            None => Ok(()),
        }
    }

    async fn configure(&self, device: &Device, link: u32) -> Result<(), Error> {
        let own = Address { link, address: device.address, prefix_len: HOST, temporary: false };
        let others = self.netlink.addresses().await?;
        for address in others.iter().filter(|found| found.link == link && **found != own) {
            self.netlink.remove_address(*address).await?;
        }
        self.netlink.set_mac(link, device.mac).await?;
        self.netlink.set_mtu(link, device.mtu).await?;
        self.netlink.add_address(link, own.address, HOST).await?;
        self.netlink.set_up(link).await
    }

    async fn change_entry(&self, change: &vxlan::Change, link: u32) -> Result<(), Error> {
        match *change {
            vxlan::Change::SetNeighbour(address, mac) => {
                self.netlink.set_neighbour(&Neighbour { link, address, mac }).await
            }
            vxlan::Change::RemoveNeighbour(address, mac) => {
                self.netlink.remove_neighbour(&Neighbour { link, address, mac }).await
            }
            vxlan::Change::SetForwarding(mac, remote) => {
                self.netlink.set_forwarding(&Forwarding { link, mac, remote }).await
            }
            vxlan::Change::RemoveForwarding(mac, remote) => {
                self.netlink.remove_forwarding(&Forwarding { link, mac, remote }).await
            }
            // Of the link itself.
            _ => Ok(()),
        }
    }
}

fn said(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

fn refusal(change: &Change, error: Error) -> Refusal {
    let destination = match change {
        Change::Add(route) | Change::Replace(route) => route.destination,
        Change::Remove(destination) => *destination,
    };
    match (change, error.errno()) {
        // Which of both depends on the family.
        (
            Change::Add(route) | Change::Replace(route),
            Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH),
        ) => Refusal::NotOnLink { gateway: route.gateway, destination },
        (Change::Add(_), Some(Errno::EEXIST)) => Refusal::InTheWay(destination),
        _ => Refusal::Other { destination, said: said(error) },
    }
}
