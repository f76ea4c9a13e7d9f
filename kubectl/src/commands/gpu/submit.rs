//! `kubectl gpu submit`: a folder of sources becomes a job.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{
    super::{
        creation::{FLAGS, Options},
        login,
    },
    results::job as job_named,
    settings::Settings,
    sources,
    waiting::Wait,
};
use crate::{
    Failure,
    flags::Files,
    manifest::{self, Document},
    object,
    session::Session,
};

#[derive(Args, Debug)]
pub(super) struct Submit {
    /// What the job is called: NAME or NAMESPACE/NAME
    #[arg(required_unless_present = "filename")]
    name: Option<String>,
    /// The sources: a folder, a file, or a .tar, .tar.gz or .tgz archive
    #[arg(short, long)]
    path: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    wait: Wait,
}

impl Submit {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut documents = self.documents(session)?;
        let is_job = |document: &Result<Document, Failure>| matches!(document, Ok(document) if object::kind(&document.object) == "GpuJob");
        let mut jobs = (0..documents.len()).filter(|&i| is_job(&documents[i]));
        let (Some(job), None) = (jobs.next(), jobs.next()) else {
            return Err(Failure::message("one GpuJob is needed in the file (-f)"));
        };
        let mut job = documents.remove(job)?;
        let before = object::name(&job.object).to_owned();
        self.complete(&mut job.object)?;
        login::follow(&mut documents, &before, &mut job.object);
        let object = job.object.clone();
        // What it names is made before it.
        documents.push(Ok(job));
        self.options.create(session, documents, "created").await?;
        if !self.options.dry_run().is_off() {
            return Ok(());
        }
        let word = match object::namespace(&object) {
            Some(namespace) => format!("{namespace}/{}", object::name(&object)),
            None => object::name(&object).to_owned(),
        };
        self.wait.until_ended(session, &job_named(session, &word).await?).await
    }

    /// What is to be made: as the file says, or nothing but a name yet.
    fn documents(&self, session: &Session) -> Result<Vec<Result<Document, Failure>>, Failure> {
        if !self.files.filename.is_empty() {
            return manifest::read(&self.files, &session.io);
        }
        let name = self.name.as_deref().unwrap_or_default();
        let object = json!({
            "apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": {"name": name}, "spec": {},
        });
        Ok(manifest::documents(FLAGS, &object.to_string()))
    }

    fn complete(&self, job: &mut Value) -> Result<(), Failure> {
        if let Some(name) = &self.name {
            let (namespace, name) = match name.split_once('/') {
                Some((namespace, name)) => (Some(namespace), name),
                None => (None, name.as_str()),
            };
            job["metadata"]["name"] = json!(name);
            if let Some(namespace) = namespace {
                job["metadata"]["namespace"] = json!(namespace);
            }
        }
        if !job["spec"].is_object() {
            job["spec"] = json!({});
        }
        if let Some(path) = &self.path {
            job["spec"]["sources"] = sources::read(path)?;
        }
        match job["spec"].as_object_mut() {
            Some(spec) => self.settings.apply(spec),
            None => Ok(()),
        }
    }
}
