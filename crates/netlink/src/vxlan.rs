//! VXLANs: links that carry frames to other hosts in datagrams.

use nix::errno::Errno;
use rtnetlink::{
    LinkMessageBuilder, LinkUnspec, LinkVxlan,
    packet_route::link::{InfoData, InfoVxlan, LinkInfo},
};

use crate::{
    Error, Mac, Netlink,
    error::{failed, unless},
};

/// What is told when it is made, and cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vxlan {
    /// The network's number, 24 bits.
    pub id: u32,
    /// The UDP port of all its hosts.
    pub port: u16,
    /// Whether it believes who frames say they come from.
    pub learning: bool,
}

impl Netlink {
    /// Makes one.
    ///
    /// # Errors
    /// The kernel refuses, with `EEXIST` if another link has this number and port, too.
    pub async fn add_vxlan(
        &self,
        name: &str,
        vxlan: Vxlan,
        mac: Mac,
        mtu: u32,
    ) -> Result<(), Error> {
        let message = LinkVxlan::new(name, vxlan.id)
            .port(vxlan.port)
            .learning(vxlan.learning)
            .address(mac.0.to_vec())
            .mtu(mtu)
            .build();
        let made = self.handle.link().add(message).execute().await;
        made.map_err(failed(format!("making the VXLAN {name}")))
    }

    /// Gives a link another MAC address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_mac(&self, link: u32, mac: Mac) -> Result<(), Error> {
        let message =
            LinkMessageBuilder::<LinkUnspec>::new().index(link).address(mac.0.to_vec()).build();
        let set = self.handle.link().set(message).execute().await;
        set.map_err(failed("giving a link its MAC address"))
    }

    /// Has a link take packets of at most so many bytes.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_mtu(&self, link: u32, mtu: u32) -> Result<(), Error> {
        let message = LinkMessageBuilder::<LinkUnspec>::new().index(link).mtu(mtu).build();
        let set = self.handle.link().set(message).execute().await;
        unless(set.map_err(failed("setting the MTU of a link")), Errno::ENODEV)
    }
}

pub(crate) fn read(infos: &[LinkInfo]) -> Option<Vxlan> {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data),
        _ => None,
    })?;
    let mut vxlan = Vxlan { id: 0, port: 0, learning: false };
    for info in data {
        match info {
            InfoVxlan::Id(id) => vxlan.id = *id,
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Learning(learning) => vxlan.learning = *learning,
            _ => {}
        }
    }
    Some(vxlan)
}
