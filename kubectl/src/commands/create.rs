//! `kubectl create`: objects from manifests, and namespaces, Deployments, Jobs, config maps and secrets from flags.

use api_types::ByteString;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    creation::Options,
    data::{Data, Sources},
    job::{CronJob, Job},
    secret::Secret,
};
use crate::{Failure, flags::Files, manifest, session::Session};

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
    Job(Job),
    #[command(alias = "cj")]
    Cronjob(CronJob),
    /// Create a config map from literals and files
    #[command(
        alias = "cm",
        after_help = "Examples:\n  kubectl create configmap settings --from-literal=mode=fast\n  kubectl create configmap settings --from-file=conf=app.conf --from-file=more/"
    )]
    Configmap {
        /// Its name
        name: String,
        #[command(flatten)]
        sources: Sources,
        #[command(flatten)]
        options: Options,
    },
    /// Create a secret: generic, tls or docker-registry
    #[command(subcommand)]
    Secret(Secret),
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
            Some(What::Configmap { name, sources, options }) => {
                let data = sources.read(|name| std::env::var(name).ok())?;
                options.create_one(session, config_map(&name, data), "created").await
            }
            Some(What::Job(job)) => job.run(session).await,
            Some(What::Cronjob(cron_job)) => cron_job.run(session).await,
            Some(What::Secret(secret)) => secret.run(session).await,
        }
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

/// What is no text is kept as bytes.
fn config_map(name: &str, data: Data) -> Value {
    let mut map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
    for (key, value) in data {
        match String::from_utf8(value) {
            Ok(text) => map["data"][key] = json!(text),
            Err(error) => map["binaryData"][key] = json!(ByteString(error.into_bytes())),
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_kept_in_a_config_map_as_bytes() {
        let data = [("a", b"b".to_vec()), ("bin", vec![0xff, 0xfe])];
        let map = config_map("m", data.map(|(key, value)| (key.to_owned(), value)).into());
        assert_eq!(
            (&map["data"], &map["binaryData"]),
            (&json!({"a": "b"}), &json!({"bin": "//4="}))
        );
        assert_eq!(config_map("m", Data::new()).get("data"), None);
    }
}
