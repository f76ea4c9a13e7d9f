//! What the API server says about Services, DNS objects and Ingresses, and of which of them it has said something new.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Debug,
    hash::Hash,
    mem,
    net::IpAddr,
    sync::Arc,
};

use api_machinery::{
    gateway::Backend,
    host_routes::{Claim, ROUTER, is_router},
};
use api_types::{
    api::{
        core::v1::{Node, Service},
        discovery::v1::EndpointSlice,
    },
    minik8s::Dns,
};
use component::dual_stack::DualStack;
use futures::{Stream, StreamExt, future};
use ipnet::IpNet;
use kube::{
    Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher::{self, Event},
    },
};
use listwatch::{ListWatch, Scope, absent_is_empty};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::{
    announced::Announced,
    gateway::{self, GatewayPlan},
    gateways::Gateways,
    ingresses::{self, Ingresses},
    nginx::http::Certificate,
    node_addresses::{self, NodeAddresses},
    plan::{self, Place, PortRef, ServicePlan, plan_service},
    router::{Means, RouterPlan, Target, plan_router},
    routes,
    wake::Wake,
};

/// By which a Node says its zone.
const ZONE_LABEL: &str = "topology.kubernetes.io/zone";

/// What the API server says about Services.
#[derive(Clone, Debug)]
pub struct World {
    services: Store<Service>,
    slices: Store<EndpointSlice>,
    dnses: Store<Dns>,
    ingresses: Ingresses,
    gateways: Gateways,
    nodes: Store<Node>,
    news: Arc<Mutex<News>>,
    router: RouterSettings,
    announced: Arc<Announced>,
}

/// How Ingresses are served.
#[derive(Clone, Debug)]
pub struct RouterSettings {
    /// Also at this host's own addresses.
    pub host_ports: bool,
    /// What stands in where a Secret has no certificate that can be used.
    pub certificate: Certificate,
}

/// Where kube-proxy works.
#[derive(Clone, Debug)]
pub struct Here {
    /// The name of this node.
    pub node: String,
    /// The ranges of virtual IPs.
    pub service_cidr: DualStack,
    /// The one at which this program itself answers.
    pub cluster_dns: Option<IpAddr>,
    /// Where node ports are; nothing said means all addresses of this host.
    pub node_addresses: Vec<NodeAddresses>,
    /// Whether the kernel's rules lead to Services, not nginxes.
    pub leads_by_rules: bool,
}

/// For which Services something may be new.
#[derive(Debug)]
pub enum Changed {
    /// A list is complete.
    All,
    /// For these.
    Only(HashSet<ObjectRef<Service>>),
}

/// Hears of each change at once, while what the loop does of it may take its time.
pub trait Follower: Send + Sync {
    /// The world is as it is after the change.
    fn changed(&self, world: &World, changed: &Changed);

    /// The same after a change of DNS objects.
    fn hosts_changed(&self, world: &World);
}

/// The host names of DNS objects.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// All of them.
    pub names: BTreeSet<String>,
    /// The addresses that they lead to; none while these are not known.
    pub router: BTreeSet<IpAddr>,
}

/// A Service and its slices.
pub type ServiceAndSlices = (Arc<Service>, Vec<Arc<EndpointSlice>>);

