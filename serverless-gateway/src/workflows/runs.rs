//! The runs there are, each with a driver for as long as it has not ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::StreamExt;
use kube::{Client, ResourceExt, runtime::watcher::Event};
use listwatch::{ListWatch, Scope};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{
    call::CallFunction,
    driver::{self, Driver},
    metrics::Metrics,
    news::News,
};

/// Namespace and name.
pub(super) type Key = (String, String);

/// Runs of workflows. Clones share them.
#[derive(Clone)]
pub struct Runs(Arc<Inner>);

struct Inner {
    driver: Driver,
    table: Arc<Mutex<Table>>,
    tasks: TaskTracker,
}

#[derive(Default)]
struct Table {
    /// Whether runs are driven. One that is created before will be in the first list.
    begun: bool,
    /// What drivers hear of their runs by; one that is gone ends its driver.
    driven: HashMap<Key, watch::Sender<Arc<News>>>,
    /// The runs that were heard of since a list is being received, by the list or otherwise.
    heard: Option<HashSet<Key>>,
    /// Who waits for a run's end. One that is dropped says that there is no such run.
    awaited: HashMap<Key, Vec<oneshot::Sender<Arc<News>>>>,
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
        (metrics, shutdown): (&component::Metrics, CancellationToken),
    ) -> Self {
        let metrics = Metrics::register(metrics);
        let driver = Driver { client, functions, identity: identity.into(), metrics, shutdown };
        Self(Arc::new(Inner { driver, table: Arc::default(), tasks: TaskTracker::new() }))
    }

    /// Drives what comes, until shutdown, and then hands over what is in hand. Before it is `alive`, this gateway has no
    /// Lease, and the runs of such a one are anybody's.
    pub async fn drive(&self, listwatch: &ListWatch, alive: &CancellationToken) {
        tokio::select! {
            () = alive.cancelled() => {}
            () = self.0.driver.shutdown.cancelled() => return,
        }
        let mut events = std::pin::pin!(listwatch.watch::<News>(Scope::All));
        self.0.table.lock().begun = true;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.0.driver.shutdown.cancelled() => None,
            };
            match event {
                None => break,
                Some(Err(error)) => warn!(%error, "watching runs"),
                Some(Ok(Event::Init)) => self.0.table.lock().heard = Some(HashSet::new()),
                Some(Ok(Event::InitApply(run) | Event::Apply(run))) => self.apply(run),
                Some(Ok(Event::InitDone)) => self.0.table.lock().keep_heard(),
                Some(Ok(Event::Delete(run))) => self.0.table.lock().forget(&key(&run)),
            }
        }
        self.0.table.lock().awaited.clear();
        self.0.tasks.close();
        if tokio::time::timeout(driver::LIMIT, self.0.tasks.wait()).await.is_err() {
            warn!("runs could not be handed over");
        }
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.driver.client
    }

    /// Hears of the run's end. Whoever waits must ask before the run can have ended.
    pub(super) fn await_end(&self, key: Key) -> End {
        End::new(&self.0.table, key)
    }

    pub(super) fn apply(&self, run: News) {
        let mut table = self.0.table.lock();
        let news = if table.begun { table.apply(run) } else { None };
        drop(table);
        if let Some(news) = news {
            self.0.tasks.spawn(self.0.driver.clone().drive(news));
        }
    }
}

/// The end of a run, for one who waits for it, as long as that is kept.
pub(super) struct End {
    table: Arc<Mutex<Table>>,
    key: Key,
    receiver: oneshot::Receiver<Arc<News>>,
}

impl End {
    fn new(table: &Arc<Mutex<Table>>, key: Key) -> Self {
        let (sender, receiver) = oneshot::channel();
        table.lock().awaited.entry(key.clone()).or_default().push(sender);
        Self { table: table.clone(), key, receiver }
    }

    /// Nothing if the run is gone, or no longer watched.
    pub(super) async fn run(&mut self) -> Option<Arc<News>> {
        (&mut self.receiver).await.ok()
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.receiver.close();
        let mut table = self.table.lock();
        if let Some(waiting) = table.awaited.get_mut(&self.key) {
            waiting.retain(|sender| !sender.is_closed());
            if waiting.is_empty() {
                table.awaited.remove(&self.key);
            }
        }
    }
}

impl Table {
    /// What the run's driver hears, if it is to have one that it has not.
    fn apply(&mut self, run: News) -> Option<watch::Receiver<Arc<News>>> {
        let (key, run) = (key(&run), Arc::new(run));
        if let Some(heard) = &mut self.heard {
            heard.insert(key.clone());
        }
        if run.has_ended() {
            self.driven.remove(&key);
            for waiting in self.awaited.remove(&key).unwrap_or_default() {
                // Whoever waited may have left.
                let _ = waiting.send(run.clone());
            }
            return None;
        }
        match self.driven.get(&key) {
            Some(driven) if driven.borrow().metadata.uid == run.metadata.uid => {
                driven.send_replace(run);
                None
            }
            _ => {
                let (sender, news) = watch::channel(run);
                self.driven.insert(key, sender);
                Some(news)
            }
        }
    }

    /// What was not heard of while a list was received is gone. What was created meanwhile need not be in the list.
    fn keep_heard(&mut self) {
        let heard = self.heard.take().unwrap_or_default();
        let gone: Vec<_> = self.driven.keys().filter(|k| !heard.contains(k)).cloned().collect();
        gone.iter().for_each(|key| self.forget(key));
    }

    fn forget(&mut self, key: &Key) {
        self.driven.remove(key);
        self.awaited.remove(key);
    }
}

fn key(run: &News) -> Key {
    (run.namespace().unwrap_or_default(), run.name_any())
}

#[cfg(test)]
mod tests {
    use api_types::minik8s::RunPhase;
    use serde_json::json;

    use super::*;

    fn run(name: &str) -> News {
        let metadata = json!({"namespace": "default", "name": name, "uid": name});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[test]
    fn a_list_ends_what_it_lacks_but_not_what_was_created_while_it_was_received() {
        let mut table = Table::default();
        let gone = table.apply(run("gone")).unwrap();
        let listed = table.apply(run("listed")).unwrap();
        table.heard = Some(HashSet::new());
        assert!(table.apply(run("listed")).is_none());
        let created = table.apply(run("created")).unwrap();
        table.keep_heard();
        let has_ended = |news: &watch::Receiver<_>| news.has_changed().is_err();
        assert_eq!([gone, listed, created].map(|news| has_ended(&news)), [true, false, false]);
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_the_end_and_is_forgotten_when_it_leaves() {
        let (table, key) = (Arc::<Mutex<Table>>::default(), key(&run("a")));
        let (mut stays, leaves) = (End::new(&table, key.clone()), End::new(&table, key.clone()));
        drop(leaves);
        assert_eq!(table.lock().awaited[&key].len(), 1);
        let mut ended = run("a");
        ended.status.phase = RunPhase::Failed;
        table.lock().apply(ended);
        assert!(stays.run().await.is_some());
        drop(End::new(&table, key));
        assert!(table.lock().awaited.is_empty());
    }
}
