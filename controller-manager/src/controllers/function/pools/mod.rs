//! Warm pools: instances that wait, started but of no function yet, for one that is called and has none.
//!
//! In each namespace with functions that can be loaded into one, a ReplicaSet keeps so many of them: a pod cannot move to
//! another namespace. The autoscaler asks for them where it would have a function's first instances made
//! ([`Pools::take`]); `handover` does it, and the set of the pool makes others in their place.
//!
//! Each pool has a token, in a Secret, without which nothing can be loaded. That a pod takes the token is all that it
//! is asked, so functions of one namespace are not protected from each other by it.

mod handover;
mod handovers;
mod load;
mod loadable;
mod objects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{Pod, Secret};
use api_types::meta::ObjectMeta;
use api_types::minik8s::{Function, Runtime};
use component::events::Recorder;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::task::JoinSet;

use super::instances;
use crate::adoption;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Next, ObjectKey, Registered, Step, Watched, WorkQueue,
};
use crate::functions::PULL_SECRET;
use crate::informers::Informers;
use handovers::Handovers;

const NAME: &str = "warm-pool-controller";

/// The warm pools of all namespaces. Clones share them.
#[derive(Clone)]
pub(crate) struct Pools {
    inner: Arc<Inner>,
    /// Handovers, which end with the last of the pools.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

struct Inner {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    /// How many are to wait in each; none is no pool.
    size: i32,
    image: String,
    /// The copy of the registry's Secret, if there is one.
    pull_secret: Option<&'static str>,
    /// Where instances listen.
    port: u16,
    /// By namespace.
    tokens: Mutex<BTreeMap<String, String>>,
    handovers: Mutex<Handovers>,
}

/// The controller: its keys are namespaces.
pub(crate) fn register_pools(context: &Context, pools: &Pools) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { functions, replica_sets, pods, .. } = &context.informers;
    let wanted = queue.clone();
    functions.on_change(move |change: &Change<Function>| look(&wanted, change));
    let wanted = queue.clone();
    replica_sets.on_change(move |change: &Change<ReplicaSet>| {
        let concerns = |set: &Arc<ReplicaSet>| {
            objects::is_of_a_pool(&set.metadata) || adoption::has_promises(set)
        };
        if change.latest().is_some_and(concerns) {
            look(&wanted, change);
        }
    });
    let wanted = queue.clone();
    pods.on_change(move |change: &Change<Pod>| {
        if change.latest().is_some_and(|pod| adoption::is_spent(pod)) {
            look(&wanted, change);
        }
    });
    Registered::new(pools.clone(), queue).reads(&**functions).reads(&**replica_sets).reads(&**pods)
}

fn look<K: Watched>(queue: &WorkQueue, change: &Change<K>) {
    let namespace = change.latest().and_then(|object| object.meta().namespace.as_ref());
    namespace.into_iter().for_each(|namespace| queue.add(ObjectKey::cluster(namespace)));
}

#[async_trait::async_trait]
impl Controller for Pools {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        self.inner.reconcile(&key.name).await
    }
}

impl Pools {
    pub(crate) fn new(context: &Context) -> Self {
        let settings = &context.settings.functions;
        let inner = Inner {
            client: context.client(),
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            size: settings.warm_pool(Runtime::PYTHON.name),
            image: settings.function_python_image.clone(),
            pull_secret: settings.function_registry_secret.as_ref().map(|_| PULL_SECRET),
            port: Function::PORT,
            tokens: Mutex::default(),
            handovers: Mutex::default(),
        };
        Self { inner: Arc::new(inner), tasks: Arc::default() }
    }
}

impl Inner {
    async fn reconcile(&self, namespace: &str) -> Result<Next, Error> {
        self.end_left_promises(namespace).await?;
        self.replace_spent(namespace).await?;
        let sets = &self.informers.replica_sets;
        let size = self.wanted(namespace);
        match sets.get(&ObjectKey::new(namespace, objects::NAME)) {
            None if size == 0 => {}
            None => {
                self.provide_token(namespace).await?;
                let set = objects::set(namespace, &self.image, size, self.pull_secret);
                let created = self.api(namespace).create(&PostParams::default(), &set).await;
                created.unless_terminating("creating a warm pool")?;
            }
            Some(set) if !objects::is_of_a_pool(&set.metadata) => {
                tracing::warn!(namespace, replica_set = objects::NAME, "is no warm pool of ours");
            }
            Some(set) if size == 0 || !self.makes_what_is_wanted(&set) => {
                self.remove(namespace, &set.metadata).await?;
            }
            Some(set) => {
                let has_token = self.tokens.lock().contains_key(namespace);
                if !has_token || instances::ready(&set) < size {
                    self.provide_token(namespace).await?;
                }
                self.resize(namespace, &set, size).await?;
            }
        }
        Ok(Next::Change)
    }

