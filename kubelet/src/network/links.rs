//! The links of a node's pods. Each call is idempotent: what exists already is fine.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use netlink::{Error, Link, Netlink, Route};
use nix::errno::Errno;

use super::{NetworkError, ipam};

/// The pod's end of the pair.
const POD_LINK: &str = "eth0";
/// What the kernel gives the links of a pair.
const POD_MTU: u32 = 1500;
/// By which the links of a network namespace speak no IPv6: those that there are, and those that come.
const WITHOUT_IPV6: [&str; 2] =
    ["/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6"];

/// The links of one network namespace.
#[derive(Clone, Debug)]
pub(super) struct Links(Netlink);

impl Links {
    /// The namespace of the calling thread. Needs a tokio runtime.
    pub(super) fn open() -> Result<Self, NetworkError> {
        Ok(Self(Netlink::open()?))
    }

    async fn existing(&self, name: &str) -> Result<u32, NetworkError> {
        self.0.link(name).await?.ok_or_else(|| NetworkError::NoLink(name.to_owned()))
    }

    /// Packets for the network that no other route takes end here instead of leaving the host.
    pub(super) async fn blackhole(&self, network: Ipv4Net) -> Result<(), NetworkError> {
        Ok(unless_there(self.0.add_route(&Route::blackhole(network)).await)?)
    }

    /// A bridge that is up and has the address.
    pub(super) async fn bridge(
        &self,
        name: &str,
        address: Ipv4Addr,
        prefix_len: u8,
    ) -> Result<(), NetworkError> {
        self.0.add_bridge(name).await?;
        let bridge = self.existing(name).await?;
        self.0.add_address(bridge, address, prefix_len).await?;
        Ok(self.0.set_up(bridge).await?)
    }

    /// The longest packet that reaches the pods of all other hosts in one piece, as far as that is known.
    pub(super) async fn mtu(&self, pods: Ipv4Net) -> Result<Option<u32>, NetworkError> {
        Ok(mtu(pods, &self.0.routes().await?, &self.0.links().await?))
    }

    /// A pair of links: `name` as a port of the bridge here, `eth0` in the pod's namespace, with the address.
    pub(super) async fn connect(
        &self,
        name: &str,
        bridge: &str,
        namespace: File,
        address: Ipv4Addr,
        network: Ipv4Net,
        mtu: Option<u32>,
    ) -> Result<(), NetworkError> {
        self.0.add_pair(name, POD_LINK, &namespace).await?;
        self.0.join(self.existing(name).await?, self.existing(bridge).await?).await?;
        Ok(netlink::inside(namespace, async move |pod| pod_side(&pod, address, network, mtu).await)
            .await?)
    }

    /// Makes those of the links that exist ports of the bridge.
    pub(super) async fn join_all(
        &self,
        names: &BTreeSet<String>,
        bridge: &str,
    ) -> Result<(), NetworkError> {
        let bridge = self.existing(bridge).await?;
        let links = self.0.links().await?.into_iter();
        let joined = |link: &Link| link.bridge == Some(bridge) && link.hairpin;
        for link in links.filter(|link| names.contains(&link.name) && !joined(link)) {
            self.0.join(link.index, bridge).await?;
        }
        Ok(())
    }

    /// Removes a link; one that does not exist is fine.
    pub(super) async fn delete(&self, name: &str) -> Result<(), NetworkError> {
        match self.0.link(name).await? {
            Some(link) => Ok(self.0.remove_link(link).await?),
            None => Ok(()),
        }
    }
}

/// The links of all pods on a bridge take packets of one length; what has to be shorter on its way to other hosts
/// is made so by the route.
async fn pod_side(
    pod: &Netlink,
    address: Ipv4Addr,
    network: Ipv4Net,
    mtu: Option<u32>,
) -> Result<(), Error> {
    if let Some(loopback) = pod.link("lo").await? {
        pod.set_up(loopback).await?;
    }
    without_ipv6().map_err(Error::Namespace)?;
    if let Some(link) = pod.link(POD_LINK).await? {
        pod.add_address(link, address, network.prefix_len()).await?;
        pod.set_up(link).await?;
    }
    let (destination, gateway) = (Ipv4Net::default(), Some(ipam::gateway(network)));
    let route =
        Route { destination, gateway, link: None, mtu, protocol: Route::STATIC, unicast: true };
    unless_there(pod.add_route(&route).await)
}

/// Of the calling thread's namespace. Pods of one bridge would reach each other at link-local addresses, of which no network
/// policy knows: not every Docker turns IPv6 off in a sandbox.
fn without_ipv6() -> io::Result<()> {
    for flag in WITHOUT_IPV6 {
        match fs::write(flag, "1") {
            // The kernel has no IPv6.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

fn unless_there(added: Result<(), Error>) -> Result<(), Error> {
    match added {
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

/// Nothing, if that is what links of pods take anyway.
fn mtu(pods: Ipv4Net, routes: &[Route], links: &[Link]) -> Option<u32> {
    let to_others = routes.iter().filter(|route| {
        route.unicast && route.gateway.is_some() && pods.contains(&route.destination)
    });
    let by = to_others.filter_map(|route| links.iter().find(|link| Some(link.index) == route.link));
    by.map(|link| link.mtu).min().filter(|mtu| *mtu < POD_MTU)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_way_to_another_host_s_pods_limits_packets() {
        let route = |destination: &str, gateway: Option<[u8; 4]>, link| Route {
            destination: destination.parse().unwrap(),
            gateway: gateway.map(Into::into),
            link: Some(link),
            mtu: None,
            protocol: 138,
            unicast: true,
        };
        let link = |index, mtu| Link {
            index,
            name: format!("l{index}"),
            bridge: None,
            hairpin: false,
            mtu,
            up: true,
            mac: None,
            vxlan: None,
        };
        let links = [link(1, 9000), link(2, 1450), link(3, 1400)];
        let look = |routes: &[Route]| mtu("10.244.0.0/16".parse().unwrap(), routes, &links);
        let near = route("10.244.2.0/24", Some([192, 0, 2, 2]), 1);
        let far = route("10.244.3.0/24", Some([10, 244, 3, 0]), 2);
        assert_eq!(look(&[near]), None);
        assert_eq!(look(&[near, far]), Some(1450));
        // A link of this host's own pods, and a way to elsewhere.
        let others = [route("10.244.1.0/24", None, 3), route("0.0.0.0/0", Some([192, 0, 2, 9]), 3)];
        assert_eq!(look(&others), None);
    }
}
