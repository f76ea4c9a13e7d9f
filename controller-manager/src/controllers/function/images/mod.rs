//! Builds the images of versions, and removes those that no version needs.
//!
//! *Flow*: the function gets a finalizer before its first image is built; the image is built and, if there is a
//! registry, pushed; the version's record in the status gets its name, or what went wrong. A version that is not kept and
//! has no set any more loses its image, then its record; before that, the record names the image no more, so that no new
//! version of the same source gets it. A function that is deleted loses all of them once its pods are
//! gone, then the finalizer.
//!
//! *Guarantees*: an image's name follows from the function's name and the version's digest, so what an interrupted build
//! has left is found again, used, and removed in the end. A build that failed is tried again, ever more rarely, since the
//! package index or the registry may be at fault. A version whose image is built and cannot be pushed is not taken for a
//! bad one. Builds end when the function is deleted, when it asks for something else, and after a time.

mod build;
mod builds;
mod context;
mod log;
mod registry;
mod removal;
mod retries;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use api_machinery::registry_login::DOCKER_CONFIG;
use api_machinery::{RegistryLogin, registry_logins};
use api_types::api::core::v1::Secret;
use api_types::minik8s::{
    Function, FunctionSpec, FunctionStatus, FunctionVersion, FunctionVersionPhase as Phase,
};
use component::events::{EventType, Recorder};
use docker::Docker;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use self::build::{Built, Failed, Reason};
use self::builds::Builds;
use self::retries::Retries;
use super::{FINALIZER, status};
use crate::context::Context;
use crate::frame::{
    Controller, Error, Fault, Next, ObjectKey, Registered, Step, WorkQueue, reason,
};
use crate::functions::FunctionArgs;
use crate::informers::Informers;

const NAME: &str = "function-image-controller";

/// How often a status is written anew if others write it too.
const TRIES: usize = 10;

pub(crate) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    super::watch(&context.informers, &queue);
    let images = Images::new(context, queue.clone());
    super::read_all(Registered::new(images, queue), &context.informers)
}

struct Images {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    settings: FunctionArgs,
    docker: Result<Docker, Arc<docker::Error>>,
    builds: Builds,
    retries: Retries,
}

#[async_trait::async_trait]
impl Controller for Images {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(function) = self.informers.functions.get(key) else {
            self.builds.end(key);
            self.retries.forget(key);
            return Ok(Next::Change);
        };
        if function.metadata.deletion_timestamp.is_some() {
            self.builds.end(key);
            return self.remove_all(key, &function).await;
        }
        // No version waits for an old image that cannot be removed.
        let next = self.build_wanted(key, &function).await;
        self.forget_old(key, &function).await?;
        next
    }
}

impl Images {
    fn new(context: &Context, queue: Arc<WorkQueue>) -> Self {
        let settings = context.settings.functions.clone();
        Self {
            client: context.client(),
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            docker: Docker::new(&settings.docker_host).map_err(Arc::new),
            builds: Builds::new(settings.concurrent_function_builds, queue),
            settings,
            retries: Retries::default(),
        }
    }

    async fn build_wanted(&self, key: &ObjectKey, function: &Function) -> Result<Next, Error> {
        let versions = function.status.as_ref().map_or(&[][..], |status| &status.versions);
        match status::recorded(&function.spec, versions) {
            Some(version) if version.image.is_none() => self.build(key, function, version).await,
            _ => {
                self.builds.end(key);
                Ok(Next::Change)
            }
        }
    }

    async fn build(
        &self,
        key: &ObjectKey,
        function: &Function,
        version: &FunctionVersion,
    ) -> Result<Next, Error> {
        if let Some(wait) = self.retries.wait(key, &version.template_digest) {
            return Ok(Next::After(wait));
        }
        if !has_finalizer(function) {
            self.set_finalizers(function, |all| all.push(FINALIZER.to_owned())).await?;
        }
        let begin = || self.image_of(function.clone(), version.clone());
        let Some(built) = self.builds.outcome(key, &version.template_digest, begin) else {
            return Ok(Next::Change);
        };
        self.tell(function, version.version, &built);
        let next = match built {
            Ok(_) => Next::Change,
            Err(_) => Next::After(self.retries.failed(key, &version.template_digest)),
        };
        self.record(key, &version.template_digest, &built).await?;
        Ok(next)
    }

