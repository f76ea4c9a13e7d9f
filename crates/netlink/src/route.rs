//! Routes of the main table.

use std::net::Ipv4Addr;

use futures::TryStreamExt;
use ipnet::Ipv4Net;
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

/// An IPv4 route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where it leads.
    pub destination: Ipv4Net,
    /// Through whom; of several, the first.
    pub gateway: Option<Ipv4Addr>,
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
    pub fn blackhole(destination: Ipv4Net) -> Self {
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
        let any = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let listed: Result<Vec<_>, _> = self.handle.route().get(any).execute().try_collect().await;
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

    /// Removes the route of this protocol, and none of another one.
    ///
    /// # Errors
    /// The kernel refuses.
    pub async fn remove_route(&self, destination: Ipv4Net, protocol: u8) -> Result<(), Error> {
        let removed = self.handle.route().del(to(destination, protocol).build()).execute().await;
        unless(
            removed.map_err(failed(format!("removing the route to {destination}"))),
            Errno::ESRCH,
        )
    }
}

fn to(destination: Ipv4Net, protocol: u8) -> RouteMessageBuilder<Ipv4Addr> {
    RouteMessageBuilder::<Ipv4Addr>::new()
        .destination_prefix(destination.network(), destination.prefix_len())
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
    match (route.gateway, route.link) {
        (Some(gateway), Some(_)) => message.gateway(gateway).onlink().build(),
        (Some(gateway), None) => message.gateway(gateway).build(),
        (None, _) => message.build(),
    }
}

fn read(message: &RouteMessage) -> Option<Route> {
    let header = &message.header;
    if header.address_family != AddressFamily::Inet || header.table != RouteHeader::RT_TABLE_MAIN {
        return None;
    }
    let mut route = Route {
        destination: Ipv4Net::default(),
        gateway: None,
        link: None,
        mtu: None,
        protocol: header.protocol.into(),
        unicast: header.kind == RouteType::Unicast,
    };
    let mut network = Ipv4Addr::UNSPECIFIED;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => network = *address,
            RouteAttribute::MultiPath(hops) => {
                let Some(hop) = hops.first() else { continue };
                route.link = Some(hop.interface_index);
                hop.attributes.iter().for_each(|attribute| read_hop(attribute, &mut route));
            }
            attribute => read_hop(attribute, &mut route),
        }
    }
    route.destination = Ipv4Net::new(network, header.destination_prefix_length).ok()?;
    Some(route)
}

fn read_hop(attribute: &RouteAttribute, route: &mut Route) {
    match attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address)) => route.gateway = Some(*address),
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
