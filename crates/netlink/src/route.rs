//! Routes of the main table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use nix::errno::Errno;
use rtnetlink::{
    RouteMessageBuilder,
    packet_route::{
        AddressFamily,
        route::{
            RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
            RouteType,
        },
    },
};

use crate::{
    Error, Netlink,
    error::{failed, unless},
};

/// A route, of either family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: IpNet,
    /// Through whom; of several, the first.
    pub gateway: Option<IpAddr>,
    /// The index of the link that it leaves by. A gateway of a route that is added with a link is on that link
    /// whatever its address.
    pub link: Option<u32>,
    /// The longest packet that it is for, if that is shorter than what its link takes.
    pub mtu: Option<u32>,
    /// Who made it: a number that each routing program has of its own.
    pub protocol: u8,
    /// Whether it leads somewhere: a route may also swallow or refuse. Those that are added swallow.
    pub unicast: bool,
}

impl Route {
    /// The protocol of those that the kernel makes with an address of a link.
    pub const KERNEL: u8 = 2;
    /// The protocol of those that are made once and by nobody in particular.
    pub const STATIC: u8 = 4;

    /// Packets for the network that no other route takes end here instead of leaving the host.
    pub fn blackhole(destination: IpNet) -> Self {
        Self {
            destination,
            gateway: None,
            link: None,
            mtu: None,
            protocol: Self::STATIC,
            unicast: false,
        }
    }
}

impl Netlink {
    /// All.
    ///
    /// # Errors
    /// The kernel does not answer.
    pub async fn routes(&self) -> Result<Vec<Route>, Error> {
        // Of no family, which means all.
        let any = RouteMessageBuilder::<IpAddr>::new().build();
        let listed = self.list(|| self.handle.route().get(any).execute()).await;
        Ok(listed.map_err(failed("listing routes"))?.iter().filter_map(read).collect())
    }

    /// Adds a route.
    ///
    /// # Errors
    /// `EEXIST` if there is one with this destination, `ENETUNREACH` if the gateway is on no link.
    pub async fn add_route(&self, route: &Route) -> Result<(), Error> {
        let added = self.handle.route().add(write(route)).execute().await;
        added.map_err(failed(format!("adding a route to {}", route.destination)))
    }

    /// The same, in place of any with this destination.
    ///
    /// # Errors
    /// `ENETUNREACH` if the gateway is on no link.
    pub async fn replace_route(&self, route: &Route) -> Result<(), Error> {
        let replaced = self.handle.route().add(write(route)).replace().execute().await;
        replaced.map_err(failed(format!("replacing the route to {}", route.destination)))
    }

    /// Removes the route by which packets for the network end here.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_blackhole(&self, destination: IpNet) -> Result<(), Error> {
        let route = write(&Route::blackhole(destination));
        let removed = self.handle.route().del(route).execute().await;
        let step = format!("removing the route that keeps {destination} here");
        unless(removed.map_err(failed(step)), Errno::ESRCH)
    }

    /// Removes the route of this protocol, and none of another one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_route(&self, destination: IpNet, protocol: u8) -> Result<(), Error> {
        let removed = self.handle.route().del(to(destination, protocol).build()).execute().await;
        unless(
            removed.map_err(failed(format!("removing the route to {destination}"))),
            Errno::ESRCH,
        )
    }
}

fn to(destination: IpNet, protocol: u8) -> RouteMessageBuilder<IpAddr> {
    RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(destination.network(), destination.prefix_len())
        .expect("a network's prefix is no longer than its addresses")
        .protocol(RouteProtocol::from(protocol))
}

fn write(route: &Route) -> RouteMessage {
    let mut message = to(route.destination, route.protocol);
    if !route.unicast {
        message = message.kind(RouteType::BlackHole);
    }
    if let Some(link) = route.link {
        message = message.output_interface(link);
    }
    if let Some(mtu) = route.mtu {
        let metrics = RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]);
        message.get_mut().attributes.push(metrics);
    }
    if let Some(gateway) = route.gateway {
        message.get_mut().attributes.push(RouteAttribute::Gateway(gateway.into()));
    }
    match (route.gateway, route.link) {
        (Some(_), Some(_)) => message.onlink().build(),
        _ => message.build(),
    }
}

fn read(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    let mut network = match header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    if header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut route = Route {
        destination: IpNet::from(network),
        gateway: None,
        link: None,
        mtu: None,
        protocol: header.protocol.into(),
        unicast: header.kind == RouteType::Unicast,
    };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = (*address).into(),
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                network = (*address).into()
            }
            RouteAttribute::MultiPath(hops) => {
                let Some(hop) = hops.first() else { continue };
                route.link = Some(hop.interface_index);
                hop.attributes.iter().for_each(|attribute| read_hop(attribute, &mut route));
            }
            attribute => read_hop(attribute, &mut route),
        }
    }
    route.destination = IpNet::new(network, header.destination_prefix_length).ok()?;
    Some(route)
}

fn read_hop(attribute: &RouteAttribute, route: &mut Route) {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
            route.gateway = Some((*address).into())
        }
        RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
            route.gateway = Some((*address).into());
        }
        RouteAttribute::Oif(link) => route.link = Some(*link),
        RouteAttribute::Metrics(metrics) => {
            route.mtu = metrics.iter().find_map(|metric| match metric {
                RouteMetric::Mtu(mtu) => Some(*mtu),
                _ => None,
            });
        }
        _ => {}
    }
}