    /// A build, which goes on for as long as it is wanted.
    fn image_of(
        &self,
        function: Function,
        version: FunctionVersion,
    ) -> impl Future<Output = Result<Built, Failed>> + Send + 'static {
        let (docker, client) = (self.docker.clone(), self.client.clone());
        let settings = self.settings.clone();
        async move {
            let docker = docker.map_err(|error| Failed::unavailable(&error))?;
            let login = login(&client, &settings).await.map_err(Failed::of_push)?;
            build::build(&docker, &settings, &function, &version, login).await
        }
    }

    fn tell(&self, function: &Function, number: i64, built: &Result<Built, Failed>) {
        let (type_, reason, message) = match built {
            Ok(Built { image }) => (
                EventType::Normal,
                "Built".to_owned(),
                format!("Version {number} is built: {image}"),
            ),
            Err(Failed { reason, message, .. }) => {
                let what = match reason {
                    Reason::PushFailed => "cannot be pushed",
                    Reason::BuildFailed | Reason::DockerUnavailable => "cannot be built",
                };
                let message = format!("Version {number} {what}: {message}");
                (EventType::Warning, format!("{reason:?}"), message)
            }
        };
        self.recorder.about(function, type_, &reason, message);
    }

    /// Writes down what came of a build.
    async fn record(
        &self,
        key: &ObjectKey,
        template_digest: &str,
        built: &Result<Built, Failed>,
    ) -> Result<(), Error> {
        let record = |_: &FunctionSpec, status: &mut FunctionStatus| {
            let mut versions = status.versions.iter_mut();
            let version = versions.find(|version| version.template_digest == template_digest);
            let Some(version) = version else { return };
            match built {
                Ok(Built { image }) => {
                    version.image = Some(image.clone());
                    version.phase = Phase::Building;
                    (version.message, version.build_log) = (None, None);
                }
                Err(Failed { reason, message, log }) => {
                    version.phase = match reason {
                        Reason::BuildFailed => Phase::Failed,
                        Reason::DockerUnavailable | Reason::PushFailed => Phase::Building,
                    };
                    version.message = Some(message.clone());
                    version.build_log = Some(log.clone()).filter(|log| !log.is_empty());
                }
            }
        };
        self.change_status(key, record).await.map(drop)
    }

    async fn set_finalizers(
        &self,
        function: &Function,
        change: impl FnOnce(&mut Vec<String>),
    ) -> Result<(), Error> {
        let metadata = &function.metadata;
        let mut finalizers = metadata.finalizers.clone().unwrap_or_default();
        change(&mut finalizers);
        let patch = Patch::Merge(json!({"metadata": {
            "uid": metadata.uid,
            "resourceVersion": metadata.resource_version,
            "finalizers": finalizers,
        }}));
        let name = metadata.name.as_deref().unwrap_or_default();
        let api = self.functions(metadata.namespace.as_deref().unwrap_or_default());
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.unless_gone("setting the finalizer").map(drop)
    }

    /// Reads, changes and writes, until nobody has written in between. Gives what the change does, if the function is there.
    async fn change_status<T>(
        &self,
        key: &ObjectKey,
        change: impl Fn(&FunctionSpec, &mut FunctionStatus) -> T,
    ) -> Result<Option<T>, Error> {
        let api = self.functions(&key.namespace);
        for _ in 0..TRIES {
            let read = api.get(&key.name).await.unless_gone("reading the function")?;
            let Some(mut function) = read else { return Ok(None) };
            let changed = change(&function.spec, function.status.get_or_insert_default());
            let written = api.replace_status(&key.name, &PostParams::default(), &function).await;
            match written.unless_gone("writing the status") {
                Err(error) if error.is_conflict() => {}
                written => return Ok(written?.map(|_| changed)),
            }
        }
        Err(Contended.into())
    }

    fn functions(&self, namespace: &str) -> Api<Function> {
        Api::namespaced(self.client.clone(), namespace)
    }
}

/// Others have written the status all the time.
#[derive(Debug, thiserror::Error)]
#[error("the status changes too often")]
struct Contended;

impl Fault for Contended {
    fn may_pass(&self) -> bool {
        true
    }
}

/// As whom the registry is asked; what is wrong with the Secret otherwise.
async fn login(client: &Client, settings: &FunctionArgs) -> Result<Option<RegistryLogin>, String> {
    let (Some(registry), Some(key)) =
        (&settings.function_registry, &settings.function_registry_secret)
    else {
        return Ok(None);
    };
    let secrets = Api::<Secret>::namespaced(client.clone(), &key.namespace);
    let secret = secrets.get(&key.name).await;
    let secret = secret.map_err(|error| format!("the Secret {key}: {}", reason(&error)))?;
    let config = secret.data.as_ref().and_then(|data| data.get(DOCKER_CONFIG));
    let config = config.ok_or_else(|| format!("the Secret {key} has no {DOCKER_CONFIG}"))?;
    let image = format!("{registry}/minik8s-functions");
    let logins = registry_logins(&config.0, &image);
    let logins = logins.map_err(|error| format!("the Secret {key}: {error}"))?;
    let first = logins.into_iter().next();
    first.map(Some).ok_or_else(|| format!("the Secret {key} has nothing for {registry}"))
}

fn has_finalizer(function: &Function) -> bool {
    function.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
}
