//! The rules of one family, in a table of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use component::dual_stack::DualStack;
use packet_filter::{
    connections::Flows,
    nftables::{Contents, Found},
};
use tokio::time::Instant;
use tracing::warn;

use super::{
    flows,
    kernel::{self, Kernel},
    ledger::{Change, Ledger},
    rules::{self, Spared},
};
use crate::{plan::ServicePlan, reconciler::ReconcileError};

/// How often it is looked whether somebody has changed rules, as for those of iptables; and elements of maps, which
/// are many.
pub(super) const LOOK_AT_RULES: Duration = Duration::from_secs(10);
const LOOK_AT_ELEMENTS: Duration = Duration::from_secs(60);
/// The owner of what is there whatever Services there are. No uid is empty.
const FRAME: &str = "";

/// What there should be of a family, and what is known of what there is.
#[derive(Debug)]
pub(super) struct Ruleset {
    kernel: Kernel,
    ledger: Ledger,
    /// By uid, what is not in the ledger yet.
    due: BTreeMap<String, Option<Contents>>,
    /// What is to be forgotten.
    stale: BTreeSet<Flows>,
    /// Whether the table is as the ledger says, as far as is known.
    trusted: bool,
    rules_seen: Option<Instant>,
    elements_seen: Option<Instant>,
}

impl Ruleset {
    /// One for each range of virtual IPs, in a cluster whose pods have addresses of others.
    pub(super) fn all(ranges: &DualStack, pods: &DualStack) -> Vec<Self> {
        let framed = Kernel::of(ranges).into_iter().zip(pods.iter());
        let ruleset = |(kernel, pods)| Ruleset {
            kernel,
            ledger: Ledger::default(),
            due: [(FRAME.to_owned(), Some(rules::frame(pods)))].into(),
            stale: BTreeSet::new(),
            trusted: false,
            rules_seen: None,
            elements_seen: None,
        };
        framed.map(ruleset).collect()
    }

    /// This is one of the Services.
    pub(super) fn want(&mut self, plan: &ServicePlan, spared: &Spared) {
        let wanted = rules::of(self.kernel.family, plan, spared);
        self.due.insert(plan.uid.clone(), Some(wanted));
    }

    /// There is no Service of this uid any more.
    pub(super) fn forget(&mut self, uid: &str) {
        self.due.insert(uid.to_owned(), None);
    }

    /// What of the table is not as it should be, in words.
    pub(super) async fn differences(mut self) -> Result<Vec<String>, ReconcileError> {
        self.ledger.update(mem::take(&mut self.due));
        Ok(self.kernel.table.differences(Some(&self.ledger.contents())).await?)
    }

    /// Looks at the flags and the table, if that is due.
    pub(super) async fn look(&mut self) -> Result<(), ReconcileError> {
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

    /// Makes of the table what is new, if it is as it should be otherwise, as far as is known: what is new waits for no look.
    /// What can't be had so is repaired.
    pub(super) async fn tell(&mut self) -> Result<(), ReconcileError> {
        if !self.trusted || self.due.is_empty() {
            return Ok(());
        }
        let Change { before, after } = self.ledger.update(mem::take(&mut self.due));
        self.stale.extend(flows::stale(&before.elements, &after.elements));
        // Until it is known: what fails may have come about all the same.
        self.trusted = false;
        self.kernel.table.change(&Found::of(&before), &after).await?;
        self.trusted = true;
        self.forget_flows().await
    }

    /// Makes of the table what is wanted, and has flows of datagrams forgotten that can't go on as they do.
    pub(super) async fn settle(&mut self) -> Result<(), ReconcileError> {
        self.tell().await?;
        if !self.trusted {
            self.ledger.update(mem::take(&mut self.due));
            self.repair().await?;
        }
        self.forget_flows().await
    }

    /// Each until it is: the table does not tell of them any more.
    async fn forget_flows(&mut self) -> Result<(), ReconcileError> {
        while let Some(flows) = self.stale.first().copied() {
            kernel::forget(flows).await?;
            self.stale.remove(&flows);
        }
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
                let begun = flows::stale(&BTreeMap::new(), &wanted.elements);
                self.stale.extend(self.kernel.all_flows(begun));
                self.kernel.table.replace(&wanted).await?;
            }
        }
        self.trusted = true;
        self.elements_seen = Some(Instant::now());
        Ok(())
    }
}

pub(super) fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
