//! Gives every GPU job the pod that takes it through Slurm, with an account of its own, and deletes jobs that ended long
//! ago. What happens in Slurm is the business of the `gpu-server` in the pod.

mod cluster;
mod directories;
mod identity;
mod plan;
mod pod;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{ConfigMap, Namespace, Pod, Secret};
use api_types::minik8s::{GpuJob, GpuJobCluster, GpuJobSources};
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, Resource};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step as _, Watched, WorkQueue,
};
use crate::gpu_jobs::GpuJobArgs;
use crate::informers::Informers;
use crate::nodes;
use crate::owners::controller_of;
use crate::pod_control::PodControl;
use cluster::{CONFIG_NAMESPACE, Cluster, Unknown};
use identity::Identity;
use plan::{PERIOD, Seen, Step};
use status::Readiness;

const NAME: &str = "gpu-job-controller";
/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let Informers { gpu_jobs, pods, nodes, namespaces, .. } = &context.informers;
    let Informers { service_accounts, roles, role_bindings, .. } = &context.informers;
    let registered = Registered::new(GpuJobs::new(context), queue);
    let registered = registered.reads(&**service_accounts).reads(&**roles).reads(&**role_bindings);
    registered.reads(&**gpu_jobs).reads(&**pods).reads(&**nodes).reads(&**namespaces)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    informers.gpu_jobs.on_change(move |change: &Change<GpuJob>| {
        change.latest().into_iter().for_each(|job| wanted.add(ObjectKey::of(&job.metadata)));
    });
    watch_owned(&informers.pods, queue);
    watch_owned(&informers.service_accounts, queue);
    watch_owned(&informers.roles, queue);
    watch_owned(&informers.role_bindings, queue);
}

/// What happens to that which jobs control is the jobs' concern.
fn watch_owned<K: Watched>(objects: &Informer<K>, queue: &Arc<WorkQueue>) {
    let wanted = queue.clone();
    objects.on_change(move |change: &Change<K>| {
        let owner = |object: &Arc<K>| {
            let owner = controller_of(object.meta()).filter(|owner| owner.kind == "GpuJob")?;
            Some(ObjectKey::new(object.meta().namespace.as_deref()?, &owner.name))
        };
        change.versions().filter_map(owner).for_each(|key| wanted.add(key));
    });
}

struct GpuJobs {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    control: PodControl<GpuJob>,
    args: GpuJobArgs,
}

#[async_trait::async_trait]
impl Controller for GpuJobs {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(job) = self.informers.gpu_jobs.get(key) else {
            self.control.forget(key);
            return Ok(Next::Change);
        };
        self.control.settle(key, &job).await?;
        if !self.control.shows_own_writes(key) {
            return Ok(Next::After(UNSEEN));
        }
        let uid = job.metadata.uid.as_deref().unwrap_or_default();
        let pods = self.informers.pods.controlled_by(&key.namespace, uid);
        let (step, next) = self.decide(key, &job, &pods);
        let server = plan::server(&pods);
        match step {
            Step::Hold => self.set_held(key, &job, true).await?,
            Step::Release => self.set_held(key, &job, false).await?,
            Step::Abandon => self.abandon(key, &job).await?,
            Step::Expire => self.delete(key, &job).await?,
            Step::Fail => self.fail(key, &job).await?,
            Step::DeletePods(over) => self.control.delete(key, &job, &over).await?,
            Step::Wait if !plan::is_held(&job) || plan::needs_no_server(&job) => {}
            Step::Wait => return Ok(self.keep(key, &job, server).await?.unwrap_or(next)),
            Step::Serve => return self.serve(key, &job).await,
        }
        Ok(next)
    }
}

