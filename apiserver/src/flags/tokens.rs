//! The flags about tokens of service accounts, as kube-apiserver calls them.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use crate::{
    Tokens,
    pki::{self, Pki},
    tokens::DEFAULT_ISSUER,
};

/// See the module.
#[derive(Debug, Args)]
pub(super) struct TokenFlags {
    /// Private key to sign tokens of service accounts with, for several servers of one cluster [default: made in the
    /// data directory]
    #[arg(long)]
    service_account_signing_key_file: Option<PathBuf>,
    /// File of keys, private or public, whose tokens are taken too; may be repeated
    #[arg(long = "service-account-key-file", requires = "service_account_signing_key_file")]
    service_account_key_files: Vec<PathBuf>,
    /// Issuer of tokens; may be repeated: the first is that of new ones
    #[arg(long = "service-account-issuer", default_value = DEFAULT_ISSUER, value_parser = issuer)]
    service_account_issuers: Vec<String>,
    /// Make the tokens that pods get by themselves good for a year, for clients that never read them again
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    service_account_extend_token_expiration: bool,
    /// For whom tokens must be meant to be taken [default: the issuers]
    #[arg(long, value_delimiter = ',')]
    api_audiences: Vec<String>,
}

impl TokenFlags {
    /// Whose tokens are those of service accounts.
    pub(super) fn issuers(&self) -> &[String] {
        &self.service_account_issuers
    }

    /// What they say, with a key of this server's own if they name none.
    pub(super) fn tokens(&self, pki: &Pki) -> anyhow::Result<Tokens> {
        let mut tokens = match &self.service_account_signing_key_file {
            Some(path) => Tokens::new(&pki::read(path)?).with_context(|| cannot_use(path))?,
            None => {
                let key = pki.service_account_key()?;
                Tokens::new(&key).context("cannot use the key of service accounts")?
            }
        };
        for path in &self.service_account_key_files {
            tokens.trust(&pki::read(path)?).with_context(|| cannot_use(path))?;
        }
        let extended = tokens.extended(self.service_account_extend_token_expiration);
        Ok(extended.between(self.service_account_issuers.clone(), self.api_audiences.clone()))
    }
}

fn cannot_use(path: &Path) -> String {
    format!("cannot use the keys of {}", path.display())
}

/// Kubernetes: `BuiltInAuthenticationOptions.Validate`.
fn issuer(given: &str) -> Result<String, String> {
    if given.is_empty() {
        return Err("service-account-issuer should not be an empty string".to_owned());
    }
    match given.contains(':').then(|| given.parse::<http::Uri>()) {
        Some(Err(error)) => Err(format!(
            "service-account-issuer {given:?} contained a ':' but was not a valid URL: {error}"
        )),
        _ => Ok(given.to_owned()),
    }
}
