//! Brings the node's addresses, configurations and containers to what the plans say.
//!
//! Flow: fence the range → remove what no Service wants → for each Service its address, its
//! configuration, then its container. In this order, because nginx can only bind to an address that
//! is there, and because a new Service may have the address of a deleted one.
//!
//! Guarantees: may run at any time and twice; a Service that fails does not keep the others from
//! being served; a running nginx is never restarted; it is reloaded only if its text changed.
//!
//! Assumptions: `plans` come from complete lists. What they do not name is removed.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

use futures::{StreamExt, stream};
use tokio::time::{self, Instant};
use tracing::{info, warn};

use crate::{
    addresses::{AddressError, Addresses},
    configs::{ConfigError, Configs},
    containers::{ContainerError, Containers, Found},
    nginx,
    plan::ServicePlan,
};

/// How many Services are worked on at once. Docker starts no more per second with more.
const PARALLEL: usize = 4;
/// A container that ends sooner than this after its start is left for a later pass.
const RESTART_INTERVAL: Duration = Duration::from_secs(10);
/// An nginx this young may have read its configuration and not yet listen to signals: a reload would
/// be lost.
const SETTLING: Duration = Duration::from_secs(1);

/// What a pass could not do.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Something about the virtual IPs.
    #[error("virtual addresses")]
    Addresses(#[from] AddressError),
    /// Something about containers.
    #[error("containers")]
    Containers(#[from] ContainerError),
    /// Something about files.
    #[error("configurations")]
    Configs(#[from] ConfigError),
}

/// What a pass did.
#[derive(Debug, Default)]
pub struct Summary {
    /// Containers made.
    pub created: usize,
    /// Containers started again.
    pub restarted: usize,
    /// Configurations reloaded.
    pub reloaded: usize,
    /// Containers of Services that are gone.
    pub removed: usize,
    /// Services (`<namespace>/<name>`) that are not as they should be, and why.
    pub failed: Vec<(String, ReconcileError)>,
}

/// Owns the node's side of the Services.
#[derive(Debug)]
pub struct Reconciler<C, A> {
    containers: C,
    addresses: A,
    configs: Configs,
    /// By Service uid, when its container was last started here.
    started: BTreeMap<String, Instant>,
}

/// What a Service's container needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    Restart,
    Reload,
    Nothing,
}

impl<C: Containers, A: Addresses> Reconciler<C, A> {
    /// Over these; nothing is touched yet.
    pub fn new(containers: C, addresses: A, configs: Configs) -> Self {
        Reconciler { containers, addresses, configs, started: BTreeMap::new() }
    }

    /// Gets going what ran before, with its last configuration, without knowing what is wanted
    /// now: for a node that comes up while no API server answers.
    pub async fn resume(&mut self) -> Result<(), ReconcileError> {
        self.addresses.fence().await?;
        for found in self.containers.list().await?.iter().filter(|found| !found.running) {
            if let Some(ip) = found.ip {
                self.addresses.take(ip).await?;
                self.containers.start(&found.id).await?;
                self.started.insert(found.uid.clone(), Instant::now());
                info!(service = found.service, "started with its last configuration");
            }
        }
        Ok(())
    }

    /// One pass.
    pub async fn reconcile(&mut self, plans: &[ServicePlan]) -> Result<Summary, ReconcileError> {
        self.addresses.fence().await?;
        let mut present = self.containers.list().await?;
        let uids: BTreeSet<&str> = plans.iter().map(|plan| plan.uid.as_str()).collect();
        self.started.retain(|uid, _| uids.contains(uid.as_str()));

        let mut summary = Summary::default();
        let gone = present.extract_if(.., |found| !uids.contains(found.uid.as_str())).collect();
        self.remove(gone, &mut summary).await;
        self.release_all_but(plans.iter().map(|plan| plan.ip).collect()).await?;
        self.configs.keep_only(&uids)?;
        self.serve_all(plans, &present, &mut summary).await;
        Ok(summary)
    }

    async fn remove(&self, gone: Vec<Found>, summary: &mut Summary) {
        for found in gone {
            match self.containers.remove(&found.id).await {
                Ok(()) => {
                    info!(service = found.service, "removed");
                    summary.removed += 1;
                }
                Err(error) => summary.failed.push((found.service, error.into())),
            }
        }
    }

    async fn release_all_but(&self, wanted: BTreeSet<Ipv4Addr>) -> Result<(), ReconcileError> {
        for address in self.addresses.held().await?.difference(&wanted) {
            self.addresses.release(*address).await?;
        }
        Ok(())
    }

    async fn serve_all(&mut self, plans: &[ServicePlan], present: &[Found], summary: &mut Summary) {
        let present: BTreeMap<_, _> =
            present.iter().map(|found| (found.uid.as_str(), found)).collect();
        let work: Vec<_> = plans
            .iter()
            .map(|plan| self.prepare(plan, present.get(plan.uid.as_str()).copied()))
            .collect();
        let this = &*self;
        let outcomes: Vec<_> = work.iter().map(|work| this.outcome(work)).collect();
        let done: Vec<_> = stream::iter(outcomes).buffer_unordered(PARALLEL).collect().await;
        for (plan, step, result) in done {
            summary.count(plan, step, result);
        }
    }

    /// Decides what to do about a Service, and notes a start.
    fn prepare<'a>(&mut self, plan: &'a ServicePlan, found: Option<&'a Found>) -> Work<'a> {
        let text = nginx::render(plan);
        let loaded = self.configs.is_loaded(&plan.uid, &text);
        let now = Instant::now();
        let just_started =
            self.started.get(&plan.uid).is_some_and(|at| now - *at < RESTART_INTERVAL);
        let step = next_step(found.map(|found| found.running), loaded, just_started);
        if matches!(step, Step::Create | Step::Restart) {
            self.started.insert(plan.uid.clone(), now);
        }
        Work { plan, text, step, id: found.map(|found| found.id.as_str()).unwrap_or_default() }
    }

    async fn outcome<'a>(
        &self,
        work: &Work<'a>,
    ) -> (&'a ServicePlan, Step, Result<(), ReconcileError>) {
        (work.plan, work.step, self.serve(work).await)
    }

    async fn serve(&self, work: &Work<'_>) -> Result<(), ReconcileError> {
        let Work { plan, text, step, id } = work;
        self.addresses.take(plan.ip).await?;
        if *step == Step::Nothing {
            return Ok(());
        }
        self.configs.write(&plan.uid, text)?;
        match step {
            Step::Create => {
                self.containers.create(plan, &self.configs.directory(&plan.uid)).await?;
            }
            Step::Restart => self.restart(plan, id).await?,
            Step::Reload => self.reload(plan, id).await?,
            Step::Nothing => {}
        }
        info!(service = %plan, ?step, "done");
        Ok(self.configs.set_loaded(&plan.uid, text)?)
    }

    async fn reload(&self, plan: &ServicePlan, id: &str) -> Result<(), ContainerError> {
        if let Some(started) = self.started.get(&plan.uid) {
            time::sleep_until(*started + SETTLING).await;
        }
        self.containers.reload(id).await
    }

    async fn restart(&self, plan: &ServicePlan, id: &str) -> Result<(), ContainerError> {
        let said = self.containers.last_words(id).await.unwrap_or_default();
        warn!(service = %plan, said = said.trim(), "its nginx has ended; starting it again");
        self.containers.start(id).await
    }
}

