//! Who is behind a link: entries that somebody has made by hand, and that stay until somebody removes them.

use std::net::{IpAddr, Ipv4Addr};

use nix::errno::Errno;
use rtnetlink::packet_route::{
    AddressFamily,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
    },
};

use crate::{
    Error, Mac, Netlink,
    error::{failed, unless},
};

/// An address on a link, and whose frames it means (`ip neighbour`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Neighbour {
    /// The index of the link.
    pub link: u32,
    /// The address.
    pub address: IpAddr,
    /// Where frames for it are sent.
    pub mac: Mac,
}

/// The host that gets the frames which a VXLAN has for a MAC address (`bridge fdb`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Forwarding {
    /// The index of the VXLAN.
    pub link: u32,
    /// Of whom the frames are.
    pub mac: Mac,
    /// The host.
    pub remote: Ipv4Addr,
}

impl Netlink {
    /// Those that do not go by themselves.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        // Of no family, which means all.
        let found = self.entries(AddressFamily::Unspec).await?;
        let permanent =
            |message: &&NeighbourMessage| message.header.state == NeighbourState::Permanent;
        Ok(found.iter().filter(permanent).filter_map(read_neighbour).collect())
    }

    /// Those of all VXLANs.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn forwardings(&self) -> Result<Vec<Forwarding>, Error> {
        let found = self.entries(AddressFamily::Bridge).await?;
        Ok(found.iter().filter_map(read_forwarding).collect())
    }

    async fn entries(&self, family: AddressFamily) -> Result<Vec<NeighbourMessage>, Error> {
        let ask = || self.handle.neighbours().get().set_address_family(family).execute();
        self.list(ask).await.map_err(failed("listing neighbours"))
    }

    /// Adds one, in place of any with this address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        let Neighbour { link, address, mac } = *neighbour;
        let request = self.handle.neighbours().add(link, address);
        let set = request.link_layer_address(&mac.0).replace().execute().await;
        set.map_err(failed(format!("making {address} a neighbour")))
    }

    /// Removes one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_neighbour(&self, neighbour: &Neighbour) -> Result<(), Error> {
        let Neighbour { link, address, .. } = *neighbour;
        let (family, destination) = match address {
            IpAddr::V4(ip) => (AddressFamily::Inet, NeighbourAddress::Inet(ip)),
            IpAddr::V6(ip) => (AddressFamily::Inet6, NeighbourAddress::Inet6(ip)),
        };
        let message = entry(family, link, vec![NeighbourAttribute::Destination(destination)]);
        let removed = self.handle.neighbours().del(message).execute().await;
        unless(
            removed.map_err(failed(format!("forgetting the neighbour {address}"))),
            Errno::ENOENT,
        )
    }

    /// Adds one, in place of any with this MAC address.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn set_forwarding(&self, forwarding: &Forwarding) -> Result<(), Error> {
        let Forwarding { link, mac, remote } = *forwarding;
        let request = self.handle.neighbours().add_bridge(link, &mac.0);
        let request = request.destination(remote.into()).flags(NeighbourFlags::Own).replace();
        request.execute().await.map_err(failed(format!("forwarding to {remote}")))
    }

    /// Removes one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_forwarding(&self, forwarding: &Forwarding) -> Result<(), Error> {
        let Forwarding { link, mac, remote } = *forwarding;
        let attributes = vec![
            NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(remote)),
        ];
        let mut message = entry(AddressFamily::Bridge, link, attributes);
        message.header.flags = NeighbourFlags::Own;
        let removed = self.handle.neighbours().del(message).execute().await;
        unless(removed.map_err(failed(format!("forwarding no more to {remote}"))), Errno::ENOENT)
    }
}

fn entry(
    family: AddressFamily,
    link: u32,
    attributes: Vec<NeighbourAttribute>,
) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.header.ifindex = link;
    message.attributes = attributes;
    message
}

fn read_neighbour(message: &NeighbourMessage) -> Option<Neighbour> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => Some(IpAddr::V4(*ip)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => Some(IpAddr::V6(*ip)),
        _ => None,
    });
    Some(Neighbour { link: message.header.ifindex, address: address?, mac: mac(message)? })
}

/// Of a bridge's, none: they have no host.
fn read_forwarding(message: &NeighbourMessage) -> Option<Forwarding> {
    let remote = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Other(bytes)) => {
            <[u8; 4]>::try_from(bytes.as_slice()).ok()
        }
        _ => None,
    });
    Some(Forwarding { link: message.header.ifindex, mac: mac(message)?, remote: remote?.into() })
}

fn mac(message: &NeighbourMessage) -> Option<Mac> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => Mac::read(bytes),
        _ => None,
    })
}
