//! Builds the images of versions, and removes those that no version needs.
//!
//! *Flow*: the function gets a finalizer before its first image is built; the image is built and, if there is a
//! registry, pushed; the version's record in the status gets its name, or what went wrong. A version that is not kept and
//! has no set any more loses its image, then its record. A function that is deleted loses all of them once its pods are
//! gone, then the finalizer.
//!
//! *Guarantees*: an image's name follows from the function's name and the version's digest, so what an interrupted build
//! has left is found again, used, and removed in the end. A build that failed is tried again, ever more rarely, since the
//! package index or the registry may be at fault.

mod build;
mod context;
mod retries;

use std::sync::Arc;

use api_types::api::core::v1::Pod;
use api_types::minik8s::{
    Function, FunctionStatus, FunctionVersion, FunctionVersionPhase as Phase,
};
use component::events::{EventType, Recorder};
use docker::Docker;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use self::build::{Built, Failed};
use self::retries::Retries;
use super::{FINALIZER, instances, status};
use crate::context::Context;
use crate::frame::{Controller, Error, Fault, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::functions::FunctionArgs;
use crate::informers::Informers;

const NAME: &str = "function-image-controller";

/// How often a status is written anew if others write it too.
const TRIES: usize = 10;

pub(in crate::controllers) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    super::watch(&context.informers, &queue);
    let registered = Registered::new(Images::new(context), queue).with_workers(4);
    super::read_all(registered, &context.informers)
}

struct Images {
    client: Client,
    informers: Informers,
    recorder: Recorder,
    settings: FunctionArgs,
    docker: Result<Docker, Arc<docker::Error>>,
    retries: Retries,
}

/// The Docker daemon does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("removing the image {image}: {source}")]
struct NotRemoved {
    image: String,
    source: docker::Error,
}

impl Fault for NotRemoved {
    fn may_pass(&self) -> bool {
        true
    }
}

#[async_trait::async_trait]
impl Controller for Images {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(function) = self.informers.functions.get(key) else {
            self.retries.forget(key);
            return Ok(Next::Change);
        };
        if function.metadata.deletion_timestamp.is_some() {
            return self.remove_all(key, &function).await;
        }
        self.forget_old(key, &function).await?;
        let versions = function.status.as_ref().map_or(&[][..], |status| &status.versions);
        match status::recorded(&function.spec, versions) {
            Some(version) if version.image.is_none() => self.build(key, &function, version).await,
            _ => Ok(Next::Change),
        }
    }
}

