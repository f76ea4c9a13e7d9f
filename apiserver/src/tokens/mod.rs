//! Tokens of service accounts: JSON Web Tokens that say whose they are, for whom they are meant and until when
//! (Kubernetes: `pkg/serviceaccount`). Servers that have the same keys take each other's.

mod claims;
mod crypto;
mod keys;
#[cfg(test)]
mod tests;

use api_machinery::ApiError;
use jsonwebtoken::{Header, Validation, decode, decode_header, encode, errors::ErrorKind};
use rcgen::KeyPair;
use serde_json::{Value, json};

use self::keys::{PublicKey, SigningKey};

pub(crate) use claims::{Claims, Private, Reference};
pub(crate) use crypto::install as install_crypto;
pub use keys::KeyError;

/// Who issues tokens unless the flags say otherwise, and for whom they are then meant (Kubernetes: kubeadm's choice).
pub(crate) const DEFAULT_ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// What the token of each pod is asked for with: Kubernetes' number, by which such a token is known.
pub(crate) const POD_SECONDS: i64 = 3607;
const YEAR: i64 = 365 * 24 * 3600;

/// The path of the keys.
pub(crate) const KEYS_PATH: &str = "/openid/v1/jwks";

/// Why a token is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TokenError {
    /// It is none of ours.
    #[error("invalid bearer token")]
    Foreign,
    /// It is, and it is of no use.
    #[error("{0}")]
    Refused(String),
    /// It can't be known now.
    #[error("{0}")]
    Unknown(ApiError),
}

/// A token whose signature, time, issuer and audience are right.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) claims: Claims,
    /// Those of the audiences that were asked for.
    pub(crate) audiences: Vec<String>,
}

/// What tokens are made and judged by.
#[derive(Clone, Debug)]
pub struct Tokens {
    signing: SigningKey,
    keys: Vec<PublicKey>,
    /// The first is that of new tokens.
    issuers: Vec<String>,
    audiences: Vec<String>,
    /// Whether those that pods get by themselves are good for a year.
    extended: bool,
}

impl Tokens {
    /// Tokens that are signed with the private key in a text.
    ///
    /// # Errors
    /// If it has none that can be used.
    pub fn new(signing_key: &str) -> Result<Self, KeyError> {
        crypto::install();
        let signing = SigningKey::of_pem(signing_key)?;
        let issuers = vec![DEFAULT_ISSUER.to_owned()];
        let keys = vec![signing.public.clone()];
        Ok(Self { signing, keys, audiences: issuers.clone(), issuers, extended: true })
    }

    /// Tokens with a key that nobody else has, and that is gone with the server.
    pub(crate) fn ephemeral() -> Self {
        let key = KeyPair::generate().expect("ring makes keys of this curve");
        Self::new(&key.serialize_pem()).expect("this is such a key")
    }

    /// Takes tokens that were signed with the keys in a text too, which may be public ones.
    ///
    /// # Errors
    /// If it has none, or one that can't be used.
    pub fn trust(&mut self, keys: &str) -> Result<(), KeyError> {
        for key in PublicKey::all_of_pem(keys)? {
            if self.keys.iter().all(|known| known.id != key.id) {
                self.keys.push(key);
            }
        }
        Ok(())
    }

    /// Whether the tokens that pods get by themselves are good for a year, for clients that never read them again.
    #[must_use]
    pub fn extended(self, extended: bool) -> Self {
        Self { extended, ..self }
    }

    /// How long a token bound to a pod is good that is asked for with so many seconds; `None` for just as long
    /// (Kubernetes: `--service-account-extend-token-expiration`).
    pub(crate) fn extension(&self, seconds: i64, audiences: &[String]) -> Option<i64> {
        let is_for_us = audiences.iter().all(|audience| self.audiences.contains(audience));
        (self.extended && seconds == POD_SECONDS && is_for_us).then_some(YEAR)
    }

