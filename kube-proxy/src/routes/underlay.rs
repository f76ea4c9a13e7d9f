//! The network that connects the hosts, as this host's routes show it. Pure.

use std::net::IpAddr;

use netlink::{Link, Route};

/// The routes and links of this host.
#[derive(Clone, Copy, Debug)]
pub struct Underlay<'a> {
    /// Of the main table, as the kernel lists them: of those to one network the first is taken.
    pub routes: &'a [Route],
    /// All.
    pub links: &'a [Link],
}

impl Underlay<'_> {
    /// Whether packets for the address pass through a router. Those that no route takes do not.
    pub fn is_behind_a_router(&self, address: IpAddr) -> bool {
        self.route(address).is_some_and(|route| route.gateway.is_some())
    }

    /// The longest packet that leaves this host for the address in one piece.
    pub fn mtu(&self, address: IpAddr) -> Option<u32> {
        let route = self.route(address)?;
        let link = self.links.iter().find(|found| Some(found.index) == route.link)?;
        Some(route.mtu.map_or(link.mtu, |mtu| mtu.min(link.mtu)))
    }

    fn route(&self, address: IpAddr) -> Option<&Route> {
        let leading = self.routes.iter().filter(|route| route.destination.contains(&address));
        // Of equal ones the last is given.
        let leading = leading.rev().max_by_key(|route| route.destination.prefix_len());
        leading.filter(|route| route.unicast)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, gateway: Option<[u8; 4]>, link: u32) -> Route {
        let (destination, gateway) = (destination.parse().unwrap(), gateway.map(Into::into));
        Route {
            destination,
            gateway,
            link: Some(link),
            mtu: None,
            protocol: Route::KERNEL,
            unicast: true,
        }
    }

    fn link(index: u32, mtu: u32) -> Link {
        let name = format!("eth{index}");
        Link { index, name, bridge: None, hairpin: false, mtu, up: true, mac: None, vxlan: None }
    }

    #[test]
    fn the_most_precise_route_says_how_an_address_is_reached() {
        let swallowed = Route::blackhole("203.0.113.0/24".parse().unwrap());
        let routes = [
            route("198.51.100.0/24", None, 1),
            route("0.0.0.0/0", Some([198, 51, 100, 254]), 1),
            route("192.0.2.0/24", Some([10, 9, 0, 1]), 2),
            route("192.0.2.7/32", None, 2),
            swallowed,
        ];
        let links = [link(1, 1500), link(2, 9000)];
        let underlay = Underlay { routes: &routes, links: &links };
        let look = |address: [u8; 4]| {
            (underlay.is_behind_a_router(address.into()), underlay.mtu(address.into()))
        };
        assert_eq!(look([198, 51, 100, 2]), (false, Some(1500)));
        assert_eq!(look([192, 0, 2, 6]), (true, Some(9000)));
        assert_eq!(look([192, 0, 2, 7]), (false, Some(9000)));
        assert_eq!(look([8, 8, 8, 8]), (true, Some(1500)));
        assert_eq!(look([203, 0, 113, 1]), (false, None));
    }

    #[test]
    fn of_equal_routes_the_first_counts_and_none_takes_more_than_its_link_does() {
        let mut routes = [
            route("0.0.0.0/0", Some([198, 51, 100, 254]), 1),
            route("0.0.0.0/0", None, 2),
            route("192.0.2.0/24", None, 2),
        ];
        (routes[0].mtu, routes[2].mtu) = (Some(1400), Some(9500));
        let links = [link(1, 1500), link(2, 9000)];
        let underlay = Underlay { routes: &routes, links: &links };
        let look = |address: [u8; 4]| {
            (underlay.is_behind_a_router(address.into()), underlay.mtu(address.into()))
        };
        assert_eq!(look([8, 8, 8, 8]), (true, Some(1400)));
        assert_eq!(look([192, 0, 2, 7]), (false, Some(9000)));
    }
}
