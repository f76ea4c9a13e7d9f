//! Deletes what is in a namespace, and counts what is left.

use std::collections::BTreeMap;
use std::time::Duration;

use api_types::Resource as _;
use api_types::api::core::v1::{Namespace, Pod};
use api_types::jiff::Timestamp;
use api_types::minik8s::GpuJob;
use futures::future::join_all;
use futures::{StreamExt, stream};
use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::discovery::verbs;
use kube::{Api, Client};

use super::fault::Fault;
use super::finalizer::is_ours;
use crate::discovery::{Discovered, Resources};
use crate::frame::{Error, Informer, Step, code};
use crate::pods;

/// How long objects with finalizers are expected to need at most.
const FINALIZERS: Duration = Duration::from_secs(15);
/// How long pods stay at most for the objects that they let go.
const SERVED: Duration = Duration::from_secs(60);
/// So many deletions of one resource are under way at a time: the store writes them together.
const PARALLEL: usize = 50;

/// A namespace that is being deleted.
pub(super) struct Content<'a> {
    pub(super) client: &'a Client,
    pub(super) namespace: &'a Namespace,
    pub(super) pods: &'a Informer<Pod>,
    pub(super) now: Timestamp,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Objects that are left, by resource as `plural.group`.
    pub(super) remaining: BTreeMap<String, usize>,
    /// Objects that are left, by finalizer.
    pub(super) finalizers: BTreeMap<String, usize>,
    /// How long what is left is expected to need.
    pub(super) estimate: Duration,
    pub(super) errors: Vec<Error>,
    /// What discovery could not find out.
    pub(super) discovery_failure: Option<String>,
}

impl Outcome {
    fn add(&mut self, found: &Discovered, left: Left) {
        self.estimate = self.estimate.max(left.estimate);
        if left.count > 0 {
            self.remaining.insert(name(found), left.count);
        }
        for (finalizer, count) in left.finalizers {
            *self.finalizers.entry(finalizer).or_default() += count;
        }
        self.errors.extend(left.error);
    }

    /// When to look again; `None` if nothing is left.
    ///
    /// # Errors
    ///
    /// The first of those that occurred.
    pub(super) fn next(mut self) -> Result<Option<Duration>, Error> {
        if !self.errors.is_empty() {
            return Err(self.errors.swap_remove(0));
        }
        if let Some(why) = self.discovery_failure {
            return Err(Fault::Undiscovered(why).into());
        }
        let wait = Duration::from_secs(self.estimate.as_secs() / 2 + 1);
        Ok((!self.remaining.is_empty()).then_some(wait))
    }
}

/// What is left of one resource.
#[derive(Debug, Default)]
struct Left {
    count: usize,
    finalizers: BTreeMap<String, usize>,
    estimate: Duration,
    error: Option<Error>,
}

impl Left {
    fn of<K>(objects: &[PartialObjectMeta<K>]) -> Self {
        let mut finalizers = BTreeMap::new();
        for finalizer in
            objects.iter().flat_map(|object| object.metadata.finalizers.iter().flatten())
        {
            *finalizers.entry(finalizer.clone()).or_default() += 1;
        }
        Self { count: objects.len(), finalizers, ..Self::default() }
    }
}

/// As Kubernetes writes it, with the dot also after a resource of the core group.
fn name(found: &Discovered) -> String {
    format!("{}.{}", found.resource.plural, found.resource.group)
}

fn is_pods(found: &Discovered) -> bool {
    found.resource.group.is_empty() && found.resource.plural == "pods"
}

/// Whether the finalizers of its objects are taken away by pods: the server of a GPU job cancels it in Slurm.
fn is_served_by_pods(found: &Discovered) -> bool {
    found.resource.group == GpuJob::GROUP && found.resource.plural == GpuJob::URL_PATH_SEGMENT
}

