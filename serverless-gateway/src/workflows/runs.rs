//! The runs there are, each with a driver for as long as it has not ended.

use std::{collections::HashMap, sync::Arc};

use api_types::minik8s::WorkflowRun;
use futures::StreamExt;
use kube::{Client, ResourceExt, runtime::watcher::Event};
use listwatch::{ListWatch, Scope};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{call::CallFunction, driver::Driver};

/// Namespace and name.
pub(super) type Key = (String, String);

/// Runs of workflows. Clones share them.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    driver: Driver,
    table: Mutex<Table>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Table {
    /// What drivers hear of their runs by; one that is gone ends its driver.
    driven: HashMap<Key, watch::Sender<Arc<WorkflowRun>>>,
    /// Who waits for a run's end. One that is dropped says that there is no such run.
    awaited: HashMap<Key, Vec<oneshot::Sender<Arc<WorkflowRun>>>>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Runs").field("identity", &self.0.driver.identity).finish_non_exhaustive()
    }
}

impl Runs {
    /// None yet. They are driven by `identity`, which is unlike any other gateway's and another one after each start,
    /// until `shutdown`.
    pub fn new(
        client: Client,
        functions: Arc<dyn CallFunction>,
        identity: &str,
        shutdown: CancellationToken,
    ) -> Self {
        let driver = Driver { client, functions, identity: identity.into(), shutdown };
        Self(Arc::new(Inner { driver, table: Mutex::default(), tasks: TaskTracker::new() }))
    }

    /// Drives what comes, until shutdown, and then hands over what is in hand.
    pub async fn drive(&self, listwatch: &ListWatch) {
        let mut events = std::pin::pin!(listwatch.watch::<WorkflowRun>(Scope::All));
        // Those of a list that is being received.
        let mut listed = Vec::new();
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.0.driver.shutdown.cancelled() => None,
            };
            match event {
                None => break,
                Some(Err(error)) => warn!(%error, "watching runs"),
                Some(Ok(Event::Init)) => listed.clear(),
                Some(Ok(Event::InitApply(run))) => {
                    listed.push(key(&run));
                    self.apply(run);
                }
                Some(Ok(Event::InitDone)) => self.keep(&std::mem::take(&mut listed)),
                Some(Ok(Event::Apply(run))) => self.apply(run),
                Some(Ok(Event::Delete(run))) => self.0.table.lock().forget(&key(&run)),
            }
        }
        self.0.table.lock().awaited.clear();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.driver.client
    }

    /// Hears of the run's end. Whoever waits must ask before the run can have ended.
    pub(super) fn ended(&self, key: Key) -> oneshot::Receiver<Arc<WorkflowRun>> {
        let (sender, receiver) = oneshot::channel();
        self.0.table.lock().awaited.entry(key).or_default().push(sender);
        receiver
    }

    pub(super) fn apply(&self, run: WorkflowRun) {
        let (key, run) = (key(&run), Arc::new(run));
        let mut table = self.0.table.lock();
        if run.status.as_ref().is_some_and(|status| status.phase.has_ended()) {
            table.driven.remove(&key);
            for waiting in table.awaited.remove(&key).unwrap_or_default() {
                // Whoever waited may have left.
                let _ = waiting.send(run.clone());
            }
            return;
        }
        match table.driven.get(&key) {
            Some(driven) if driven.borrow().metadata.uid == run.metadata.uid => {
                driven.send_replace(run);
            }
            _ => {
                let (sender, news) = watch::channel(run);
                table.driven.insert(key, sender);
                self.0.tasks.spawn(self.0.driver.clone().drive(news));
            }
        }
    }

    /// What is not in a list is gone.
    fn keep(&self, listed: &[Key]) {
        let listed: std::collections::HashSet<_> = listed.iter().collect();
        let mut table = self.0.table.lock();
        let gone: Vec<_> = table.driven.keys().filter(|k| !listed.contains(k)).cloned().collect();
        gone.iter().for_each(|key| table.forget(key));
    }
}

impl Table {
    fn forget(&mut self, key: &Key) {
        self.driven.remove(key);
        self.awaited.remove(key);
    }
}

fn key(run: &WorkflowRun) -> Key {
    (run.namespace().unwrap_or_default(), run.name_any())
}
