//! Fetching images: as whom, and which before a pod needs them.

pub mod ahead;

use api_machinery::{RegistryLogin, registry_login::DOCKER_CONFIG, registry_logins};
use api_types::api::core::v1::{LocalObjectReference, Secret};

use crate::{
    context::Context,
    describe::describe,
    runtime::{PodIdentity, RuntimeError},
};

/// What the Secrets that a pod names say of an image's registry.
#[derive(Debug, Default)]
pub struct Logins {
    found: Vec<RegistryLogin>,
    /// Secrets that are not there, or make no sense.
    pub missing: Vec<String>,
}

impl Logins {
    /// Reads the Secrets of a pod.
    pub async fn read(
        context: &Context,
        pod: &PodIdentity,
        secrets: &[LocalObjectReference],
        image: &str,
    ) -> Self {
        let mut logins = Self::default();
        logins.add(context, pod, secrets, image).await;
        logins
    }

    /// Adds what the Secrets of another pod say.
    pub async fn add(
        &mut self,
        context: &Context,
        pod: &PodIdentity,
        secrets: &[LocalObjectReference],
        image: &str,
    ) {
        for LocalObjectReference { name } in secrets {
            let secret = context.objects.secret(pod, name).await.unwrap_or_else(|error| {
                let error = describe(&error);
                tracing::warn!(error, name, "cannot read a Secret to pull an image with");
                None
            });
            match secret.and_then(|secret| of_secret(&secret, image)) {
                Some(found) => self.found.extend(found),
                None => self.missing.push(name.clone()),
            }
        }
    }
}

fn of_secret(secret: &Secret, image: &str) -> Option<Vec<RegistryLogin>> {
    registry_logins(&secret.data.as_ref()?.get(DOCKER_CONFIG)?.0, image).ok()
}

/// Fetches an image as the first of these that the registry lets, or as nobody if there is none.
///
/// # Errors
/// What the last one was told.
pub async fn pull(context: &Context, image: &str, logins: &Logins) -> Result<(), RuntimeError> {
    let Some((last, others)) = logins.found.split_last() else {
        return context.runtime.pull(image, None).await;
    };
    for login in others {
        if context.runtime.pull(image, Some(login)).await.is_ok() {
            return Ok(());
        }
    }
    context.runtime.pull(image, Some(last)).await
}
