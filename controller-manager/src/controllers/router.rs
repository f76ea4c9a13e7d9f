//! The Service whose addresses the router of DNS objects and Ingresses has, on every node: there as long as there is one of
//! either. Whoever of their controllers looks first keeps it.

use std::sync::Arc;

use api_machinery::host_routes::{MANAGED_BY, ROUTER, class_of, is_router, is_served};
use api_types::api::core::v1::{Service, ServiceSpec};
use api_types::api::networking::v1::Ingress;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::frame::{Error, ObjectKey, Step, code};
use crate::informers::Informers;

/// Keeps it.
pub(super) struct Router {
    pub(super) client: Client,
    pub(super) informers: Informers,
}

/// What it is called.
pub(super) fn key() -> ObjectKey {
    ObjectKey::new(ROUTER.0, ROUTER.1)
}

/// The Service of its name, be it somebody's.
pub(super) fn service(informers: &Informers) -> Option<Arc<Service>> {
    informers.services.get(&key())
}

/// Whether it serves the Ingress.
pub(super) fn serves(informers: &Informers, ingress: &Ingress) -> bool {
    let class = class_of(ingress).and_then(|name| {
        let class = ObjectKey::cluster(name);
        informers.ingress_classes.get(&class)
    });
    class.is_some_and(|class| is_served(&class))
}

impl Router {
    /// Makes it, completes it, or removes it.
    pub(super) async fn keep(&self) -> Result<(), Error> {
        let Informers { dnses, ingresses, .. } = &self.informers;
        let is_wanted = !dnses.list().is_empty()
            || ingresses.list().iter().any(|ingress| serves(&self.informers, ingress));
        match service(&self.informers) {
            None if is_wanted => self.make().await,
            Some(found) if !is_router(&found) => Ok(()),
            Some(router) if !is_wanted => self.remove(&router).await,
            Some(router) if !is_whole(&router) => self.complete().await,
            _ => Ok(()),
        }
    }

    /// It has no endpoints: each node's kube-proxy has an nginx at its addresses.
    async fn make(&self) -> Result<(), Error> {
        let labels = json!({"k8s-app": ROUTER.1, MANAGED_BY.0: MANAGED_BY.1});
        let router = json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": ROUTER.1, "labels": labels},
            "spec": spec(),
        });
        let router = serde_json::from_value(router).expect("it is a Service");
        let created = self.services().create(&PostParams::default(), &router).await;
        match created {
            // Another worker was faster.
            Err(error) if code(&error) == Some(409) => Ok(()),
            created => created.step("making the Service of the hosts' router").map(drop),
        }
    }

    /// One of before there was TLS, or addresses of both families.
    async fn complete(&self) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"spec": spec()}));
        let patched = self.services().patch(ROUTER.1, &PatchParams::default(), &patch).await;
        patched.unless_gone("completing the Service of the hosts' router").map(drop)
    }

    async fn remove(&self, router: &Service) -> Result<(), Error> {
        let this_one = Preconditions { uid: router.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(this_one);
        let removed = self.services().delete(ROUTER.1, &params).await;
        removed.unless_gone("removing the Service of the hosts' router").map(drop)
    }

    fn services(&self) -> Api<Service> {
        Api::namespaced(self.client.clone(), ROUTER.0)
    }
}

fn spec() -> Value {
    json!({
        "ipFamilyPolicy": "PreferDualStack",
        "ports": [{"name": "http", "port": 80}, {"name": "https", "port": 443}],
    })
}

fn is_whole(router: &Service) -> bool {
    let has = |spec: &ServiceSpec, port| spec.ports.iter().flatten().any(|it| it.port == port);
    let is_of_all =
        |spec: &ServiceSpec| spec.ip_family_policy.as_deref().is_some_and(|it| it != "SingleStack");
    router.spec.as_ref().is_some_and(|spec| has(spec, 80) && has(spec, 443) && is_of_all(spec))
}