impl Content<'_> {
    /// Deletes what needs its pods to go, then the pods, and when there are none, everything else. A resource that fails
    /// holds up no other.
    pub(super) async fn delete(&self, resources: &Resources) -> Outcome {
        let deletable = |found: &&Discovered| {
            found.is_namespaced() && found.supports(&[verbs::LIST, verbs::DELETE])
        };
        let (served, others): (Vec<_>, Vec<_>) =
            resources.all.iter().filter(deletable).partition(|found| is_served_by_pods(found));
        let (pods, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|found| is_pods(found));
        let mut outcome = Outcome::default();
        // Whom nobody lets go holds up the rest no longer than this.
        if !self.delete_each(served, &mut outcome).await && self.age() < SERVED {
            return outcome;
        }
        if self.delete_each(pods, &mut outcome).await {
            self.delete_each(others, &mut outcome).await;
        }
        outcome
    }

    /// Whether nothing of them is left.
    async fn delete_each(&self, resources: Vec<&Discovered>, outcome: &mut Outcome) -> bool {
        let left = join_all(resources.iter().map(|found| self.delete_all(found))).await;
        let are_gone = left.iter().all(|left| left.count == 0 && left.error.is_none());
        resources.into_iter().zip(left).for_each(|(found, left)| outcome.add(found, left));
        are_gone
    }

    async fn delete_all(&self, found: &Discovered) -> Left {
        match self.try_delete_all(found).await {
            Ok(left) => left,
            Err(error) => Left { error: Some(error), ..Left::default() },
        }
    }

    async fn try_delete_all(&self, found: &Discovered) -> Result<Left, Error> {
        let before = self.list(found).await?;
        let objects = if before.iter().any(is_living) {
            self.delete_living(found, &before).await?;
            self.list(found).await?
        } else {
            before
        };
        Ok(self.judge(found, &objects))
    }

    /// How long what is left may take. What neither ends gracefully nor has finalizers should be gone.
    fn judge(&self, found: &Discovered, objects: &[Object]) -> Left {
        let left = Left::of(objects);
        let graceful = if is_pods(found) { self.estimate(objects) } else { Duration::ZERO };
        if left.count == 0 || !graceful.is_zero() {
            return Left { estimate: graceful, ..left };
        }
        if !left.finalizers.is_empty() {
            // As long again as it has taken so far: who takes a finalizer away soon is noticed soon.
            return Left { estimate: self.age().min(FINALIZERS), ..left };
        }
        let (namespace, resource) = (self.name().to_owned(), found.resource.clone());
        Left { error: Some(Fault::Remaining { namespace, resource }.into()), ..left }
    }

    fn name(&self) -> &str {
        self.namespace.metadata.name.as_deref().unwrap_or_default()
    }

    /// A resource that is gone meanwhile, or can't be listed, has nothing in the namespace.
    async fn list(&self, found: &Discovered) -> Result<Vec<Object>, Error> {
        let api = found.api(self.client.clone(), self.name());
        match api.list(&ListParams::default()).await {
            Err(error) if matches!(code(&error), Some(404 | 405)) => Ok(Vec::new()),
            listed => Ok(listed.step("listing what is in the namespace")?.items),
        }
    }

    /// Object by object, each by its uid: what comes into being under a name later is nobody's business here.
    /// One that can't be deleted holds up no other.
    async fn delete_living(&self, found: &Discovered, objects: &[Object]) -> Result<(), Error> {
        self.check_unchanged().await?;
        let api = found.api(self.client.clone(), self.name());
        let living = objects.iter().filter(|object| is_living(object));
        let deletions: Vec<_> = living.map(|object| delete(api.clone(), object.clone())).collect();
        let deleted: Vec<_> = stream::iter(deletions).buffer_unordered(PARALLEL).collect().await;
        deleted.into_iter().collect()
    }

    /// What is listed under a name belongs to whatever namespace has that name now.
    async fn check_unchanged(&self) -> Result<(), Error> {
        let api = Api::<Namespace>::all(self.client.clone());
        let now = api.get_opt(self.name()).await.step("reading the namespace")?;
        let same =
            |now: &Namespace| now.metadata.uid == self.namespace.metadata.uid && is_ours(now);
        if now.as_ref().is_some_and(same) {
            return Ok(());
        }
        Err(Fault::Replaced.into())
    }

    /// The longest grace period of its pods, or, when that should be over by now, what those have left that were deleted late.
    fn estimate(&self, pods: &[Object]) -> Duration {
        let living = self.pods.filter_in(self.name(), |pod| !pods::is_finished(pod));
        let longest = living.iter().filter_map(|pod| grace_period(pod)).max().unwrap_or_default();
        let longest = Duration::from_secs(longest);
        if self.age() < longest {
            return longest;
        }
        let ends = pods.iter().filter_map(|pod| pod.metadata.deletion_timestamp.as_ref());
        let left = ends.map(|end| end.0.duration_since(self.now)).max();
        left.and_then(|left| Duration::try_from(left).ok()).unwrap_or_default()
    }

    /// How long ago the namespace was deleted.
    fn age(&self) -> Duration {
        let deleted = self.namespace.metadata.deletion_timestamp.as_ref();
        let since = deleted.map_or(0, |time| self.now.as_second() - time.0.as_second());
        Duration::from_secs(u64::try_from(since).unwrap_or_default())
    }
}

type Object = PartialObjectMeta<DynamicObject>;

fn is_living(object: &Object) -> bool {
    object.metadata.deletion_timestamp.is_none()
}

async fn delete(api: Api<Object>, object: Object) -> Result<(), Error> {
    let this_one = Preconditions { uid: object.metadata.uid.clone(), ..Preconditions::default() };
    let how = DeleteParams::background().preconditions(this_one);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    api.delete(name, &how).await.unless_gone("deleting what is in the namespace").map(|_| ())
}

fn grace_period(pod: &Pod) -> Option<u64> {
    let seconds = pod.spec.as_ref()?.termination_grace_period_seconds?;
    u64::try_from(seconds).ok()
}
