//! Links: bridges, and pairs of which one end is in another network namespace.

use std::{fs::File, net::IpAddr, os::fd::AsRawFd};

use futures::TryStreamExt;
use nix::errno::Errno;
use rtnetlink::{
    LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth,
    packet_route::{
        address::AddressHeaderFlags,
        link::{
            InfoBridgePort, InfoData, InfoPortData, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
            LinkMessage,
        },
    },
};

use crate::{
    Error, Mac, Netlink, Vxlan,
    error::{failed, unless},
    vxlan,
};

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The index of the bridge that it is a port of.
    pub bridge: Option<u32>,
    /// Whether the bridge gives it back what came from it.
    pub hairpin: bool,
    /// The longest packet that it takes, in bytes.
    pub mtu: u32,
    /// Whether it is meant to work.
    pub up: bool,
    /// Its MAC address, if it has one.
    pub mac: Option<Mac>,
    /// What it is as a VXLAN.
    pub vxlan: Option<Vxlan>,
}

impl Netlink {
    /// The index of a link, if there is one of this name.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn link(&self, name: &str) -> Result<Option<u32>, Error> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute();
        match links.try_next().await.map_err(failed(format!("looking for {name}"))) {
            Err(error) if error.errno() == Some(Errno::ENODEV) => Ok(None),
            found => Ok(found?.map(|link| link.header.index)),
        }
    }

    /// All.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn links(&self) -> Result<Vec<Link>, Error> {
        let listed = self.list(|| self.handle.link().get().execute()).await;
        Ok(listed.map_err(failed("listing links"))?.iter().filter_map(read).collect())
    }

    /// Makes a bridge, which keeps this MAC address: one that is given none has that of one of its ports, and another one
    /// when that port goes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_bridge(&self, name: &str, mac: Mac) -> Result<(), Error> {
        let bridge = LinkBridge::new(name).address(mac.0.to_vec()).build();
        let made = self.handle.link().add(bridge).execute().await;
        unless(made.map_err(failed(format!("making the bridge {name}"))), Errno::EEXIST)
    }

    /// Makes a pair: `name` here, `peer` in the other network namespace, with this MAC address.
    ///
    /// # Errors
    /// `EEXIST` if there is a link of one of these names; the kernel refuses.
    pub async fn add_pair(
        &self,
        name: &str,
        (peer, mac): (&str, Mac),
        namespace: &File,
    ) -> Result<(), Error> {
        let other = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer)
            .address(mac.0.to_vec())
            .setns_by_fd(namespace.as_raw_fd())
            .build();
        let pair =
            LinkVeth::new(name, peer).set_info_data(InfoData::Veth(InfoVeth::Peer(other))).build();
        let made = self.handle.link().add(pair).execute().await;
        made.map_err(failed(format!("making the pair of {name}")))
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_up(&self, link: u32) -> Result<(), Error> {
        let up = LinkMessageBuilder::<LinkUnspec>::new().index(link).up().build();
        self.handle.link().set(up).execute().await.map_err(failed("bringing a link up"))
    }

    /// Brings a link up as a port of the bridge, which gives it back what came from it and is for it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn join(&self, link: u32, bridge: u32) -> Result<(), Error> {
        let joined =
            LinkMessageBuilder::<LinkUnspec>::new().index(link).up().controller(bridge).build();
        let done = self.handle.link().set(joined).execute().await;
        done.map_err(failed("making a link a port of a bridge"))?;
        let port = LinkBridgePort::new(link).hairpin(true).build();
        let done = self.handle.link().set_port(port).execute().await;
        done.map_err(failed("having a bridge give a port back what is for it"))
    }

    /// Removes a link.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_link(&self, link: u32) -> Result<(), Error> {
        let removed = self.handle.link().del(link).execute().await;
        unless(removed.map_err(failed("removing a link")), Errno::ENODEV)
    }

    /// Gives a link an address in a network that is reached through it. Nobody else is asked whether it is his, which for
    /// IPv6 would take a second.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn add_address(
        &self,
        link: u32,
        address: IpAddr,
        prefix_len: u8,
    ) -> Result<(), Error> {
        let mut request = self.handle.address().add(link, address, prefix_len);
        if address.is_ipv6() {
            request.message_mut().header.flags = AddressHeaderFlags::Nodad;
        }
        let added = request.execute().await;
        unless(added.map_err(failed(format!("adding {address}"))), Errno::EEXIST)
    }
}

fn read(message: &LinkMessage) -> Option<Link> {
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        bridge: None,
        hairpin: false,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        mac: None,
        vxlan: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => link.name.clone_from(text),
            LinkAttribute::Controller(index) => link.bridge = Some(*index),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Address(bytes) => link.mac = Mac::read(bytes),
            LinkAttribute::LinkInfo(infos) => {
                link.hairpin = infos.iter().any(is_hairpin);
                link.vxlan = vxlan::read(infos);
            }
            _ => {}
        }
    }
    (!link.name.is_empty()).then_some(link)
}

fn is_hairpin(info: &LinkInfo) -> bool {
    let LinkInfo::PortData(InfoPortData::BridgePort(port)) = info else { return false };
    port.contains(&InfoBridgePort::HairpinMode(true))
}
