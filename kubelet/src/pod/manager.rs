//! All pods of the node: gives each its worker, and its worker the latest that is known.

use std::{collections::HashMap, sync::Arc};

use api_types::{
    api::core::v1::{Pod, PodSpec},
    meta::ObjectMeta,
};
use kube::runtime::watcher;
use listwatch::{Lists, News, gone};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::{
    status,
    worker::{Update, Worker},
};
use crate::{admission, context::Context, recovery::persevere, runtime::PodIdentity, spec};

#[derive(Debug)]
struct Entry {
    updates: watch::Sender<Update>,
    wake: Arc<Notify>,
}

/// The pods of this node by uid.
#[derive(Debug)]
pub struct PodManager {
    context: Arc<Context>,
    entries: Mutex<HashMap<String, Entry>>,
    lists: Mutex<Lists<Pod>>,
    /// Whether the source has listed everything once: only then is a container without a pod an orphan.
    listed: watch::Sender<bool>,
}

impl PodManager {
    /// No pods yet.
    pub fn new(context: Arc<Context>) -> Arc<Self> {
        Arc::new(Self {
            context,
            entries: Mutex::default(),
            lists: Mutex::default(),
            listed: watch::Sender::new(false),
        })
    }

    /// Takes the next event of the source of pods.
    pub fn handle(self: &Arc<Self>, event: watcher::Event<Pod>) {
        let news = self.lists.lock().take_in(event);
        match news {
            None => {}
            Some(News::Applied(pod)) => self.apply(pod),
            Some(News::Deleted(pod)) => self.gone(&spec::identity(&pod).uid, Some(pod)),
            Some(News::Listed(pods)) => self.take_over(pods),
        }
    }

    /// What the workers share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Whether the source has listed everything once.
    pub fn has_listed(&self) -> bool {
        *self.listed.borrow()
    }

    /// Changes each time the source has listed everything.
    pub fn lists(&self) -> watch::Receiver<bool> {
        self.listed.subscribe()
    }

    /// Something happened to a container of the pod.
    pub fn wake(&self, uid: &str) {
        if let Some(entry) = self.entries.lock().get(uid) {
            entry.wake.notify_one();
        }
    }

    /// Wakes every worker: the runtime was away.
    pub fn wake_all(&self) {
        for entry in self.entries.lock().values() {
            entry.wake.notify_one();
        }
    }

    /// The runtime has containers of a pod that nobody knows: they are stopped and removed.
    pub fn adopt_orphan(self: &Arc<Self>, identity: &PodIdentity) {
        if !self.has_listed() || self.entries.lock().contains_key(&identity.uid) {
            return;
        }
        tracing::info!(pod = identity.name, uid = identity.uid, "removing what is left of a pod");
        self.spawn(Update { pod: Arc::new(remnant(identity)), gone: true, evicted: None });
    }

    /// The pod takes too much of the node, and ends; tells whether that is news.
    pub fn evict(&self, uid: &str, why: &str) -> bool {
        let entries = self.entries.lock();
        let Some(entry) = entries.get(uid) else { return false };
        entry.updates.send_if_modified(|update| {
            let news = update.evicted.is_none();
            update.evicted.get_or_insert_with(|| why.to_owned());
            news
        })
    }

    /// The pods as last seen.
    pub fn pods(&self) -> Vec<Arc<Pod>> {
        self.entries.lock().values().map(|entry| entry.updates.borrow().pod.clone()).collect()
    }

    /// The pod of that name, the latest made if there are several.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let matches = |pod: &Arc<Pod>| {
            let identity = spec::identity(pod);
            identity.namespace == namespace && identity.name == name
        };
        let found = self.pods().into_iter().filter(matches);
        found.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0))
    }

    /// Ends when nothing is left of the pod on this node, or when that is over which is asked for after
    /// each news of the pod.
    pub fn ended<O: AsyncFn() -> bool>(
        &self,
        uid: &str,
        is_over: O,
    ) -> impl Future<Output = ()> + use<O> {
        let updates = self.entries.lock().get(uid).map(|entry| entry.updates.subscribe());
        async move {
            let Some(mut updates) = updates else { return };
            while !is_over().await && updates.changed().await.is_ok() {}
        }
    }

    /// How many pods there are.
    pub fn count(&self) -> usize {
        self.entries.lock().len()
    }

    fn apply(self: &Arc<Self>, pod: Pod) {
        let uid = spec::identity(&pod).uid;
        let update = Update { pod: Arc::new(pod), gone: false, evicted: None };
        if let Some(entry) = self.entries.lock().get(&uid) {
            entry.updates.send_modify(|known| {
                known.pod = update.pod;
                known.gone = false;
            });
            return;
        }
        let ended = status::reported_end(&update.pod).is_some();
        if admission::was_admitted(&update.pod) && !ended {
            self.context.ledger.hold(&update.pod);
        }
        self.spawn(update);
    }

    fn gone(&self, uid: &str, last: Option<Pod>) {
        if let Some(entry) = self.entries.lock().get(uid) {
            entry.updates.send_modify(|update| {
                update.gone = true;
                if let Some(pod) = last {
                    update.pod = Arc::new(pod);
                }
            });
        }
    }

    /// Pods that a new list no longer has were deleted while the source was away.
    /// These are all pods there are.
    fn take_over(self: &Arc<Self>, pods: Vec<Pod>) {
        let known: Vec<String> = self.entries.lock().keys().cloned().collect();
        let gone = gone(known, pods.iter().map(|pod| spec::identity(pod).uid));
        gone.iter().for_each(|uid| self.gone(uid, None));
        pods.into_iter().for_each(|pod| self.apply(pod));
        self.context.ledger.listed();
        self.listed.send_replace(true);
    }

    fn spawn(self: &Arc<Self>, update: Update) {
        let uid = spec::identity(&update.pod).uid;
        let (updates, receiver) = watch::channel(update);
        let wake = Arc::new(Notify::new());
        self.entries.lock().insert(uid.clone(), Entry { updates, wake: wake.clone() });
        let manager = self.clone();
        tokio::spawn(async move {
            manager.work(&receiver, &wake).await;
            manager.entries.lock().remove(&uid);
        });
    }

    /// Has workers work until one has done everything.
    async fn work(&self, updates: &watch::Receiver<Update>, wake: &Arc<Notify>) {
        let (context, pod) = (&self.context, spec::label(&updates.borrow().pod));
        persevere("pod_worker", &pod, &context.metrics, || async {
            Worker::new(context.clone(), updates.clone(), wake.clone()).run().await;
        })
        .await;
    }
}

/// A pod of which only its containers' labels are left.
fn remnant(identity: &PodIdentity) -> Pod {
    Pod {
        metadata: ObjectMeta {
            uid: Some(identity.uid.clone()),
            name: Some(identity.name.clone()),
            namespace: Some(identity.namespace.clone()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec::default()),
        status: None,
    }
}
