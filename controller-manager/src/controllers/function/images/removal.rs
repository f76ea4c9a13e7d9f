//! Removes images that no version needs, from Docker and from the registry.

use api_types::api::core::v1::Pod;
use api_types::minik8s::{Function, FunctionSpec, FunctionStatus, FunctionVersion};
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
        let sets = self.numbers_of_sets(key, function);
        let seen = function.status.as_ref();
        if seen.and_then(|status| Old::of_function(&function.spec, status, &sets)).is_none() {
            return Ok(());
        }
        let release = |spec: &FunctionSpec, status: &mut FunctionStatus| {
            let old = Old::of_function(spec, status, &sets)?;
            self.release(key, status, &old);
            Some(old)
        };
        let released = self.change_status(key, release).await?;
        let Some(Old { versions, images }) = released.flatten() else { return Ok(()) };
        for version in &images {
            self.remove(key, function, version).await?;
        }
        let forget = |_: &FunctionSpec, status: &mut FunctionStatus| {
            status.versions.retain(|version| !versions.contains(&version.version));
        };
        self.change_status(key, forget).await.map(drop)
    }

    /// New versions get an image that a record names. The record itself stays until the image is gone.
    fn release(&self, key: &ObjectKey, status: &mut FunctionStatus, old: &Old) {
        for FunctionVersion { version, digest, .. } in &old.images {
            let image = build::image_name(&self.settings, key, digest);
            let record = status::find_mut(&mut status.versions, *version);
            if let Some(record) = record.filter(|record| record.image.as_ref() == Some(&image)) {
                record.image = None;
            }
        }
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

/// Versions that nobody needs any more.
struct Old {
    versions: Vec<i64>,
    /// Those of them whose image no version has that is needed.
    images: Vec<FunctionVersion>,
}

impl Old {
    /// Those that are not kept and have no set, if there are any.
    fn of_function(spec: &FunctionSpec, status: &FunctionStatus, sets: &[i64]) -> Option<Self> {
        let wanted = status::recorded(spec, &status.versions)?;
        let mut needed = status::kept(status, wanted.version, spec);
        needed.extend(sets);
        Some(Self::of(&status.versions, &needed)).filter(|old| !old.versions.is_empty())
    }

    fn of(versions: &[FunctionVersion], needed: &[i64]) -> Self {
        let (stay, old): (Vec<_>, Vec<_>) =
            versions.iter().partition(|version| needed.contains(&version.version));
        let is_shared =
            |version: &FunctionVersion| stay.iter().any(|other| other.digest == version.digest);
        Self {
            versions: old.iter().map(|version| version.version).collect(),
            images: old.into_iter().filter(|version| !is_shared(version)).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_stays_while_a_version_has_it() {
        let version = |version, digest: &str| FunctionVersion {
            version,
            digest: digest.to_owned(),
            ..FunctionVersion::default()
        };
        let versions = [version(1, "a"), version(2, "b"), version(3, "a"), version(4, "c")];
        let old = Old::of(&versions, &[3, 4]);
        let images: Vec<_> = old.images.iter().map(|version| version.version).collect();
        assert_eq!((old.versions, images), (vec![1, 2], vec![2]));
        assert!(Old::of(&versions, &[1, 2, 3, 4]).versions.is_empty());
    }
}
