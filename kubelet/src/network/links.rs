//! The links of a node's pods. Each call is idempotent: what exists already is fine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    net::{IpAddr, Ipv4Addr},
};

use component::check::Difference;
use component::dual_stack::DualStack;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{Error, Link, Mac, Netlink, Route};
use nix::errno::Errno;

use super::{Expected, NetworkError, PodAddresses, ipam, namespace_of};

/// The pod's end of the pair.
const POD_LINK: &str = "eth0";
/// What the kernel gives the links of a pair.
const POD_MTU: u32 = 1500;
/// By which the links of a network namespace speak no IPv6: those that there are, and those that come.
const WITHOUT_IPV6: [&str; 2] =
    ["/proc/sys/net/ipv6/conf/all/disable_ipv6", "/proc/sys/net/ipv6/conf/default/disable_ipv6"];
/// By which a pod's link has no addresses but those that it is given, neither made by itself nor told by a router: at
/// addresses of the link alone, pods would reach each other whatever network policies say.
const ADDRESSES_AS_GIVEN: [(&str, &str); 3] = [
    ("/proc/sys/net/ipv6/conf/eth0/addr_gen_mode", "1"),
    ("/proc/sys/net/ipv6/conf/eth0/accept_ra", "0"),
    ("/proc/sys/net/ipv6/conf/eth0/accept_redirects", "0"),
];