impl World {
    /// The world, and what has to be polled for it to be kept up to date, and `wake` and `follower` to be called. The
    /// watch of `nodes` has to call `wake` too.
    pub fn watch(
        listwatch: &ListWatch,
        nodes: Store<Node>,
        wake: &Arc<Wake>,
        follower: Option<Arc<dyn Follower>>,
    ) -> (World, impl Future<Output = ()> + Send + 'static + use<>) {
        let news = Arc::new(Mutex::new(News::default()));
        let (services, services_writer) = reflector::store();
        let (slices, slices_writer) = reflector::store();
        let (dnses, dnses_writer) = reflector::store();
        let services_watch = listwatch.watch(Scope::All).reflect(services_writer);
        let slices_watch = listwatch.watch(Scope::All).reflect(slices_writer);
        let dnses_watch = absent_is_empty(listwatch.watch(Scope::All)).reflect(dnses_writer);
        let (noting, waking) = (news.clone(), wake.clone());
        let (ingresses, ingress_watches) = Ingresses::watch(listwatch, move |_| {
            let mut news = noting.lock();
            // Both have certificates.
            (news.hosts_changed, news.gateways_changed) = (true, true);
            waking.changed();
        });
        let (noting, waking) = (news.clone(), wake.clone());
        let (gateways, gateway_watches) = Gateways::watch(listwatch, move || {
            noting.lock().gateways_changed = true;
            waking.changed();
        });
        let certificate = Certificate { chain: Vec::new(), key: Vec::new() };
        let router = RouterSettings { host_ports: false, certificate };
        let announced = Arc::default();
        let world =
            World { services, slices, dnses, ingresses, gateways, nodes, news, router, announced };
        let (of_services, of_slices, of_dnses) = (world.clone(), world.clone(), world.clone());
        let (wakes, also, too) = (vec![wake.clone()], follower.clone(), follower.clone());
        let services_watch = wake_on_changes(services_watch, wakes.clone(), move |event| {
            of_services.note(of_services.service_changed(event), follower.as_deref());
        });
        let slices_watch = wake_on_changes(slices_watch, wakes.clone(), move |event| {
            of_slices.note(of_slices.slice_changed(event), also.as_deref());
        });
        let dnses_watch = wake_on_changes(dnses_watch, wakes, move |event| {
            of_dnses.note_hosts(event, too.as_deref());
        });
        let watches = async {
            tokio::select! {
                () = services_watch => {}
                () = slices_watch => {}
                () = dnses_watch => {}
                _ = future::select_all(ingress_watches) => {}
                _ = future::select_all(gateway_watches) => {}
            }
        };
        (world, watches)
    }

    /// The same with other settings of the router.
    #[must_use]
    pub fn with_router(mut self, router: RouterSettings) -> Self {
        self.router = router;
        self
    }

    /// The same where these addresses of load balancers are announced from this host.
    #[must_use]
    pub fn with_announced(mut self, announced: Arc<Announced>) -> Self {
        self.announced = announced;
        self
    }

    /// Waits for the first complete lists, but for those of what the router serves.
    pub(crate) async fn ready(&self) {
        // An error means that the watches have ended: the program is stopping.
        let _ = future::join3(
            self.services.wait_until_ready(),
            self.slices.wait_until_ready(),
            self.nodes.wait_until_ready(),
        )
        .await;
    }

    /// Waits for those, too.
    pub(crate) async fn ready_with_hosts(&self) {
        let hosts = future::join3(
            self.dnses.wait_until_ready(),
            self.ingresses.ready(),
            self.gateways.ready(),
        );
        let _ = future::join(self.ready(), hosts).await;
    }

