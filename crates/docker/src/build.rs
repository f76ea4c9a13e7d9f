//! Making images, and giving them to a registry.

use std::{collections::HashMap, fmt};

use bollard::{
    auth::DockerCredentials,
    body_full,
    query_parameters::{
        BuildImageOptionsBuilder, PushImageOptionsBuilder, RemoveImageOptionsBuilder,
    },
};
use bytes::Bytes;
use futures::TryStreamExt;

use crate::{Docker, Error, version};

/// What an image is made of.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The image's name, with its tag.
    pub image: String,
    /// A tar archive with a `Dockerfile` and what that refers to.
    pub context: Bytes,
    /// The network in which commands run: `none`, `bridge`, `host`, or one of the user's.
    pub network: String,
    /// The image's labels.
    pub labels: HashMap<String, String>,
}

/// Who asks a registry.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

impl Docker {
    /// Makes an image; `log` gets what the build prints, as it comes. Dropping the future ends the build.
    ///
    /// # Errors
    /// [`Error::Refused`] if a step fails: its last words are in the log.
    pub async fn build(
        &self,
        build: &Build,
        mut log: impl FnMut(&str) + Send,
    ) -> Result<(), Error> {
        let engine = self.ask(|engine| async { Ok(engine) }).await?;
        let options = BuildImageOptionsBuilder::default()
            .t(&build.image)
            .networkmode(&build.network)
            .labels(&build.labels)
            .rm(true)
            .forcerm(true)
            .build();
        let mut steps = engine.build_image(options, None, Some(body_full(build.context.clone())));
        while let Some(step) = steps.try_next().await.map_err(|error| self.failed(error))? {
            step.stream.iter().for_each(|text| log(text));
        }
        Ok(())
    }

    /// Gives an image to the registry that its name begins with.
    ///
    /// # Errors
    /// [`Error::Refused`] with what the registry said.
    pub async fn push(&self, image: &str, credentials: Option<Credentials>) -> Result<(), Error> {
        let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
        let (name, options) =
            (name.to_owned(), PushImageOptionsBuilder::default().tag(tag).build());
        let credentials = credentials.map(DockerCredentials::from);
        let progress =
            self.stream(move |engine| engine.push_image(&name, Some(options), credentials));
        progress.try_for_each(|_| async { Ok(()) }).await
    }

    /// Takes a name from an image, and with the last one the image itself.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] if a container is made of it.
    pub async fn remove_image(&self, image: &str) -> Result<(), Error> {
        self.ask(|engine| async move {
            let options = RemoveImageOptionsBuilder::default().build();
            engine.remove_image(image, Some(options), None).await
        })
        .await
        .map(drop)
    }

    /// One that the daemon refuses for its version is to be tried anew by whoever wants it.
    fn failed(&self, error: bollard::errors::Error) -> Error {
        if version::is_refused(&error) {
            self.forget_version();
        }
        Error::from(error)
    }
}

impl From<Credentials> for DockerCredentials {
    fn from(credentials: Credentials) -> Self {
        DockerCredentials {
            username: Some(credentials.username),
            password: Some(credentials.password),
            ..DockerCredentials::default()
        }
    }
}