/// Of a bridge: it takes no routes from pods, which could have the host send what is for others to them, and asks for pods
/// from an address that nobody else has a claim to.
const SPEAKING_IPV6: [(&str, &str); 5] = [
    ("accept_ra", "0"),
    ("accept_redirects", "0"),
    ("disable_ipv6", "0"),
    ("accept_dad", "0"),
    ("ndisc_notify", "1"),
];
/// The same of one whose pods have none.
const SPEAKING_NO_IPV6: [(&str, &str); 2] = [("accept_ra", "0"), ("disable_ipv6", "1")];
/// Of a bridge: it tells its pods when it has another MAC address, as `ndisc_notify` does in IPv6.
const TELLING: (&str, &str) = ("arp_notify", "1");

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
    pub(super) async fn blackhole(&self, network: IpNet) -> Result<(), NetworkError> {
        Ok(unless_there(self.0.add_route(&Route::blackhole(network)).await)?)
    }

    /// They may leave the host again.
    pub(super) async fn remove_blackhole(&self, network: IpNet) -> Result<(), NetworkError> {
        Ok(self.0.remove_blackhole(network).await?)
    }

    /// A bridge that is up and is the gateway of these networks.
    pub(super) async fn bridge(&self, name: &str, cidr: &DualStack) -> Result<(), NetworkError> {
        let mac = mac_of_gateway(cidr);
        self.0.add_bridge(name, mac).await?;
        let bridge = self.existing(name).await?;
        // Before it comes up.
        let flags: &[(&str, &str)] =
            if cidr.v6.is_some() { &SPEAKING_IPV6 } else { &SPEAKING_NO_IPV6 };
        let set = flags.iter().try_for_each(|flag| set_flag("ipv6", name, *flag));
        let set = set.and_then(|()| set_flag("ipv4", name, TELLING));
        let step = "settle what the bridge speaks";
        set.map_err(|source| NetworkError::Io { step, source })?;
        self.keep_mac(bridge, mac).await?;
        for (gateway, network) in gateways(cidr) {
            self.0.add_address(bridge, gateway, network.prefix_len()).await?;
        }
        Ok(self.0.set_up(bridge).await?)
    }

    /// A kubelet of an older version may have made the link, which gave bridges none.
    async fn keep_mac(&self, link: u32, mac: Mac) -> Result<(), Error> {
        let links = self.0.links().await?;
        let has_another = |it: &Link| it.index == link && it.mac != Some(mac);
        if links.iter().any(has_another) { self.0.set_mac(link, mac).await } else { Ok(()) }
    }

    /// The longest packet that reaches the pods of all other hosts in one piece, as far as that is known.
    pub(super) async fn mtu(&self, pods: IpNet) -> Result<Option<u32>, NetworkError> {
        Ok(mtu(pods, &self.0.routes().await?, &self.0.links().await?))
    }

    /// A pair of links: `name` as a port of the bridge here, `eth0` in the pod's namespace, with the addresses in these networks.
    pub(super) async fn connect(
        &self,
        name: &str,
        bridge: &str,
        namespace: File,
        addresses: PodAddresses,
        cidr: DualStack,
        mtu: Option<u32>,
    ) -> Result<(), NetworkError> {
        self.0.add_pair(name, (POD_LINK, ipam::mac(addresses.v4)), &namespace).await?;
        self.0.join(self.existing(name).await?, self.existing(bridge).await?).await?;
        let connect = async move |pod: Netlink| pod_side(&pod, addresses, &cidr, mtu).await;
        Ok(netlink::inside(namespace, connect).await?)
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

    /// Whether the link has the address.
    pub(super) async fn has(&self, name: &str, address: IpAddr) -> Result<bool, NetworkError> {
        let Some(link) = self.0.link(name).await? else { return Ok(false) };
        let held = self.0.addresses().await?;
        Ok(held.iter().any(|held| held.link == link && held.address == address))
    }

    /// Networks for which packets may leave the host though nobody has their addresses.
    pub(super) async fn unfenced(
        &self,
        networks: &[IpNet],
    ) -> Result<Vec<Difference>, NetworkError> {
        let routes = self.0.routes().await?;
        // What is a segment of a link leaves the host by that alone, and has no room for another route.
        let keeps = |route: &Route| !route.unicast || route.protocol == Route::KERNEL;
        let is_fenced = |network: &&IpNet| {
            routes.iter().any(|route| route.destination == **network && keeps(route))
        };
        let open = networks.iter().filter(|network| !is_fenced(network));
        let message = |network: &IpNet| format!("blackhole route of {network} is missing");
        Ok(open.map(|network| Difference::new("route", message(network))).collect())
    }

    /// What a bridge lacks that should be up, the gateway of these networks, and have these ports; `others` may be its ports,
    /// too.
    pub(super) async fn differences_of_bridge(
        &self,
        name: &str,
        cidr: &DualStack,
        ports: &BTreeMap<String, String>,
        others: &BTreeSet<String>,
    ) -> Result<Vec<Difference>, NetworkError> {
        let links = self.0.links().await?;
        let Some(bridge) = links.iter().find(|link| link.name == name) else {
            return Ok(vec![Difference::new("link", format!("bridge {name} is missing"))]);
        };
        let mut found = Vec::new();
        if !bridge.up {
            found.push(format!("bridge {name} is down"));
        }
        let mac = mac_of_gateway(cidr);
        if bridge.mac != Some(mac) {
            found.push(format!("bridge {name} has not the MAC address {mac}"));
        }
        for (gateway, _) in gateways(cidr) {
            if !self.has(name, gateway).await? {
                found.push(format!("bridge {name} has not the address {gateway}"));
            }
        }
        for (port, owner) in ports {
            match links.iter().find(|link| link.name == *port) {
                None => found.push(format!("{port} of {owner} is missing")),
                Some(link) if link.bridge != Some(bridge.index) => {
                    found.push(format!("{port} of {owner} is no port of {name}"));
                }
                Some(link) if !link.hairpin => {
                    found.push(format!("{port} of {owner} does not give back what comes from it"));
                }
                Some(_) => {}
            }
        }
        let is_known = |link: &&Link| ports.contains_key(&link.name) || others.contains(&link.name);
        let surplus = links.iter().filter(|link| link.bridge == Some(bridge.index));
        let surplus = surplus.filter(|link| !is_known(link));
        found.extend(surplus.map(|link| format!("{} is a port of {name} and no pod's", link.name)));
        Ok(found.into_iter().map(|message| Difference::new("link", message)).collect())
    }

    /// Packets for the network leave by the link.
    pub(super) async fn lead(&self, network: Ipv4Net, name: &str) -> Result<(), NetworkError> {
        let route = Route {
            destination: network.into(),
            gateway: None,
            link: Some(self.existing(name).await?),
            mtu: None,
            protocol: Route::STATIC,
            unicast: true,
        };
        Ok(unless_there(self.0.add_route(&route).await)?)
    }

    /// Removes a link; one that does not exist is fine.
    pub(super) async fn delete(&self, name: &str) -> Result<(), NetworkError> {
        match self.0.link(name).await? {
            Some(link) => Ok(self.0.remove_link(link).await?),
            None => Ok(()),
        }
    }
}

