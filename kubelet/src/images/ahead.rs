//! Fetches the images of functions' versions before an instance comes to this node, so that a call that waits for one
//! does not wait for a transfer too.
//!
//! *Flow*: each version of a function has a ReplicaSet, with the instances' template, from the moment that its image is
//! built, also while it has no instances. The kubelet follows those sets, and nothing else of functions: their sources may be large.
//! Of each function those are fetched of which there are instances or are going to be, a few at a time. When a version's set goes, so does what was
//! fetched for it.
//!
//! *Guarantees*: no pod waits for this, nor does a version wait for nodes. Where the image is there already, because it was built by
//! the same Docker, this costs a look per version.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
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
use futures::{StreamExt, future::ready, stream::FuturesUnordered};
use kube::{
    Api, ResourceExt,
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

use super::{Logins, pull};
use crate::{
    container::image,
    context::Context,
    runtime::{PodIdentity, RuntimeError},
};

/// Until an image that could not be fetched is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// How many are fetched at once.
const PARALLEL: usize = 3;
/// How long one may take.
const LIMIT: Duration = Duration::from_secs(600);

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

/// The sets of one function's versions, by its namespace and name.
type Functions<'a> = BTreeMap<(String, String), Vec<&'a ReplicaSet>>;

/// What is known of functions' sets: it is not said of a set whether its version serves.
#[derive(Debug, Default)]
struct Serving(BTreeMap<(String, String), i64>);

impl Serving {
    /// The sets whose images are wanted here: those that have instances or are getting some, which are those of the
    /// version that serves and of the one that is to take over, be it new or an old one again. Where all
    /// sleep it is the one that had instances last, or else the newest.
    fn of<'a>(&mut self, sets: &'a [Arc<ReplicaSet>]) -> Vec<&'a ReplicaSet> {
        let mut functions = Functions::new();
        let mut wanted = Vec::new();
        for set in sets {
            if let (Some(function), Some(_)) = (set.labels().get(Function::LABEL), version(set)) {
                let key = (set.namespace().unwrap_or_default(), function.clone());
                functions.entry(key).or_default().push(set);
            }
        }
        self.0.retain(|key, _| functions.contains_key(key));
        for (key, sets) in functions {
            let awake: Vec<_> = sets.iter().filter(|set| replicas(set) > 0).copied().collect();
            if let Some(latest) = awake.iter().filter_map(|set| version(set)).max() {
                self.0.insert(key, latest);
                wanted.extend(awake);
                continue;
            }
            let last = sets.iter().find(|set| version(set) == self.0.get(&key).copied());
            let newest = || sets.iter().max_by_key(|set| version(set));
            wanted.extend(last.or_else(newest));
        }
        wanted
    }
}

fn version(set: &ReplicaSet) -> Option<i64> {
    set.labels().get(Function::VERSION_LABEL)?.parse().ok()
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1)
}

/// The images that were fetched ahead, also before this kubelet began: only these are removed again. Others
/// may be nowhere but here. Each is noted before it comes: a kubelet may end in between.
#[derive(Debug)]
struct Fetched {
    file: PathBuf,
    images: BTreeSet<String>,
}

impl Fetched {
    fn open(root: &Path) -> Self {
        let file = root.join("images-fetched-ahead");
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Self { file, images: text.lines().map(str::to_owned).collect() }
    }

    fn change(&mut self, change: impl FnOnce(&mut BTreeSet<String>)) {
        change(&mut self.images);
        let lines: String = self.images.iter().map(|image| format!("{image}\n")).collect();
        let new = self.file.with_extension("new");
        let written = std::fs::write(&new, lines).and_then(|()| std::fs::rename(&new, &self.file));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot note which images were fetched");
        }
    }
}

/// Fetches until shutdown.
pub async fn run(context: Arc<Context>, shutdown: CancellationToken) {
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
    let work = async { tokio::join!(follow, keep(&context, &sets, &changed)) };
    shutdown.run_until_cancelled(work).await;
}

/// What has come of one image.
enum Outcome {
    Here,
    Removed,
}

/// Has the images here that are wanted, and removes those of versions that are gone.
async fn keep(context: &Context, sets: &Store<ReplicaSet>, changed: &Notify) {
    if sets.wait_until_ready().await.is_err() {
        return;
    }
    let (mut serving, fetched) = (Serving::default(), Mutex::new(Fetched::open(&context.root)));
    let (mut here, mut busy) = (BTreeSet::new(), BTreeSet::new());
    let mut held = BTreeMap::<String, Instant>::new();
    let mut under_way = FuturesUnordered::new();
    loop {
        let all = sets.state();
        let wanted: Vec<_> = serving.of(&all).into_iter().flat_map(Wanted::of).collect();
        let named: BTreeSet<_> =
            all.iter().flat_map(|set| Wanted::of(set)).map(|w| w.image).collect();
        here.retain(|image| named.contains(image));
        held.retain(|_, until| *until > Instant::now());
        let missing = wanted.into_iter().filter(|wanted| !here.contains(&wanted.image));
        let missing = missing.map(|wanted| (wanted.image.clone(), Some(wanted)));
        let gone = fetched.lock().images.difference(&named).cloned().collect::<Vec<_>>();
        let gone = gone.into_iter().map(|image| (image, None));
        for (image, wanted) in missing.chain(gone) {
            if busy.len() < PARALLEL && !held.contains_key(&image) && busy.insert(image.clone()) {
                under_way.push(work(context, &fetched, image, wanted));
            }
        }
        let next = held.values().min().copied();
        tokio::select! {
            () = changed.notified() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            Some((image, outcome)) = under_way.next() => {
                busy.remove(&image);
                match outcome {
                    Ok(Outcome::Here) => {
                        here.insert(image);
                    }
                    Ok(Outcome::Removed) => fetched.lock().change(|images| {
                        images.remove(&image);
                    }),
                    Err(error) => {
                        tracing::warn!(error, image, "cannot fetch or remove the image of a function yet");
                        held.insert(image, Instant::now() + RETRY);
                    }
                }
            }
        }
    }
}

async fn work(
    context: &Context,
    fetched: &Mutex<Fetched>,
    image: String,
    wanted: Option<Wanted>,
) -> (String, Result<Outcome, String>) {
    let work = async {
        match &wanted {
            Some(wanted) => ensure(context, fetched, wanted).await.map(|()| Outcome::Here),
            None => {
                context.runtime.remove_image(&image).await?;
                tracing::info!(image, "removed the image of a version that is gone");
                Ok(Outcome::Removed)
            }
        }
    };
    let done = timeout(LIMIT, work).await;
    let given_up = || format!("not done within {} s", LIMIT.as_secs());
    let done = done.map_err(|_| given_up());
    (image, done.and_then(|done: Result<_, RuntimeError>| done.map_err(|error| error.to_string())))
}

async fn ensure(
    context: &Context,
    fetched: &Mutex<Fetched>,
    wanted: &Wanted,
) -> Result<(), RuntimeError> {
    let Wanted { image, secrets, set } = wanted;
    if context.runtime.image(image).await?.is_some() {
        return Ok(());
    }
    let logins = Logins::read(context, set, secrets, image).await;
    // They are read anew by whoever needs them next.
    context.objects.release(&set.uid);
    fetched.lock().change(|images| {
        images.insert(image.clone());
    });
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
