//! Fetches the images of functions' versions before an instance comes to this node, so that a call that waits for one
//! does not wait for a transfer too.
//!
//! *Flow*: each version of a function has a ReplicaSet, with the instances' template, from the moment that its image is
//! built, also while it has no instances. The kubelet follows those sets, and nothing else of functions: their sources may be large.
//! Of each function those are fetched of which there are instances or are going to be, a few at a time. When a version's set has been gone
//! for some minutes, what was fetched for it goes too, unless something else names it.
//!
//! *Guarantees*: no pod waits for this, nor does a version wait for nodes. Where the image is there already, because it was built by
//! the same Docker, this costs a look per version.

mod fetched;
mod users;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api_types::{api::apps::v1::ReplicaSet, minik8s::Function};
use futures::{
    StreamExt,
    future::ready,
    stream::{self, FuturesUnordered},
};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher,
    },
};
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    fetched::{Fetched, Unused},
    wanted::{Puller, Serving},
};
use super::{Logins, pull};
use crate::{context::Context, runtime::RuntimeError};

/// How many are fetched at once, besides those that are slow, and how many are removed.
const PARALLEL: usize = 3;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(600);

/// What is waited for, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// From then on a fetch is slow: it goes on, and others begin.
    pub slow: Duration,
    /// For so long nobody has named an image that is removed.
    pub unused: Duration,
    /// Until an image that could not be fetched or removed is tried again.
    pub retry: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            slow: Duration::from_secs(30),
            unused: Duration::from_secs(300),
            retry: Duration::from_secs(30),
        }
    }
}

/// Fetches until shutdown.
pub async fn run(context: Arc<Context>, patience: Patience, shutdown: CancellationToken) {
    let (sets, writer) = reflector::store();
    let config = watcher::Config::default().labels(Function::LABEL);
    let events = watcher(Api::all(context.client.clone()), config).default_backoff();
    let changed = Notify::new();
    let follow = events.reflect(writer).for_each(|event| {
        match event {
            Ok(_) => changed.notify_one(),
            Err(error) => tracing::debug!(%error, "cannot watch the sets of functions"),
        }
        ready(())
    });
    let fetched = Mutex::new(Fetched::open(&context.root));
    let keep = async {
        if sets.wait_until_ready().await.is_ok() {
            Keeper::new(&context, &fetched, patience).keep(&sets, &changed).await;
        }
    };
    let work = async { tokio::join!(follow, keep) };
    shutdown.run_until_cancelled(work).await;
}

/// What is to be done.
enum Task {
    Fetch(String, Vec<Puller>),
    /// All at once: one look at who needs images says it of each.
    Remove(BTreeSet<String>),
}

/// What has come of it.
enum Outcome {
    Here,
    Removed,
    /// It is not removed, as something else names it.
    Needed,
}

type Outcomes = Vec<(String, Result<Outcome, String>)>;

/// Has the images here that are wanted, and removes those that nobody has needed for a while.
struct Keeper<'a> {
    context: &'a Context,
    fetched: &'a Mutex<Fetched>,
    patience: Patience,
    serving: Serving,
    unused: Unused,
    here: BTreeSet<String>,
    /// Since when an image is being fetched.
    busy: BTreeMap<String, Instant>,
    /// Those that are being removed.
    leaving: BTreeSet<String>,
    /// Until when nothing is done about it.
    held: BTreeMap<String, Instant>,
}

impl<'a> Keeper<'a> {
    fn new(context: &'a Context, fetched: &'a Mutex<Fetched>, patience: Patience) -> Self {
        Self {
            context,
            fetched,
            patience,
            serving: Serving::default(),
            unused: Unused::default(),
            here: BTreeSet::new(),
            busy: BTreeMap::new(),
            leaving: BTreeSet::new(),
            held: BTreeMap::new(),
        }
    }

    async fn keep(mut self, sets: &Store<ReplicaSet>, changed: &Notify) {
        let mut under_way = FuturesUnordered::new();
        loop {
            for task in self.begin(&sets.state()) {
                under_way.push(work(self.context, self.fetched, task));
            }
            let next = self.next();
            tokio::select! {
                () = changed.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                Some(outcomes) = under_way.next() => {
                    for (image, outcome) in outcomes {
                        self.note(image, outcome);
                    }
                }
            }
        }
    }

