//! Gives Services of the type LoadBalancer without a class addresses of the pool, one of each family (Kubernetes:
//! `service-lb-controller`, whose part a cloud plays there), and takes them back. What is taken is read off the Services
//! and nodes themselves. Which node answers for an address is kube-proxy's business.
//!
//! Order: a Service gets the finalizer and the mark that its addresses are ours before it gets these; without a
//! pool, only what bears the mark is looked at, and taken back.

mod allocation;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use api_machinery::ip_family::families;
use api_machinery::load_balancer::{
    POOL_ANNOTATION, addresses, is_balanced, is_without_class, pool_of,
};
use api_types::api::core::v1::{LoadBalancerIngress, Node, Service};
use component::events::{EventType, Recorder};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Mark, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::informers::Informers;
use crate::load_balancer_pool::Pool;

use self::allocation::{Choice, Refusals, Taken, choose, of_node};

const NAME: &str = "service-lb-controller";
/// Kubernetes' own: the Service stays until its address is back.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { services, nodes, .. } = &context.informers;
    watch(services, nodes, &queue);
    let controller = LoadBalancers {
        client: context.client(),
        recorder: context.recorder(NAME),
        pool: context.settings.load_balancer_pool.clone(),
        services: services.clone(),
        nodes: nodes.clone(),
        promised: Mutex::default(),
    };
    Registered::new(controller, queue).reads(services).reads(nodes)
}

/// An address that comes free may be what others wait for, and one that a node comes to have is no Service's.
fn watch(services: &Arc<Informer<Service>>, nodes: &Informer<Node>, queue: &Arc<WorkQueue>) {
    let (wanted, all) = (queue.clone(), Arc::downgrade(services));
    services.on_change(move |change: &Change<Service>| {
        change.latest().iter().for_each(|service| wanted.add(ObjectKey::of(&service.metadata)));
        let lets_go = change.old.as_deref().is_some_and(|old| lets_go(old, change.new.as_deref()));
        let Some(all) = all.upgrade().filter(|_| lets_go) else { return };
        let waiting = all.filter(|it| is_without_class(it) && lacks_one(it));
        waiting.iter().for_each(|service| wanted.add(ObjectKey::of(&service.metadata)));
    });
    let (wanted, all) = (queue.clone(), Arc::downgrade(services));
    nodes.on_change(move |change: &Change<Node>| {
        let of = |node: &Option<Arc<Node>>| -> BTreeSet<_> {
            node.iter().flat_map(|node| of_node(node)).collect()
        };
        if of(&change.old) == of(&change.new) {
            return;
        }
        let all = all.upgrade().map(|all| all.filter(is_without_class)).unwrap_or_default();
        all.iter().for_each(|service| wanted.add(ObjectKey::of(&service.metadata)));
    });
}

/// Whether it has less than an address of each of its families.
fn lacks_one(service: &Service) -> bool {
    addresses(service).count() < families(service).len()
}

/// Whether others may have now what it had, or was about to have.
fn lets_go(old: &Service, new: Option<&Service>) -> bool {
    let has = |service: &Service| -> BTreeSet<_> {
        let spec = service.spec.as_ref();
        let external = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
        external.filter_map(|ip| ip.parse().ok()).chain(addresses(service)).collect()
    };
    let left = new.map(has).unwrap_or_default();
    let waits_no_more = is_without_class(old) && !new.is_some_and(is_without_class);
    waits_no_more || !has(old).is_subset(&left)
}

struct LoadBalancers {
    client: Client,
    recorder: Recorder,
    pool: Pool,
    services: Arc<Informer<Service>>,
    nodes: Arc<Informer<Node>>,
    /// By the Service's uid: what the store does not show yet.
    promised: Mutex<HashMap<String, Promise>>,
}

/// The addresses that a Service gets, or has got: the write may have arrived even if its answer did not.
#[derive(Clone, Debug)]
struct Promise {
    addresses: Vec<IpAddr>,
    written: Option<Mark>,
}

