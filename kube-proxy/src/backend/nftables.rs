//! Services carried by the kernel: their connections are led to endpoints by rules of nftables, in one table for each
//! family of addresses.
//!
//! The virtual IPs are local addresses as they are with nginxes, so that what no Service serves is refused as there, and
//! nothing for them leaves the host, whether the rules are there or not. The hosts of DNS objects stay an nginx's.
//!
//! Flow: take the addresses of new Services → make of the table what is new → look at the host's servers, and at the table,
//! if that is due → make of it what is wanted, all of it if it is not known what is there → have flows of datagrams
//! forgotten that can't go on as they do → the nginxes.
//!
//! Guarantees: neither waits for the other: without Docker Services are carried, and without rules hosts are served.

mod flows;
mod kernel;
mod ledger;
mod rules;
mod ruleset;
mod taken;
mod without;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
};

use async_trait::async_trait;
use component::dual_stack::DualStack;
use tokio::time::Instant;
use tracing::warn;

use self::{
    kernel::Kernel,
    rules::Spared,
    ruleset::{LOOK_AT_RULES, Ruleset, is_due},
    taken::Taken,
};
use super::{
    Backend, about_objects, gateway, router, service, service_addresses::ServiceAddresses,
};
use crate::{
    addresses::Addresses,
    configs::Configs,
    containers::Containers,
    gateway::GatewayPlan,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Reconciler, Summary},
    router::RouterPlan,
};

pub use without::{Leftover, WithoutRules};

/// What of the tables for the virtual IPs of these ranges is not as these Services want it, in words; without them there should be none.
pub(crate) async fn differences(
    ranges: &DualStack,
    pods: &DualStack,
    plans: Option<&[ServicePlan]>,
) -> Result<Vec<String>, ReconcileError> {
    let mut found = Vec::new();
    let Some(plans) = plans else {
        for kernel in Kernel::of(ranges) {
            found.extend(kernel.table.differences(None).await?);
        }
        return Ok(found);
    };
    let taken = Taken::read().map_err(ReconcileError::Servers)?;
    let spared = Spared { pods: *pods, taken };
    for mut ruleset in Ruleset::all(ranges, pods) {
        plans.iter().for_each(|plan| ruleset.want(plan, &spared));
        found.extend(ruleset.differences().await?);
    }
    Ok(found)
}

/// Carries Services by rules of the packet filter.
#[derive(Debug)]
pub struct Nftables<C, A> {
    /// The nginx of DNS objects, and those that were there for Services before.
    nginxes: Reconciler<C, ServiceAddresses<A>>,
    addresses: ServiceAddresses<A>,
    rulesets: Vec<Ruleset>,
    /// By uid, the virtual IPs of all Services.
    services: BTreeMap<String, BTreeSet<IpAddr>>,
    /// By uid, those that are reached from outside.
    exposed: BTreeMap<String, ServicePlan>,
    spared: Spared,
    /// Where servers of the host listened when it was looked last.
    servers: Option<Taken>,
    /// Of how many Services there is news.
    news: usize,
    /// Whether all Services are known.
    told: bool,
    servers_seen: Option<Instant>,
}

impl<C: Containers, A: Addresses> Nftables<C, A> {
    /// For the virtual IPs of these ranges, in a cluster whose pods have addresses of others.
    pub fn new(
        ranges: DualStack,
        pods: DualStack,
        containers: C,
        addresses: A,
        configs: Configs,
    ) -> Self {
        let addresses = ServiceAddresses::new(addresses);
        Nftables {
            nginxes: Reconciler::new(containers, addresses.clone(), configs),
            addresses,
            rulesets: Ruleset::all(&ranges, &pods),
            services: BTreeMap::new(),
            exposed: BTreeMap::new(),
            spared: Spared { pods, taken: Taken::default() },
            servers: None,
            news: 0,
            told: false,
            servers_seen: None,
        }
    }

    /// Brings the tables up to date, with all that this needs.
    async fn settle(&mut self) -> Result<(), ReconcileError> {
        self.addresses.take_missing().await?;
        for ruleset in &mut self.rulesets {
            if let Err(error) = ruleset.tell().await {
                warn!("repairing our rules: {:#}", anyhow::Error::from(error));
            }
        }
        self.look_at_servers()?;
        for ruleset in &mut self.rulesets {
            ruleset.look().await?;
        }
        // What is wrong with one is nothing to the other.
        let mut settled = Ok(());
        for ruleset in &mut self.rulesets {
            settled = settled.and(ruleset.settle().await);
        }
        settled
    }

