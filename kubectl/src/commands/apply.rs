//! `kubectl apply`: creates what is missing and patches what differs, by comparing the manifest with the
//! one applied before and with the object as it is now.

use api_machinery::patch;
use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{
    choice::label_selector,
    login,
    target::{self, Target},
};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{DryRun, Files, Validation},
    manifest::{self, Document},
    object,
    output::{self, Format},
    session::Session,
};

/// Holds the manifest that was applied last; the next apply removes what has gone from it.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whom the server records as the owner of the fields.
const FIELD_MANAGER: &str = "kubectl-client-side-apply";
/// The same of what the server merges.
const SERVER_SIDE_FIELD_MANAGER: &str = "kubectl";

/// What stock kubectl advises, in short.
const WAYS_OUT: &str = "\
Please review the fields above--they currently have other managers. You can:
* apply all of it and become their manager: kubectl apply --server-side --force-conflicts
* leave the fields out of the manifest and so leave them to those who manage them
* give the fields the values that they have and so manage them together";

/// So many bytes the annotations of an object may have, names and values.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// How many conflicts are taken for bad luck.
const CONFLICTS: usize = 5;

/// Create or update resources from manifests
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl apply -f web.yaml\n  kubectl apply -f examples/pod -f examples/service   # folders\n  kubectl apply -R -f examples                        # and the folders in it\n  cat web.yaml | kubectl apply -f -\n  kubectl apply -f web.yaml --dry-run=server -o yaml  # what it would become\n  kubectl apply -f web.yaml --server-side             # the server merges, and knows whose each field is"
)]
pub struct Apply {
    #[command(flatten)]
    pub(super) files: Files,
    #[command(flatten)]
    dry_run: DryRun,
    #[command(flatten)]
    validation: Validation,
    /// json, yaml, name, jsonpath=…
    #[arg(short, long)]
    output: Option<String>,
    /// Only objects with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Have the API server merge, which knows who manages each field and refuses to change another's
    #[arg(long)]
    server_side: bool,
    /// Take over fields that others manage
    #[arg(long, requires = "server_side")]
    force_conflicts: bool,
    /// Whose the fields are to be; default: kubectl-client-side-apply, with --server-side kubectl
    #[arg(long, value_name = "NAME")]
    field_manager: Option<String>,
}

/// What became of an object.
pub(super) type Outcome = (Value, &'static str);

impl Apply {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
        let (mut failures, mut shown) = (Failures::default(), Vec::new());
        let mut lost = login::Lost::default();
        let selector = label_selector(&self.selector)?;
        let documents = manifest::selected(&self.files, &selector, &session.io)?;
        if documents.is_empty() {
            return Err(Failure::message("no objects passed to apply"));
        }
        for document in documents {
            let Some(document) = failures.keep(document)? else { continue };
            let applied = match lost.check(&document) {
                Ok(()) => self.apply(session, &document).await,
                Err(failure) => Err(failure),
            };
            let Some((target, (object, done))) = failures.keep(applied)? else {
                lost.add(&document);
                continue;
            };
            if self.dry_run.is_off() {
                failures.keep(login::adopt(session, &document, &object).await)?;
            }
            if format.is_table() {
                let name = target.resource.object_name(object::name(&object));
                session.io.line(format_args!("{name} {done}{}", self.dry_run.suffix()))?;
            } else if format == Format::Name {
                session.io.line(output::object_name(Some(&target.resource), &object))?;
            } else {
                shown.push(object);
            }
        }
        show(session, &format, shown)?;
        failures.finish(&session.io)
    }

    pub(super) async fn apply(
        &self,
        session: &Session,
        document: &Document,
    ) -> Result<(Target, Outcome), Failure> {
        let target = target::of_document(session, document).await?;
        if target.name.is_none() {
            let prefix = object::text(&document.object, "/metadata/generateName");
            return Err(Failure::message(format!(
                "from {prefix}: cannot use generate name with apply: use kubectl create -f {}",
                document.source
            )));
        }
        login::check(session, document, target.namespace.as_deref()).await?;
        if self.server_side {
            let object = self.apply_on_server(session, &target, &document.object).await?;
            return Ok((target, (object, "serverside-applied")));
        }
        let wanted = remembering(&document.object, target.namespace.as_deref());
        if target.resource.plural == "functions" && is_too_long(&wanted) {
            return Err(Failure::message(format!(
                "{}: the source is too large for apply, which keeps a copy of it in an annotation (at most {MAX_ANNOTATIONS} bytes): use kubectl create -f {0} or kubectl replace -f {0}",
                document.source
            )));
        }
        let outcome = match target.fetch(session).await {
            Ok(current) => {
                self.update_anew(session, &target, &wanted, current).await.map_err(|failure| {
                    failure.about(&format!("error when applying patch to {}", document.source))
                })?
            }
            Err(failure) if failure.is_not_found() => {
                self.create(session, &target, wanted).await.map_err(|failure| {
                    failure.about(&format!("error when creating {}", document.source))
                })?
            }
            Err(failure) => {
                return Err(failure.about(&format!(
                    "error when retrieving current configuration from {}",
                    document.source
                )));
            }
        };
        Ok((target, outcome))
    }

    async fn apply_on_server(
        &self,
        session: &Session,
        target: &Target,
        manifest: &Value,
    ) -> Result<Value, Failure> {
        if self.dry_run.is_local() {
            return Err(Failure::message(
                "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)",
            ));
        }
        let call = Call::new(Method::PATCH, target.path());
        let call = self.parameters(call.patch("application/apply-patch+yaml", manifest));
        let call = call.query("force", if self.force_conflicts { "true" } else { "" });
        session.api().await?.call(call).await.map_err(|failure| match failure {
            Failure::Server(error) if error.status.code == Some(409) => {
                let why = error.status.message.unwrap_or_default();
                Failure::message(format!("{why}\n{WAYS_OUT}"))
            }
            failure => failure,
        })
    }

    async fn create(
        &self,
        session: &Session,
        target: &Target,
        wanted: Value,
    ) -> Result<Outcome, Failure> {
        if self.dry_run.is_local() {
            return Ok((wanted, "created"));
        }
        let path = target.resource.path(target.namespace.as_deref());
        let call = Call::new(Method::POST, path).body(&wanted);
        Ok((session.api().await?.call(self.parameters(call)).await?, "created"))
    }

    /// Updates, from the object as it is by then if somebody else was faster.
    async fn update_anew(
        &self,
        session: &Session,
        target: &Target,
        wanted: &Value,
        mut current: Value,
    ) -> Result<Outcome, Failure> {
        for _ in 0..CONFLICTS {
            match self.update(session, target, wanted, current).await {
                Err(failure) if failure.is_conflict() => current = target.fetch(session).await?,
                other => return other,
            }
        }
        self.update(session, target, wanted, current).await
    }

    async fn update(
        &self,
        session: &Session,
        target: &Target,
        wanted: &Value,
        current: Value,
    ) -> Result<Outcome, Failure> {
        let before = last_applied(&current)?;
        if before.is_none() {
            let name = format!("{}/{}", target.resource.plural, object::name(wanted));
            session.io.note(format_args!(
                "Warning: resource {name} is missing the {LAST_APPLIED} annotation which is required by kubectl apply. kubectl apply should only be used on resources created declaratively by either kubectl create --save-config or kubectl apply. The missing annotation will be patched automatically."
            ));
        }
        let (content_type, patch) =
            difference(target, &before.unwrap_or_else(|| json!({})), wanted, &current);
        if patch.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok((current, "unchanged"));
        }
        if self.dry_run.is_local() {
            return Ok((current, "configured"));
        }
        let call = Call::new(Method::PATCH, target.path()).patch(content_type, &patch);
        Ok((session.api().await?.call(self.parameters(call)).await?, "configured"))
    }

    fn parameters(&self, call: Call) -> Call {
        let usual = if self.server_side { SERVER_SIDE_FIELD_MANAGER } else { FIELD_MANAGER };
        call.query("dryRun", self.dry_run.query())
            .query("fieldManager", self.field_manager.as_deref().unwrap_or(usual))
            .query("fieldValidation", self.validation.query())
    }
}

