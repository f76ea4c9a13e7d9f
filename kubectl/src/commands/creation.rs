//! Making objects, whatever they are made of: manifests, or flags of which one command or another makes them.

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::{
    login,
    target::{self, Target},
};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{DryRun, Validation},
    manifest::{self, Document},
    output::Format,
    session::Session,
};

/// Stands for the file of objects that flags describe.
pub(super) const FLAGS: &str = "the flags";

/// How objects are made, whatever they are made of.
#[derive(Args, Clone, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    dry_run: DryRun,
    #[command(flatten)]
    validation: Validation,
    /// json, yaml, name, jsonpath=…
    #[arg(short, long)]
    output: Option<String>,
}

impl Options {
    pub(super) fn dry_run(&self) -> DryRun {
        self.dry_run
    }

    /// Makes one object that flags describe, and says nothing.
    pub(super) async fn make(
        &self,
        session: &Session,
        object: &Value,
    ) -> Result<(Target, Value), Failure> {
        let document = manifest::documents(FLAGS, &object.to_string()).into_iter().next();
        self.post(session, &document.expect("an object is a document")?).await
    }

    /// Makes an object that flags describe; `done` is what that is called.
    pub(super) async fn create_one(
        &self,
        session: &Session,
        object: Value,
        done: &str,
    ) -> Result<(), Failure> {
        self.create(session, manifest::documents(FLAGS, &object.to_string()), done).await
    }

    /// Makes the objects of these documents; `done` is what that is called.
    pub(super) async fn create(
        &self,
        session: &Session,
        documents: Vec<Result<Document, Failure>>,
        done: &str,
    ) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
        let (mut failures, mut lost) = (Failures::default(), login::Lost::default());
        for document in documents {
            let Some(document) = failures.keep(document)? else { continue };
            let created = match lost.check(&document) {
                Ok(()) => self.post(session, &document).await,
                Err(failure) => Err(failure),
            };
            let Some((target, object)) = failures.keep(created)? else {
                lost.add(&document);
                continue;
            };
            if self.dry_run.is_off() {
                failures.keep(login::adopt(session, &document, &object).await)?;
            }
            target.report(session, &format, done, self.dry_run, object)?;
        }
        failures.finish(&session.io)
    }

    /// What was made of flags stands in no file.
    fn about(&self, failure: Failure, document: &Document) -> Failure {
        if document.source.file() == FLAGS {
            return failure;
        }
        failure.about(&format!("error when creating {}", document.source))
    }

    async fn post(
        &self,
        session: &Session,
        document: &Document,
    ) -> Result<(Target, Value), Failure> {
        let target = target::of_document(session, document).await?;
        let mut object = document.object.clone();
        let explicit = !self.dry_run.is_local() || session.global.namespace.is_some();
        if let Some(namespace) = target.namespace.as_ref().filter(|_| explicit) {
            object["metadata"]["namespace"] = json!(namespace);
        }
        if self.dry_run.is_local() {
            return Ok((target, object));
        }
        let call = Call::new(Method::POST, target.resource.path(target.namespace.as_deref()))
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", "kubectl-create")
            .query("fieldValidation", self.validation.query())
            .body(&object);
        let created = session.api().await?.call(call).await;
        let created = created.map_err(|failure| self.about(failure, document))?;
        Ok((target, created))
    }
}
