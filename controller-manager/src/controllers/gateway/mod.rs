//! Says of Gateways, their classes and their routes what is served of them, and keeps the Service whose address each
//! Gateway has. What is served is kube-proxy's business, which decides by the same functions
//! ([`api_machinery::gateway`]). The kinds are there as long as their CustomResourceDefinitions are.

mod conditions;
mod service;
mod status;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use api_machinery::gateway::{
    CONTROLLER, Credentials, Parent, References, is_served, listeners, service_name,
};
use api_machinery::host_routes::Secret as SecretName;
use api_types::api::core::v1::Secret;
use api_types::gateway::{
    Gateway, GatewayClass, GatewayStatus, HttpRoute, ReferenceGrant, RouteStatus,
};
use api_types::meta::{Condition, ObjectMeta};
use api_types::{ClusterResourceScope, NamespaceResourceScope};
use component::events::Recorder;
use component::server_certificate::ServerCertificate;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, Resource};
use listwatch::{Scope, absent_is_empty};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, Watched, WorkQueue,
};
use crate::informers::Informers;

use self::status::Attached;

const NAME: &str = "gateway-controller";

/// What the kinds' definitions may take away again.
#[derive(Clone, Default)]
struct Stores {
    classes: Arc<Informer<GatewayClass>>,
    gateways: Arc<Informer<Gateway>>,
    routes: Arc<Informer<HttpRoute>>,
    grants: Arc<Informer<ReferenceGrant>>,
}

pub(super) fn register(
    context: &Context,
    certificates: &Arc<Informer<Secret>>,
    tasks: &mut JoinSet<()>,
) -> Registered {
    let (queue, stores) = (Arc::new(WorkQueue::default()), Stores::default());
    let Informers { services, namespaces, .. } = &context.informers;
    watch(&stores.classes, &queue);
    watch(&stores.gateways, &queue);
    watch(&stores.routes, &queue);
    watch(&stores.grants, &queue);
    watch_other(services, &stores, &queue);
    watch_other(namespaces, &stores, &queue);
    watch_other(certificates, &stores, &queue);
    follow(context, &stores.classes, tasks);
    follow(context, &stores.gateways, tasks);
    follow(context, &stores.routes, tasks);
    follow(context, &stores.grants, tasks);
    let controller = Gateways {
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        certificates: certificates.clone(),
        recorder: context.recorder(NAME),
        stores: stores.clone(),
    };
    let registered = Registered::new(controller, queue).reads(&*stores.classes);
    let registered = registered.reads(&*stores.gateways).reads(&*stores.routes);
    let registered = registered.reads(&*stores.grants).reads(&**services).reads(&**namespaces);
    registered.reads(&**certificates)
}

/// All are looked at together: whatever changes may concern any of them.
fn key() -> ObjectKey {
    ObjectKey::cluster("gateways")
}

fn watch<K: Watched>(store: &Informer<K>, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    store.on_change(move |_: &Change<K>| wanted.add(key()));
}

/// The handlers must not hold the objects for ever.
fn watch_other<K: Watched>(store: &Informer<K>, stores: &Stores, queue: &Arc<WorkQueue>) {
    let (wanted, gateways) = (queue.clone(), Arc::downgrade(&stores.gateways));
    store.on_change(move |_: &Change<K>| {
        let there = gateways.upgrade().is_some_and(|gateways| !gateways.list().is_empty());
        if there {
            wanted.add(key());
        }
    });
}

fn follow<K>(context: &Context, store: &Arc<Informer<K>>, tasks: &mut JoinSet<()>)
where
    K: Watched + Resource<DynamicType = ()> + DeserializeOwned,
{
    let (store, events) =
        (store.clone(), absent_is_empty(context.listwatch.watch::<K>(Scope::All)));
    tasks.spawn(async move { store.follow(events).await });
}

struct Gateways {
    client: Client,
    clock: Clock,
    informers: Informers,
    certificates: Arc<Informer<Secret>>,
    recorder: Recorder,
    stores: Stores,
}

#[async_trait::async_trait]
impl Controller for Gateways {
    fn name(&self) -> &'static str {
        NAME
    }

    /// One that can't be written stops no other.
    async fn reconcile(&self, _: &ObjectKey) -> Result<Next, Error> {
        let all = self.stores.gateways.list();
        let (gateways, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|gateway| self.serves(gateway));
        let services = service::Services { client: &self.client, store: &self.informers.services };
        let given_up: Vec<_> = others.into_iter().filter(|it| self.gave_up(it)).collect();
        let mut outcomes = vec![services.remove_others(&given_up).await];
        for gateway in &gateways {
            outcomes.push(services.keep(gateway).await);
        }
        let classes = self.stores.classes.list();
        for class in classes.iter().filter(|class| is_served(class)) {
            let status = status::of_class(class, self.clock.now());
            let before = class.status.as_ref();
            outcomes.push(self.write(&**class, before, &status, conditions::of_class).await);
        }
        let (of_gateways, of_routes) = self.statuses(&gateways);
        for (gateway, status) in gateways.iter().zip(&of_gateways) {
            let before = gateway.status.as_ref();
            outcomes.push(self.write(&**gateway, before, status, conditions::of_gateway).await);
        }
        for (route, status) in &of_routes {
            let before = route.status.as_ref();
            outcomes.push(self.write(&**route, before, status, conditions::of_route).await);
        }
        outcomes.into_iter().collect::<Result<Vec<()>, Error>>()?;
        Ok(Next::Change)
    }
}

