//! The loop over policies, and what it tells people. The pods of the cluster are followed only while there is a policy.
//!
//! Guarantees: the kernel's table changes as a whole; it stays while this program is away, and until it knows everything
//! again; it comes back if somebody takes it away, and goes with the last policy.

use std::{collections::BTreeSet, io, net::Ipv4Addr, sync::Arc, time::Duration};

use api_types::api::core::v1::{Namespace, Node};
use component::Check;
use ipnet::Ipv4Net;
use kube::runtime::reflector::Store;
use listwatch::ListWatch;
use packet_filter::nftables::{Contents, Found, Table};
use prometheus_client::metrics::gauge::Gauge;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Cluster, Here, Pod, Policy, Protocol,
    facts::Service,
    rules::At,
    table,
    watch::Kept,
    ways::{self, Planned},
};
use crate::{
    bridged,
    metrics::count,
    pace::{Outcome, Pace},
    plan::{self, Place},
    routes,
    routes::kernel::Kernel,
    wake::Wake,
    world::{self, ServiceAndSlices, World},
};

/// How often it is looked whether the kernel's table is as it was made.
const LOOK: Duration = Duration::from_secs(10);
/// The port of the cluster's DNS.
const DNS: u16 = 53;

/// Keeps the table of this host.
#[derive(Debug)]
pub struct Keeper {
    here: world::Here,
    table: Table,
    kernel: Kernel,
    outlets: Outlets,
    wake: Arc<Wake>,
    /// Those of this host's pods.
    networks: BTreeSet<Ipv4Net>,
    written: Option<Written>,
    /// Whether there is no table, as nobody needs it.
    clear: bool,
}

/// What the kernel has.
#[derive(Debug)]
struct Written {
    contents: Contents,
    looked: Instant,
}

