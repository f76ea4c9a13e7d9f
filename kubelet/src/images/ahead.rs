//! Fetches the images of functions' versions before an instance comes to this node, so that a call that waits for one
//! does not wait for a transfer too.
//!
//! *Flow*: each version of a function has a ReplicaSet, with the instances' template, from the moment that its image is
//! built, also while it has no instances. The kubelet follows those sets, and nothing else of functions: their sources may be large.
//! What is missing is fetched one image after another.
//!
//! *Guarantees*: no pod waits for this, nor does a version wait for nodes. Where the image is there already, because it was built by
//! the same Docker, this costs a look per version.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use api_types::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{LocalObjectReference, PodSpec},
    },
    minik8s::Function,
};
use futures::{StreamExt, pin_mut};
use kube::{
    Api, ResourceExt,
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use parking_lot::Mutex;
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{Logins, pull};
use crate::{
    container::image,
    context::Context,
    runtime::{PodIdentity, RuntimeError},
};

/// Until an image that could not be fetched is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// An image that instances may need here.
#[derive(Clone, Debug)]
struct Wanted {
    image: String,
    secrets: Vec<LocalObjectReference>,
    /// On whose behalf the Secrets are read: there is no pod yet.
    set: PodIdentity,
}

impl Wanted {
    fn of(set: &ReplicaSet) -> Vec<Self> {
        let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
        let Some(pod) = template.and_then(|template| template.spec.as_ref()) else {
            return Vec::new();
        };
        let PodSpec { containers, image_pull_secrets, .. } = pod;
        let images = containers.iter().filter_map(|container| container.image.clone());
        // Docker is asked for it by its name, which may be anything until a pod is made of it.
        let images = images.filter(|image| image::fault(image).is_none());
        let secrets = image_pull_secrets.clone().unwrap_or_default();
        let identity = PodIdentity {
            uid: set.uid().unwrap_or_default(),
            namespace: set.namespace().unwrap_or_default(),
            name: set.name_any(),
        };
        let wanted = |image| Wanted { image, secrets: secrets.clone(), set: identity.clone() };
        images.map(wanted).collect()
    }
}

/// What is wanted, by the uids of sets.
#[derive(Debug, Default)]
struct Sets {
    wanted: Mutex<BTreeMap<String, Vec<Wanted>>>,
    changed: Notify,
}

impl Sets {
    fn note(&self, event: Event<ReplicaSet>) {
        let uid = |set: &ReplicaSet| set.uid().unwrap_or_default();
        let mut wanted = self.wanted.lock();
        match event {
            Event::Apply(set) | Event::InitApply(set) => {
                wanted.insert(uid(&set), Wanted::of(&set));
            }
            Event::Delete(set) => drop(wanted.remove(&uid(&set))),
            Event::Init => wanted.clear(),
            Event::InitDone => {}
        }
        self.changed.notify_one();
    }

    fn images(&self) -> BTreeMap<String, Wanted> {
        let wanted = self.wanted.lock();
        let all = wanted.values().flatten();
        all.map(|wanted| (wanted.image.clone(), wanted.clone())).collect()
    }
}

/// Fetches until shutdown.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let sets = Sets::default();
    let work = async { tokio::join!(follow(&context, &sets), fetch(&context, &sets, RETRY)) };
    shutdown.run_until_cancelled(work).await;
}

async fn follow(context: &Context, sets: &Sets) {
    let config = watcher::Config::default().labels(Function::LABEL);
    let events = watcher(Api::all(context.client.clone()), config).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => sets.note(event),
            Err(error) => tracing::debug!(%error, "cannot watch the sets of functions"),
        }
    }
}

async fn fetch(context: &Context, sets: &Sets, retry: Duration) {
    let mut here = BTreeSet::new();
    loop {
        let wanted = sets.images();
        here.retain(|image| wanted.contains_key(image));
        let mut failed = false;
        for (image, wanted) in wanted {
            if !here.contains(&image) {
                match ensure(context, &wanted).await {
                    Ok(()) => drop(here.insert(image)),
                    Err(error) => {
                        tracing::warn!(%error, image, "cannot fetch the image of a function yet");
                        failed = true;
                    }
                }
            }
        }
        tokio::select! {
            () = sets.changed.notified() => {}
            () = sleep(retry), if failed => {}
        }
    }
}

async fn ensure(context: &Context, wanted: &Wanted) -> Result<(), RuntimeError> {
    let Wanted { image, secrets, set } = wanted;
    if context.runtime.image(image).await?.is_some() {
        return Ok(());
    }
    let logins = Logins::read(context, set, secrets, image).await;
    // They are read anew by whoever needs them next.
    context.objects.release(&set.uid);
    pull(context, image, &logins).await?;
    tracing::info!(image, "fetched the image of a function");
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn docker_is_not_asked_for_what_is_no_image() {
        let images = |image: &str| {
            let pod = json!({"containers": [{"name": "function", "image": image}]});
            let spec = json!({"selector": {}, "template": {"spec": pod}});
            let set = serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec}));
            Wanted::of(&set.unwrap()).len()
        };
        assert_eq!(images("localhost:5000/add:1"), 1);
        for image in ["add/get?x=", "../a", "a@b:c?d", "a b"] {
            assert_eq!(images(image), 0, "{image}");
        }
    }
}