    /// Of Services whose sockets a server has got or given up the rules change.
    fn look_at_servers(&mut self) -> Result<(), ReconcileError> {
        // Nginxes that have carried Services listen there until the rules do.
        if self.nginxes.has_any(service::KIND) || !is_due(self.servers_seen, LOOK_AT_RULES) {
            return Ok(());
        }
        let servers = Taken::read().map_err(ReconcileError::Servers)?;
        let taken = servers.clone().since(self.servers.as_ref());
        (self.servers, self.servers_seen) = (Some(servers), Some(Instant::now()));
        if taken != self.spared.taken {
            self.spared.taken = taken;
            for ruleset in &mut self.rulesets {
                self.exposed.values().for_each(|plan| ruleset.want(plan, &self.spared));
            }
        }
        Ok(())
    }

    /// Services of which not all sockets could be had.
    fn clashes(&self) -> impl Iterator<Item = Failure> {
        self.exposed.values().filter_map(|plan| {
            let sockets = self.spared.clashing(plan).into_iter();
            let sockets: Vec<_> = sockets.map(|(of, it)| format!("{of} {it}")).collect();
            let error = ReconcileError::Taken(sockets.join(", "));
            let (subject, uid) = (plan.to_string(), Some(plan.uid.clone()));
            (!sockets.is_empty()).then_some(Failure { subject, uid, error })
        })
    }

    /// Those of hosts, whatever becomes of the rules; and the other way round.
    async fn keep_nginxes(&mut self) -> Result<Summary, ReconcileError> {
        match self.nginxes.pass().await {
            Err(error @ ReconcileError::Containers(_)) => {
                let subject = "nginxes of hosts".to_owned();
                let failed = vec![Failure { subject, uid: None, error }];
                Ok(Summary { failed, ..Summary::default() })
            }
            done => done.map(about_objects),
        }
    }

    fn drop_service(&mut self, uid: &str) {
        if let Some(addresses) = self.services.remove(uid) {
            addresses.into_iter().for_each(|address| self.let_go(address));
            self.exposed.remove(uid);
            self.rulesets.iter_mut().for_each(|ruleset| ruleset.forget(uid));
            self.news += 1;
        }
    }

    /// Another Service may have got it before it was said that this one has it no more.
    fn let_go(&self, address: IpAddr) {
        if !self.services.values().any(|held| held.contains(&address)) {
            self.addresses.forget(address);
        }
    }
}

#[async_trait]
impl<C: Containers, A: Addresses> Backend for Nftables<C, A> {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        self.nginxes.resume().await
    }

    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
        match self.nginxes.look().await {
            // Services need no containers. A pass looks again, and tells of it.
            Ok(_) | Err(ReconcileError::Containers(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(self.nginxes.local())
    }

    fn distrust_containers(&mut self) {
        self.nginxes.distrust_containers();
    }

    fn want_all(&mut self, plans: Vec<ServicePlan>) {
        let uids: BTreeSet<&str> = plans.iter().map(|plan| plan.uid.as_str()).collect();
        let gone = self.services.keys().filter(|uid| !uids.contains(uid.as_str()));
        let gone: Vec<_> = gone.cloned().collect();
        gone.iter().for_each(|uid| self.drop_service(uid));
        plans.into_iter().for_each(|plan| self.want(plan));
        self.told = true;
    }

    fn want(&mut self, plan: ServicePlan) {
        let before = self.services.insert(plan.uid.clone(), plan.ips.clone());
        let gone = before.iter().flat_map(|before| before.difference(&plan.ips));
        gone.for_each(|address| self.let_go(*address));
        plan.ips.iter().for_each(|ip| self.addresses.want(*ip));
        self.rulesets.iter_mut().for_each(|ruleset| ruleset.want(&plan, &self.spared));
        self.news += 1;
        match service::is_reached_from_outside(&plan) {
            true => self.exposed.insert(plan.uid.clone(), plan),
            false => self.exposed.remove(&plan.uid),
        };
    }

    fn forget(&mut self, uid: &str) {
        self.drop_service(uid);
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        self.nginxes.want_all(router::KIND, plan.iter().flat_map(router::specs).collect());
    }

    fn want_gateways(&mut self, plans: &[GatewayPlan]) {
        self.nginxes.want_all(gateway::KIND, plans.iter().flat_map(gateway::specs).collect());
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        self.look().await?;
        let news = mem::take(&mut self.news);
        // Before the first complete list the tables stay as they were found.
        let settled = if self.told { self.settle().await } else { Ok(()) };
        if self.told && settled.is_ok() {
            // What carries Services is there before what carried them goes.
            self.nginxes.want_all(service::KIND, Vec::new());
        }
        let mut summary = self.keep_nginxes().await?;
        summary.wanted += self.services.len();
        summary.examined += news;
        summary.failed.extend(self.clashes());
        if let Err(error) = settled {
            summary.failed.push(Failure {
                subject: "rules of all Services".to_owned(),
                uid: None,
                error,
            });
        }
        Ok(summary)
    }
}