    fn makes_what_is_wanted(&self, set: &ReplicaSet) -> bool {
        objects::image(set) == Some(&self.image) && objects::pull_secrets(set).eq(self.pull_secret)
    }

    /// How many instances are to wait in a namespace.
    fn wanted(&self, namespace: &str) -> i32 {
        let functions = &self.informers.functions;
        let needed = !functions.filter_in(namespace, loadable::may_need_one).is_empty();
        if needed { self.size } else { 0 }
    }

    /// Whoever promised them is not there any more, and it is not known what they have loaded.
    async fn end_left_promises(&self, namespace: &str) -> Result<(), Error> {
        let Informers { replica_sets, pods, .. } = &self.informers;
        let find = |name: &str| pods.get(&ObjectKey::new(namespace, name));
        let sets = replica_sets.filter_in(namespace, adoption::has_promises);
        for pod in sets.iter().flat_map(|set| adoption::outstanding(set, find)) {
            if !self.handovers.lock().has(&pod) {
                self.delete_pod(&pod).await?;
            }
        }
        Ok(())
    }

    async fn replace_spent(&self, namespace: &str) -> Result<(), Error> {
        let is_spent = |pod: &Pod| adoption::is_spent(pod) && crate::pods::is_active(pod);
        for pod in self.informers.pods.filter_in(namespace, is_spent) {
            let is_being_handed_over = adoption::waits(&pod) && self.handovers.lock().has(&pod);
            if !is_being_handed_over {
                self.delete_pod(&pod).await?;
            }
        }
        Ok(())
    }

    /// The token comes before the set, whose pods need it.
    async fn provide_token(&self, namespace: &str) -> Result<(), Error> {
        let api = Api::<Secret>::namespaced(self.client.clone(), namespace);
        let known = api.get_opt(objects::NAME).await.step("reading the token of a warm pool")?;
        let token = match known.as_ref().and_then(objects::token) {
            Some(token) => token,
            None => {
                let token =
                    format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>());
                let secret = objects::secret(namespace, &token);
                let created = api.create(&PostParams::default(), &secret).await;
                created.unless_terminating("storing the token of a warm pool")?;
                token
            }
        };
        self.tokens.lock().insert(namespace.to_owned(), token);
        Ok(())
    }

    async fn resize(&self, namespace: &str, set: &ReplicaSet, size: i32) -> Result<(), Error> {
        if instances::replicas(set) == size {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": set.metadata.uid}, "spec": {"replicas": size}});
        let api = self.api::<ReplicaSet>(namespace);
        let patched = api.patch(objects::NAME, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.unless_gone("resizing a warm pool").map(drop)
    }

    /// The set last: as long as it is there, there is another look.
    async fn remove(&self, namespace: &str, set: &ObjectMeta) -> Result<(), Error> {
        self.tokens.lock().remove(namespace);
        let secrets = self.api::<Secret>(namespace);
        let deleted = secrets.delete(objects::NAME, &DeleteParams::default()).await;
        deleted.unless_gone("deleting the token of a warm pool")?;
        let this_one = Preconditions { uid: set.uid.clone(), resource_version: None };
        let params = DeleteParams::background().preconditions(this_one);
        let deleted = self.api::<ReplicaSet>(namespace).delete(objects::NAME, &params).await;
        deleted.unless_gone("deleting a warm pool").map(drop)
    }

    async fn delete_pod(&self, pod: &Pod) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        let this_one = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
        let params = DeleteParams::default().preconditions(this_one);
        let deleted = self.api::<Pod>(&key.namespace).delete(&key.name, &params).await;
        deleted.unless_gone("deleting an instance that is not wanted").map(drop)
    }

    fn api<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), namespace)
    }
}
