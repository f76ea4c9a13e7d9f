//! Services carried by the kernel: their connections are led to endpoints by rules of nftables, in one table.
//!
//! The virtual IPs are local addresses as they are with nginxes, so that what no Service serves is refused as there, and
//! nothing for them leaves the host, whether the rules are there or not. The hosts of DNS objects stay an nginx's.
//!
//! Flow: look at the table, if that is due → take the addresses of new Services → make of the table what is wanted: the
//! part that is about Services of which there is news, or all of it if it is not known what is there → have flows of
//! datagrams forgotten that can't go on as they do → the nginxes.
//!
//! Guarantees: neither waits for the other: without Docker Services are carried, and without rules hosts are served.

mod addresses;
mod flows;
mod kernel;
mod ledger;
mod rules;
mod without;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::Ipv4Addr,
    time::Duration,
};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use packet_filter::{
    connections::Flows,
    nftables::{Contents, Found},
};
use tokio::time::Instant;
use tracing::warn;

use self::{
    addresses::ServiceAddresses,
    kernel::Kernel,
    ledger::{Change, Ledger},
};
use super::{Backend, about_objects, router, service};
use crate::{
    addresses::Addresses,
    configs::Configs,
    containers::Containers,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Reconciler, Summary},
    router::RouterPlan,
};

pub use without::WithoutRules;

/// How often it is looked whether somebody has changed rules, as for those of iptables; and elements of maps, which
/// are many.
const LOOK_AT_RULES: Duration = Duration::from_secs(10);
const LOOK_AT_ELEMENTS: Duration = Duration::from_secs(60);
/// The owner of what is there whatever Services there are. No uid is empty.
const FRAME: &str = "";

/// Carries Services by rules of the packet filter.
#[derive(Debug)]
pub struct Nftables<C, A> {
    /// The nginx of DNS objects, and those that were there for Services before.
    nginxes: Reconciler<C, ServiceAddresses<A>>,
    addresses: ServiceAddresses<A>,
    kernel: Kernel,
    ledger: Ledger,
    /// By uid, the virtual IPs of all Services.
    services: BTreeMap<String, Ipv4Addr>,
    /// By uid, those that are also reached in ways that are not served.
    unserved: BTreeMap<String, String>,
    /// By uid, what is not in the ledger yet.
    due: BTreeMap<String, Option<Contents>>,
    /// What is to be forgotten.
    stale: BTreeSet<Flows>,
    /// Whether all Services are known.
    told: bool,
    /// Whether the table is as the ledger says, as far as is known.
    trusted: bool,
    rules_seen: Option<Instant>,
    elements_seen: Option<Instant>,
}

impl<C: Containers, A: Addresses> Nftables<C, A> {
    /// For the virtual IPs of a range, in a cluster whose pods have addresses of another.
    pub fn new(
        range: Ipv4Net,
        pods: Ipv4Net,
        containers: C,
        addresses: A,
        configs: Configs,
    ) -> Self {
        let addresses = ServiceAddresses::new(addresses);
        Nftables {
            nginxes: Reconciler::new(containers, addresses.clone(), configs),
            addresses,
            kernel: Kernel::new(range),
            ledger: Ledger::default(),
            services: BTreeMap::new(),
            unserved: BTreeMap::new(),
            due: [(FRAME.to_owned(), Some(rules::frame(pods)))].into(),
            stale: BTreeSet::new(),
            told: false,
            trusted: false,
            rules_seen: None,
            elements_seen: None,
        }
    }

    /// Brings the table up to date, with all that this needs.
    async fn settle(&mut self) -> Result<(), ReconcileError> {
        self.look_at_rules().await?;
        self.addresses.take_missing().await?;
        let Change { before, after } = self.ledger.update(mem::take(&mut self.due));
        if self.trusted {
            self.stale.extend(flows::stale(&before.elements, &after.elements));
            // Until it is known: what fails may have come about all the same.
            self.trusted = false;
            self.kernel.table.change(&Found::of(&before), &after).await?;
            self.trusted = true;
        } else {
            self.repair().await?;
        }
        self.forget_flows().await
    }

    /// Each until it is: the table does not tell of them any more.
    async fn forget_flows(&mut self) -> Result<(), ReconcileError> {
        while let Some(flows) = self.stale.first().copied() {
            self.kernel.forget(flows).await?;
            self.stale.remove(&flows);
        }
        Ok(())
    }

    async fn look_at_rules(&mut self) -> Result<(), ReconcileError> {
        if is_due(self.rules_seen, LOOK_AT_RULES) {
            self.kernel.set_flags().await?;
            let found = self.kernel.table.read_rules().await?;
            let as_said = found.is_some_and(|found| found.has_rules_of(&self.ledger.contents()));
            if self.trusted && !as_said {
                warn!("somebody has changed our rules of the packet filter");
            }
            self.trusted &= as_said;
            self.rules_seen = Some(Instant::now());
        }
        self.trusted &= !is_due(self.elements_seen, LOOK_AT_ELEMENTS);
        Ok(())
    }

    /// Makes of the whole table what it should be, whatever is there.
    async fn repair(&mut self) -> Result<(), ReconcileError> {
        let wanted = self.ledger.contents();
        match self.kernel.table.read().await? {
            Some(found) => {
                self.stale.extend(flows::stale(found.elements(), &wanted.elements));
                self.kernel.table.change(&found, &wanted).await?;
            }
            None => {
                self.stale.insert(self.kernel.all_flows());
                self.kernel.table.replace(&wanted).await?;
            }
        }
        self.trusted = true;
        self.elements_seen = Some(Instant::now());
        Ok(())
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
        self.unserved.remove(uid);
        if let Some(address) = self.services.remove(uid) {
            self.let_go(address);
            self.due.insert(uid.to_owned(), None);
        }
    }

    /// Another Service may have got it before it was said that this one has it no more.
    fn let_go(&self, address: Ipv4Addr) {
        if !self.services.values().any(|held| *held == address) {
            self.addresses.forget(address);
        }
    }
}

#[async_trait]
impl<C: Containers, A: Addresses> Backend for Nftables<C, A> {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        self.nginxes.resume().await
    }

    async fn look(&mut self) -> Result<&BTreeSet<Ipv4Addr>, ReconcileError> {
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
        if let Some(before) = self.services.insert(plan.uid.clone(), plan.ip)
            && before != plan.ip
        {
            self.let_go(before);
        }
        if plan.is_for_outside() {
            self.unserved.insert(plan.uid.clone(), plan.to_string());
        } else {
            self.unserved.remove(&plan.uid);
        }
        self.addresses.want(plan.ip);
        self.due.insert(plan.uid.clone(), Some(rules::of(&plan)));
    }

    fn forget(&mut self, uid: &str) {
        self.drop_service(uid);
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        self.nginxes.want_all(router::KIND, plan.iter().flat_map(router::specs).collect());
    }

    fn serves_from_outside(&self) -> bool {
        false
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        self.look().await?;
        let due = self.due.len();
        // Before the first complete list the table stays as it was found.
        let settled = if self.told { self.settle().await } else { Ok(()) };
        if self.told && settled.is_ok() {
            // What carries Services is there before what carried them goes.
            self.nginxes.want_all(service::KIND, Vec::new());
        }
        let mut summary = self.keep_nginxes().await?;
        summary.wanted += self.services.len();
        summary.examined += due;
        summary.unserved.extend(self.unserved.iter().map(|(uid, owner)| Failure {
            subject: owner.clone(),
            uid: Some(uid.clone()),
            error: ReconcileError::OutsideOfMode,
        }));
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

fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
