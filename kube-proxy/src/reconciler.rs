//! Brings the node's addresses, configurations and containers to what the plans say.
//!
//! Flow: look at the node, if that is due → remove what no Service wants → for each Service that is not
//! known to be as it should: its address, its configuration, then its container. In this order, because
//! nginx can only bind to an address that is there, and because a new Service may have the address of a
//! deleted one.
//!
//! Guarantees: may run at any time and twice; a Service that fails does not keep the others from
//! being served; a running nginx is never restarted; it is reloaded only if it goes by another text, and
//! again until it says that it goes by the wanted one. A pass never waits for an nginx, nor for the
//! start of more than a few.
//!
//! Assumptions: `plans` come from complete lists. What they do not name is removed. Between two looks
//! the node is as this program left it; a look now and then is the net under that.

mod look;
mod serve;
mod summary;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::Ipv4Addr,
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use tokio::time::Instant;
use tracing::info;

use crate::{
    addresses::{AddressError, Addresses},
    configs::Configs,
    containers::Containers,
    instance::Instance,
    nginx::{Config, Epoch, Telling},
    plan::ServicePlan,
};

pub use summary::{Failure, ReconcileError, Summary};

/// How many Services are worked on at once. Docker starts no more per second with more.
const PARALLEL: usize = 4;
/// How many containers are started in one pass: a change of another Service waits for no more.
const STARTS: usize = 16;

/// Owns the node's side of the Services.
#[derive(Debug)]
pub struct Reconciler<C, A> {
    containers: C,
    addresses: A,
    configs: Configs,
    /// The virtual IPs that the node holds.
    held: BTreeSet<Ipv4Addr>,
    /// All its addresses.
    local: BTreeSet<Ipv4Addr>,
    /// Why ports that no Service serves are not refused, if so.
    unguarded: Option<AddressError>,
    /// By Service uid.
    instances: BTreeMap<String, Instance>,
    /// By Service uid, what was rendered last.
    rendered: BTreeMap<String, Rendered>,
    /// The number of the next telling; no other program on this node has used it.
    telling: AtomicU64,
    addresses_seen: Option<Instant>,
    containers_seen: Option<Instant>,
    /// Whether files of Services that are gone may be there.
    untidy: bool,
    /// Where to begin among the Services whose containers are to be started, so that none waits for ever.
    turn: usize,
}

/// A configuration, and what of.
#[derive(Debug)]
struct Rendered {
    plan: ServicePlan,
    epoch: Epoch,
    config: Config,
}

impl<C: Containers, A: Addresses> Reconciler<C, A> {
    /// Over these; nothing is touched yet.
    pub fn new(containers: C, addresses: A, configs: Configs) -> Self {
        Reconciler {
            containers,
            addresses,
            configs,
            held: BTreeSet::new(),
            local: BTreeSet::new(),
            unguarded: None,
            instances: BTreeMap::new(),
            rendered: BTreeMap::new(),
            telling: AtomicU64::new(nanoseconds_now()),
            addresses_seen: None,
            containers_seen: None,
            untidy: true,
            turn: 0,
        }
    }

    /// One pass.
    pub async fn reconcile(&mut self, plans: &[ServicePlan]) -> Result<Summary, ReconcileError> {
        self.look().await?;
        let mut summary = Summary::default();
        self.report_unguarded(&mut summary);
        self.remove_all_but(plans, &mut summary).await;
        self.release_all_but(plans.iter().map(|plan| plan.ip).collect(), &mut summary).await;
        self.tidy(plans)?;
        self.serve_all(plans, &mut summary).await;
        if !summary.failed.is_empty() {
            self.distrust_containers();
        }
        Ok(summary)
    }

    fn next_telling(&self) -> Telling {
        Telling(self.telling.fetch_add(1, Ordering::Relaxed))
    }

    fn report_unguarded(&mut self, summary: &mut Summary) {
        if let Some(error) = self.unguarded.take() {
            let subject = "ports that no Service serves".to_owned();
            summary.failed.push(Failure { subject, uid: None, error: error.into() });
            self.addresses_seen = None;
        }
    }

    /// Removes the containers of Services that are gone, and those that do not suit theirs.
    async fn remove_all_but(&mut self, plans: &[ServicePlan], summary: &mut Summary) {
        let plans: BTreeMap<&str, &ServicePlan> =
            plans.iter().map(|plan| (plan.uid.as_str(), plan)).collect();
        self.rendered.retain(|uid, _| plans.contains_key(uid.as_str()));
        let unwanted = |uid: &String, instance: &mut Instance| {
            !plans.get(uid.as_str()).is_some_and(|plan| instance.suits(plan))
        };
        let unwanted: Vec<_> = self.instances.extract_if(.., unwanted).collect();
        let containers = &self.containers;
        let removals = unwanted.into_iter().map(|(uid, instance)| async move {
            let result = containers.remove(&instance.id).await;
            (uid, instance, result)
        });
        let removals: Vec<_> = removals.collect();
        let removed: Vec<_> = stream::iter(removals).buffer_unordered(PARALLEL).collect().await;
        for (uid, instance, result) in removed {
            match result {
                Ok(()) => {
                    info!(service = instance.service, "removed");
                    summary.removed += 1;
                    self.untidy = true;
                }
                Err(error) => {
                    let (subject, error) = (instance.service.clone(), error.into());
                    summary.failed.push(Failure { subject, uid: None, error });
                    self.instances.insert(uid, instance);
                }
            }
        }
    }

    async fn release_all_but(&mut self, wanted: BTreeSet<Ipv4Addr>, summary: &mut Summary) {
        let unwanted: Vec<_> = self.held.difference(&wanted).copied().collect();
        for address in unwanted {
            match self.addresses.release(address).await {
                Ok(()) => drop(self.held.remove(&address)),
                Err(error) => {
                    let (subject, error) = (address.to_string(), error.into());
                    summary.failed.push(Failure { subject, uid: None, error });
                }
            }
        }
    }

    fn tidy(&mut self, plans: &[ServicePlan]) -> Result<(), ReconcileError> {
        if mem::take(&mut self.untidy) {
            let uids = plans.iter().map(|plan| plan.uid.as_str());
            self.configs.keep_only(&uids.collect())?;
        }
        Ok(())
    }
}

fn nanoseconds_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_nanos().try_into().unwrap_or(0)
}