/// Of a link of the host. Where the kernel has no IPv6 there is nothing to turn off, and addresses are refused later.
fn set_flag(family: &str, link: &str, (flag, value): (&str, &str)) -> io::Result<()> {
    let path = format!("/proc/sys/net/{family}/conf/{link}/{flag}");
    if fs::read_to_string(&path).is_ok_and(|set| set.trim() == value) {
        return Ok(());
    }
    match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

fn mac_of_gateway(cidr: &DualStack) -> Mac {
    ipam::mac(ipam::gateway(cidr.v4))
}

/// The bridge's address in each of these networks.
fn gateways(cidr: &DualStack) -> Vec<(IpAddr, IpNet)> {
    let v4 = (ipam::gateway(cidr.v4).into(), IpNet::V4(cidr.v4));
    let v6 = cidr.v6.map(|network| (ipam::gateway_v6(network).into(), IpNet::V6(network)));
    [v4].into_iter().chain(v6).collect()
}

/// The links of all pods on a bridge take packets of one length; what has to be shorter on its way to other hosts
/// is made so by the route.
async fn pod_side(
    pod: &Netlink,
    addresses: PodAddresses,
    cidr: &DualStack,
    mtu: Option<u32>,
) -> Result<(), Error> {
    if let Some(loopback) = pod.link("lo").await? {
        pod.set_up(loopback).await?;
    }
    let settled = if addresses.v6.is_some() { with_given_ipv6() } else { without_ipv6() };
    settled.map_err(Error::Namespace)?;
    let leading: Vec<_> = addresses.iter().zip(gateways(cidr)).collect();
    if let Some(link) = pod.link(POD_LINK).await? {
        for (address, (_, network)) in &leading {
            pod.add_address(link, *address, network.prefix_len()).await?;
        }
        pod.set_up(link).await?;
    }
    for (_, (gateway, _)) in leading {
        lead(pod, gateway, mtu).await?;
    }
    Ok(())
}

/// All there are of the gateway's family.
fn everywhere(gateway: IpAddr) -> IpNet {
    match gateway {
        IpAddr::V4(_) => Ipv4Net::default().into(),
        IpAddr::V6(_) => Ipv6Net::default().into(),
    }
}

async fn lead(pod: &Netlink, gateway: IpAddr, mtu: Option<u32>) -> Result<(), Error> {
    let (destination, gateway) = (everywhere(gateway), Some(gateway));
    let route =
        Route { destination, gateway, link: None, mtu, protocol: Route::STATIC, unicast: true };
    unless_there(pod.add_route(&route).await)
}

/// What a pod sends elsewhere than to its segment leaves by the gateway.
pub(super) async fn lead_outside(namespace: File, gateway: Ipv4Addr) -> Result<(), NetworkError> {
    let leading = async move |pod: Netlink| lead(&pod, gateway.into(), None).await;
    Ok(netlink::inside(namespace, leading).await?)
}

/// For links that somebody else makes.
pub(super) async fn without_ipv6_inside(namespace: File) -> Result<(), NetworkError> {
    let off = async |_: Netlink| without_ipv6().map_err(Error::Namespace);
    Ok(netlink::inside(namespace, off).await?)
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

/// The same the other way round, but for addresses that nobody gives. Some Dockers turn it off in a sandbox.
fn with_given_ipv6() -> io::Result<()> {
    WITHOUT_IPV6.iter().try_for_each(|flag| fs::write(flag, "0"))?;
    ADDRESSES_AS_GIVEN.iter().try_for_each(|(flag, value)| fs::write(flag, value))
}

/// What a pod lacks in its own namespace, whose node has these networks.
pub(super) async fn inside(
    pod: &Expected,
    cidr: &DualStack,
) -> Result<Vec<Difference>, NetworkError> {
    let Expected { label, addresses: wanted, .. } = pod;
    let look = async |netlink: Netlink| -> Result<_, Error> {
        Ok((netlink.addresses().await?, netlink.routes().await?))
    };
    let namespace = match namespace_of(pod.pid) {
        Err(_) if pod.is_gone() => return Ok(Vec::new()),
        found => found?,
    };
    let (addresses, routes) = netlink::inside(namespace, look).await?;
    let mut found = Vec::new();
    for (address, (gateway, _)) in wanted.iter().zip(gateways(cidr)) {
        if !addresses.iter().any(|held| held.address == address) {
            let message = format!("{label} has not the address {address}");
            found.push(Difference::new("address", message));
        }
        let leads = |route: &Route| {
            route.destination == everywhere(gateway) && route.gateway == Some(gateway)
        };
        if !routes.iter().any(leads) {
            found.push(Difference::new("route", format!("{label} has no way out by {gateway}")));
        }
    }
    Ok(found)
}

fn unless_there(added: Result<(), Error>) -> Result<(), Error> {
    match added {
        Err(error) if error.errno() == Some(Errno::EEXIST) => Ok(()),
        done => done,
    }
}

/// Nothing, if that is what links of pods take anyway.
fn mtu(pods: IpNet, routes: &[Route], links: &[Link]) -> Option<u32> {
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
