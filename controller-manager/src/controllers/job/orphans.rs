//! Lets pods go that nobody will count any more: those of Jobs that are gone or over.

use std::sync::Arc;

use api_types::api::batch::v1::Job;
use api_types::api::core::v1::Pod;
use kube::Api;
use kube::Client;

use super::job_pod::{TRACKING, is_tracked};
use super::spec;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::jobs;
use crate::owners::controller_of;
use crate::pod_control::remove_finalizer;

const NAME: &str = "job-orphan-pod-controller";

pub(crate) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, jobs, .. } = &context.informers;
    let changed = queue.clone();
    pods.on_change(move |change: &Change<Pod>| {
        let tracked = change.new.iter().filter(|pod| is_tracked(pod));
        tracked.for_each(|pod| changed.add(ObjectKey::of(&pod.metadata)));
    });
    // Weak, as pods tell those who look after Jobs: each would keep the other.
    let (of_job, changed) = (Arc::downgrade(pods), queue.clone());
    jobs.on_change(move |change: &Change<Job>| {
        let (Some(job), Some(pods)) = (change.latest(), of_job.upgrade()) else { return };
        if change.new.is_some() && !jobs::is_finished(job) {
            return;
        }
        let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let pods = pods.controlled_by(namespace, uid);
        pods.iter().for_each(|pod| changed.add(ObjectKey::of(&pod.metadata)));
    });
    let orphans = Orphans { client: context.client(), informers: context.informers.clone() };
    Registered::new(orphans, queue).reads(pods).reads(jobs)
}

struct Orphans {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Orphans {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let pod = self.informers.pods.get(key);
        if let Some(pod) = pod.filter(|pod| is_tracked(pod))
            && self.is_nobodys(&pod).await?
        {
            remove_finalizer(&self.client, &pod, TRACKING).await?;
        }
        Ok(Next::Change)
    }
}

impl Orphans {
    async fn is_nobodys(&self, pod: &Pod) -> Result<bool, Error> {
        let Some(owner) = controller_of(&pod.metadata) else { return Ok(true) };
        if owner.kind != "Job" {
            return Ok(false);
        }
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let known = self.informers.jobs.get(&ObjectKey::new(namespace, &owner.name));
        let is_it = |job: &Job| job.metadata.uid.as_ref() == Some(&owner.uid);
        if let Some(job) = known.filter(|job| is_it(job)) {
            let is_foreign = job.spec.as_ref().is_some_and(spec::is_foreign);
            return Ok(jobs::is_finished(&job) && !is_foreign);
        }
        // What is seen of Jobs may be older than what is seen of pods.
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let job = api.get_opt(&owner.name).await.step("looking for the Job of a pod")?;
        Ok(!job.is_some_and(|job| is_it(&job)))
    }
}
