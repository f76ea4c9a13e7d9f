//! Removes images that no version needs, from Docker and from the registry.

use api_types::api::core::v1::Pod;
use api_types::minik8s::{Function, FunctionVersion};
use component::events::EventType;
use docker::Docker;

use super::build::{self, chain};
use super::{FINALIZER, Images, has_finalizer, registry};
use crate::controllers::function::{function_of, instances, status};
use crate::frame::{Error, Fault, Next, ObjectKey};

/// Docker or the registry does not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[error("removing the image {image}: {why}")]
struct NotRemoved {
    image: String,
    why: String,
}

impl Fault for NotRemoved {
    fn may_pass(&self) -> bool {
        true
    }
}

impl Images {
    /// Forgets the versions that are not kept, once they have no set.
    pub(super) async fn forget_old(
        &self,
        key: &ObjectKey,
        function: &Function,
    ) -> Result<(), Error> {
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

    pub(super) async fn remove_all(
        &self,
        key: &ObjectKey,
        function: &Function,
    ) -> Result<Next, Error> {
        let is_its = |pod: &Pod| function_of(&pod.metadata).as_ref() == Some(key);
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
        let gone = async {
            if let Ok(docker) = &self.docker {
                self.remove_from_docker(docker, &image).await?;
            }
            self.remove_from_registry(&image).await
        };
        gone.await.map_err(|why| {
            let message = format!("Cannot remove the image {image}: {why}");
            self.recorder.about(function, EventType::Warning, "ImageNotRemoved", message);
            NotRemoved { image: image.clone(), why }.into()
        })
    }

    async fn remove_from_docker(&self, docker: &Docker, image: &str) -> Result<(), String> {
        match docker.remove_image(image).await {
            Ok(()) | Err(docker::Error::NotFound(_)) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn remove_from_registry(&self, image: &str) -> Result<(), String> {
        let Some(registry) = &self.settings.function_registry else { return Ok(()) };
        let login = super::login(&self.client, &self.settings).await?;
        let certs = self.settings.registry_certs(registry);
        let deleted = registry::delete(image, login.as_ref(), &certs).await;
        deleted.map_err(|error| chain(&error))
    }
}
