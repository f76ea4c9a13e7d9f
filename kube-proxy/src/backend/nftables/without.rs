//! What is left when Services are not carried by rules any more.

use std::{collections::BTreeSet, io, net::Ipv4Addr, time::Duration};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use packet_filter::Error;
use tokio::time::Instant;
use tracing::info;

use super::kernel::Kernel;
use crate::{
    backend::Backend,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Summary},
    router::RouterPlan,
};

/// How long Services that are not carried otherwise yet are waited for. Rules that nobody keeps lead to pods that are no
/// more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Another way of carrying Services, which removes the rules by which they were carried before: once, when it carries
/// all of them itself, or has had its time.
#[derive(Debug)]
pub struct WithoutRules<B> {
    backend: B,
    kernel: Kernel,
    removed: bool,
    /// Whether there may be flows that are led by rules that are no more.
    is_led: bool,
    /// When all Services were known.
    told: Option<Instant>,
}

impl<B: Backend> WithoutRules<B> {
    /// For the virtual IPs of a range.
    pub fn new(range: Ipv4Net, backend: B) -> Self {
        let kernel = Kernel::new(range);
        WithoutRules { backend, kernel, removed: false, is_led: false, told: None }
    }

    fn may_remove(&self, summary: &Summary) -> bool {
        let is_done = summary.pending == 0 && summary.failed.is_empty();
        let is_over = self.told.is_some_and(|told| told.elapsed() >= PATIENCE);
        !self.removed && (is_done || is_over)
    }

    async fn remove(&mut self) -> Result<(), ReconcileError> {
        match self.kernel.table.read_rules().await {
            Ok(None) => {}
            // Who has no such tool has no such rules.
            Err(Error::Run(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
            Ok(Some(_)) => {
                // Before it is known whether they are gone.
                self.is_led = true;
                self.kernel.table.remove().await?;
                info!(table = self.kernel.table.name, "removed the rules of Services");
            }
        }
        if self.is_led {
            self.kernel.forget(self.kernel.all_flows()).await?;
        }
        self.removed = true;
        Ok(())
    }
}

#[async_trait]
impl<B: Backend> Backend for WithoutRules<B> {
    async fn resume(&mut self) -> Result<Vec<Failure>, ReconcileError> {
        self.backend.resume().await
    }

    async fn look(&mut self) -> Result<&BTreeSet<Ipv4Addr>, ReconcileError> {
        self.backend.look().await
    }

    fn distrust_containers(&mut self) {
        self.backend.distrust_containers();
    }

    fn want_all(&mut self, plans: Vec<ServicePlan>) {
        self.told.get_or_insert_with(Instant::now);
        self.backend.want_all(plans);
    }

    fn want(&mut self, plan: ServicePlan) {
        self.backend.want(plan);
    }

    fn forget(&mut self, uid: &str) {
        self.backend.forget(uid);
    }

    fn want_router(&mut self, plan: Option<RouterPlan>) {
        self.backend.want_router(plan);
    }

    fn serves_from_outside(&self) -> bool {
        self.backend.serves_from_outside()
    }

    async fn pass(&mut self) -> Result<Summary, ReconcileError> {
        let mut summary = self.backend.pass().await?;
        if self.may_remove(&summary)
            && let Err(error) = self.remove().await
        {
            let subject = "rules of all Services".to_owned();
            summary.failed.push(Failure { subject, uid: None, error });
        }
        Ok(summary)
    }
}