    /// Takes tokens of these issuers, the first of which issues new ones, that are meant for one of these audiences, or
    /// of the issuers if there are none.
    #[must_use]
    pub fn between(self, issuers: Vec<String>, audiences: Vec<String>) -> Self {
        let audiences = if audiences.is_empty() { issuers.clone() } else { audiences };
        Self { issuers, audiences, ..self }
    }

    /// Whom tokens are meant for that don't say.
    pub(crate) fn audiences(&self) -> &[String] {
        &self.audiences
    }

    /// The issuer of new tokens.
    pub(crate) fn issuer(&self) -> &str {
        self.issuers.first().map(String::as_str).unwrap_or_default()
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Claims) -> Result<String, ApiError> {
        let SigningKey { key, public } = &self.signing;
        let kid = Some(public.id.clone());
        let header = Header { typ: None, kid, ..Header::new(public.algorithm) };
        encode(&header, claims, key)
            .map_err(|error| ApiError::internal(format!("failed to generate token: {error}")))
    }

    /// What a token says, if it is one of ours, is good now, and is meant for one of these audiences. Whether what it is
    /// bound to is still there, it does not know.
    pub(crate) fn verify(&self, token: &str, audiences: &[String]) -> Result<Verified, TokenError> {
        let header = decode_header(token).map_err(|_| TokenError::Foreign)?;
        let fits = |key: &&PublicKey| header.kid.as_ref().is_none_or(|id| *id == key.id);
        let mut refused = ErrorKind::InvalidSignature;
        for key in self.keys.iter().filter(fits) {
            match decode::<Claims>(token, &key.key, &self.validation(key)) {
                Ok(token) => return meant_for(token.claims, audiences),
                Err(error) => refused = error.into_kind(),
            }
        }
        Err(refusal(&refused))
    }

    fn validation(&self, key: &PublicKey) -> Validation {
        let mut validation = Validation::new(key.algorithm);
        validation.set_issuer(&self.issuers);
        validation.set_required_spec_claims(&["exp", "iss"]);
        validation.validate_nbf = true;
        // Which of them it is meant for is to be told.
        validation.validate_aud = false;
        validation
    }

    /// `/openid/v1/jwks`
    pub(crate) fn key_set(&self) -> Value {
        json!({ "keys": self.keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() })
    }

    /// `/.well-known/openid-configuration`, if the issuer is one that OpenID Connect allows; with a server at that address.
    pub(crate) fn openid_configuration(&self, address: &str) -> Option<Value> {
        let issuer = self.issuer().parse::<http::Uri>().ok()?;
        if issuer.scheme_str() != Some("https") || issuer.query().is_some() {
            return None;
        }
        let mut algorithms: Vec<_> = self.keys.iter().map(|key| &key.jwk["alg"]).collect();
        algorithms.sort_by_key(|name| name.as_str());
        algorithms.dedup();
        Some(json!({
            "issuer": self.issuer(),
            "jwks_uri": format!("https://{address}{KEYS_PATH}"),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        }))
    }
}

fn meant_for(claims: Claims, wanted: &[String]) -> Result<Verified, TokenError> {
    let audiences: Vec<String> =
        claims.audiences.iter().filter(|audience| wanted.contains(audience)).cloned().collect();
    if audiences.is_empty() {
        return Err(TokenError::Refused(format!(
            "token audiences {:?} is invalid for the target audiences {wanted:?}",
            claims.audiences
        )));
    }
    Ok(Verified { claims, audiences })
}

fn refusal(kind: &ErrorKind) -> TokenError {
    let why = match kind {
        ErrorKind::InvalidIssuer | ErrorKind::InvalidToken => return TokenError::Foreign,
        ErrorKind::ExpiredSignature => "service account token has expired",
        ErrorKind::ImmatureSignature => "service account token is not valid yet",
        ErrorKind::InvalidSignature => "invalid signature",
        _ => "service account token claims could not be validated",
    };
    TokenError::Refused(why.to_owned())
}
