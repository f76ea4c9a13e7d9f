//! Makes a waiting instance one of a function.
//!
//! *Flow*: some instances of the pool are noted as taken. At the same time the set of the version is made larger, with
//! them promised to it, and the function is loaded into them; each that has loaded it is handed over by one write
//! ([`adoption`] has the reasons).
//!
//! *Guarantees*: an instance of which it is not certain that it has the function, and nothing else, and was handed over, is
//! deleted, however often that takes; the set then makes one as usual. A version that could not be loaded is not tried again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::minik8s::Function;
use component::events::EventType;
use futures::future::{join, join_all};
use futures::{FutureExt, TryFutureExt};
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::load::{LoadError, load};
use super::{Inner, Pools, instances, loadable, objects};
use crate::adoption::{self, PROMISED};
use crate::frame::{Error, ObjectKey, Step};
use crate::informers::Informers;
use crate::owners::controller_reference;
use crate::pods;

/// Before what the API server has not done is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What is handed over, and to whom.
struct Task {
    function: Function,
    set: Arc<ReplicaSet>,
    replicas: u32,
    pods: Vec<(Arc<Pod>, SocketAddr)>,
    token: String,
    load: Value,
}

impl Pools {
    /// Gives a set that is to have no instances its first ones out of the pool, in the background, and makes it so large; or says that
    /// this is under way. Otherwise there is nothing for it here.
    pub(crate) fn take(&self, function: &Function, set: &Arc<ReplicaSet>, replicas: u32) -> bool {
        let key = ObjectKey::of(&set.metadata);
        let mut handovers = self.inner.handovers.lock();
        handovers.forget(&self.inner.informers);
        if handovers.is_under_way(&key) {
            return true;
        }
        let is_idle = instances::replicas(set) == 0 && set.metadata.deletion_timestamp.is_none();
        if replicas == 0 || !is_idle || handovers.has_failed(&key) {
            return false;
        }
        let token = self.inner.tokens.lock().get(&key.namespace).cloned();
        let (Some(token), Some(load)) = (token, loadable::load(function)) else { return false };
        let mut pods = self.inner.waiting(&key.namespace);
        pods.retain(|(pod, _)| !handovers.has(pod));
        pods.truncate(usize::try_from(replicas).unwrap_or(usize::MAX));
        if pods.is_empty() {
            return false;
        }
        handovers.begin(&set.metadata, pods.iter().map(|(pod, _)| &**pod));
        let (function, set, inner) = (function.clone(), set.clone(), self.inner.clone());
        let task = Task { function, set, replicas, pods, token, load };
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move { inner.hand_over(task).await });
        true
    }
}

impl Inner {
    /// The instances that can be loaded.
    pub(super) fn waiting(&self, namespace: &str) -> Vec<(Arc<Pod>, SocketAddr)> {
        let Informers { replica_sets, pods, .. } = &self.informers;
        let pool = replica_sets.get(&ObjectKey::new(namespace, objects::NAME));
        let uid = pool.and_then(|pool| pool.metadata.uid.clone()).unwrap_or_default();
        let waiting = pods.controlled_by(namespace, &uid).into_iter();
        let waiting = waiting.filter(|pod| adoption::waits(pod) && pods::is_active(pod));
        waiting
            .filter(|pod| pods::is_ready(pod) && !pods::has_restarted(pod))
            .filter_map(|pod| {
                let address = pod.status.as_ref()?.pod_ip.as_ref()?.parse().ok()?;
                Some((pod, SocketAddr::new(address, self.port)))
            })
            .collect()
    }

