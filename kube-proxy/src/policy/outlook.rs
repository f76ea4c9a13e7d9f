//! What the rules of this host go by: what policies are about, and what there is of nodes and Services.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use api_types::api::core::v1::{Namespace, Node, Pod as PodObject};
use ipnet::IpNet;
use kube::runtime::reflector::Store;
use listwatch::ListWatch;

use super::{
    Cluster, Here, Pod, Policy, Protocol, Rules,
    facts::{Labels, Service},
    rules::At,
    watch::Kept,
    ways::{self, Planned},
};
use crate::{
    plan::{self, Place},
    routes,
    routes::kernel::Kernel,
    wake::Wake,
    world::{self, ServiceAndSlices, World},
};

/// The port of the cluster's DNS.
const DNS: u16 = 53;

/// Pods and namespaces, of which policies speak.
#[derive(Debug)]
pub(super) struct Subjects {
    pods: Kept<Vec<Pod>>,
    namespaces: Kept<(String, Labels)>,
}

impl Subjects {
    /// Nothing yet, and what has to be polled for it to be kept up to date.
    pub(super) fn follow(
        listwatch: &ListWatch,
        wake: Arc<Wake>,
    ) -> (Self, impl Future<Output = ()>) {
        let read = |pod: &PodObject| Some(Pod::read(pod)).filter(|pods| !pods.is_empty());
        let (pods, pods_watch) = Kept::follow(listwatch, wake.clone(), read);
        let (namespaces, namespaces_watch) =
            Kept::follow(listwatch, wake, |namespace: &Namespace| {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                Some((namespace.metadata.name.clone()?, labels))
            });
        let following = async move {
            tokio::select! {
                () = pods_watch => {}
                () = namespaces_watch => {}
            }
        };
        (Subjects { pods, namespaces }, following)
    }

    /// They under these policies, as soon as there were complete lists.
    pub(super) fn under(&self, policies: Vec<Policy>) -> Option<Cluster> {
        let namespaces = self.namespaces.all()?.into_iter().collect();
        let pods = self.pods.all()?.concat();
        Some(Cluster { policies, pods, namespaces, ..Cluster::default() })
    }
}

/// This host and its view of the others.
#[derive(Debug)]
pub(super) struct Outlook {
    pub(super) here: world::Here,
    kernel: Kernel,
    /// Those of this host's pods.
    networks: BTreeSet<IpNet>,
}

impl Outlook {
    pub(super) fn new(here: world::Here, kernel: Kernel) -> Self {
        Outlook { here, kernel, networks: BTreeSet::new() }
    }

    /// The rules that there should be.
    pub(super) async fn rules(
        &mut self,
        mut cluster: Cluster,
        world: &World,
        nodes: &Store<Node>,
    ) -> Result<Rules, netlink::Error> {
        let local = self.kernel.addresses().await?;
        let here = self.look_around(&mut cluster, &local, world, nodes);
        let links = self.kernel.links_in(&here.networks).await?;
        let here = Here { links, ..here };
        Ok(super::compile(&cluster, &here))
    }

    /// At nodes and Services.
    fn look_around(
        &mut self,
        cluster: &mut Cluster,
        local: &BTreeSet<IpAddr>,
        world: &World,
        nodes: &Store<Node>,
    ) -> Here {
        let place = world.place(&self.here, local);
        let nodes = nodes.state();
        let (own, others): (Vec<&Node>, Vec<&Node>) = nodes
            .iter()
            .map(AsRef::as_ref)
            .partition(|node| place.nodes.contains(routes::name(node)));
        self.networks = networks(&self.networks, &own, &others, local);
        cluster.hosts = others.iter().copied().flat_map(host_addresses).collect();
        let elsewhere = others.iter().copied().flat_map(told_addresses);
        cluster.nodes_elsewhere = cluster.hosts.iter().copied().chain(elsewhere).collect();
        let services = planned(world, &place);
        ways::note(cluster, &services);
        if let Some(address) = self.here.cluster_dns {
            cluster.add_dns(address);
        }
        let own = own.into_iter().find(|node| routes::name(node) == self.here.node);
        let (doors, door_ports) = match own.filter(|_| self.here.leads_by_rules) {
            Some(own) => (doors(own), ways::door_ports(&services)),
            None => Default::default(),
        };
        Here {
            nodes: place.nodes,
            networks: self.networks.clone(),
            links: BTreeSet::new(),
            addresses: place.addresses,
            node_addresses: place.node_addresses,
            doors,
            door_ports,
        }
    }
}

