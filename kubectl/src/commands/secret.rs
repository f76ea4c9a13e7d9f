//! `kubectl create secret`: secrets from flags.

use std::path::PathBuf;

use api_types::ByteString;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    creation::Options,
    data::{self, Data, Sources},
};
use crate::{Failure, object, session::Session};

/// Create a secret
#[derive(Debug, Subcommand)]
pub(super) enum Secret {
    /// Create a secret from literals and files
    #[command(
        after_help = "Examples:\n  kubectl create secret generic slurm --from-env-file=login   # lines username=… and password=…\n  kubectl create secret generic slurm --from-literal=username=ann --from-file=ssh-privatekey=id_ed25519"
    )]
    Generic(Generic),
    /// Create a secret with a certificate and its key
    #[command(
        after_help = "Examples:\n  kubectl create secret tls web --cert=web.crt --key=web.key"
    )]
    Tls(Tls),
    /// Create a secret with the login at a registry of images
    #[command(
        after_help = "Examples:\n  kubectl create secret docker-registry registry --docker-server=registry.example.com:5000 --docker-username=me --docker-password=…\n  kubectl create secret docker-registry registry --from-file=$HOME/.docker/config.json"
    )]
    DockerRegistry(DockerRegistry),
}

#[derive(Args, Debug)]
pub(super) struct Generic {
    /// Its name
    name: String,
    #[command(flatten)]
    sources: Sources,
    /// Its type; Opaque if none is given
    #[arg(long = "type", value_name = "TYPE")]
    type_: Option<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
pub(super) struct Tls {
    /// Its name
    name: String,
    /// The file of the certificate, PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// The file of its key, PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
pub(super) struct DockerRegistry {
    /// Its name
    name: String,
    #[command(flatten)]
    login: Login,
    /// A file such as ~/.docker/config.json, instead of the login
    #[arg(long, value_name = "FILE")]
    from_file: Vec<String>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug, Serialize)]
struct Login {
    /// The registry
    #[arg(long, value_name = "HOST", default_value = "https://index.docker.io/v1/")]
    #[serde(skip)]
    docker_server: String,
    /// Who logs in
    #[arg(long, value_name = "NAME", default_value = "")]
    #[serde(rename = "username", skip_serializing_if = "String::is_empty")]
    docker_username: String,
    /// The password
    #[arg(long, value_name = "PASSWORD", default_value = "")]
    #[serde(rename = "password", skip_serializing_if = "String::is_empty")]
    docker_password: String,
    /// An address, for registries that ask for one
    #[arg(long, value_name = "ADDRESS", default_value = "")]
    #[serde(rename = "email", skip_serializing_if = "String::is_empty")]
    docker_email: String,
}

const DOCKER_CONFIG: &str = ".dockerconfigjson";

impl Secret {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (secret, options) = match self {
            Self::Generic(Generic { name, sources, type_, options }) => {
                let data = sources.read(|name| std::env::var(name).ok())?;
                (secret(&name, type_.as_deref().unwrap_or_default(), &data), options)
            }
            Self::Tls(Tls { name, cert, key, options }) => {
                let read = |path: &PathBuf, what| {
                    let text = data::read(path)?;
                    check_pem(&text, what).map(|()| text)
                };
                let data = [
                    ("tls.crt", read(&cert, "CERTIFICATE")?),
                    ("tls.key", read(&key, "PRIVATE KEY")?),
                ];
                let data = data.map(|(key, value)| (key.to_owned(), value)).into();
                (secret(&name, "kubernetes.io/tls", &data), options)
            }
            Self::DockerRegistry(DockerRegistry { name, login, from_file, options }) => {
                let data = registry(&login, &from_file)?;
                (secret(&name, "kubernetes.io/dockerconfigjson", &data), options)
            }
        };
        options.create_one(session, secret, "created").await
    }
}

fn secret(name: &str, type_: &str, data: &Data) -> Value {
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}});
    if !data.is_empty() {
        let encoded =
            data.iter().map(|(key, value)| (key.clone(), json!(ByteString(value.clone()))));
        secret["data"] = Value::Object(encoded.collect());
    }
    if !type_.is_empty() {
        secret["type"] = json!(type_);
    }
    secret
}

fn check_pem(text: &[u8], what: &str) -> Result<(), Failure> {
    let lines = String::from_utf8_lossy(text);
    let begins = |line: &str| line.starts_with("-----BEGIN ") && line.contains(what);
    if lines.lines().any(begins) {
        return Ok(());
    }
    let what = what.to_lowercase();
    Err(Failure::message(format!("tls: failed to find any PEM data in {what} input")))
}

fn registry(login: &Login, files: &[String]) -> Result<Data, Failure> {
    let mut all = Data::new();
    for source in files {
        let (key, path) = data::file_source(source)?;
        all.insert(key.unwrap_or(DOCKER_CONFIG).to_owned(), data::read(path.as_ref())?);
    }
    if all.is_empty() {
        if [&login.docker_username, &login.docker_password, &login.docker_server]
            .iter()
            .any(|it| it.is_empty())
        {
            return Err(Failure::message(
                "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required",
            ));
        }
        all.insert(DOCKER_CONFIG.to_owned(), config(login)?.into_bytes());
    }
    Ok(all)
}

/// As others write it, to the byte, so that the same flags make the same secret.
fn config(login: &Login) -> Result<String, Failure> {
    #[derive(Serialize)]
    struct WithAuth<'a> {
        #[serde(flatten)]
        login: &'a Login,
        auth: ByteString,
    }
    let auth =
        ByteString(format!("{}:{}", login.docker_username, login.docker_password).into_bytes());
    let fault = |error| Failure::message(format!("the login cannot be written: {error}"));
    let (server, login) = (json!(login.docker_server), WithAuth { login, auth });
    let login = serde_json::to_string(&login).map_err(fault)?;
    Ok(object::as_go_writes(&format!("{{\"auths\":{{{server}:{login}}}}}")))
}
