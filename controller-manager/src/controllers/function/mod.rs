//! Keeps what functions are made of: an image and a ReplicaSet per version, of which one serves.
//!
//! Two controllers share that work by what it takes. `versions` numbers the versions, makes their sets, and lets the next
//! one take over when its instances are ready: that takes moments. `images` builds what is missing, which may take
//! minutes, and removes what is not needed any more. They tell each other through the function's status, which either
//! writes only if nobody else has since it looked. A third, `pools`, keeps instances that wait for functions.

mod images;
mod instances;
mod plan;
mod pools;
mod pull_secret;
mod status;
mod versions;

use std::sync::Arc;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::meta::ObjectMeta;
use api_types::minik8s::Function;

use crate::context::Context;
use crate::frame::{Change, Informer, ObjectKey, Registered, WorkQueue};
use crate::informers::Informers;

pub(super) use images::register as register_images;
pub(super) use pools::{Pools, register_pools};
pub(super) use pull_secret::register as register_pull_secret;

/// Keeps a function that is deleted until nothing is left of it.
const FINALIZER: &str = "minik8s.io/function-images";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    read_all(Registered::new(versions::Versions::new(context), queue), &context.informers)
}

fn read_all(registered: Registered, informers: &Informers) -> Registered {
    let Informers { functions, replica_sets, pods, .. } = informers;
    registered.reads(&**functions).reads(&**replica_sets).reads(&**pods)
}

/// A function is looked at when it changes, or one of its sets, or one of their pods.
fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let added = queue.clone();
    informers.functions.on_change(move |change: &Change<Function>| {
        change.latest().iter().for_each(|function| added.add(ObjectKey::of(&function.metadata)));
    });
    watch_labelled::<ReplicaSet>(&informers.replica_sets, queue, |set| &set.metadata);
    watch_labelled::<Pod>(&informers.pods, queue, |pod| &pod.metadata);
}

fn watch_labelled<K: crate::frame::Watched>(
    objects: &Informer<K>,
    queue: &Arc<WorkQueue>,
    metadata: fn(&K) -> &ObjectMeta,
) {
    let queue = queue.clone();
    objects.on_change(move |change: &Change<K>| {
        let function = change.latest().and_then(|object| function_of(metadata(object)));
        function.into_iter().for_each(|key| queue.add(key));
    });
}

/// The function that a set or a pod is of.
fn function_of(metadata: &ObjectMeta) -> Option<ObjectKey> {
    let name = metadata.labels.as_ref()?.get(Function::LABEL)?;
    Some(ObjectKey::new(metadata.namespace.as_deref()?, name))
}
