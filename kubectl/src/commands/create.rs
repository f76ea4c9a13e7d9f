//! `kubectl create`: objects from manifests, and namespaces, Deployments and config maps from flags.

use std::path::Path;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::{
    login,
    target::{self, Target},
};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{DryRun, Files, Validation},
    manifest::{self, Document},
    output::Format,
    session::Session,
};

/// Stands for the file of objects that flags describe.
pub(super) const FLAGS: &str = "the flags";

/// Create resources from files or flags
#[derive(Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  kubectl create -f web.yaml\n  kubectl create namespace team-a\n  kubectl create configmap settings --from-literal=mode=fast --from-file=app.conf"
)]
pub struct Create {
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    what: Option<What>,
}

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

#[derive(Debug, Subcommand)]
enum What {
    /// Create a namespace
    #[command(alias = "ns", after_help = "Examples:\n  kubectl create namespace team-a")]
    Namespace {
        /// Its name
        name: String,
        #[command(flatten)]
        options: Options,
    },
    /// Create a Deployment of containers that run images
    #[command(
        alias = "deploy",
        after_help = "Examples:\n  kubectl create deployment web --image=nginx:1.28 --replicas=3 --port=80\n  kubectl create deployment sleep --image=busybox:1 -- sleep 3600"
    )]
    Deployment {
        /// Its name
        name: String,
        /// The images, a container for each
        #[arg(long, required = true, value_delimiter = ',')]
        image: Vec<String>,
        /// How many pods
        #[arg(short, long, default_value_t = 1)]
        replicas: u32,
        /// The port on which the containers listen
        #[arg(long)]
        port: Option<u16>,
        /// What the container runs, instead of what its image says
        #[arg(last = true)]
        command: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
    /// Create a config map from literals and files
    #[command(
        alias = "cm",
        after_help = "Examples:\n  kubectl create configmap settings --from-literal=mode=fast\n  kubectl create configmap settings --from-file=conf=app.conf --from-file=more/"
    )]
    Configmap {
        /// Its name
        name: String,
        /// KEY=VALUE
        #[arg(long)]
        from_literal: Vec<String>,
        /// FILE, KEY=FILE or a folder
        #[arg(long)]
        from_file: Vec<String>,
        #[command(flatten)]
        options: Options,
    },
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.what {
            None => {
                self.options
                    .create(session, manifest::read(&self.files, &session.io)?, "created")
                    .await
            }
            Some(What::Namespace { name, options }) => {
                let object =
                    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
                options.create_one(session, object, "created").await
            }
            Some(What::Deployment { name, image, replicas, port, command, options }) => {
                let object = deployment(&name, &image, replicas, port, &command)?;
                options.create_one(session, object, "created").await
            }
            Some(What::Configmap { name, from_literal, from_file, options }) => {
                let data = config_map_data(&from_literal, &from_file)?;
                let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
                options.create_one(session, object, "created").await
            }
        }
    }
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
        let mut failures = Failures::default();
        for document in documents {
            let Some(document) = failures.keep(document)? else { continue };
            let created = self.post(session, &document).await;
            if let Some((target, object)) = failures.keep(created)? {
                if self.dry_run.is_off() {
                    failures.keep(login::adopt(session, &document, &object).await)?;
                }
                target.report(session, &format, done, self.dry_run, object)?;
            }
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

fn deployment(
    name: &str,
    images: &[String],
    replicas: u32,
    port: Option<u16>,
    command: &[String],
) -> Result<Value, Failure> {
    if images.len() > 1 && !command.is_empty() {
        return Err(Failure::message("cannot specify multiple --image options and command"));
    }
    let containers = images.iter().map(|image| {
        let mut container = json!({"name": container_name(image), "image": image});
        if let Some(port) = port {
            container["ports"] = json!([{"containerPort": port}]);
        }
        if !command.is_empty() {
            container["command"] = json!(command);
        }
        container
    });
    let labels = json!({"app": name});
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": containers.collect::<Vec<_>>()}},
        },
    }))
}

/// The last part of the image's name, without tag and digest, as a label.
fn container_name(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or_default();
    let name = name.split([':', '@']).next().unwrap_or_default().to_lowercase();
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-").trim_matches('-').to_owned()
}

fn config_map_data(literals: &[String], files: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut data = Map::new();
    for literal in literals {
        let pair = literal.split_once('=').filter(|(key, _)| !key.is_empty());
        let (key, value) = pair.ok_or_else(|| {
            Failure::message(format!("invalid literal source {literal}, expected key=value"))
        })?;
        insert(&mut data, key, value)?;
    }
    for file in files {
        let (key, path) = file.split_once('=').map_or((None, file.as_str()), |(k, p)| (Some(k), p));
        insert_files(&mut data, key, Path::new(path))?;
    }
    Ok(data)
}

fn insert_files(
    data: &mut Map<String, Value>,
    key: Option<&str>,
    path: &Path,
) -> Result<(), Failure> {
    let fault =
        |e: std::io::Error| Failure::message(format!("error reading {}: {e}", path.display()));
    if path.is_dir() {
        for entry in std::fs::read_dir(path).map_err(fault)? {
            let entry = entry.map_err(fault)?.path();
            if entry.is_file() {
                insert_files(data, None, &entry)?;
            }
        }
        return Ok(());
    }
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    insert(data, key.unwrap_or(&name), &std::fs::read_to_string(path).map_err(fault)?)
}

fn insert(data: &mut Map<String, Value>, key: &str, value: &str) -> Result<(), Failure> {
    match data.insert(key.to_owned(), json!(value)) {
        None => Ok(()),
        Some(_) => Err(Failure::message(format!(
            "cannot add key {key:?}, another key by that name already exists in Data for ConfigMap"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_is_made_of_literals_and_files() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("app.conf"), "x\n").unwrap();
        let file = folder.path().join("app.conf").display().to_string();
        let data =
            config_map_data(&["a=b=c".to_owned()], &[file.clone(), format!("k={file}")]).unwrap();
        assert_eq!(Value::Object(data), json!({"a": "b=c", "app.conf": "x\n", "k": "x\n"}));
        assert!(config_map_data(&["a".to_owned()], &[]).is_err());
        assert!(config_map_data(&["a=1".to_owned(), "a=2".to_owned()], &[]).is_err());
    }
}
