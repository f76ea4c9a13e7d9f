//! Makes one image, and gives it to the registry.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::time::Duration;

use api_machinery::RegistryLogin;
use api_types::minik8s::{Function, FunctionVersion};
use docker::{Build, Credentials, Docker};
use tokio::time::timeout;

use super::context;
use super::log::Log;
use crate::frame::ObjectKey;
use crate::functions::FunctionArgs;

/// As many characters of the digest tell the images of a function apart.
const TAG: usize = 16;
/// On an image: the digest of what it is made of. Thus no two images of a function are the same for a registry, which deletes an
/// image under all of its names.
const DIGEST_LABEL: &str = "minik8s.io/function-digest";

/// An image that is there.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) image: String,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) reason: Reason,
    pub(super) message: String,
    /// The end of what the build has printed.
    pub(super) log: String,
}

/// What has failed, as events say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The build: most likely for what is in the source.
    BuildFailed,
    /// Docker does not answer.
    DockerUnavailable,
    /// The registry does not answer, or not as it should.
    PushFailed,
}

/// What has ended a step.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error(transparent)]
    Docker(#[from] docker::Error),
    #[error("it took longer than {} s", .0.as_secs())]
    TooLong(Duration),
}

impl Failed {
    pub(super) fn unavailable(error: &docker::Error) -> Self {
        Failed { reason: Reason::DockerUnavailable, message: chain(error), log: String::new() }
    }

    pub(super) fn of_push(message: String) -> Self {
        Failed { reason: Reason::PushFailed, message, log: String::new() }
    }

    pub(super) fn lost() -> Self {
        let message = "the build was lost".to_owned();
        Failed { reason: Reason::BuildFailed, message, log: String::new() }
    }

    /// Docker prints the commands of a build, and with them where packages come from.
    fn of_build(why: &Why, log: &Log, settings: &FunctionArgs) -> Self {
        match why {
            Why::Docker(error @ docker::Error::Unavailable(_)) => Self::unavailable(error),
            _ => {
                let words = log.last_words().map(|words| format!(": {words}"));
                let message = chain(why) + &words.unwrap_or_default();
                let [message, log] =
                    [message, log.end()].map(|text| settings.without_credentials(&text));
                Failed { reason: Reason::BuildFailed, message, log }
            }
        }
    }
}

/// The name of the image of a version.
pub(super) fn image_name(settings: &FunctionArgs, key: &ObjectKey, digest: &str) -> String {
    let registry = settings.function_registry.as_ref().map(|host| format!("{host}/"));
    let ObjectKey { namespace, name, .. } = key;
    let tag = digest.get(..TAG).unwrap_or(digest);
    format!("{}minik8s-functions/{namespace}/{name}:{tag}", registry.unwrap_or_default())
}

/// Builds and pushes what is not there yet. Dropping the future ends either.
pub(super) async fn build(
    docker: &Docker,
    settings: &FunctionArgs,
    function: &Function,
    version: &FunctionVersion,
    login: Option<RegistryLogin>,
) -> Result<Built, Failed> {
    let key = ObjectKey::of(&function.metadata);
    let image = image_name(settings, &key, &version.digest);
    let limit = settings.build_limit();
    let mut log = Log::default();
    if docker.image(&image).await.is_err() {
        let labels = [(Function::LABEL, key.to_string()), (DIGEST_LABEL, version.digest.clone())];
        let build = Build {
            image: image.clone(),
            context: context::of(&function.spec, settings).into(),
            network: context::network(&function.spec, settings),
            labels: HashMap::from(labels.map(|(name, value)| (name.to_owned(), value))),
        };
        let built = within(limit, docker.build(&build, |text| log.push(text))).await;
        built.map_err(|why| Failed::of_build(&why, &log, settings))?;
    }
    if settings.function_registry.is_some() {
        let credentials =
            login.map(|RegistryLogin { username, password }| Credentials { username, password });
        let pushed = within(limit, docker.push(&image, credentials)).await;
        pushed.map_err(|why| Failed::of_push(chain(&why)))?;
    }
    Ok(Built { image })
}

async fn within(
    limit: Duration,
    step: impl Future<Output = Result<(), docker::Error>>,
) -> Result<(), Why> {
    timeout(limit, step).await.map_err(|_| Why::TooLong(limit))?.map_err(Why::Docker)
}

/// The error and what has led to it.
pub(super) fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_does_not_tell_the_credentials_of_the_package_index() {
        let index = Some("https://me:secret@pypi/simple".to_owned());
        let settings = FunctionArgs { function_package_index: index, ..FunctionArgs::default() };
        let command = "pip install --index-url 'https://me:secret@pypi/simple'";
        let mut log = Log::default();
        log.push(&format!("Step 3/5 : RUN {command}\nno package\n"));
        let why = Why::Docker(docker::Error::Refused(format!("{command} returned 1")));
        let Failed { message, log, .. } = Failed::of_build(&why, &log, &settings);
        for told in [message, log] {
            assert!(
                told.contains("https://****@pypi/simple") && told.contains("no package"),
                "{told}"
            );
            assert!(!told.contains("secret"), "{told}");
        }
    }

    #[test]
    fn an_image_is_named_after_its_function_and_what_is_in_it() {
        let mut settings = FunctionArgs::default();
        let key = ObjectKey::new("shop", "add");
        let digest = "0123456789abcdef0123";
        let name = "minik8s-functions/shop/add:0123456789abcdef";
        assert_eq!(image_name(&settings, &key, digest), name);
        settings.function_registry = Some("10.0.0.1:5000".to_owned());
        assert_eq!(image_name(&settings, &key, digest), format!("10.0.0.1:5000/{name}"));
    }
}
