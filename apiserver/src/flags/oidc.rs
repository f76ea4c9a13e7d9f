//! The flags about an OpenID Connect provider, as kube-apiserver calls them.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::{OidcOptions, OidcProvider, pki};

/// See the module.
#[derive(Debug, Args)]
pub(super) struct OidcFlags {
    /// File of OpenID providers whose users are known, an AuthenticationConfiguration
    #[arg(long, value_name = "FILE", conflicts_with = "oidc_issuer_url")]
    authentication_config: Option<PathBuf>,
    /// URL of an OpenID provider whose users are known, with https
    #[arg(long, value_name = "URL", requires = "oidc_client_id")]
    oidc_issuer_url: Option<String>,
    /// For whom the provider's tokens must be meant
    #[arg(long, value_name = "ID", requires = "oidc_issuer_url")]
    oidc_client_id: Option<String>,
    /// Certificates of the authorities of the provider's server [default: those of the host]
    #[arg(long, value_name = "FILE", requires = "oidc_issuer_url")]
    oidc_ca_file: Option<PathBuf>,
    /// Claim that is the user's name [default: sub]
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer_url")]
    oidc_username_claim: Option<String>,
    /// What users' names begin with; - for nothing [default: the URL and #, unless the claim is email]
    #[arg(long, value_name = "PREFIX", requires = "oidc_issuer_url", allow_hyphen_values = true)]
    oidc_username_prefix: Option<String>,
    /// Claim that is the user's groups: a text or a list of them
    #[arg(long, value_name = "CLAIM", requires = "oidc_issuer_url")]
    oidc_groups_claim: Option<String>,
    /// What users' groups begin with
    #[arg(long, value_name = "PREFIX", requires = "oidc_issuer_url")]
    oidc_groups_prefix: Option<String>,
    /// What tokens must be signed with: RS256, RS384, RS512, ES256, ES384, PS256, PS384, PS512 [default: RS256]
    #[arg(long, value_name = "NAMES", requires = "oidc_issuer_url", value_delimiter = ',')]
    oidc_signing_algs: Vec<String>,
    /// A claim that tokens must have, and its value; may be repeated
    #[arg(long, value_name = "KEY=VALUE", requires = "oidc_issuer_url", value_parser = pair)]
    oidc_required_claim: Vec<(String, String)>,
}

impl OidcFlags {
    /// The providers, if there are any, none of which may be one of these issuers: those of service accounts.
    pub(super) fn providers(&self, issuers: &[String]) -> anyhow::Result<Vec<OidcProvider>> {
        let providers = self.described()?;
        OidcProvider::validate_issuers(&providers, issuers)?;
        Ok(providers)
    }

    fn described(&self) -> anyhow::Result<Vec<OidcProvider>> {
        if let Some(path) = &self.authentication_config {
            let providers = OidcProvider::of_configuration(&pki::read(path)?);
            return providers.with_context(|| format!("cannot use {}", path.display()));
        }
        let (Some(issuer), Some(client_id)) = (&self.oidc_issuer_url, &self.oidc_client_id) else {
            return Ok(Vec::new());
        };
        let authorities = self.oidc_ca_file.as_deref().map(pki::read).transpose()?;
        let options = OidcOptions {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            authorities,
            username_claim: self.oidc_username_claim.clone(),
            username_prefix: self.oidc_username_prefix.clone(),
            groups_claim: self.oidc_groups_claim.clone(),
            groups_prefix: self.oidc_groups_prefix.clone().unwrap_or_default(),
            signing_algorithms: self.oidc_signing_algs.clone(),
            required_claims: self.oidc_required_claim.iter().cloned().collect(),
        };
        Ok(vec![OidcProvider::new(options)?])
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}
