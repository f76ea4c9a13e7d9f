//! What flags say of a provider.

use std::collections::BTreeMap;

/// What is to be known of a provider (Kubernetes: `--oidc-…`).
#[derive(Clone, Debug, Default)]
pub struct OidcOptions {
    /// Where it is: an `https` URL, which its tokens name.
    pub issuer: String,
    /// For whom its tokens must be meant.
    pub client_id: String,
    /// Certificates of the authorities of its server, as PEM; those of the host if there are none.
    pub authorities: Option<String>,
    /// Which claim is the user's name; `sub` if none is said.
    pub username_claim: Option<String>,
    /// What names begin with: `-` for nothing, and the issuer's URL with a `#` if none is said and the claim is not `email`.
    pub username_prefix: Option<String>,
    /// Which claim is the user's groups.
    pub groups_claim: Option<String>,
    /// What groups begin with.
    pub groups_prefix: String,
    /// What tokens must be signed with; `RS256` if none is said.
    pub signing_algorithms: Vec<String>,
    /// Claims that tokens must have, and their values.
    pub required_claims: BTreeMap<String, String>,
}

/// Why there can be no such provider.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Not `https://…`.
    #[error("oidc-issuer-url ({0:?}) has invalid scheme, require 'https'")]
    Scheme(String),
    /// An algorithm that nobody signs tokens with, or that is not known here.
    #[error("oidc: unsupported signing alg: {0:?}")]
    Algorithm(String),
    /// Its authorities can't be read, or nobody can be asked.
    #[error("the OpenID provider can't be asked: {0}")]
    Client(String),
    /// What is wrong with a file of providers, by field.
    #[error("{0}")]
    Configuration(String),
}