impl Images {
    fn new(context: &Context) -> Self {
        let settings = context.settings.functions.clone();
        Self {
            client: context.client(),
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
            docker: Docker::new(&settings.docker_host).map_err(Arc::new),
            settings,
            retries: Retries::default(),
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
        let number = version.version;
        let built = match &self.docker {
            Ok(docker) => build::build(docker, &self.settings, function, version).await,
            Err(error) => Err(Failed::unavailable(error)),
        };
        self.tell(function, number, &built);
        self.record(key, &version.template_digest, &built).await?;
        match built {
            Ok(_) => Ok(Next::Change),
            Err(_) => Ok(Next::After(self.retries.failed(key, &version.template_digest))),
        }
    }

    fn tell(&self, function: &Function, number: i64, built: &Result<Built, Failed>) {
        let (type_, reason, message) = match built {
            Ok(Built { image }) => {
                (EventType::Normal, "Built", format!("Version {number} is built: {image}"))
            }
            Err(Failed { message, .. }) => {
                let message = format!("Version {number} cannot be built: {message}");
                (EventType::Warning, "BuildFailed", message)
            }
        };
        self.recorder.about(function, type_, reason, message);
    }

    /// Writes down what came of a build.
    async fn record(
        &self,
        key: &ObjectKey,
        template_digest: &str,
        built: &Result<Built, Failed>,
    ) -> Result<(), Error> {
        self.change_status(key, |status| {
            let mut versions = status.versions.iter_mut();
            let version = versions.find(|version| version.template_digest == template_digest);
            let Some(version) = version else { return };
            match built {
                Ok(Built { image }) => {
                    version.image = Some(image.clone());
                    version.phase = Phase::Building;
                    (version.message, version.build_log) = (None, None);
                }
                Err(Failed { message, log }) => {
                    version.phase = Phase::Failed;
                    version.message = Some(message.clone());
                    version.build_log = Some(log.clone()).filter(|log| !log.is_empty());
                }
            }
        })
        .await
    }

    /// Forgets the versions that are not kept, once they have no set.
    async fn forget_old(&self, key: &ObjectKey, function: &Function) -> Result<(), Error> {
        let Some(seen) = &function.status else { return Ok(()) };
        let Some(wanted) = status::recorded(&function.spec, &seen.versions) else { return Ok(()) };
        let kept = status::kept(seen, wanted.version, &function.spec);
        let has_set = self.numbers_of_sets(key, function);
        let is_old =
            |v: &FunctionVersion| !kept.contains(&v.version) && !has_set.contains(&v.version);
        let (old, others): (Vec<_>, Vec<_>) = seen.versions.iter().partition(|v| is_old(v));
        if old.is_empty() {
            return Ok(());
        }
        for version in &old {
            if !others.iter().any(|other| other.digest == version.digest) {
                self.remove(key, function, version).await?;
            }
        }
        let old: Vec<i64> = old.iter().map(|version| version.version).collect();
        let keep = |version: &FunctionVersion| !old.contains(&version.version);
        self.change_status(key, |status| status.versions.retain(keep)).await
    }

    fn numbers_of_sets(&self, key: &ObjectKey, function: &Function) -> Vec<i64> {
        let uid = function.metadata.uid.as_deref().unwrap_or_default();
        let sets = self.informers.replica_sets.controlled_by(&key.namespace, uid);
        sets.iter().filter_map(|set| instances::version(set)).collect()
    }

    async fn remove_all(&self, key: &ObjectKey, function: &Function) -> Result<Next, Error> {
        let is_its = |pod: &Pod| super::function_of(&pod.metadata).as_ref() == Some(key);
        let pods = self.informers.pods.filter_in(&key.namespace, is_its);
        if !has_finalizer(function) || !pods.is_empty() {
            return Ok(Next::Change);
        }
        if !self.numbers_of_sets(key, function).is_empty() {
            return Ok(Next::Change);
        }
        for version in function.status.iter().flat_map(|status| &status.versions) {
            self.remove(key, function, version).await?;
        }
        self.set_finalizers(function, |all| all.retain(|one| one != FINALIZER)).await?;
        Ok(Next::Change)
    }

    /// Removes the image that the version has or may have got; a given one is not ours.
    async fn remove(
        &self,
        key: &ObjectKey,
        function: &Function,
        version: &FunctionVersion,
    ) -> Result<(), Error> {
        let image = build::image_name(&self.settings, key, &version.digest);
        if !has_finalizer(function) || version.image.as_ref().is_some_and(|given| *given != image) {
            return Ok(());
        }
        let Ok(docker) = &self.docker else { return Ok(()) };
        match docker.remove_image(&image).await {
            Ok(()) | Err(docker::Error::NotFound(_)) => Ok(()),
            Err(source) => Err(NotRemoved { image, source }.into()),
        }
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

    /// Reads, changes and writes, until nobody has written in between.
    async fn change_status(
        &self,
        key: &ObjectKey,
        change: impl Fn(&mut FunctionStatus),
    ) -> Result<(), Error> {
        let api = self.functions(&key.namespace);
        for _ in 0..TRIES {
            let read = api.get(&key.name).await.unless_gone("reading the function")?;
            let Some(mut function) = read else { return Ok(()) };
            change(function.status.get_or_insert_default());
            let written = api.replace_status(&key.name, &PostParams::default(), &function).await;
            match written.unless_gone("writing the status") {
                Err(error) if error.is_conflict() => {}
                written => return written.map(drop),
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

fn has_finalizer(function: &Function) -> bool {
    function.metadata.finalizers.iter().flatten().any(|one| one == FINALIZER)
}
