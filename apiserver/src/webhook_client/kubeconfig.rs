//! A server outside of the cluster that is asked or told something, as a kubeconfig describes it
//! (Kubernetes: `k8s.io/apiserver/pkg/util/webhook`).

use std::{
    collections::BTreeMap,
    fmt, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Body, Client, RequestBuilder, Url, header::CONTENT_TYPE, redirect::Policy};
use serde::Deserialize;
use serde_json::Value;

use crate::kubelet_client::causes;

/// What a kubeconfig may have besides, and nothing here goes by: to leave it out silently would be to come as somebody else, or
/// to trust another server.
const UNSUPPORTED: [&str; 11] = [
    "as",
    "as-groups",
    "as-uid",
    "as-user-extra",
    "auth-provider",
    "exec",
    "password",
    "proxy-url",
    "tls-server-name",
    "tokenFile",
    "username",
];

/// Why nobody can be asked.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// A file can't be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no kubeconfig, or not one of a server that can be asked. What is wrong is told without the text.
    #[error("the configuration of the webhook can't be used: {0}")]
    Form(String),
}

/// Such a server.
#[derive(Clone)]
pub(crate) struct Remote {
    client: Client,
    url: Url,
    token: Option<String>,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(default)]
    current_context: String,
    contexts: Vec<Named<ContextOf>>,
    clusters: Vec<Named<Cluster>>,
    #[serde(default)]
    users: Vec<Named<User>>,
}

#[derive(Deserialize)]
struct Named<T> {
    name: String,
    #[serde(alias = "context", alias = "cluster", alias = "user")]
    value: T,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct ContextOf {
    cluster: String,
    user: String,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    #[serde(flatten)]
    others: Others,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    token: Option<String>,
    #[serde(flatten)]
    others: Others,
}

type Others = BTreeMap<String, Value>;

impl Remote {
    /// The one of the current context, which may take so long for an answer.
    pub(crate) fn of(kubeconfig: &Path, patience: Duration) -> Result<Self, KubeconfigError> {
        let text = read(kubeconfig)?;
        let config: Kubeconfig = serde_yaml::from_slice(&text)
            .map_err(|_| KubeconfigError::Form("it is no kubeconfig".to_owned()))?;
        let context = named(&config.contexts, &config.current_context)?;
        let cluster = named(&config.clusters, &context.cluster)?;
        let user = match context.user.as_str() {
            "" => User::default(),
            name => named(&config.users, name)?,
        };
        understood(&cluster.others)?;
        understood(&user.others)?;
        let folder = kubeconfig.parent().unwrap_or(Path::new("."));
        let url = Url::parse(&cluster.server);
        let url = url.map_err(|error| KubeconfigError::Form(error.to_string()))?;
        let client = client(&cluster, &user, folder, patience)?;
        Ok(Self { client, url, token: user.token })
    }

    /// A request with this JSON, to be sent.
    pub(crate) fn post(&self, body: impl Into<Body>) -> RequestBuilder {
        let request = self.client.post(self.url.clone()).body(body);
        let request = request.header(CONTENT_TYPE, "application/json");
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }
}

fn understood(others: &Others) -> Result<(), KubeconfigError> {
    let is_said = |name: &&&str| others.get(**name).is_some_and(|it| !it.is_null() && it != "");
    match UNSUPPORTED.iter().find(is_said) {
        Some(name) => Err(KubeconfigError::Form(format!("{name} is not supported"))),
        None => Ok(()),
    }
}

fn named<T: Clone>(all: &[Named<T>], name: &str) -> Result<T, KubeconfigError> {
    let found = all.iter().find(|it| it.name == name).map(|it| it.value.clone());
    found.ok_or_else(|| KubeconfigError::Form(format!("there is no {name:?} in it")))
}

fn read(path: &Path) -> Result<Vec<u8>, KubeconfigError> {
    fs::read(path).map_err(|source| KubeconfigError::Read { path: path.to_owned(), source })
}

/// Of data or a file, whichever there is.
fn pem(
    data: Option<&String>,
    file: Option<&PathBuf>,
    folder: &Path,
) -> Result<Option<Vec<u8>>, KubeconfigError> {
    let decoded = data.map(|data| STANDARD.decode(data));
    match (decoded, file) {
        (Some(Ok(pem)), _) => Ok(Some(pem)),
        (Some(Err(_)), _) => {
            Err(KubeconfigError::Form("its data must be base64 encoded".to_owned()))
        }
        (None, Some(file)) => read(&folder.join(file)).map(Some),
        (None, None) => Ok(None),
    }
}

fn client(
    cluster: &Cluster,
    user: &User,
    folder: &Path,
    patience: Duration,
) -> Result<Client, KubeconfigError> {
    component::install_crypto_provider();
    let form = |error: reqwest::Error| KubeconfigError::Form(causes(&error));
    let mut builder = Client::builder()
        .no_proxy()
        // Nobody else is told of what people do.
        .redirect(Policy::none())
        .timeout(patience)
        .tls_danger_accept_invalid_certs(cluster.insecure_skip_tls_verify);
    let authority = cluster.certificate_authority_data.as_ref();
    if let Some(pem) = pem(authority, cluster.certificate_authority.as_ref(), folder)? {
        let authorities = reqwest::Certificate::from_pem_bundle(&pem).map_err(form)?;
        builder = builder.tls_certs_only(authorities);
    }
    let certificate =
        pem(user.client_certificate_data.as_ref(), user.client_certificate.as_ref(), folder)?;
    let key = pem(user.client_key_data.as_ref(), user.client_key.as_ref(), folder)?;
    if let Some((certificate, key)) = certificate.zip(key) {
        let identity = [certificate, b"\n".to_vec(), key].concat();
        builder = builder.identity(reqwest::Identity::from_pem(&identity).map_err(form)?);
    }
    builder.build().map_err(form)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(cluster: (&str, Value), user: (&str, Value)) -> Result<Remote, String> {
        let mut config = json!({
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "https://localhost/x"}}],
            "users": [{"name": "u", "user": {"token": "t"}}],
        });
        config["clusters"][0]["cluster"][cluster.0] = cluster.1;
        config["users"][0]["user"][user.0] = user.1;
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), config.to_string()).unwrap();
        let remote = Remote::of(file.path(), Duration::from_secs(1));
        remote.map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_gone_by_is_not_left_out_silently() {
        let (cluster, user) = (("disable-compression", json!(true)), ("username", json!("")));
        let known = read(cluster.clone(), user.clone()).unwrap();
        assert_eq!(known.token.as_deref(), Some("t"));
        for (name, value) in [("tokenFile", json!("/t")), ("exec", json!({"command": "x"}))] {
            let why = read(cluster.clone(), (name, value)).unwrap_err();
            assert!(why.ends_with(&format!("{name} is not supported")), "{why}");
        }
        let why = read(("tls-server-name", json!("other")), user).unwrap_err();
        assert!(why.ends_with("tls-server-name is not supported"), "{why}");
    }
}
