//! One provider: whose tokens it has signed, and what they say.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header, errors::ErrorKind,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{
    claims::Mapping,
    keys::{self, Keys},
    options::{OidcError, OidcOptions},
};
use crate::{
    identity::{AUTHENTICATED, Identity},
    tokens,
};

/// By how many seconds a clock may be behind the provider's (go-oidc).
const BEHIND: f64 = 300.0;

/// What tokens may be signed with.
pub(super) const ALGORITHMS: [(&str, Algorithm); 8] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
];

/// A provider. Clones share its keys.
#[derive(Clone)]
pub struct OidcProvider(pub(super) Arc<Provider>);

/// All that there is to say of one.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) issuer: String,
    /// Of its document, if that is not where the issuer says.
    pub(super) discovery_url: Option<String>,
    /// Tokens must be meant for one of them.
    pub(super) audiences: Vec<String>,
    pub(super) authorities: Option<String>,
    pub(super) algorithms: Vec<Algorithm>,
    pub(super) mapping: Mapping,
}

/// See [`Settings`].
pub(super) struct Provider {
    pub(super) issuer: String,
    audiences: Vec<String>,
    algorithms: Vec<Algorithm>,
    pub(super) mapping: Mapping,
    keys: Keys,
}

impl fmt::Debug for OidcProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcProvider").field("issuer", &self.0.issuer).finish_non_exhaustive()
    }
}

impl OidcProvider {
    /// The one that is described. It is asked when somebody shows one of its tokens.
    ///
    /// # Errors
    /// If it can't be asked, or tokens can't be checked as the options say.
    pub fn new(options: OidcOptions) -> Result<Self, OidcError> {
        if !options.issuer.starts_with("https://") {
            return Err(OidcError::Scheme(options.issuer));
        }
        let algorithms = algorithms(&options.signing_algorithms)?;
        let mapping = Mapping::new(&options);
        Self::of(Settings {
            issuer: options.issuer,
            discovery_url: None,
            audiences: vec![options.client_id],
            authorities: options.authorities,
            algorithms,
            mapping,
        })
    }

    /// The one with these settings.
    pub(super) fn of(settings: Settings) -> Result<Self, OidcError> {
        tokens::install_crypto();
        let Settings { issuer, discovery_url, audiences, authorities, algorithms, mapping } =
            settings;
        let keys = Keys::new(&issuer, discovery_url, authorities.as_deref());
        let keys = keys.map_err(OidcError::Client)?;
        Ok(Self(Arc::new(Provider { issuer, audiences, algorithms, mapping, keys })))
    }

    /// Whether a token says that it is one of this provider's. What it says is not to be believed yet.
    pub(crate) fn issued(&self, token: &str) -> bool {
        #[derive(Deserialize)]
        struct Claimed {
            iss: String,
        }
        let payload = token.split('.').nth(1).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        let claimed = payload.and_then(|json| serde_json::from_slice::<Claimed>(&json).ok());
        claimed.is_some_and(|it| it.iss == self.0.issuer)
    }

    /// Whose a token is.
    ///
    /// # Errors
    /// Why it is of no use.
    pub(crate) async fn identity(&self, token: &str) -> Result<Identity, String> {
        let claims = self.claims(token).await?;
        let mut identity = self.0.mapping.identity(&claims)?;
        identity.groups.push(AUTHENTICATED.to_owned());
        Ok(identity)
    }

    async fn claims(&self, token: &str) -> Result<Map<String, Value>, String> {
        let header =
            decode_header(token).map_err(|error| format!("oidc: malformed jwt: {error}"))?;
        if !self.0.algorithms.contains(&header.alg) {
            return Err(format!(
                "oidc: id token signed with unsupported algorithm {:?}",
                header.alg
            ));
        }
        let known = self.0.keys.known();
        let mut verified = self.verify(token, &header, &known);
        if matches!(verified, Err(Fault::Key(_))) {
            // It may have been signed with a key that is new.
            let latest = self.0.keys.renewed(&known).await?;
            verified = self.verify(token, &header, &latest);
        }
        let claims = verified.map_err(|fault| match fault {
            Fault::Key(why) | Fault::Claims(why) => why,
        })?;
        not_yet(&claims).map_or(Ok(claims), Err)
    }