    /// `local`: the addresses of this host.
    pub(crate) fn place(&self, here: &Here, local: &BTreeSet<IpAddr>) -> Place {
        let own = self.nodes.get(&ObjectRef::new(&here.node));
        let primary: Vec<IpAddr> =
            own.as_ref().map(|node| routes::primary(node)).unwrap_or_default();
        let ranges = here.service_cidr;
        let is_own = |ip: &IpAddr| ranges.has_family_of(*ip) && !ranges.contains(*ip);
        let addresses = local.iter().copied().filter(is_own).collect();
        let own_addresses = self.announced.own(&addresses);
        let nodes = self.nodes.state();
        Place {
            nodes: routes::nodes_here(&here.node, local, nodes.iter().map(AsRef::as_ref)),
            service_cidr: here.service_cidr,
            cluster_dns: here.cluster_dns,
            zone: own.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE_LABEL).cloned()),
            node_addresses: node_addresses::chosen(&here.node_addresses, &own_addresses, &primary),
            addresses: own_addresses.into_iter().chain(self.announced.held()).collect(),
        }
    }

    /// Since this was asked last.
    pub(crate) fn take_changed(&self) -> Changed {
        mem::replace(&mut self.news.lock().changed, Changed::Only(HashSet::new()))
    }

    /// nginx may speak to endpoints from the addresses of pods of these networks, of this host; whether that is new.
    pub(crate) fn keep_clients_of(&self, networks: BTreeSet<IpNet>) -> bool {
        let mut news = self.news.lock();
        let is_new = news.kept != networks;
        if is_new {
            (news.kept, news.changed) = (networks, Changed::All);
        }
        is_new
    }

    /// Whether DNS objects have since this was asked last.
    pub(crate) fn take_hosts_changed(&self) -> bool {
        mem::take(&mut self.news.lock().hosts_changed)
    }

    /// Whether Gateways have, or what they are served with beside Services.
    pub(crate) fn take_gateways_changed(&self) -> bool {
        mem::take(&mut self.news.lock().gateways_changed)
    }

    /// All Gateways, and the Services by whose changes they may change. Nothing before all of what they are made of is
    /// here: theirs stay as they are.
    pub(crate) fn gateways(
        &self,
        place: &Place,
    ) -> Option<(Vec<GatewayPlan>, HashSet<ObjectRef<Service>>)> {
        (self.gateways.are_listed() && self.ingresses.are_listed()).then_some(())?;
        let named = |namespace: &str, name: &str| ObjectRef::new(name).within(namespace);
        let means = gateway::Means {
            place,
            routes: &[],
            grants: &[],
            labels: &|_| None,
            service: &|namespace, name| self.services.get(&named(namespace, name)),
            backends: &|to: &Backend| {
                let (service, slices) = self.service(&named(&to.namespace, &to.service))?;
                let port = PortRef::Number(to.port);
                plan::backends(place, &service, slices.iter().map(AsRef::as_ref), &port)
            },
            certificate: &|secret| self.ingresses.certificate(secret),
        };
        Some((self.gateways.plans(&means), self.gateways.services()))
    }

    /// Whether all that the router is made of is here.
    pub(crate) fn hosts_are_listed(&self) -> bool {
        self.news.lock().hosts_listed && self.ingresses.are_listed()
    }

    /// Nothing if there is nothing for it to serve, or if it has no address.
    pub(crate) fn router(&self, place: &Place) -> Option<RouterPlan> {
        let router = self.services.get(&router()).filter(|router| is_router(router))?;
        let (dnses, ingresses) = (self.dnses.state(), self.ingresses.served());
        if dnses.is_empty() && ingresses.is_empty() {
            return None;
        }
        let claims = dnses.iter().map(|dns| Claim::of_dns(dns));
        let claims = claims.chain(ingresses.iter().map(|ingress| Claim::of_ingress(ingress)));
        let means = Means {
            place,
            host_addresses: self.host_addresses(place),
            backends: &|target: &Target| {
                let (service, slices) = self.service(&target.service())?;
                plan::backends(place, &service, slices.iter().map(AsRef::as_ref), &target.port)
            },
            certificate: &|secret| self.ingresses.certificate(secret),
            self_made: &self.router.certificate,
        };
        plan_router(&means, &router, claims)
    }

    /// Where Ingresses are served beside the router's address.
    fn host_addresses(&self, place: &Place) -> BTreeSet<IpAddr> {
        if !self.router.host_ports {
            return BTreeSet::new();
        }
        let here = place.nodes.iter().filter_map(|name| self.nodes.get(&ObjectRef::new(name)));
        let here: Vec<_> = here.collect();
        let addresses = ingresses::addresses(here.iter().map(AsRef::as_ref)).into_iter();
        addresses.filter(|ip| place.service_cidr.has_family_of(*ip)).collect()
    }

    /// Nothing before all DNS objects are here.
    pub(crate) fn hosts(&self) -> Option<Hosts> {
        self.news.lock().hosts_listed.then_some(())?;
        let router = self.services.get(&router()).filter(|router| is_router(router));
        let spec = router.as_ref().and_then(|router| router.spec.as_ref()).into_iter();
        let ips =
            spec.flat_map(|spec| spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten()));
        let router = ips.filter_map(|ip| ip.parse().ok()).collect();
        let names = self.dnses.state().iter().map(|dns| dns.spec.host.clone()).collect();
        Some(Hosts { names, router })
    }

    pub(crate) fn plans(&self, place: &Place) -> Vec<ServicePlan> {
        let (services, slices) = (self.services.state(), self.slices.state());
        let (services, slices) = (services.iter().map(AsRef::as_ref), slices.iter());
        let mut plans = plan::plan(place, services, slices.map(AsRef::as_ref));
        let kept = &self.news.lock().kept;
        plans.iter_mut().for_each(|plan| plan.kept = kept.clone());
        plans
    }

    /// Nothing if there is no such Service, or if it has no virtual IP.
    pub(crate) fn plan(&self, place: &Place, name: &ObjectRef<Service>) -> Option<ServicePlan> {
        let (service, slices) = self.service(name)?;
        let plan = plan_service(place, &service, slices.iter().map(AsRef::as_ref))?;
        Some(ServicePlan { kept: self.news.lock().kept.clone(), ..plan })
    }

    /// Whether all that there was is here.
    pub(crate) fn is_listed(&self) -> bool {
        let News { services_listed, slices_listed, .. } = *self.news.lock();
        services_listed && slices_listed
    }

    pub(crate) fn services(&self) -> Vec<ServiceAndSlices> {
        self.services_where(|_| true)
    }

    pub(crate) fn services_where(&self, pick: impl Fn(&Service) -> bool) -> Vec<ServiceAndSlices> {
        let with_slices = |service: Arc<Service>| {
            let slices = self.slices_of(&ObjectRef::from_obj(&*service));
            (service, slices)
        };
        let picked = self.services.state().into_iter().filter(|service| pick(service));
        picked.map(with_slices).collect()
    }

    pub(crate) fn service(&self, name: &ObjectRef<Service>) -> Option<ServiceAndSlices> {
        Some((self.services.get(name)?, self.slices_of(name)))
    }

    fn slices_of(&self, service: &ObjectRef<Service>) -> Vec<Arc<EndpointSlice>> {
        let slices = self.news.lock().index.slices_of(service);
        slices.iter().filter_map(|slice| self.slices.get(slice)).collect()
    }

    fn note(&self, changed: Changed, follower: Option<&dyn Follower>) {
        if let Some(follower) = follower {
            follower.changed(self, &changed);
        }
        let mut news = self.news.lock();
        news.changed.add(changed);
        news.wakes.iter().for_each(|wake| wake.changed());
    }

    /// Has this called, too, whenever a Service or a slice changes.
    pub(crate) fn also_wake(&self, wake: Arc<Wake>) {
        self.news.lock().wakes.push(wake);
    }

    fn note_hosts(&self, event: &Event<Dns>, follower: Option<&dyn Follower>) {
        {
            let mut news = self.news.lock();
            news.hosts_changed = true;
            news.hosts_listed |= matches!(event, Event::InitDone);
        }
        if let Some(follower) = follower {
            follower.hosts_changed(self);
        }
    }

    fn service_changed(&self, event: &Event<Service>) -> Changed {
        match event {
            Event::Apply(service) | Event::Delete(service) => {
                Changed::Only([ObjectRef::from_obj(service)].into())
            }
            Event::InitDone => {
                self.news.lock().services_listed = true;
                Changed::All
            }
            Event::Init | Event::InitApply(_) => Changed::Only(HashSet::new()),
        }
    }

    fn slice_changed(&self, event: &Event<EndpointSlice>) -> Changed {
        let News { index, slices_listed, .. } = &mut *self.news.lock();
        match event {
            Event::Apply(slice) => Changed::Only(index.put(slice).into_iter().collect()),
            Event::Delete(slice) => {
                Changed::Only(index.remove(&ObjectRef::from_obj(slice)).into_iter().collect())
            }
            Event::InitDone => {
                *index = Index::default();
                self.slices.state().iter().for_each(|slice| drop(index.put(slice)));
                *slices_listed = true;
                Changed::All
            }
            Event::Init | Event::InitApply(_) => Changed::Only(HashSet::new()),
        }
    }
}

