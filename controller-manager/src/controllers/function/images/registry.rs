//! Deletes images from a registry, by the protocol of all registries (OCI distribution): what Docker, which pushes and
//! pulls, cannot do. It is asked as Docker asks it: with Docker's certificates for it, by name and password or with the
//! token that these are good for.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use api_machinery::RegistryLogin;
use api_machinery::registry_login::host_of;
use reqwest::header::{ACCEPT, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Certificate, Client, Identity, Method, Response, StatusCode, Url};
use serde::Deserialize;

const PATIENCE: Duration = Duration::from_secs(30);
const DIGEST: &str = "Docker-Content-Digest";
const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";

/// Why an image is still there.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot read the certificates in {folder}")]
    Folder { folder: PathBuf, source: io::Error },
    #[error("cannot use the certificates in {folder}")]
    Certificates { folder: PathBuf, source: reqwest::Error },
    #[error("{0:?} is no image of a registry")]
    Image(String),
    #[error("the registry does not answer")]
    Unavailable(#[from] reqwest::Error),
    #[error("the registry answers {0}")]
    Refused(StatusCode),
    #[error("the registry does not tell the digest of the image")]
    NoDigest,
}

/// Deletes what an image's name stands for, under whatever other names it has. What is not there, or cannot be deleted
/// there, is no error.
pub(super) async fn delete(
    image: &str,
    login: Option<&RegistryLogin>,
    certs: &Path,
) -> Result<(), Error> {
    let (host, rest) = host_of(image);
    let named = rest.rsplit_once(':').filter(|(repository, _)| !repository.is_empty());
    let (repository, tag) = named.ok_or_else(|| Error::Image(image.to_owned()))?;
    let session = Session { client: client(certs)?, login };
    let scheme = if certs.is_dir() || !is_loopback(host) { "https" } else { "http" };
    let manifest = |reference: &str| {
        let url = format!("{scheme}://{host}/v2/{repository}/manifests/{reference}");
        Url::parse(&url).map_err(|_| Error::Image(image.to_owned()))
    };
    let found = session.ask(Method::HEAD, manifest(tag)?).await?;
    match found.status() {
        StatusCode::NOT_FOUND => return Ok(()),
        status if !status.is_success() => return Err(Error::Refused(status)),
        _ => {}
    }
    let digest = found.headers().get(DIGEST).and_then(|digest| digest.to_str().ok());
    let deleted = session.ask(Method::DELETE, manifest(digest.ok_or(Error::NoDigest)?)?).await?;
    match deleted.status() {
        StatusCode::NOT_FOUND => Ok(()),
        StatusCode::METHOD_NOT_ALLOWED => {
            tracing::warn!(image, "stays in the registry, which deletes nothing");
            Ok(())
        }
        status if status.is_success() => Ok(()),
        status => Err(Error::Refused(status)),
    }
}

/// Docker too speaks plainly to such a registry.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse().is_ok_and(|ip: Ipv4Addr| ip.is_loopback())
}

fn client(folder: &Path) -> Result<Client, Error> {
    let unreadable = |source| Error::Folder { folder: folder.to_owned(), source };
    let wrong = |source| Error::Certificates { folder: folder.to_owned(), source };
    let mut builder = Client::builder().timeout(PATIENCE);
    for (file, pem) in pems(folder).map_err(unreadable)? {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                let authorities = Certificate::from_pem_bundle(&pem).map_err(wrong)?;
                builder = builder.tls_certs_merge(authorities);
            }
            Some("cert") => {
                let key = std::fs::read(file.with_extension("key")).map_err(unreadable)?;
                let identity = Identity::from_pem(&[pem, key].join(&b'\n')).map_err(wrong)?;
                builder = builder.identity(identity);
            }
            _ => {}
        }
    }
    builder.build().map_err(wrong)
}

fn pems(folder: &Path) -> io::Result<Vec<(PathBuf, Vec<u8>)>> {
    let files = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let mut files: Vec<_> = files.map(|file| Ok(file?.path())).collect::<io::Result<_>>()?;
    files.sort();
    files.into_iter().map(|file| Ok((file.clone(), std::fs::read(file)?))).collect()
}

struct Session<'a> {
    client: Client,
    login: Option<&'a RegistryLogin>,
}

impl Session<'_> {
    async fn ask(&self, method: Method, url: Url) -> Result<Response, Error> {
        let request = || self.client.request(method.clone(), url.clone()).header(ACCEPT, MANIFESTS);
        let first = self.as_user(request()).send().await?;
        let challenge = first.headers().get(WWW_AUTHENTICATE).and_then(Challenge::of);
        match challenge.filter(|_| first.status() == StatusCode::UNAUTHORIZED) {
            Some(challenge) => {
                let token = self.token(challenge).await?;
                Ok(request().bearer_auth(token).send().await?)
            }
            None => Ok(first),
        }
    }

    fn as_user(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match self.login {
            Some(login) => request.basic_auth(&login.username, Some(&login.password)),
            None => request,
        }
    }

    async fn token(&self, challenge: Challenge) -> Result<String, Error> {
        let Challenge { realm, parameters } = challenge;
        let answer = self.as_user(self.client.get(realm).query(&parameters)).send().await?;
        if !answer.status().is_success() {
            return Err(Error::Refused(answer.status()));
        }
        let Token { token, access_token } = answer.json().await?;
        Ok(token.or(access_token).unwrap_or_default())
    }
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

/// Where there is a token, and for what: `Bearer realm="URL",service="…",scope="…"`.
#[derive(Debug, PartialEq)]
struct Challenge {
    realm: Url,
    parameters: BTreeMap<String, String>,
}

impl Challenge {
    fn of(header: &HeaderValue) -> Option<Self> {
        let words: Vec<_> = header.to_str().ok()?.strip_prefix("Bearer ")?.split('"').collect();
        let named = words.chunks_exact(2).map(|pair| {
            let name = pair[0].trim_matches([' ', ',', '=']).to_owned();
            (name, pair[1].to_owned())
        });
        let mut parameters: BTreeMap<_, _> = named.collect();
        let realm = Url::parse(&parameters.remove("realm")?).ok()?;
        Some(Self { realm, parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_says_where_there_is_a_token_and_for_what() {
        let challenge = |text| Challenge::of(&HeaderValue::from_static(text));
        let found = challenge(
            r#"Bearer realm="https://auth.example.com/token",service="r",scope="repository:a/b:pull,delete""#,
        );
        let found = found.unwrap();
        assert_eq!(found.realm.as_str(), "https://auth.example.com/token");
        let parameters = [("scope", "repository:a/b:pull,delete"), ("service", "r")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(found.parameters, BTreeMap::from(parameters));
        assert_eq!(challenge(r#"Basic realm="x""#), None);
        assert_eq!(challenge(r#"Bearer service="x""#), None);
    }
}