    fn verify(
        &self,
        token: &str,
        header: &Header,
        keys: &[keys::Key],
    ) -> Result<Map<String, Value>, Fault> {
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[&self.0.issuer]);
        validation.set_audience(&self.0.audiences);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.leeway = 0;
        let fits = |key: &&keys::Key| header.kid.is_none() || header.kid == key.id;
        let mut why = "oidc: failed to verify signature: no key is known by this id".to_owned();
        for key in keys.iter().filter(fits) {
            let key: &DecodingKey = &key.key;
            match decode::<Map<String, Value>>(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => {
                    let fault = format!("oidc: verify token: {error}");
                    if is_of_claims(error.kind()) {
                        return Err(Fault::Claims(fault));
                    }
                    why = fault;
                }
            }
        }
        Err(Fault::Key(why))
    }
}

/// Why a token does not verify.
enum Fault {
    /// No key is known that it was signed with.
    Key(String),
    /// It was signed with one, and is of no use.
    Claims(String),
}

/// Whether it is looked at once the signature has been found right.
fn is_of_claims(kind: &ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ExpiredSignature
            | ErrorKind::InvalidAudience
            | ErrorKind::InvalidClaimFormat(_)
            | ErrorKind::InvalidIssuer
            | ErrorKind::MissingRequiredClaim(_)
    )
}

/// Why a token is not good yet.
fn not_yet(claims: &Map<String, Value>) -> Option<String> {
    let Some(begins) = claims.get("nbf")?.as_f64() else {
        return Some("oidc: malformed claim nbf: must be a number".to_owned());
    };
    let now = api_types::jiff::Timestamp::now().as_duration().as_secs_f64();
    (begins > now + BEHIND)
        .then(|| "oidc: current time before the nbf (not before) time".to_owned())
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, OidcError> {
    let known = |name: &String| {
        let found = ALGORITHMS.iter().find(|(known, _)| known == name);
        found.map(|(_, algorithm)| *algorithm).ok_or_else(|| OidcError::Algorithm(name.clone()))
    };
    if names.is_empty() {
        return Ok(vec![Algorithm::RS256]);
    }
    names.iter().map(known).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_provider_is_asked_over_https_alone_and_signs_with_what_is_known() {
        let of = |issuer: &str, algorithm: &str| {
            let signing_algorithms = vec![algorithm.to_owned()];
            let issuer = issuer.to_owned();
            let options = OidcOptions { issuer, signing_algorithms, ..OidcOptions::default() };
            OidcProvider::new(options).map(drop).map_err(|error| error.to_string())
        };
        of("https://issuer.example", "ES384").unwrap();
        let why = of("http://issuer.example", "RS256").unwrap_err();
        assert_eq!(
            why,
            r#"oidc-issuer-url ("http://issuer.example") has invalid scheme, require 'https'"#
        );
        for name in ["none", "HS256", "rs256"] {
            let why = of("https://issuer.example", name).unwrap_err();
            assert_eq!(why, format!("oidc: unsupported signing alg: {name:?}"));
        }
    }

    #[test]
    fn a_token_is_good_from_the_time_on_that_it_names_as_a_number() {
        let why = |nbf: Value| not_yet(&Map::from_iter([("nbf".to_owned(), nbf)]));
        assert_eq!(not_yet(&Map::new()), None);
        for begun in [json!(1), json!(1.5), json!(-1)] {
            assert_eq!(why(begun), None);
        }
        for wrong in [json!(4_102_444_800_i64), json!(4_102_444_800.5), json!("1"), Value::Null] {
            assert!(why(wrong.clone()).is_some(), "{wrong}");
        }
    }

    #[test]
    fn whose_a_token_says_that_it_is_can_be_read_without_a_key() {
        let issuer = "https://issuer.example".to_owned();
        let provider = OidcProvider::new(OidcOptions { issuer, ..OidcOptions::default() }).unwrap();
        let token = |claims: &str| format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims));
        assert!(provider.issued(&token(r#"{"iss":"https://issuer.example"}"#)));
        for other in [&token(r#"{"iss":"https://other.example"}"#), &token("{}"), "x", "x.!.y", ""]
        {
            assert!(!provider.issued(other), "{other}");
        }
    }
}