/// The Service of the router of DNS objects.
pub(crate) fn router() -> ObjectRef<Service> {
    ObjectRef::new(ROUTER.1).within(ROUTER.0)
}

#[derive(Debug)]
struct News {
    index: Index,
    changed: Changed,
    services_listed: bool,
    slices_listed: bool,
    hosts_changed: bool,
    hosts_listed: bool,
    gateways_changed: bool,
    /// The networks of clients whose addresses nginx may keep.
    kept: BTreeSet<IpNet>,
    wakes: Vec<Arc<Wake>>,
}

impl Default for News {
    fn default() -> Self {
        News {
            index: Index::default(),
            changed: Changed::All,
            services_listed: false,
            slices_listed: false,
            hosts_changed: false,
            hosts_listed: false,
            gateways_changed: true,
            kept: BTreeSet::new(),
            wakes: Vec::new(),
        }
    }
}

impl Changed {
    /// Whether something may be new for this one.
    pub(crate) fn concerns(&self, service: &ObjectRef<Service>) -> bool {
        match self {
            Changed::All => true,
            Changed::Only(names) => names.contains(service),
        }
    }

    fn add(&mut self, more: Changed) {
        match (&mut *self, more) {
            (Changed::All, _) => {}
            (_, Changed::All) => *self = Changed::All,
            (Changed::Only(names), Changed::Only(more)) => names.extend(more),
        }
    }
}