impl GpuJobs {
    fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        let recorder = context.recorder(NAME);
        let control = PodControl::new(client.clone(), recorder.clone(), informers.pods.clone());
        let args = context.settings.gpu_jobs.clone();
        Self { client, clock: context.clock, informers, recorder, control, args }
    }

    fn decide(&self, key: &ObjectKey, job: &GpuJob, pods: &[Arc<Pod>]) -> (Step, Next) {
        let namespace = self.namespace(key);
        plan::decide(&Seen {
            job,
            pods,
            is_node_ready: &|name| {
                let node = self.informers.nodes.get(&ObjectKey::cluster(name));
                node.is_some_and(|node| nodes::is_ready(&node))
            },
            is_namespace_going: namespace
                .is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some()),
            now: self.clock.now(),
        })
    }

    fn namespace(&self, key: &ObjectKey) -> Option<Arc<Namespace>> {
        self.informers.namespaces.get(&ObjectKey::cluster(&*key.namespace))
    }

    /// Sees that the server can do its work, and tells how it does.
    async fn keep(
        &self,
        key: &ObjectKey,
        job: &GpuJob,
        server: Option<&Arc<Pod>>,
    ) -> Result<Option<Next>, Error> {
        if let Some(server) = server {
            let identity = self.identity(key, job);
            if identity.is_another_than_of(job, server) {
                self.control.delete(key, job, std::slice::from_ref(server)).await?;
                return Ok(None);
            }
            if !identity.is_whole(job)
                && let Err(taken) = identity::ensure(&self.client, job).await?
            {
                return self.hindered(key, job, "AccountTaken", taken.to_string()).await.map(Some);
            }
        }
        let server = server.map(AsRef::as_ref);
        let readiness = self.readiness(key, job, server).await?;
        self.tell(key, job, readiness, server).await?;
        Ok(None)
    }

    fn identity(&self, key: &ObjectKey, job: &GpuJob) -> Identity {
        let named = ObjectKey::new(&key.namespace, identity::name(job));
        let Informers { service_accounts, roles, role_bindings, .. } = &self.informers;
        Identity {
            account: service_accounts.get(&named),
            role: roles.get(&named),
            binding: role_bindings.get(&named),
        }
    }

    /// Makes the account and the pod, or tells why that can't be.
    async fn serve(&self, key: &ObjectKey, job: &GpuJob) -> Result<Next, Error> {
        let refusal = directories::refusal(job, &self.args.gpu_volume_roots);
        if let Some(refusal) = refusal.filter(|_| !plan::is_going(job)) {
            return self.hindered(key, job, "DirectoryRefused", refusal).await;
        }
        let cluster = match self.cluster(key, job).await? {
            Ok(cluster) => cluster,
            Err(unknown) => {
                return self.hindered(key, job, "ClusterUnknown", unknown.to_string()).await;
            }
        };
        let account = match identity::ensure(&self.client, job).await? {
            Ok(account) => account,
            Err(taken) => {
                return self.hindered(key, job, "AccountTaken", taken.to_string()).await;
            }
        };
        let pod = pod::pod(job, &cluster, account, &self.args);
        let created = self.control.create(key, job, &[pod]).await;
        let readiness = match &created {
            Ok(()) => Readiness::made(),
            Err(error) => Readiness::hindered("FailedCreate", error.reason()),
        };
        self.tell(key, job, readiness, None).await?;
        created.map(|()| Next::Change)
    }

    async fn hindered(
        &self,
        key: &ObjectKey,
        job: &GpuJob,
        reason: &str,
        message: String,
    ) -> Result<Next, Error> {
        self.tell(key, job, Readiness::hindered(reason, message), None).await?;
        Ok(Next::After(PERIOD))
    }

    async fn cluster(
        &self,
        key: &ObjectKey,
        job: &GpuJob,
    ) -> Result<Result<Cluster, Unknown>, Error> {
        let own = job.spec.cluster.clone().unwrap_or_default();
        let mut said = vec![own.clone()];
        if let Some(map) = &own.config_map_ref {
            match self.said_by(&key.namespace, &map.name).await? {
                Some(Ok(more)) => said.push(more),
                Some(Err(unknown)) => return Ok(Err(unknown)),
                None => {
                    let name = format!("{}/{}", key.namespace, map.name);
                    return Ok(Err(Unknown::NoConfigMap(name)));
                }
            }
        }
        match self.said_by(CONFIG_NAMESPACE, GpuJob::CLUSTER_CONFIG_NAME).await? {
            Some(Ok(more)) => said.push(more),
            // Who says all that is needed does not wait for others to mend theirs.
            Some(Err(unknown)) => return Ok(cluster::resolve(said).map_err(|_| unknown)),
            None => {}
        }
        Ok(cluster::resolve(said))
    }

    async fn said_by(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Result<GpuJobCluster, Unknown>>, Error> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), namespace);
        let map = api.get_opt(name).await.step("reading where the Slurm cluster is")?;
        Ok(map.map(|map| cluster::of_config_map(&format!("{namespace}/{name}"), &map)))
    }

    /// How the pod does. A pod waits for what it mounts, and says so in events alone.
    async fn readiness(
        &self,
        key: &ObjectKey,
        job: &GpuJob,
        server: Option<&Pod>,
    ) -> Result<Readiness, Error> {
        let readiness = Readiness::of(server);
        if readiness.is_ready() || server.is_none() || readiness.is_trouble() {
            return Ok(readiness);
        }
        let sources = job.spec.sources.clone().unwrap_or_default();
        let GpuJobSources { config_map, secret, .. } = sources;
        let secrets = [Some(job.spec.credentials.secret_ref.clone()), secret];
        for secret in secrets.into_iter().flatten() {
            if !self.exists::<Secret>(key, &secret.name).await? {
                return Ok(not_found("Secret", &secret.name));
            }
        }
        match config_map {
            Some(map) if !self.exists::<ConfigMap>(key, &map.name).await? => {
                Ok(not_found("ConfigMap", &map.name))
            }
            _ => Ok(readiness),
        }
    }

    async fn exists<K>(&self, key: &ObjectKey, name: &str) -> Result<bool, Error>
    where
        K: Resource<DynamicType = (), Scope = api_types::NamespaceResourceScope>,
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &key.namespace);
        let found = api.get_metadata_opt(name).await.step("looking for what a job's pod mounts")?;
        Ok(found.is_some())
    }

    async fn tell(
        &self,
        key: &ObjectKey,
        job: &GpuJob,
        readiness: Readiness,
        server: Option<&Pod>,
    ) -> Result<(), Error> {
        let readiness = readiness.for_job(job);
        let Some(patch) = status::patch(job, &readiness, server, self.clock.now()) else {
            return Ok(());
        };
        let (api, patch) = (self.api(key), Patch::Merge(patch));
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.unless_gone("writing the status of a job")?;
        if patched.is_some() && status::is_news(job, &readiness) {
            self.recorder.about(job, EventType::Warning, &readiness.reason, readiness.message);
        }
        Ok(())
    }

    /// Puts the finalizer on the job or takes it away, on condition that nobody has changed the job: its server may just have
    /// begun.
    async fn set_held(&self, key: &ObjectKey, job: &GpuJob, held: bool) -> Result<(), Error> {
        let mut finalizers = job.metadata.finalizers.clone().unwrap_or_default();
        finalizers.retain(|finalizer| finalizer != GpuJob::FINALIZER);
        finalizers.extend(held.then(|| GpuJob::FINALIZER.to_owned()));
        let patch = Patch::Merge(json!({"metadata": {
            "uid": job.metadata.uid,
            "resourceVersion": job.metadata.resource_version,
            "finalizers": finalizers,
        }}));
        let patched = self.api(key).patch(&key.name, &PatchParams::default(), &patch).await;
        patched.unless_gone("changing the finalizers of a job").map(drop)
    }

    /// Events of the job itself can't be made any more.
    async fn abandon(&self, key: &ObjectKey, job: &GpuJob) -> Result<(), Error> {
        self.set_held(key, job, false).await?;
        if let Some(namespace) = self.namespace(key) {
            let left = left_in_slurm(job);
            let message =
                format!("GpuJob {key} went without its server, which may have left {left}");
            self.recorder.about(&*namespace, EventType::Warning, "GpuJobAbandoned", message);
        }
        Ok(())
    }

    async fn fail(&self, key: &ObjectKey, job: &GpuJob) -> Result<(), Error> {
        let patch = Patch::Merge(status::failed(job, self.clock.now()));
        let patched = self.api(key).patch_status(&key.name, &PatchParams::default(), &patch).await;
        if patched.unless_gone("writing that a job has failed")?.is_some() {
            let (reason, message) = (status::DEADLINE_EXCEEDED, status::overdue(job));
            self.recorder.about(job, EventType::Warning, reason, message);
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, job: &GpuJob) -> Result<(), Error> {
        let this_one = Preconditions {
            uid: job.metadata.uid.clone(),
            resource_version: job.metadata.resource_version.clone(),
        };
        let params = DeleteParams::background().preconditions(this_one);
        let deleted = self.api(key).delete(&key.name, &params).await;
        deleted.unless_gone("deleting a job that ended long ago").map(drop)
    }

    fn api(&self, key: &ObjectKey) -> Api<GpuJob> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

fn not_found(kind: &str, name: &str) -> Readiness {
    let message = format!("its pod waits for {kind} {name}, which does not exist");
    Readiness::hindered(&format!("{kind}NotFound"), message)
}

/// Jobs that have not ended, and the directory.
fn left_in_slurm(job: &GpuJob) -> String {
    let tasks = job.status.iter().flat_map(|status| &status.tasks);
    let ids = tasks.filter(|task| task.end_time.is_none()).filter_map(|task| task.job_id.clone());
    let ids: Vec<_> = ids.collect();
    let uid = job.metadata.uid.as_deref().unwrap_or_default();
    let directory = format!("the directory {uid} there");
    if ids.is_empty() {
        directory
    } else {
        format!("Slurm's jobs {} and {directory}", ids.join(", "))
    }
}