impl Summary {
    fn count(&mut self, plan: &ServicePlan, step: Step, result: Result<(), ReconcileError>) {
        match (result, step) {
            (Err(error), _) => self.failed.push((plan.to_string(), error)),
            (Ok(()), Step::Create) => self.created += 1,
            (Ok(()), Step::Restart) => self.restarted += 1,
            (Ok(()), Step::Reload) => self.reloaded += 1,
            (Ok(()), Step::Nothing) => {}
        }
    }
}

/// One Service and what to do about it.
struct Work<'a> {
    plan: &'a ServicePlan,
    text: String,
    step: Step,
    id: &'a str,
}

/// `running`: whether the container runs, if there is one; `loaded`: whether it was told to read the
/// present text; `just_started`: whether it was started a moment ago.
fn next_step(running: Option<bool>, loaded: bool, just_started: bool) -> Step {
    match running {
        None => Step::Create,
        Some(false) if just_started => Step::Nothing,
        Some(false) => Step::Restart,
        Some(true) if !loaded => Step::Reload,
        Some(true) => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_follows_from_the_container_and_the_text() {
        assert_eq!(next_step(None, true, true), Step::Create);
        assert_eq!(next_step(Some(false), true, false), Step::Restart);
        assert_eq!(next_step(Some(false), false, true), Step::Nothing);
        assert_eq!(next_step(Some(true), false, true), Step::Reload);
        assert_eq!(next_step(Some(true), true, false), Step::Nothing);
    }
}
