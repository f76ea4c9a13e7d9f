//! Makes one image.

use std::collections::HashMap;
use std::error::Error as StdError;

use api_types::minik8s::{Function, FunctionVersion};
use docker::{Build, Docker};

use super::context;
use crate::frame::ObjectKey;
use crate::functions::FunctionArgs;

/// As much of what a failed build has printed is kept, from its end.
const LOG: usize = 4096;
/// As many characters of the digest tell the images of a function apart.
const TAG: usize = 16;

/// An image that is there.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) image: String,
}

/// Why there is none.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) message: String,
    /// The end of what the build has printed.
    pub(super) log: String,
}

impl Failed {
    pub(super) fn unavailable(error: &docker::Error) -> Self {
        Failed { message: chain(error), log: String::new() }
    }
}

/// The name of the image of a version.
pub(super) fn image_name(settings: &FunctionArgs, key: &ObjectKey, digest: &str) -> String {
    let registry = settings.function_registry.as_ref().map(|host| format!("{host}/"));
    let ObjectKey { namespace, name, .. } = key;
    let tag = digest.get(..TAG).unwrap_or(digest);
    format!("{}minik8s-functions/{namespace}/{name}:{tag}", registry.unwrap_or_default())
}

/// Builds and pushes what is not there yet.
pub(super) async fn build(
    docker: &Docker,
    settings: &FunctionArgs,
    function: &Function,
    version: &FunctionVersion,
) -> Result<Built, Failed> {
    let key = ObjectKey::of(&function.metadata);
    let image = image_name(settings, &key, &version.digest);
    let mut log = String::new();
    let done = async {
        if docker.image(&image).await.is_err() {
            let build = Build {
                image: image.clone(),
                context: context::of(&function.spec, settings).into(),
                network: context::network(&function.spec, settings),
                labels: HashMap::from([(Function::LABEL.to_owned(), key.to_string())]),
            };
            docker.build(&build, |text| log.push_str(text)).await?;
        }
        match settings.function_registry {
            Some(_) => docker.push(&image, None).await,
            None => Ok(()),
        }
    };
    match done.await {
        Ok(()) => Ok(Built { image }),
        Err(error) => Err(Failed { message: chain(&error), log: end(&log) }),
    }
}

/// The error and what has led to it.
fn chain(error: &docker::Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn StdError), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The last lines.
fn end(log: &str) -> String {
    let mut start = log.len().saturating_sub(LOG);
    while !log.is_char_boundary(start) {
        start += 1;
    }
    let cut = &log[start..];
    match cut.split_once('\n') {
        Some((_, rest)) if start > 0 => rest.to_owned(),
        _ => cut.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_log_the_last_lines_are_kept() {
        assert_eq!(end("a\nb"), "a\nb");
        let long = "0123456789ä\n".repeat(1000);
        let kept = end(&long);
        assert!(kept.len() <= LOG && kept.len() > LOG - 13, "{}", kept.len());
        assert!(kept.lines().all(|line| line == "0123456789ä"));
        assert_eq!(end(&"x".repeat(5000)).len(), LOG);
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
