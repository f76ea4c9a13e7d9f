//! What the API server says about Services, DNS objects and Ingresses, and of which of them it has said something new.

mod follow;
mod news;

use std::{
    collections::{BTreeSet, HashSet},
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
use futures::future;
use ipnet::IpNet;
use kube::runtime::{
    reflector::{ObjectRef, Store},
    watcher::Event,
};
use listwatch::{ListWatch, Scope, absent_is_empty};
use parking_lot::Mutex;

use self::{
    follow::{reflected, wake_on_changes},
    news::{Index, News},
};
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

pub use self::{follow::follow, news::Changed};

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
        let (services, services_watch) = reflected(listwatch.watch(Scope::All));
        let (slices, slices_watch) = reflected(listwatch.watch(Scope::All));
        let (dnses, dnses_watch) = reflected(absent_is_empty(listwatch.watch(Scope::All)));
        let noting = |note: fn(&mut News)| {
            let (news, wake) = (news.clone(), wake.clone());
            move || {
                note(&mut news.lock());
                wake.changed();
            }
        };
        // Both have certificates.
        let of_both = noting(|news| (news.hosts_changed, news.gateways_changed) = (true, true));
        let (ingresses, ingress_watches) = Ingresses::watch(listwatch, move |_| of_both());
        let of_gateways = noting(|news| news.gateways_changed = true);
        let (gateways, gateway_watches) = Gateways::watch(listwatch, of_gateways);
        let certificate = Certificate { chain: Vec::new(), key: Vec::new() };
        let router = RouterSettings { host_ports: false, certificate };
        let announced = Arc::default();
        let world =
            World { services, slices, dnses, ingresses, gateways, nodes, news, router, announced };
        let (heard, wakes) = (world.clone(), [wake.clone()]);
        let watches = async move {
            let follower = follower.as_deref();
            let of_service = |event: &_| heard.note(heard.service_changed(event), follower);
            let of_slice = |event: &_| heard.note(heard.slice_changed(event), follower);
            let of_dns = |event: &_| heard.note_hosts(event, follower);
            tokio::select! {
                () = wake_on_changes(services_watch, &wakes, of_service) => {}
                () = wake_on_changes(slices_watch, &wakes, of_slice) => {}
                () = wake_on_changes(dnses_watch, &wakes, of_dns) => {}
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