    async fn hand_over(&self, task: Task) {
        let key = ObjectKey::of(&task.set.metadata);
        let enlarged = self.enlarge(&key, &task).shared();
        let one = async |pod: &Pod, address: SocketAddr| {
            let loading = load(address, &task.token, &task.load);
            let (generation, loaded) = join(enlarged.clone(), loading).await;
            let loaded = loaded.map_err(|error| self.tell(&task, pod, &error)).is_ok();
            loaded && self.adopt(&task, pod, generation).await
        };
        let all = join_all(task.pods.iter().map(|(pod, address)| one(pod, *address))).await;
        let (kept, broken): (Vec<_>, Vec<_>) =
            task.pods.iter().map(|(pod, _)| pod).zip(all).partition(|(_, adopted)| *adopted);
        if !broken.is_empty() {
            let names = |pods: &[(&Arc<Pod>, bool)]| -> Vec<_> {
                pods.iter().filter_map(|(pod, _)| pod.metadata.name.clone()).collect()
            };
            for (pod, _) in &broken {
                until_done("giving an instance up", || self.delete_pod(pod)).await;
            }
            // So that it looks again.
            let promised = json!(Some(names(&kept).join(",")).filter(|names| !names.is_empty()));
            let patch = json!({"metadata": {"annotations": {PROMISED: promised}}});
            let take_back = || self.patch_set(&key, &task, patch.clone()).map_ok(drop);
            until_done("taking a promise back", take_back).await;
        }
        let generation = enlarged.await;
        self.handovers.lock().end(&key, generation);
    }

    /// The generation that the set has with the instances, if it is certain that it wants them.
    async fn enlarge(&self, key: &ObjectKey, task: &Task) -> Option<i64> {
        let names: Vec<_> =
            task.pods.iter().filter_map(|(pod, _)| pod.metadata.name.clone()).collect();
        let patch = json!({
            "metadata": {"annotations": {PROMISED: names.join(",")}},
            "spec": {"replicas": task.replicas},
        });
        match self.patch_set(key, task, patch).await {
            Ok(set) => set?.metadata.generation,
            Err(error) => {
                log("scaling the set of a version", Err(error));
                None
            }
        }
    }

    async fn patch_set(
        &self,
        key: &ObjectKey,
        task: &Task,
        mut patch: Value,
    ) -> Result<Option<ReplicaSet>, Error> {
        patch["metadata"]["uid"] = json!(task.set.metadata.uid);
        let api = self.api::<ReplicaSet>(&key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.unless_gone("changing the set of a version")
    }

    /// Whether the instance is the set's now.
    async fn adopt(&self, task: &Task, pod: &Pod, generation: Option<i64>) -> bool {
        let Some(generation) = generation else { return false };
        let labels = task.set.spec.as_ref().and_then(|s| s.selector.match_labels.as_ref());
        let mut labels = json!(labels);
        labels[Function::POOL_LABEL] = Value::Null;
        let owners: Vec<_> = controller_reference(&*task.set).into_iter().collect();
        let patch = json!({"metadata": {
            "uid": pod.metadata.uid,
            "labels": labels,
            "annotations": {Function::ADOPTED_ANNOTATION: generation.to_string()},
            "ownerReferences": owners,
        }});
        let key = ObjectKey::of(&pod.metadata);
        let api = self.api::<Pod>(&key.namespace);
        let patched = api.patch(&key.name, &PatchParams::default(), &Patch::Merge(patch)).await;
        let patched = patched.unless_gone("handing an instance over");
        let adopted = matches!(&patched, Ok(Some(_)));
        log("handing an instance over", patched.map(drop));
        adopted
    }

    fn tell(&self, task: &Task, pod: &Pod, error: &LoadError) {
        let pod = pod.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(pod, error = error as &dyn std::error::Error, "loading a function");
        if !error.is_the_functions() {
            return;
        }
        let key = ObjectKey::of(&task.set.metadata);
        let message = format!(
            "{} cannot be loaded into a waiting instance, and is started by itself: {error}",
            key.name
        );
        self.recorder.about(&task.function, EventType::Warning, "LoadFailed", message);
        self.handovers.lock().fail(&task.set.metadata);
    }
}

/// Nobody else would do it: for them the handover is under way. A conflict is with another object of the name.
async fn until_done<F>(step: &'static str, act: impl Fn() -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    while let Err(error) = act().await
        && !error.is_conflict()
    {
        log(step, Err(error));
        tokio::time::sleep(PAUSE).await;
    }
}

fn log(step: &'static str, result: Result<(), Error>) {
    if let Err(error) = result {
        tracing::warn!(step, reason = error.reason(), "handing over an instance");
    }
}