/// Where it is told how things are.
#[derive(Clone, Debug)]
pub struct Outlets {
    check: Check,
    policies: Gauge,
    pods: Gauge,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("addresses of this host")]
    Addresses(#[from] netlink::Error),
    #[error("rules of nftables (its tool is in the package nftables)")]
    Rules(#[from] packet_filter::Error),
    #[error("pods of one node reach each other whatever policies say")]
    Bridged(#[from] bridged::Unset),
}

impl Outlets {
    /// Makes the metrics and has them served.
    pub fn new(check: Check, registry: &component::Metrics) -> Self {
        let outlets = Outlets { check, policies: Gauge::default(), pods: Gauge::default() };
        let Outlets { policies, pods, .. } = outlets.clone();
        registry.register("kubeproxy_network_policies", "NetworkPolicies of the cluster", policies);
        let help = "Pods of this host that a NetworkPolicy isolates";
        registry.register("kubeproxy_network_policy_isolated_pods", help, pods);
        outlets
    }
}

/// Removes the table that a program before this one has kept for the node; one that is not there is fine.
///
/// # Errors
///
/// The tool refuses.
pub async fn remove(node: &str) -> Result<(), packet_filter::Error> {
    match table_of(node).remove().await {
        // Where there is no tool there is no table.
        Err(packet_filter::Error::Run(_, error)) if error.kind() == io::ErrorKind::NotFound => {
            Ok(())
        }
        done => done,
    }
}

impl Keeper {
    /// Nothing is touched yet.
    pub fn new(here: world::Here, kernel: Kernel, outlets: Outlets) -> Self {
        let (table, wake) = (table_of(&here.node), Arc::default());
        let networks = BTreeSet::new();
        Keeper { here, table, kernel, outlets, wake, networks, written: None, clear: false }
    }

    /// What to call when nodes change.
    pub fn wake(&self) -> Arc<Wake> {
        self.wake.clone()
    }

    /// Passes until dropped. Nothing is touched before all that there is is here.
    pub async fn run(&mut self, world: &World, nodes: &Store<Node>, listwatch: &ListWatch) {
        world.also_wake(self.wake.clone());
        self.outlets.check.failed("waiting for the list of policies");
        let (policies, following) = Kept::follow(listwatch, self.wake.clone(), Policy::read);
        tokio::select! {
            () = following => {}
            () = self.keep(&policies, world, nodes, listwatch) => {}
        }
    }

    async fn keep(
        &mut self,
        policies: &Kept<Policy>,
        world: &World,
        nodes: &Store<Node>,
        listwatch: &ListWatch,
    ) {
        let mut pace = Pace::default();
        loop {
            let any = policies.all().map(|all| !all.is_empty());
            let outcome = match any {
                None => Outcome::Well,
                Some(false) => {
                    let result = self.clear().await;
                    self.outlets.report(result)
                }
                Some(true) => {
                    self.enforce(policies, world, nodes, listwatch).await;
                    Outcome::Pending
                }
            };
            pace.wait(outcome, &self.wake).await;
        }
    }

    async fn clear(&mut self) -> Result<(), Fault> {
        if self.clear {
            return Ok(());
        }
        self.outlets.policies.set(0);
        self.outlets.pods.set(0);
        remove(&self.here.node).await?;
        self.clear = true;
        if self.written.take().is_some() {
            info!("the last network policy has gone, and the rules with it");
        }
        Ok(())
    }

    /// Until there is no policy any more.
    async fn enforce(
        &mut self,
        policies: &Kept<Policy>,
        world: &World,
        nodes: &Store<Node>,
        listwatch: &ListWatch,
    ) {
        self.clear = false;
        if self.written.is_none() {
            self.outlets.check.failed("waiting for the pods and namespaces that policies go by");
        }
        let (pods, pods_watch) = Kept::follow(listwatch, self.wake.clone(), Pod::read);
        let (namespaces, namespaces_watch) =
            Kept::follow(listwatch, self.wake.clone(), |namespace: &Namespace| {
                let labels = namespace.metadata.labels.clone().unwrap_or_default();
                Some((namespace.metadata.name.clone()?, labels))
            });
        let passes = async {
            world.ready().await;
            let mut pace = Pace::default();
            loop {
                let all = (policies.all(), pods.all(), namespaces.all());
                let outcome = match all {
                    (Some(policies), ..) if policies.is_empty() => return,
                    (Some(policies), Some(pods), Some(namespaces)) => {
                        let namespaces = namespaces.into_iter().collect();
                        let cluster = Cluster { policies, pods, namespaces, ..Cluster::default() };
                        let result = self.pass(cluster, world, nodes).await;
                        self.outlets.report(result)
                    }
                    _ => Outcome::Well,
                };
                pace.wait(outcome, &self.wake).await;
            }
        };
        tokio::select! {
            () = pods_watch => {}
            () = namespaces_watch => {}
            () = passes => {}
        }
    }

    async fn pass(
        &mut self,
        mut cluster: Cluster,
        world: &World,
        nodes: &Store<Node>,
    ) -> Result<(), Fault> {
        let local = self.kernel.addresses().await?;
        let here = self.look_around(&mut cluster, &local, world, nodes);
        let rules = super::compile(&cluster, &here);
        self.outlets.policies.set(count(cluster.policies.len()));
        let isolated = rules.known.iter();
        let isolated = isolated
            .filter(|pod| rules.ingress.contains_key(*pod) || rules.egress.contains_key(*pod));
        self.outlets.pods.set(count(isolated.count()));
        self.write(table::contents(&rules)).await?;
        Ok(bridged::packets_meet_the_rules().await?)
    }

    /// At nodes and Services.
    fn look_around(
        &mut self,
        cluster: &mut Cluster,
        local: &BTreeSet<Ipv4Addr>,
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
        ways::note(cluster, &planned(world, &place));
        if let Some(address) = self.here.cluster_dns {
            cluster.add_dns(address);
        }
        Here {
            nodes: place.nodes,
            networks: self.networks.clone(),
            addresses: place.addresses,
            node_addresses: place.node_addresses,
        }
    }

    /// The first time it is changed from what there is, so that it is never open meanwhile.
    async fn write(&mut self, wanted: Contents) -> Result<(), Fault> {
        // Until it is known what there is: it may fail, or its caller be dropped.
        match self.written.take() {
            None => drop(self.table.ensure(&wanted).await?),
            Some(written) if written.looked.elapsed() < LOOK => {
                self.table.change(&Found::of(&written.contents), &wanted).await?;
                self.written = Some(Written { contents: wanted, ..written });
                return Ok(());
            }
            Some(written) => {
                let found = self.table.read().await?;
                if found.as_ref() != Some(&Found::of(&written.contents)) {
                    warn!("somebody had changed our rules for network policies; they come back");
                }
                match found {
                    Some(found) => drop(self.table.change(&found, &wanted).await?),
                    None => self.table.replace(&wanted).await?,
                }
            }
        }
        self.written = Some(Written { contents: wanted, looked: Instant::now() });
        Ok(())
    }
}

impl Outlets {
    fn report(&self, result: Result<(), Fault>) -> Outcome {
        match result {
            Ok(()) => {
                self.check.ready();
                Outcome::Well
            }
            Err(fault) => {
                let why = format!("{:#}", anyhow::Error::from(fault));
                warn!("network policies are not enforced as they should be: {why}");
                self.check.failed(why);
                Outcome::Failed
            }
        }
    }
}

impl Cluster {
    /// The cluster's DNS is served by every host itself. Policies mean it by the pods that serve it elsewhere.
    fn add_dns(&mut self, address: Ipv4Addr) {
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
    before: &BTreeSet<Ipv4Net>,
    own: &[&Node],
    others: &[&Node],
    local: &BTreeSet<Ipv4Addr>,
) -> BTreeSet<Ipv4Net> {
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
fn host_addresses(node: &Node) -> Vec<Ipv4Addr> {
    let networks = routes::pod_cidrs(node).into_iter();
    let own = networks.flat_map(|network| [Some(network.network()), network.hosts().next()]);
    routes::addresses(node).chain(own.flatten()).collect()
}

/// All that it says of itself, also those at which it is reached from outside of the cluster.
fn told_addresses(node: &Node) -> Vec<Ipv4Addr> {
    let told = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    told.filter_map(|told| told.address.parse().ok()).collect()
}

fn table_of(node: &str) -> Table {
    let mark: String = Sha256::digest(node).iter().take(4).map(|b| format!("{b:02x}")).collect();
    Table { family: "ip", name: format!("minik8s-policy-{mark}") }
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
    fn a_network_stays_as_long_as_its_bridge_is_here_and_no_other_node_has_it() {
        let (own, other) = (node("n1", "10.244.1.0/24"), node("n2", "10.244.2.0/24"));
        let before = [own.clone(), other.clone(), node("n3", "10.244.3.0/24")];
        let before: BTreeSet<_> = before.iter().flat_map(routes::pod_cidrs).collect();
        let local: BTreeSet<Ipv4Addr> =
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
