//! The keys of a provider, from its discovery document. They are asked for when a token comes that those known do not verify:
//! providers make new ones as they please.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use jsonwebtoken::{
    DecodingKey,
    jwk::{Jwk, PublicKeyUse},
};
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::{sync::Mutex, time::Instant};

use crate::{kubelet_client::causes, webhook_client::trust};

/// How long a provider may take for an answer. All who wait do so for the same one.
const PATIENCE: Duration = Duration::from_secs(10);
/// It is not asked again so soon: anybody can show a token that names a key that is not there.
const PAUSE: Duration = Duration::from_secs(1);
/// As long as an answer may be.
const LONGEST: usize = 1 << 20;

/// A public key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) key: DecodingKey,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Keys {
    issuer: String,
    /// Of its document.
    url: String,
    client: Client,
    known: ArcSwap<Vec<Key>>,
    /// When it was asked last, and what was wrong then. Locked while it is asked.
    asked: Mutex<Option<(Instant, Option<String>)>>,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

impl Keys {
    pub(super) fn new(
        issuer: &str,
        url: Option<String>,
        authorities: Option<&str>,
    ) -> Result<Self, String> {
        component::install_crypto_provider();
        let mut builder = Client::builder().https_only(true).timeout(PATIENCE);
        if let Some(pem) = authorities {
            let config = trust::client_config(pem.as_bytes(), None);
            let config = config.map_err(|error| error.to_string())?;
            builder = builder.tls_backend_preconfigured(config);
        }
        let client = builder.build().map_err(|error| causes(&error))?;
        let base = issuer.trim_end_matches('/');
        let url = url.unwrap_or_else(|| format!("{base}/.well-known/openid-configuration"));
        let issuer = issuer.to_owned();
        Ok(Self { issuer, url, client, known: ArcSwap::default(), asked: Mutex::default() })
    }

    pub(super) fn known(&self) -> Arc<Vec<Key>> {
        self.known.load_full()
    }

    /// Those that there are instead of these, which were not enough.
    ///
    /// # Errors
    /// Why they can't be had.
    pub(super) async fn renewed(&self, before: &Arc<Vec<Key>>) -> Result<Arc<Vec<Key>>, String> {
        let mut asked = self.asked.lock().await;
        let known = self.known();
        if !Arc::ptr_eq(before, &known) {
            return Ok(known);
        }
        match &*asked {
            Some((then, trouble)) if then.elapsed() < PAUSE => {
                return trouble.clone().map_or(Ok(known), Err);
            }
            _ => {}
        }
        let fetched = self.fetch().await;
        *asked = Some((Instant::now(), fetched.as_ref().err().cloned()));
        let fetched = fetched.inspect_err(|error| {
            tracing::warn!(
                error,
                issuer = self.issuer,
                "the keys of the OpenID provider can't be had"
            );
        })?;
        self.known.store(Arc::new(fetched));
        Ok(self.known())
    }

    async fn fetch(&self) -> Result<Vec<Key>, String> {
        let found: Discovery = self.get(&self.url).await?;
        if found.issuer != self.issuer {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {:?}",
                self.issuer, found.issuer
            ));
        }
        let set: KeySet = self.get(&found.jwks_uri).await?;
        // What is no key of ours is somebody else's.
        Ok(set.keys.into_iter().filter_map(key).collect())
    }

    async fn get<T: for<'a> Deserialize<'a>>(&self, url: &str) -> Result<T, String> {
        let failed =
            |error: reqwest::Error| format!("Get {url:?}: {}", causes(&error.without_url()));
        let mut answer = self.client.get(url).send().await.map_err(failed)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("Get {url:?}: the server answers {}", answer.status()));
        }
        let mut read = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            if read.len() + part.len() > LONGEST {
                return Err(format!("Get {url:?}: the answer is longer than {LONGEST} bytes"));
            }
            read.extend_from_slice(&part);
        }
        serde_json::from_slice(&read).map_err(|error| format!("Get {url:?}: {error}"))
    }
}

/// One that tokens may be signed with.
fn key(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if matches!(jwk.common.public_key_use, Some(PublicKeyUse::Encryption)) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, key })
}