impl Cluster {
    /// The cluster's DNS is served by every host itself. Policies mean it by the pods that serve it elsewhere.
    fn add_dns(&mut self, address: IpAddr) {
        let port = |name: &str, protocol| ((name.to_owned(), protocol), DNS);
        self.pods.push(Pod {
            namespace: "kube-system".to_owned(),
            labels: [("k8s-app".to_owned(), "kube-dns".to_owned())].into(),
            address,
            node: String::new(),
            ports: [port("dns", Protocol::Udp), port("dns-tcp", Protocol::Tcp)].into(),
        });
        let (at, endpoints) = (At::Address(address), [(address, DNS)]);
        let server = |protocol| Service { at, protocol, port: DNS, endpoints: endpoints.into() };
        self.services.extend([Protocol::Udp, Protocol::Tcp].map(server));
    }
}

/// A node that was deleted leaves pods behind, whose packets are looked at as long as its bridge is here.
fn networks(
    before: &BTreeSet<IpNet>,
    own: &[&Node],
    others: &[&Node],
    local: &BTreeSet<IpAddr>,
) -> BTreeSet<IpNet> {
    let elsewhere: BTreeSet<_> = others.iter().copied().flat_map(routes::pod_cidrs).collect();
    let left = before.iter().copied().filter(|network| {
        let is_here = local.iter().any(|address| network.contains(address));
        is_here && !elsewhere.contains(network)
    });
    own.iter().copied().flat_map(routes::pod_cidrs).chain(left).collect()
}

fn planned(world: &World, place: &Place) -> Vec<Planned> {
    let plan = |(service, slices): ServiceAndSlices| {
        let slices = || slices.iter().map(|slice| &**slice);
        let plan = plan::plan_service(place, &service, slices())?;
        Some((plan, plan::anywhere(place, &service, slices())))
    };
    world.services().into_iter().filter_map(plan).collect()
}

/// From where its servers speak to pods: by the way, addresses of its own pod networks are among them.
fn host_addresses(node: &Node) -> Vec<IpAddr> {
    let networks = routes::pod_cidrs(node).into_iter();
    let own = networks.flat_map(|network| {
        let first = match network {
            IpNet::V4(network) => network.hosts().next().map(IpAddr::V4),
            // The network's own address is one of them.
            IpNet::V6(network) => network.hosts().nth(1).map(IpAddr::V6),
        };
        [Some(network.network()), first]
    });
    routes::addresses(node).chain(own.flatten()).collect()
}

/// All that it says of itself, also those at which it is reached from outside of the cluster.
fn told_addresses(node: &Node) -> Vec<IpAddr> {
    let told = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    told.filter_map(|told| told.address.parse().ok()).collect()
}

/// Where other hosts look at their pods' packets for a node's ports. They have them in `nodes_elsewhere`.
fn doors(node: &Node) -> BTreeSet<IpAddr> {
    host_addresses(node).into_iter().chain(told_addresses(node)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, network: &str) -> Node {
        let node = json!({"metadata": {"name": name}, "spec": {"podCIDR": network}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn doors_are_at_all_addresses_of_a_node_that_others_know() {
        let mut own = node("n1", "10.244.1.0/24");
        let address = |kind: &str, address: &str| json!({"type": kind, "address": address});
        let told = [
            address("Hostname", "n1"),
            address("InternalIP", "192.0.2.1"),
            address("ExternalIP", "203.0.113.1"),
        ];
        own.status = Some(serde_json::from_value(json!({"addresses": told})).unwrap());
        let found: Vec<_> = doors(&own).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.244.1.0", "10.244.1.1", "192.0.2.1", "203.0.113.1"]);
    }

    #[test]
    fn a_network_stays_as_long_as_its_bridge_is_here_and_no_other_node_has_it() {
        let (own, other) = (node("n1", "10.244.1.0/24"), node("n2", "10.244.2.0/24"));
        let before = [own.clone(), other.clone(), node("n3", "10.244.3.0/24")];
        let before: BTreeSet<_> = before.iter().flat_map(routes::pod_cidrs).collect();
        let local: BTreeSet<IpAddr> =
            ["10.244.1.1", "10.244.2.1"].map(|it| it.parse().unwrap()).into();
        let check = |own: &[&Node], others: &[&Node], expected: &[&str]| {
            let found = networks(&before, own, others, &local);
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            assert_eq!(found, expected);
        };
        check(&[&own], &[&other], &["10.244.1.0/24"]);
        check(&[], &[], &["10.244.1.0/24", "10.244.2.0/24"]);
        let moved = node("n1", "10.244.7.0/24");
        check(&[&moved], &[&other], &["10.244.1.0/24", "10.244.7.0/24"]);
    }
}
