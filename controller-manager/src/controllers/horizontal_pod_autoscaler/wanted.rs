//! Has the kubelets measure more often what is acted upon soon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use listwatch::ListWatch;
use listwatch::usage::{UsageWanted, WANTED_SECONDS};
use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::frame::ObjectKey;

/// The time between samples.
const PERIOD_SECONDS: u32 = 1;

/// The nodes of each autoscaler's pods.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    listwatch: ListWatch,
    nodes: Arc<Mutex<BTreeMap<ObjectKey, BTreeSet<String>>>>,
}

impl Wanted {
    /// Says again in time what still holds.
    pub(super) fn start(listwatch: ListWatch, tasks: &mut JoinSet<()>) -> Self {
        let wanted = Self { listwatch, nodes: Arc::default() };
        let again = wanted.clone();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(WANTED_SECONDS / 3));
            loop {
                ticks.tick().await;
                again.ask(&again.nodes());
            }
        });
        wanted
    }

    pub(super) fn nodes(&self) -> BTreeSet<String> {
        self.nodes.lock().values().flatten().cloned().collect()
    }

    /// These nodes from now on.
    pub(super) fn of(&self, autoscaler: &ObjectKey, nodes: BTreeSet<String>) {
        let new = &nodes - &self.nodes();
        let mut all = self.nodes.lock();
        if nodes.is_empty() {
            all.remove(autoscaler)
        } else {
            all.insert(autoscaler.clone(), nodes)
        };
        drop(all);
        self.ask(&new);
    }

    fn ask(&self, nodes: &BTreeSet<String>) {
        if !nodes.is_empty() {
            let nodes = nodes.iter().cloned().collect();
            self.listwatch.want_usage(&UsageWanted { nodes, period_seconds: PERIOD_SECONDS });
        }
    }
}