    fn begin(&mut self, sets: &[Arc<ReplicaSet>]) -> Vec<Task> {
        let named = wanted::images(sets.iter().map(|set| &**set));
        self.here.retain(|image| named.contains_key(image));
        self.held.retain(|_, until| *until > Instant::now());
        let mut wanted = wanted::images(self.serving.of(sets));
        wanted.retain(|image, _| !self.here.contains(image));
        let mut tasks = Vec::new();
        for (image, pullers) in wanted {
            if self.has_turn(&image) {
                self.busy.insert(image.clone(), Instant::now());
                tasks.push(Task::Fetch(image, pullers));
            }
        }
        let fetched = self.fetched.lock();
        let unused = fetched.images.iter().filter(|image| !named.contains_key(*image));
        let due = self.unused.due(unused, self.patience.unused);
        if self.leaving.is_empty() {
            self.leaving = due.into_iter().filter(|image| self.is_free(image)).collect();
            if !self.leaving.is_empty() {
                tasks.push(Task::Remove(self.leaving.clone()));
            }
        }
        tasks
    }

    fn has_turn(&self, image: &str) -> bool {
        let slow = self.patience.slow;
        let fast = self.busy.values().filter(|since| since.elapsed() < slow).count();
        self.is_free(image) && fast < PARALLEL
    }

    fn is_free(&self, image: &str) -> bool {
        !self.held.contains_key(image)
            && !self.busy.contains_key(image)
            && !self.leaving.contains(image)
    }

    /// When there may be something to begin.
    fn next(&self) -> Option<Instant> {
        let slow = self.busy.values().map(|since| *since + self.patience.slow);
        let slow = slow.filter(|at| *at > Instant::now());
        let held = self.held.values().copied();
        held.chain(slow).chain(self.unused.next(self.patience.unused)).min()
    }

    fn note(&mut self, image: String, outcome: Result<Outcome, String>) {
        self.busy.remove(&image);
        self.leaving.remove(&image);
        match outcome {
            Ok(Outcome::Here) => {
                self.here.insert(image);
            }
            Ok(Outcome::Removed) => self.fetched.lock().change(|images| {
                images.remove(&image);
            }),
            Ok(Outcome::Needed) => {
                tracing::debug!(image, "an image that was fetched ahead is needed by others");
                let patience = self.patience.unused.max(self.patience.retry);
                self.held.insert(image, Instant::now() + patience);
            }
            Err(error) => {
                tracing::warn!(error, image, "cannot fetch or remove the image of a function yet");
                self.held.insert(image, Instant::now() + self.patience.retry);
            }
        }
    }
}

async fn work(context: &Context, fetched: &Mutex<Fetched>, task: Task) -> Outcomes {
    match task {
        Task::Fetch(image, pullers) => {
            let done = in_time(ensure(context, fetched, &image, &pullers)).await;
            vec![(image, done)]
        }
        Task::Remove(images) => match in_time(users::of(context, &images)).await {
            Ok(used) => {
                let removals = images.into_iter().map(async |image| {
                    let is_used = used.contains(&image);
                    let done = if is_used {
                        Ok(Outcome::Needed)
                    } else {
                        in_time(remove(context, &image)).await
                    };
                    (image, done)
                });
                stream::iter(removals).buffer_unordered(PARALLEL).collect().await
            }
            Err(error) => images.into_iter().map(|image| (image, Err(error.clone()))).collect(),
        },
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let done = timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| Err(format!("not done within {} s", LIMIT.as_secs())))
}

async fn ensure(
    context: &Context,
    fetched: &Mutex<Fetched>,
    image: &str,
    pullers: &[Puller],
) -> Result<Outcome, String> {
    let failed = |error: RuntimeError| error.to_string();
    if context.runtime.image(image).await.map_err(failed)?.is_some() {
        return Ok(Outcome::Here);
    }
    let mut logins = Logins::default();
    for Puller { set, secrets } in pullers {
        logins.add(context, set, secrets, image).await;
        // They are read anew by whoever needs them next.
        context.objects.release(&set.uid);
    }
    fetched.lock().change(|images| {
        images.insert(image.to_owned());
    });
    if let Err(error) = pull(context, image, &logins).await {
        // If it is here one day, somebody else has brought it.
        fetched.lock().change(|images| {
            images.remove(image);
        });
        return Err(failed(error));
    }
    tracing::info!(image, "fetched the image of a function");
    Ok(Outcome::Here)
}

async fn remove(context: &Context, image: &str) -> Result<Outcome, String> {
    match context.runtime.remove_image(image).await {
        Ok(()) => tracing::info!(image, "removed the image of a version that is gone"),
        // A container is made of it.
        Err(RuntimeError::Conflict(_)) => return Ok(Outcome::Needed),
        Err(error) => return Err(error.to_string()),
    }
    Ok(Outcome::Removed)
}
