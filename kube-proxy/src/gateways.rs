//! What the API server says about Gateways and their routes. It has these kinds as long as there are their
//! CustomResourceDefinitions.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use api_machinery::gateway::{is_its_service, is_served, refusal, service_name};
use api_types::{
    api::core::v1::{Namespace, Service},
    gateway::{Gateway, GatewayClass, HttpRoute, ReferenceGrant},
};
use futures::future;
use kube::runtime::{
    WatchStreamExt,
    reflector::{self, ObjectRef, Store},
};
use listwatch::{ListWatch, Scope, absent_is_empty};

use crate::{
    gateway::{GatewayPlan, Means, plan_gateway},
    ingresses::{Watch, follow},
};

/// The Gateways, and what is needed to serve them. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Gateways {
    classes: Store<GatewayClass>,
    gateways: Store<Gateway>,
    routes: Store<HttpRoute>,
    grants: Store<ReferenceGrant>,
    namespaces: Store<Namespace>,
    listed: Arc<[AtomicBool; 5]>,
}

impl Gateways {
    /// What has to be polled for them to be kept up to date, and `note` to be called after changes.
    pub(crate) fn watch(
        listwatch: &ListWatch,
        note: impl Fn() + Clone + Send + 'static,
    ) -> (Self, [Watch; 5]) {
        let (classes, of_classes) = reflector::store();
        let (gateways, of_gateways) = reflector::store();
        let (routes, of_routes) = reflector::store();
        let (grants, of_grants) = reflector::store();
        let (namespaces, of_namespaces) = reflector::store();
        let this =
            Gateways { classes, gateways, routes, grants, namespaces, listed: Arc::default() };
        let had_any = Arc::<AtomicBool>::default();
        let following = |number: usize| {
            let (this, note, had_any) = (this.clone(), note.clone(), had_any.clone());
            move |is_list: bool| {
                let is_first = is_list && !this.listed[number].swap(true, Ordering::AcqRel);
                let has_any = !this.gateways.is_empty();
                // As long as there are no such kinds, that is looked at again and again.
                if had_any.swap(has_any, Ordering::AcqRel) || has_any || is_first {
                    note();
                }
            }
        };
        let all = || Scope::All;
        let watches = [
            follow(absent_is_empty(listwatch.watch(all())).reflect(of_classes), following(0)),
            follow(absent_is_empty(listwatch.watch(all())).reflect(of_gateways), following(1)),
            follow(absent_is_empty(listwatch.watch(all())).reflect(of_routes), following(2)),
            follow(absent_is_empty(listwatch.watch(all())).reflect(of_grants), following(3)),
            follow(listwatch.watch(all()).reflect(of_namespaces), following(4)),
        ];
        (this, watches)
    }

    /// Whether all are here.
    pub(crate) fn are_listed(&self) -> bool {
        self.listed.iter().all(|listed| listed.load(Ordering::Acquire))
    }

    /// Waits until they are.
    pub(crate) async fn ready(&self) {
        // An error means that the watches have ended: the program is stopping.
        let _ = future::join5(
            self.classes.wait_until_ready(),
            self.gateways.wait_until_ready(),
            self.routes.wait_until_ready(),
            self.grants.wait_until_ready(),
            self.namespaces.wait_until_ready(),
        )
        .await;
    }

    /// The Services that they are made of, be they there or not.
    pub(crate) fn services(&self) -> HashSet<ObjectRef<Service>> {
        let mut services = HashSet::new();
        for gateway in self.served() {
            services.extend(service_of(&gateway));
        }
        if services.is_empty() {
            return services;
        }
        for route in self.routes.state() {
            let own = route.metadata.namespace.as_deref().unwrap_or_default();
            for backend in route.spec.rules.iter().flat_map(|rule| &rule.backend_refs) {
                let namespace = backend.namespace.as_deref().unwrap_or(own);
                services.insert(ObjectRef::new(&backend.name).within(namespace));
            }
        }
        services
    }

    /// `means`: what is needed beside what is here; it has no routes, grants and labels yet.
    pub(crate) fn plans(&self, means: &Means<'_>) -> Vec<GatewayPlan> {
        let (routes, grants) = (self.routes.state(), self.grants.state());
        let labels = |name: &str| -> Option<BTreeMap<String, String>> {
            let namespace = self.namespaces.get(&ObjectRef::new(name))?;
            Some(namespace.metadata.labels.clone().unwrap_or_default())
        };
        let Means { place, service, backends, certificate, .. } = *means;
        let (routes, grants, labels) = (&routes[..], &grants[..], &labels);
        let means = Means { place, routes, grants, labels, service, backends, certificate };
        let plan = |gateway: &Arc<Gateway>| {
            let service = service_of(gateway)?;
            let service = (means.service)(service.namespace.as_deref()?, &service.name)?;
            // With that of another of its name, which goes, it would have an address that it loses.
            is_its_service(&service, gateway).then_some(())?;
            plan_gateway(&means, gateway, &service)
        };
        self.served().iter().filter_map(plan).collect()
    }

    /// In an order that stays.
    fn served(&self) -> Vec<Arc<Gateway>> {
        let mut all = self.gateways.state();
        all.retain(|gateway| {
            let class = self.classes.get(&ObjectRef::new(&gateway.spec.gateway_class_name));
            class.is_some_and(|class| is_served(&class)) && refusal(gateway).is_none()
        });
        all.sort_by(|one, other| {
            let key = |it: &Gateway| (it.metadata.namespace.clone(), it.metadata.name.clone());
            key(one).cmp(&key(other))
        });
        all
    }
}

fn service_of(gateway: &Gateway) -> Option<ObjectRef<Service>> {
    let namespace = gateway.metadata.namespace.as_deref()?;
    Some(ObjectRef::new(&service_name(gateway)?).within(namespace))
}