#[async_trait::async_trait]
impl Controller for LoadBalancers {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        // In this order: what is promised no more must be shown.
        self.settle_promises();
        let all = self.services.list();
        let Some(service) = self.services.get(key) else { return Ok(Next::Change) };
        if !self.is_to_have_one(&service) {
            self.promised.lock().remove(uid(&service));
            return self.take_back(key, &service).await.map(|()| Next::Change);
        }
        let Choice { given, refused } = self.promise(&service, &all);
        if !given.is_empty() {
            self.give(key, &service, &given).await?;
        }
        if !refused.0.is_empty() {
            self.refuse(key, &service, &given, &refused).await?;
            return Err(refused.into());
        }
        Ok(Next::Change)
    }
}

impl LoadBalancers {
    fn is_to_have_one(&self, service: &Service) -> bool {
        let is_going = service.metadata.deletion_timestamp.is_some();
        !self.pool.is_empty() && !is_going && is_without_class(service)
    }

    /// A promise holds until the store shows what was written, or the Service is gone.
    fn settle_promises(&self) {
        let known = |uid: &str| !self.services.filter(|it| self::uid(it) == uid).is_empty();
        let seen =
            |promise: &Promise| promise.written.is_some_and(|it| self.services.has_seen(&it));
        self.promised.lock().retain(|uid, promise| !seen(promise) && known(uid));
    }

    /// What the Service is to have, which is nobody else's from now on.
    fn promise(&self, service: &Service, all: &[Arc<Service>]) -> Choice {
        let mut promised = self.promised.lock();
        let own = promised.get(uid(service)).map(|promise| promise.addresses.clone());
        let others = promised.iter().filter(|(of, _)| *of != uid(service));
        let others: Vec<_> = others.flat_map(|(_, it)| it.addresses.iter().copied()).collect();
        let taken = Taken::for_one(service, all, &self.nodes.list()).and(others);
        let current = own.clone().unwrap_or_else(|| addresses(service).collect());
        let choice = choose(&self.pool, service, &current, &taken);
        if choice.given.is_empty() {
            promised.remove(uid(service));
        } else if own.as_ref() != Some(&choice.given) {
            let promise = Promise { addresses: choice.given.clone(), written: None };
            promised.insert(uid(service).to_owned(), promise);
        }
        choice
    }

    async fn give(
        &self,
        key: &ObjectKey,
        service: &Service,
        given: &[IpAddr],
    ) -> Result<(), Error> {
        self.mark(key, service, given).await?;
        if is_said(service, given) {
            self.promised.lock().remove(uid(service));
            return Ok(());
        }
        if self.is_written(service, given) {
            return Ok(());
        }
        let ingress = given.iter().map(|address| json!({"ip": address, "ipMode": "VIP"}));
        let Some(written) = self.write_status(key, service, ingress.collect()).await? else {
            return Ok(());
        };
        let promise =
            Promise { addresses: given.to_vec(), written: Some(self.services.mark(&written)) };
        self.promised.lock().insert(uid(service).to_owned(), promise);
        let texts: Vec<_> = given.iter().map(ToString::to_string).collect();
        let all = texts.join(" and ");
        tracing::info!(service = %key, addresses = all, "load balancer's addresses given");
        let message = format!("Ensured load balancer: it has {all}");
        self.recorder.about(service, EventType::Normal, "EnsuredLoadBalancer", message);
        Ok(())
    }

    /// And the store will show it.
    fn is_written(&self, service: &Service, given: &[IpAddr]) -> bool {
        let promised = self.promised.lock();
        promised.get(uid(service)).is_some_and(|it| it.addresses == given && it.written.is_some())
    }

