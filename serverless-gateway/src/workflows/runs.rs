//! The runs there are, each with a driver for as long as it has not ended.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use futures::StreamExt;
use kube::{Client, ResourceExt};
use listwatch::{ListWatch, Lists, News as Told, Scope, gone};
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
    /// Those that have not ended, and those whose end was not told yet.
    driven: HashMap<Key, Driven>,
    /// The runs that are being created here, and of which nothing was told meanwhile.
    creating: HashSet<Key>,
    /// Who waits for a run's end. One that is dropped says that there is no such run.
    awaited: HashMap<Key, Vec<oneshot::Sender<Arc<News>>>>,
}

struct Driven {
    /// What the driver hears of its run by; it ends without it.
    news: watch::Sender<Arc<News>>,
    /// Whether the watch has told of it. A list lacks what was created after it.
    is_told: bool,
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
        let mut lists = Lists::default();
        self.0.table.lock().begun = true;
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = self.0.driver.shutdown.cancelled() => None,
            };
            match event {
                None => break,
                Some(Err(error)) => warn!(%error, "watching runs"),
                Some(Ok(event)) => {
                    let told = lists.take_in(event);
                    told.into_iter().for_each(|told| self.take_in(told));
                }
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

    /// A run is about to be created here.
    pub(super) fn creating(&self, key: Key) -> Creation {
        self.0.table.lock().creating.insert(key.clone());
        Creation { runs: self.clone(), key }
    }

    fn take_in(&self, told: Told<News>) {
        let begun = self.0.table.lock().take_in(told);
        begun.into_iter().for_each(|news| self.begin(news));
    }

    fn begin(&self, news: watch::Receiver<Arc<News>>) {
        self.0.tasks.spawn(self.0.driver.clone().drive(news));
    }
}

/// A run that is being created, until it is dropped.
pub(super) struct Creation {
    runs: Runs,
    key: Key,
}

impl Creation {
    /// Drives it from now on, without waiting for the watch.
    pub(super) fn created(self, run: News) {
        let news = self.runs.0.table.lock().created(run);
        news.into_iter().for_each(|news| self.runs.begin(news));
    }
}

impl Drop for Creation {
    fn drop(&mut self) {
        self.runs.0.table.lock().creating.remove(&self.key);
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
    /// What new drivers hear of their runs by.
    fn take_in(&mut self, told: Told<News>) -> Vec<watch::Receiver<Arc<News>>> {
        match told {
            Told::Applied(run) => self.told(run).into_iter().collect(),
            Told::Deleted(run) => {
                self.forget(&key(&run));
                Vec::new()
            }
            Told::Listed(runs) => {
                let known = self.driven.iter().filter(|(_, driven)| driven.is_told);
                let listed: Vec<_> = runs.iter().map(key).collect();
                for key in gone(known.map(|(key, _)| key.clone()), listed) {
                    self.forget(&key);
                }
                // What is created after the list is told of next, what was before has gone.
                self.creating.clear();
                self.driven.values_mut().for_each(|driven| driven.is_told = true);
                runs.into_iter().filter_map(|run| self.told(run)).collect()
            }
        }
    }

    fn told(&mut self, run: News) -> Option<watch::Receiver<Arc<News>>> {
        self.creating.remove(&key(&run));
        self.apply(run, true)
    }

    /// The answer to a creation. It is old if anything else has been heard of the run.
    fn created(&mut self, run: News) -> Option<watch::Receiver<Arc<News>>> {
        let is_first = self.creating.remove(&key(&run));
        if self.begun && is_first { self.apply(run, false) } else { None }
    }

    fn apply(&mut self, run: News, is_told: bool) -> Option<watch::Receiver<Arc<News>>> {
        let (key, run) = (key(&run), Arc::new(run));
        if run.has_ended() {
            self.driven.remove(&key);
            for waiting in self.awaited.remove(&key).unwrap_or_default() {
                // Whoever waited may have left.
                let _ = waiting.send(run.clone());
            }
            return None;
        }
        match self.driven.get_mut(&key) {
            Some(driven) if driven.news.borrow().metadata.uid == run.metadata.uid => {
                driven.is_told = is_told;
                driven.news.send_replace(run);
                None
            }
            _ => {
                let (news, receiver) = watch::channel(run);
                self.driven.insert(key, Driven { news, is_told });
                Some(receiver)
            }
        }
    }

    fn forget(&mut self, key: &Key) {
        self.creating.remove(key);
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

    fn create(table: &mut Table, name: &str) -> Option<watch::Receiver<Arc<News>>> {
        table.creating.insert(key(&run(name)));
        table.created(run(name))
    }

    fn begun() -> Table {
        Table { begun: true, ..Table::default() }
    }

    #[test]
    fn a_list_ends_what_it_lacks_but_not_what_was_created_while_it_was_received() {
        let mut table = begun();
        let [gone, listed] = ["gone", "listed"].map(|name| table.told(run(name)).unwrap());
        let created = create(&mut table, "created").unwrap();
        assert!(table.take_in(Told::Listed(vec![run("listed")])).is_empty());
        let has_ended = |news: &watch::Receiver<_>| news.has_changed().is_err();
        let ended = [&gone, &listed, &created].map(has_ended);
        assert_eq!(ended, [true, false, false]);
        // It would have been told of by now.
        table.take_in(Told::Listed(vec![run("listed")]));
        assert_eq!([&listed, &created].map(has_ended), [false, true]);
    }

    #[test]
    fn the_answer_to_a_creation_is_no_news_of_a_run_that_was_heard_of_before() {
        let mut ended = run("a");
        ended.status.phase = RunPhase::Succeeded;
        for told in
            [Told::Applied(ended.clone()), Told::Listed(vec![ended]), Told::Deleted(run("a"))]
        {
            let mut table = begun();
            table.creating.insert(key(&run("a")));
            assert!(table.take_in(told).is_empty());
            assert!(table.created(run("a")).is_none());
            assert!(table.driven.is_empty() && table.creating.is_empty());
        }
        assert!(create(&mut Table::default(), "before").is_none());
    }

    #[tokio::test]
    async fn whoever_waits_hears_of_the_end_and_is_forgotten_when_it_leaves() {
        let (table, key) = (Arc::<Mutex<Table>>::default(), key(&run("a")));
        let (mut stays, leaves) = (End::new(&table, key.clone()), End::new(&table, key.clone()));
        drop(leaves);
        assert_eq!(table.lock().awaited[&key].len(), 1);
        let mut ended = run("a");
        ended.status.phase = RunPhase::Failed;
        table.lock().told(ended);
        assert!(stays.run().await.is_some());
        drop(End::new(&table, key));
        assert!(table.lock().awaited.is_empty());
    }
}
