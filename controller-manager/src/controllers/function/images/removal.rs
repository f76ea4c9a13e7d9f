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
    use std::sync::Arc;

    use api_types::jiff::Timestamp;
    use kube::api::PostParams;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use testkit::ControlPlane;

    use super::*;
    use crate::controllers::tests::context;
    use crate::frame::{Controller, WorkQueue};
    use crate::workers::WorkersArgs;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    /// The controller, whose Docker is away.
    fn images(plane: &ControlPlane) -> Images {
        let mut context = context(plane.listwatch(), WorkersArgs::default());
        context.settings.functions.docker_host = "unix:///nowhere".to_owned();
        Images::new(&context, Arc::new(WorkQueue::default()))
    }

    fn key() -> ObjectKey {
        ObjectKey::new("default", "add")
    }

    /// A function of three sources after each other; the last one has no image yet.
    async fn function(images: &Images) -> Function {
        let function = json!({
            "metadata": {"name": "add", "finalizers": [FINALIZER]},
            "spec": {"source": {"files": {"func.py": "three"}}, "historyLimit": 0},
        });
        let function: Function = serde_json::from_value(function).unwrap();
        let api = images.functions("default");
        let mut function = api.create(&PostParams::default(), &function).await.unwrap();
        let mut known = FunctionStatus { version: Some(2), ..FunctionStatus::default() };
        for code in ["one", "two"] {
            status::wanted(&of_source(&function.spec, code), &mut known.versions, NOW);
            let version = known.versions.last_mut().unwrap();
            version.image = Some(build::image_name(&images.settings, &key(), &version.digest));
        }
        status::wanted(&function.spec, &mut known.versions, NOW);
        function.status = Some(known);
        write(images, &function).await
    }

    fn of_source(spec: &FunctionSpec, code: &str) -> FunctionSpec {
        let mut spec = spec.clone();
        spec.source.as_mut().unwrap().files = [("func.py".to_owned(), code.to_owned())].into();
        spec
    }

    async fn write(images: &Images, function: &Function) -> Function {
        let api = images.functions("default");
        api.replace_status("add", &PostParams::default(), function).await.unwrap()
    }

    /// Number and image of each version.
    async fn versions(images: &Images) -> Vec<(i64, Option<String>)> {
        let function = images.functions("default").get("add").await.unwrap();
        let versions = function.status.unwrap().versions.into_iter();
        versions.map(|version| (version.version, version.image)).collect()
    }

    #[tokio::test]
    async fn a_version_is_built_while_an_old_image_cannot_be_removed() {
        let plane = ControlPlane::start().await;
        let images = images(&plane);
        let function = function(&images).await;
        let digest = function.status.as_ref().unwrap().versions[2].template_digest.clone();
        images.informers.functions.take_in(Event::Apply(function));
        let Err(failed) = images.reconcile(&key()).await else { panic!("the image is removed") };
        assert!(failed.reason().contains("removing the image"), "{failed:?}");
        let outcome = images.builds.outcome(&key(), &digest, || -> std::future::Pending<_> {
            panic!("its build has not begun")
        });
        assert!(outcome.is_none_or(|outcome| outcome.is_err()));
    }

    #[tokio::test]
    async fn an_image_that_goes_is_no_new_versions_even_if_it_cannot_be_removed() {
        let plane = ControlPlane::start().await;
        let images = images(&plane);
        let function = function(&images).await;
        let second = function.status.as_ref().unwrap().versions[1].image.clone();
        assert!(images.forget_old(&key(), &function).await.is_err());
        assert_eq!(versions(&images).await, [(1, None), (2, second), (3, None)]);
    }

    #[tokio::test]
    async fn an_image_stays_that_a_new_version_got_since_the_last_look() {
        let plane = ControlPlane::start().await;
        let images = images(&plane);
        let seen = function(&images).await;
        let mut now = seen.clone();
        now.spec = of_source(&now.spec, "one");
        (now.spec.timeout_seconds, now.spec.history_limit) = (Some(5), Some(1));
        let api = images.functions("default");
        let mut now = api.replace("add", &PostParams::default(), &now).await.unwrap();
        let known = now.status.get_or_insert_default();
        assert_eq!(status::wanted(&now.spec, &mut known.versions, NOW), 4);
        let [first, second] = [0, 1].map(|number: usize| known.versions[number].image.clone());
        write(&images, &now).await;
        // Docker, which is away, is not asked.
        images.forget_old(&key(), &seen).await.unwrap();
        assert_eq!(versions(&images).await, [(2, second), (3, None), (4, first)]);
    }

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
