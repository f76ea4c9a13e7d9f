//! `kubectl set`: fields that are often changed.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{choice::ChangeChoice, target::Target};
use crate::{
    Failure, api::Call, failure::Failures, flags::DryRun, object, output::Format, session::Session,
};

/// Set fields of objects
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  kubectl set image deployment/web nginx=nginx:1.28")]
pub struct Set {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Set the images of containers
    #[command(
        after_help = "Examples:\n  kubectl set image deployment/web nginx=nginx:1.28\n  kubectl set image deploy,rs --all '*=busybox:2'\n  kubectl set image -f web.yaml nginx=nginx:1.28 --dry-run=server -o yaml"
    )]
    Image(Image),
}

#[derive(Args, Debug)]
struct Image {
    /// TYPE NAME… or TYPE/NAME…, then CONTAINER=IMAGE; * is every container
    words: Vec<String>,
    #[command(flatten)]
    choice: ChangeChoice,
    #[command(flatten)]
    dry_run: DryRun,
    /// json, yaml, name, jsonpath=…
    #[arg(short, long)]
    output: Option<String>,
}

impl Set {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let What::Image(image) = self.what;
        image.run(session).await
    }
}

impl Image {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
        let (images, words): (Vec<String>, Vec<String>) =
            self.words.iter().cloned().partition(|word| word.contains('='));
        let images: Vec<(&str, &str)> =
            images.iter().filter_map(|image| image.split_once('=')).collect();
        if images.is_empty() {
            return Err(Failure::message("at least one image update is required: CONTAINER=IMAGE"));
        }
        let mut failures = Failures::default();
        for target in self.choice.objects(session, &words, &mut failures).await? {
            let changed = self.change(session, &target, &images).await;
            if let Some(Some(object)) = failures.keep(changed)? {
                target.report(session, &format, "image updated", self.dry_run, object)?;
            }
        }
        failures.finish(&session.io)
    }

    /// The object with the images; nothing if it has them already.
    async fn change(
        &self,
        session: &Session,
        target: &Target,
        images: &[(&str, &str)],
    ) -> Result<Option<Value>, Failure> {
        let mut current = target.fetch(session).await?;
        let patch = patch(&current, images)?;
        if patch.is_empty() {
            return Ok(None);
        }
        if self.dry_run.is_local() {
            for change in &patch {
                if let Some(image) = change["path"].as_str().filter(|_| change["op"] == "replace")
                    && let Some(place) = current.pointer_mut(image)
                {
                    *place = change["value"].clone();
                }
            }
            return Ok(Some(current));
        }
        let call = Call::new(Method::PATCH, target.path())
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", "kubectl-set")
            .patch("application/json-patch+json", &json!(patch));
        session.api().await?.call(call).await.map(Some)
    }
}

/// What has to be changed, each only if its container is still in its place.
fn patch(object: &Value, images: &[(&str, &str)]) -> Result<Vec<Value>, Failure> {
    let spec = if object::kind(object) == "Pod" { "/spec" } else { "/spec/template/spec" };
    let mut patch = Vec::new();
    for (container, image) in images {
        let mut is_known = false;
        for list in ["initContainers", "containers"] {
            let list = format!("{spec}/{list}");
            for (place, found) in object::list(object, &list).iter().enumerate() {
                let name = object::name_of(found);
                if *container != "*" && *container != name {
                    continue;
                }
                is_known = true;
                if found["image"] != **image {
                    let path = format!("{list}/{place}");
                    patch
                        .push(json!({"op": "test", "path": format!("{path}/name"), "value": name}));
                    patch.push(
                        json!({"op": "replace", "path": format!("{path}/image"), "value": image}),
                    );
                }
            }
        }
        if !is_known {
            return Err(Failure::message(format!(
                "unable to find container named {container:?} in {} {:?}",
                object::kind(object).to_lowercase(),
                object::name(object)
            )));
        }
    }
    Ok(patch)
}