/// Which slices are whose.
#[derive(Debug, Default)]
struct Index {
    owners: HashMap<ObjectRef<EndpointSlice>, ObjectRef<Service>>,
    slices: HashMap<ObjectRef<Service>, HashSet<ObjectRef<EndpointSlice>>>,
}

impl Index {
    fn slices_of(&self, service: &ObjectRef<Service>) -> Vec<ObjectRef<EndpointSlice>> {
        self.slices.get(service).into_iter().flatten().cloned().collect()
    }

    /// Gives those of which it is and was one.
    fn put(&mut self, slice: &EndpointSlice) -> Vec<ObjectRef<Service>> {
        let name = ObjectRef::from_obj(slice);
        let before = self.remove(&name);
        let owner = plan::owner(&slice.metadata)
            .map(|(namespace, service)| ObjectRef::new(service).within(namespace));
        if let Some(owner) = owner.clone() {
            self.slices.entry(owner.clone()).or_default().insert(name.clone());
            self.owners.insert(name, owner);
        }
        before.into_iter().chain(owner).collect()
    }

    /// Gives the one of which it was.
    fn remove(&mut self, slice: &ObjectRef<EndpointSlice>) -> Option<ObjectRef<Service>> {
        let owner = self.owners.remove(slice)?;
        if let Some(slices) = self.slices.get_mut(&owner) {
            slices.remove(slice);
            if slices.is_empty() {
                self.slices.remove(&owner);
            }
        }
        Some(owner)
    }
}

/// A kind as a store, and what keeps it up to date and calls `wakes`.
pub fn follow<K>(
    listwatch: &ListWatch,
    wakes: Vec<Arc<Wake>>,
) -> (Store<K>, impl Future<Output = ()> + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
{
    let (store, writer) = reflector::store();
    (store, wake_on_changes(listwatch.watch::<K>(Scope::All).reflect(writer), wakes, |_| ()))
}

/// Single objects of a list that is under way do not count: the store changes when it is complete.
async fn wake_on_changes<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    wakes: Vec<Arc<Wake>>,
    note: impl Fn(&Event<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(change) => {
                note(&change);
                wakes.iter().for_each(|wake| wake.changed());
            }
            Err(error) => warn!(%error, "watching"),
        }
    }
}

#[cfg(test)]
mod tests {
    use api_types::meta::ObjectMeta;

    use super::*;

    fn slice(name: &str, service: Option<&str>) -> EndpointSlice {
        let label = |service: &str| ("kubernetes.io/service-name".to_owned(), service.to_owned());
        EndpointSlice {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                namespace: Some("default".to_owned()),
                labels: service.map(|service| [label(service)].into()),
                ..ObjectMeta::default()
            },
            ..EndpointSlice::default()
        }
    }

    fn names(services: &[ObjectRef<Service>]) -> Vec<&str> {
        services.iter().map(|service| service.name.as_str()).collect()
    }

    #[test]
    fn a_slice_that_changes_its_service_concerns_both() {
        let mut index = Index::default();
        assert_eq!(names(&index.put(&slice("s", Some("a")))), ["a"]);
        assert_eq!(names(&index.put(&slice("s", Some("b")))), ["a", "b"]);
        assert_eq!(names(&index.put(&slice("s", None))), ["b"]);
        assert_eq!(index.remove(&ObjectRef::from_obj(&slice("s", None))), None);
        assert!(index.slices.is_empty() && index.owners.is_empty());
    }

    #[test]
    fn a_service_has_the_slices_that_name_it() {
        let mut index = Index::default();
        for (name, service) in [("s1", "a"), ("s2", "a"), ("s3", "b")] {
            index.put(&slice(name, Some(service)));
        }
        let of = |index: &Index| {
            let slices = index.slices_of(&ObjectRef::new("a").within("default"));
            slices.into_iter().map(|slice| slice.name).collect::<BTreeSet<_>>()
        };
        assert_eq!(of(&index), ["s1".to_owned(), "s2".to_owned()].into());
        index.remove(&ObjectRef::from_obj(&slice("s1", None)));
        assert_eq!(of(&index), ["s2".to_owned()].into());
    }
}