    /// That the addresses are ours, and are to be given back.
    async fn mark(&self, key: &ObjectKey, service: &Service, of: &[IpAddr]) -> Result<(), Error> {
        let ranges = of.iter().filter_map(|it| self.pool.range_of(*it)).map(ToString::to_string);
        let ranges = ranges.collect::<Vec<_>>().join(",");
        let finalizers = service.metadata.finalizers.clone().unwrap_or_default();
        let has_finalizer = finalizers.iter().any(|it| it == FINALIZER);
        if has_finalizer && pool_of(service) == Some(&*ranges) {
            return Ok(());
        }
        let others = finalizers.into_iter().filter(|it| it != FINALIZER);
        let finalizers: Vec<_> = others.chain([FINALIZER.to_owned()]).collect();
        self.write_metadata(key, service, &finalizers, json!(ranges)).await
    }

    /// `given`: what it has all the same.
    async fn refuse(
        &self,
        key: &ObjectKey,
        service: &Service,
        given: &[IpAddr],
        refused: &Refusals,
    ) -> Result<(), Error> {
        let message = format!("Error syncing load balancer: {refused}");
        self.recorder.about(service, EventType::Warning, "SyncLoadBalancerFailed", message);
        if given.is_empty() && addresses(service).next().is_some() {
            self.write_status(key, service, json!([])).await?;
        }
        Ok(())
    }

    /// Nothing of it but what is ours. The address goes first: without the mark nobody would know whose it is.
    async fn take_back(&self, key: &ObjectKey, service: &Service) -> Result<(), Error> {
        let finalizers = service.metadata.finalizers.clone().unwrap_or_default();
        // Somebody may have taken the mark away as it went.
        let is_held = !self.pool.is_empty()
            && is_without_class(service)
            && finalizers.iter().any(|it| it == FINALIZER);
        if pool_of(service).is_none() && !is_held {
            return Ok(());
        }
        if is_balanced(service) && !is_without_class(service) {
            // Whoever wrote the mark there: the rest is of whose class it is.
            return self.write_metadata(key, service, &finalizers, Value::Null).await;
        }
        let is_going = service.metadata.deletion_timestamp.is_some();
        if is_balanced(service) && !is_going && addresses(service).next().is_some() {
            self.write_status(key, service, json!([])).await?;
        }
        let left: Vec<_> = finalizers.into_iter().filter(|it| it != FINALIZER).collect();
        self.write_metadata(key, service, &left, Value::Null).await?;
        if !is_going {
            let message = "Deleted load balancer".to_owned();
            self.recorder.about(service, EventType::Normal, "DeletedLoadBalancer", message);
        }
        Ok(())
    }

    async fn write_metadata(
        &self,
        key: &ObjectKey,
        service: &Service,
        finalizers: &[String],
        range: Value,
    ) -> Result<(), Error> {
        let metadata = json!({
            "uid": service.metadata.uid, "resourceVersion": service.metadata.resource_version,
            "finalizers": finalizers, "annotations": {POOL_ANNOTATION: range},
        });
        let patch = Patch::Merge(json!({"metadata": metadata}));
        let patched = self.api(key).patch(&key.name, &PatchParams::default(), &patch).await;
        patched.unless_gone("marking a load balancer's address").map(drop)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        service: &Service,
        ingress: Value,
    ) -> Result<Option<Service>, Error> {
        let patch = Patch::Merge(json!({
            "metadata": {"uid": service.metadata.uid},
            "status": {"loadBalancer": {"ingress": ingress}},
        }));
        let patched = self.api(key).patch_status(&key.name, &PatchParams::default(), &patch).await;
        patched.unless_gone("writing a load balancer's address")
    }

    fn api(&self, key: &ObjectKey) -> Api<Service> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// Whether its status says just that.
fn is_said(service: &Service, given: &[IpAddr]) -> bool {
    let balancer = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    let is_it = |(one, address): (&LoadBalancerIngress, &IpAddr)| {
        one.ip.as_deref().is_some_and(|ip| ip.parse() == Ok(*address))
            && one.ip_mode.as_deref() == Some("VIP")
            && one.hostname.is_none()
    };
    ingress.len() == given.len() && ingress.iter().zip(given).all(is_it)
}

fn uid(service: &Service) -> &str {
    service.metadata.uid.as_deref().unwrap_or_default()
}
