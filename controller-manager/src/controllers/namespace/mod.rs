//! Empties namespaces that are being deleted, and lets them go when they are empty.
//!
//! *Flow*: read the namespace from the API server; delete its GPU jobs, which their pods have to let go; when they are gone, or
//! after a minute, the pods; when those are gone every other collection that discovery knows; tell in conditions what is left (pods that end gracefully, objects
//! with finalizers) and what went wrong; when nothing is left, remove the finalizer `kubernetes`.
//!
//! *Guarantees*: only what belongs to a namespace that is being deleted is deleted: after its objects were
//! listed, the namespace is read again, and must be the same one by its uid; then each of them is deleted by
//! its own uid.

mod conditions;
mod content;
mod fault;
mod finalizer;

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Namespace, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::discovery::{Discovery, Resources};
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, Watched, WorkQueue,
    reason,
};
use content::{Content, Outcome};
use fault::Fault;
use finalizer::{FINALIZER, is_leaving, is_ours};

const NAME: &str = "namespace-controller";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (namespaces, pods) = (&context.informers.namespaces, &context.informers.pods);
    watch_namespaces(namespaces, &queue);
    watch_last(pods, namespaces, &queue);
    watch_last(&context.informers.gpu_jobs, namespaces, &queue);
    let controller = Namespaces {
        client: context.client(),
        clock: context.clock,
        namespaces: namespaces.clone(),
        pods: pods.clone(),
        discovery: context.discovery.clone(),
    };
    Registered::new(controller, queue).reads(namespaces).reads(pods)
}

fn watch_namespaces(namespaces: &Informer<Namespace>, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    namespaces.on_change(move |change: &Change<Namespace>| {
        let leaving = change.new.iter().filter(|namespace| is_leaving(namespace));
        leaving.for_each(|namespace| wanted.add(ObjectKey::of(&namespace.metadata)));
    });
}

/// When the last of them has gone it is the others' turn.
fn watch_last<K: Watched>(
    objects: &Arc<Informer<K>>,
    namespaces: &Arc<Informer<Namespace>>,
    queue: &Arc<WorkQueue>,
) {
    let (wanted, namespaces, all) = (queue.clone(), namespaces.clone(), Arc::downgrade(objects));
    objects.on_change(move |change: &Change<K>| {
        let (Some(object), None, Some(all)) = (&change.old, &change.new, all.upgrade()) else {
            return;
        };
        let namespace = ObjectKey::cluster(object.meta().namespace.clone().unwrap_or_default());
        if namespaces.get(&namespace).is_some_and(|namespace| is_leaving(&namespace))
            && all.filter_in(&namespace.name, |_| true).is_empty()
        {
            wanted.add(namespace);
        }
    });
}

struct Namespaces {
    client: Client,
    clock: Clock,
    namespaces: Arc<Informer<Namespace>>,
    pods: Arc<Informer<Pod>>,
    discovery: Arc<Discovery>,
}

#[async_trait::async_trait]
impl Controller for Namespaces {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if !self.namespaces.get(key).is_some_and(|namespace| is_leaving(&namespace)) {
            return Ok(Next::Change);
        }
        // The store may lag behind: one of the same name may be new and full of life.
        let Some(namespace) = self.read(&key.name).await? else { return Ok(Next::Change) };
        let (resources, discovery_failure) = self.resources().await;
        let content = Content {
            client: &self.client,
            namespace: &namespace,
            pods: &self.pods,
            now: self.clock.now(),
        };
        let mut outcome = content.delete(&resources).await;
        outcome.discovery_failure = discovery_failure;
        self.tell(&namespace, &outcome).await?;
        match outcome.next()? {
            Some(delay) => Ok(Next::After(delay)),
            None => self.finish(&namespace, &resources).await,
        }
    }
}

impl Namespaces {
    /// The namespace as it is now, if it is to be emptied.
    async fn read(&self, name: &str) -> Result<Option<Namespace>, Error> {
        let api = Api::<Namespace>::all(self.client.clone());
        Ok(api.get_opt(name).await.step("reading the namespace")?.filter(is_ours))
    }

    /// What may be in a namespace, and what discovery could not find out about it. What it found out
    /// earlier will do to begin with.
    async fn resources(&self) -> (Arc<Resources>, Option<String>) {
        match self.discovery.recent().await {
            Ok(found) => {
                let failure = conditions::discovery_failure(&found.failing);
                (found, failure)
            }
            Err(error) => (self.discovery.last().await.unwrap_or_default(), Some(reason(&error))),
        }
    }

    /// Nothing is left of what was known. There may be kinds that are newer than that, or whose server does not say by now.
    async fn finish(&self, namespace: &Namespace, known: &Resources) -> Result<Next, Error> {
        let now = self.discovery.fresh().await.step("discovering resources")?;
        if let Some(why) = conditions::discovery_failure(&now.failing) {
            return Err(Fault::Undiscovered(why).into());
        }
        if now.all.len() != known.all.len()
            || now.all.iter().any(|found| !known.all.contains(found))
        {
            return Ok(Next::After(Duration::ZERO));
        }
        self.finalize(namespace).await.map(|()| Next::Change)
    }

    async fn tell(&self, namespace: &Namespace, outcome: &Outcome) -> Result<(), Error> {
        let known = namespace.status.as_ref().and_then(|status| status.conditions.as_deref());
        let news = conditions::news(known.unwrap_or_default(), outcome, self.clock.now());
        if news.is_empty() {
            return Ok(());
        }
        let api = Api::<Namespace>::all(self.client.clone());
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": namespace.metadata.uid},
            "status": {"phase": "Terminating", "conditions": news},
        }));
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        let patched = api.patch_status(name, &PatchParams::default(), &patch).await;
        patched.unless_gone("writing what is left in the namespace").map(|_| ())
    }

    async fn finalize(&self, emptied: &Namespace) -> Result<(), Error> {
        let name = emptied.metadata.name.as_deref().unwrap_or_default();
        let current = self.read(name).await?;
        let Some(mut namespace) = current.filter(|now| now.metadata.uid == emptied.metadata.uid)
        else {
            return Ok(());
        };
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        finalizers.retain(|finalizer| finalizer != FINALIZER);
        let api = Api::<Namespace>::all(self.client.clone());
        let finalized =
            api.replace_subresource("finalize", name, &PostParams::default(), &namespace).await;
        finalized.unless_gone("finalizing the namespace").map(|_: Option<Namespace>| ())
    }
}

#[cfg(test)]
mod tests;
