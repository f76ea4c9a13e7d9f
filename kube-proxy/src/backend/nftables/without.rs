//! What is left when Services are not carried by rules any more.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    net::IpAddr,
    time::Duration,
};

use async_trait::async_trait;
use component::dual_stack::DualStack;
use packet_filter::{Error, connections::Flows};
use tokio::time::Instant;
use tracing::info;

use super::{
    flows,
    kernel::{self, Kernel},
};
use crate::{
    backend::Backend,
    gateway::GatewayPlan,
    plan::ServicePlan,
    reconciler::{Failure, ReconcileError, Summary},
    router::RouterPlan,
};

/// How long Services that are not carried otherwise yet are waited for. Rules that nobody keeps lead to pods that are no
/// more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What else served those who carried Services before, and goes when the rules do.
#[async_trait]
pub trait Leftover: fmt::Debug + Send + Sync {
    /// Removes it; what is not there is fine.
    ///
    /// # Errors
    ///
    /// [`ReconcileError::Leftover`].
    async fn remove(&self) -> Result<(), ReconcileError>;
}

/// Another way of carrying Services, which removes the rules by which they were carried before: once, when it carries
/// all of them itself, or has had its time.
#[derive(Debug)]
pub struct WithoutRules<B> {
    backend: B,
    kernels: Vec<Kernel>,
    leftover: Option<Box<dyn Leftover>>,
    removed: bool,
    /// Those that are led by rules that are no more.
    led: BTreeSet<Flows>,
    /// When all Services were known.
    told: Option<Instant>,
}

impl<B: Backend> WithoutRules<B> {
    /// For the virtual IPs of these ranges.
    pub fn new(ranges: DualStack, backend: B) -> Self {
        let kernels = Kernel::of(&ranges);
        let (leftover, led) = (None, BTreeSet::new());
        WithoutRules { backend, kernels, leftover, removed: false, led, told: None }
    }

    /// The same also without that.
    #[must_use]
    pub fn and_without(self, leftover: Box<dyn Leftover>) -> Self {
        WithoutRules { leftover: Some(leftover), ..self }
    }

    fn may_remove(&self, summary: &Summary) -> bool {
        let is_done = summary.pending == 0 && summary.failed.is_empty();
        let is_over = self.told.is_some_and(|told| told.elapsed() >= PATIENCE);
        !self.removed && (is_done || is_over)
    }

    async fn remove(&mut self) -> Result<(), ReconcileError> {
        for kernel in &self.kernels {
            match kernel.table.read().await {
                Ok(None) => {}
                // Who has no such tool has no such rules.
                Err(Error::Run(_, error)) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
                Ok(Some(found)) => {
                    // Before it is known whether they are gone.
                    let led = flows::stale(found.elements(), &BTreeMap::new());
                    self.led.extend(kernel.all_flows(led));
                    kernel.table.remove().await?;
                    info!(table = kernel.table.name, "removed the rules of Services");
                }
            }
        }
        while let Some(flows) = self.led.first().copied() {
            kernel::forget(flows).await?;
            self.led.remove(&flows);
        }
        if let Some(leftover) = &self.leftover {
            leftover.remove().await?;
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

    async fn look(&mut self) -> Result<&BTreeSet<IpAddr>, ReconcileError> {
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

    fn want_gateways(&mut self, plans: &[GatewayPlan]) {
        self.backend.want_gateways(plans);
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
