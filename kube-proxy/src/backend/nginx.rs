//! Services carried by an nginx each.

use std::{collections::BTreeSet, net::IpAddr};

use async_trait::async_trait;

use super::{
    Backend, about_objects, gateway, router,
    service::{self, OUTSIDE, specs},
};
use crate::{
    addresses::Addresses,
    containers::Containers,
    gateway::GatewayPlan,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Reconciler, Summary},
    router::RouterPlan,
};

/// Carries each Service by an nginx in a container that holds the virtual IP, and one more if it is reached from outside.
#[derive(Debug)]
pub struct Nginx<C, A>(pub Reconciler<C, A>);

#[async_trait]
impl<C: Containers, A: Addresses> Backend for Nginx<C, A> {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        self.0.resume().await
    }

    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
        self.0.look().await
    }

    fn distrust_containers(&mut self) {
        self.0.distrust_containers();
    }

    fn want_all(&mut self, plans: Vec<ServicePlan>) {
        self.0.want_all(service::KIND, plans.iter().flat_map(specs).collect());
    }

    fn want(&mut self, plan: ServicePlan) {
        let specs = specs(&plan);
        if !specs.iter().any(|spec| spec.uid.ends_with(OUTSIDE)) {
            self.0.forget(&format!("{}{OUTSIDE}", plan.uid));
        }
        specs.into_iter().for_each(|spec| self.0.want(spec));
    }

    fn forget(&mut self, uid: &str) {
        self.0.forget(uid);
        self.0.forget(&format!("{uid}{OUTSIDE}"));
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        self.0.want_all(router::KIND, plan.iter().flat_map(router::specs).collect());
    }

    fn want_gateways(&mut self, plans: &[GatewayPlan]) {
        self.0.want_all(gateway::KIND, plans.iter().flat_map(gateway::specs).collect());
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        self.0.pass().await.map(about_objects)
    }
}