impl Gateways {
    fn serves(&self, gateway: &Gateway) -> bool {
        let class = ObjectKey::cluster(&gateway.spec.gateway_class_name);
        self.stores.classes.get(&class).is_some_and(|class| is_served(&class))
    }

    /// Whether a Gateway is somebody else's now. One whose class is not there, which may be for a moment, is nobody's, and
    /// keeps its address.
    fn gave_up(&self, gateway: &Gateway) -> bool {
        let class = ObjectKey::cluster(&gateway.spec.gateway_class_name);
        self.stores
            .classes
            .get(&class)
            .is_some_and(|class| class.spec.controller_name != CONTROLLER)
    }

    /// What is to be said of these Gateways, and of all routes.
    fn statuses(
        &self,
        gateways: &[Arc<Gateway>],
    ) -> (Vec<GatewayStatus>, Vec<(Arc<HttpRoute>, RouteStatus)>) {
        let (routes, grants) = (self.stores.routes.list(), self.stores.grants.list());
        let fault = |secret: SecretName<'_>| self.fault(secret);
        let labels = |name: &str| self.labels(name);
        let find = |namespace: &str, name: &str| {
            self.informers.services.get(&ObjectKey::new(namespace, name))
        };
        let credentials = Credentials { fault: &fault, grants: &grants };
        let judged: Vec<_> = gateways.iter().map(|it| listeners(it, &credentials)).collect();
        let parents: Vec<_> = gateways
            .iter()
            .zip(&judged)
            .map(|(gateway, listeners)| Parent { gateway, listeners, labels: &labels })
            .collect();
        let references = References { service: &find, grants: &grants };
        let (now, mut attached) = (self.clock.now(), Attached::default());
        let of_route = |route: &Arc<HttpRoute>| {
            (route.clone(), status::of_route(route, &parents, &references, &mut attached, now))
        };
        let of_routes = routes.iter().map(of_route).collect();
        let of_gateway = |(place, parent): (usize, &Parent<'_>)| {
            let service = service_name(parent.gateway).and_then(|name| {
                find(parent.gateway.metadata.namespace.as_deref().unwrap_or_default(), &name)
            });
            status::of_gateway(parent, service.as_deref(), &attached.of(place), now)
        };
        (parents.iter().enumerate().map(of_gateway).collect(), of_routes)
    }

    fn labels(&self, name: &str) -> Option<BTreeMap<String, String>> {
        let namespace = self.informers.namespaces.get(&ObjectKey::cluster(name))?;
        Some(namespace.metadata.labels.clone().unwrap_or_default())
    }

    /// Why a certificate can't be used.
    fn fault(&self, secret: SecretName<'_>) -> Option<String> {
        match self.certificates.get(&ObjectKey::new(secret.namespace, secret.name)) {
            None => Some("there is no such secret of type kubernetes.io/tls".to_owned()),
            Some(found) => ServerCertificate::of(&found).err().map(|why| why.to_string()),
        }
    }

    /// Writes a status that is another one, and tells what is new in it. Others write their part of a route's: so it is
    /// written over what was read alone.
    async fn write<K, S>(
        &self,
        object: &K,
        before: Option<&S>,
        status: &S,
        conditions: impl Fn(&S) -> Vec<&Vec<Condition>>,
    ) -> Result<(), Error>
    where
        K: Resource<DynamicType = (), Scope: Placed<K>> + Clone + Debug + DeserializeOwned,
        S: Default + PartialEq + Serialize,
    {
        let none = S::default();
        if before.unwrap_or(&none) == status {
            return Ok(());
        }
        let version = &object.meta().resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "status": status});
        let api = <K::Scope as Placed<K>>::api(self.client.clone(), object.meta());
        let name = object.meta().name.as_deref().unwrap_or_default();
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        if written.unless_gone("writing the status of an object of the Gateway API")?.is_some() {
            let before = before.map(&conditions).unwrap_or_default();
            for (type_, reason, message) in conditions::news(&before, &conditions(status)) {
                self.recorder.about(object, type_, &reason, message);
            }
        }
        Ok(())
    }
}

/// Where objects of a scope are.
trait Placed<K> {
    fn api(client: Client, metadata: &ObjectMeta) -> Api<K>;
}

impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope>> Placed<K>
    for NamespaceResourceScope
{
    fn api(client: Client, metadata: &ObjectMeta) -> Api<K> {
        Api::namespaced(client, metadata.namespace.as_deref().unwrap_or_default())
    }
}

impl<K: Resource<DynamicType = (), Scope = ClusterResourceScope>> Placed<K>
    for ClusterResourceScope
{
    fn api(client: Client, _: &ObjectMeta) -> Api<K> {
        Api::all(client)
    }
}
