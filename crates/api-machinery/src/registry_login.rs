//! Who asks a registry for images: what a Secret of type `kubernetes.io/dockerconfigjson` says, which is a `config.json`
//! of Docker's.

use std::collections::BTreeMap;
use std::fmt;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde::Deserialize;

/// With and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of such a Secret.
pub const DOCKER_CONFIG: &str = ".dockerconfigjson";

/// Under which name a registry that an image's name does not tell is known.
const DOCKER_HUB: &str = "docker.io";

/// A name and a password for a registry.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryLogin {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: String,
}

impl fmt::Debug for RegistryLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistryLogin").field("username", &self.username).finish_non_exhaustive()
    }
}

/// As Go reads it, null is like nothing.
#[derive(Deserialize)]
struct Config {
    auths: Option<BTreeMap<String, Entry>>,
}

#[derive(Deserialize)]
struct Entry {
    username: Option<String>,
    password: Option<String>,
    /// `username:password` in base64, instead of these.
    auth: Option<String>,
}

/// The logins that a `config.json` has for an image, the best first: those whose name tells more of the image's.
///
/// # Errors
/// It is none.
pub fn registry_logins(
    config: &[u8],
    image: &str,
) -> Result<Vec<RegistryLogin>, serde_json::Error> {
    let Config { auths } = serde_json::from_slice(config)?;
    let mut found: Vec<_> = auths
        .into_iter()
        .flatten()
        .filter(|(name, _)| is_for(place(name), image))
        .filter_map(|(name, entry)| Some((place(&name).len(), entry.login()?)))
        .collect();
    found.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    Ok(found.into_iter().map(|(_, login)| login).collect())
}

impl Entry {
    fn login(self) -> Option<RegistryLogin> {
        let Some(auth) = self.auth.filter(|auth| !auth.is_empty()) else {
            let username = self.username.filter(|name| !name.is_empty())?;
            let password = self.password.unwrap_or_default();
            return Some(RegistryLogin { username, password });
        };
        let text = String::from_utf8(BASE64.decode(auth).ok()?).ok()?;
        let (username, password) = text.split_once(':')?;
        let password = password.trim_end_matches('\0').to_owned();
        Some(RegistryLogin { username: username.to_owned(), password })
    }
}

/// Docker writes some of its names as addresses: `https://index.docker.io/v1/`.
fn place(name: &str) -> &str {
    let name = name.trim_start_matches("https://").trim_start_matches("http://");
    let name = name.trim_end_matches('/');
    name.strip_suffix("/v1").or_else(|| name.strip_suffix("/v2")).unwrap_or(name)
}

/// Whether a host, `*` standing for parts of its name, and perhaps a part of a path behind it, are the image's.
fn is_for(place: &str, image: &str) -> bool {
    let (host, path) = place.split_once('/').unwrap_or((place, ""));
    let (image_host, image_path) = host_of(image);
    let is_below = image_path.strip_prefix(path).is_some_and(|rest| {
        path.is_empty() || rest.is_empty() || rest.starts_with(['/', ':', '@'])
    });
    is_below && is_host(host, image_host)
}

fn is_host(pattern: &str, host: &str) -> bool {
    if host == DOCKER_HUB && pattern == "index.docker.io" {
        return true;
    }
    let (patterns, parts) = (pattern.split('.'), host.split('.'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| pattern == "*" || pattern == part)
}

/// The registry and the rest of an image's name, by Docker's rule.
pub fn host_of(image: &str) -> (&str, &str) {
    match image.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (DOCKER_HUB, image),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, image: &str, expected: &[&str]) {
        let found = registry_logins(config.as_bytes(), image).unwrap();
        let found: Vec<_> =
            found.iter().map(|login| format!("{}:{}", login.username, login.password)).collect();
        assert_eq!(found, expected, "{image}");
    }

    #[test]
    fn the_host_must_be_the_images_and_the_best_comes_first() {
        let config = r#"{"auths": {
            "reg.example.com:5000": {"username": "all", "password": "1"},
            "https://reg.example.com:5000/team/": {"auth": "dGVhbTphOmI="},
            "*.example.org": {"username": "any", "password": "2"},
            "https://index.docker.io/v1/": {"username": "hub", "password": "3"},
            "bare.example.net": {"auth": "YTpi", "username": null},
            "unpadded.example.net": {"auth": "dGVhbTphOmI", "password": null},
            "empty.example.net": {}
        }}"#;
        check(config, "reg.example.com:5000/a:1", &["all:1"]);
        check(config, "reg.example.com:5000/team/a:1", &["team:a:b", "all:1"]);
        check(config, "reg.example.com:5000/teams/a:1", &["all:1"]);
        check(config, "reg.example.com/a:1", &[]);
        check(config, "eu.example.org/a@sha256:0", &["any:2"]);
        check(config, "a.b.example.org/a", &[]);
        check(config, "nginx:1", &["hub:3"]);
        check(config, "library/nginx", &["hub:3"]);
        check(config, "bare.example.net/a", &["a:b"]);
        check(config, "unpadded.example.net/a", &["team:a:b"]);
        check(config, "empty.example.net/a", &[]);
    }

    #[test]
    fn what_is_no_configuration_is_refused_and_no_password_is_shown() {
        assert!(registry_logins(b"{", "a").is_err());
        check("{}", "a", &[]);
        check(r#"{"auths": null}"#, "a", &[]);
        let login = RegistryLogin { username: "me".to_owned(), password: "secret".to_owned() };
        assert!(!format!("{login:?}").contains("secret"));
    }
}