/// One object as it is, several as a list.
fn show(session: &Session, format: &Format, mut shown: Vec<Value>) -> Result<(), Failure> {
    shown.iter_mut().for_each(output::hide_managed_fields);
    let document = match shown.len() {
        0 => return Ok(()),
        1 => shown.remove(0),
        _ => output::as_list(shown),
    };
    Ok(session.io.raw(output::render(format, None, &document).as_bytes())?)
}

/// The manifest with its namespace, and with itself as the annotation that the next apply compares with.
fn remembering(manifest: &Value, namespace: Option<&str>) -> Value {
    let mut wanted = manifest.clone();
    if let Some(namespace) = namespace {
        wanted["metadata"]["namespace"] = json!(namespace);
    }
    if !wanted["metadata"]["annotations"].is_object() {
        wanted["metadata"]["annotations"] = json!({});
    }
    if let Some(annotations) = wanted["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    let text = object::as_go_writes(&format!("{wanted}\n"));
    wanted["metadata"]["annotations"][LAST_APPLIED] = json!(text);
    wanted
}

/// Whether the API server would refuse the annotations.
fn is_too_long(object: &Value) -> bool {
    let annotations = object::map(object, "/metadata/annotations");
    annotations.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > MAX_ANNOTATIONS
}

fn last_applied(current: &Value) -> Result<Option<Value>, Failure> {
    let Some(text) = current["metadata"]["annotations"][LAST_APPLIED].as_str() else {
        return Ok(None);
    };
    serde_json::from_str(text)
        .map(Some)
        .map_err(|e| Failure::message(format!("the annotation {LAST_APPLIED} is not JSON: {e}")))
}

/// The patch and its type: lists of Kubernetes' own kinds are merged by key, others replaced.
fn difference(
    target: &Target,
    before: &Value,
    wanted: &Value,
    current: &Value,
) -> (&'static str, Value) {
    let resource = &target.resource;
    if resource.is_builtin() {
        let patch = patch::strategic_three_way(before, wanted, current);
        return ("application/strategic-merge-patch+json", patch);
    }
    ("application/merge-patch+json", patch::three_way(before, wanted, current))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_holds_the_manifest_without_itself() {
        let wanted =
            remembering(&json!({"kind": "Pod", "metadata": {"name": "x"}}), Some("default"));
        let before = last_applied(&wanted).unwrap().unwrap();
        assert_eq!(
            before,
            json!({"kind": "Pod", "metadata": {"annotations": {}, "name": "x", "namespace": "default"}})
        );
        assert_eq!(remembering(&wanted, Some("default")), wanted);
    }

    #[test]
    fn the_annotation_is_that_of_kubectl_byte_for_byte() {
        let command = json!({"spec": {"command": ["a && b <c >d \u{2028}"]}});
        let wanted = remembering(&command, None);
        let text = wanted["metadata"]["annotations"][LAST_APPLIED].as_str().unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"metadata":{"annotations":{}},"#,
                r#""spec":{"command":["a \u0026\u0026 b \u003cc \u003ed \u2028"]}}"#,
                "\n"
            )
        );
    }
}
