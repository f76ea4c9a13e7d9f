//! The flags about a server that knows tokens, as kube-apiserver calls them.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use api_machinery::duration as text;
use clap::Args;

use crate::{TokenReviewVersion, TokenWebhook};

/// See the module.
#[derive(Debug, Args)]
pub(super) struct TokenWebhookFlags {
    /// Kubeconfig of a server that is asked whose tokens are which nobody here knows
    #[arg(long, value_name = "FILE")]
    authentication_token_webhook_config_file: Option<PathBuf>,
    /// How long its answers are believed
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = text::parse)]
    authentication_token_webhook_cache_ttl: Duration,
    /// In which version of TokenReviews it is asked
    #[arg(long, value_enum, default_value_t = TokenReviewVersion::V1beta1)]
    authentication_token_webhook_version: TokenReviewVersion,
}

impl TokenWebhookFlags {
    /// The server, if there is one.
    pub(super) fn webhook(&self) -> anyhow::Result<Option<TokenWebhook>> {
        let Some(path) = &self.authentication_token_webhook_config_file else { return Ok(None) };
        let (version, believed) = (
            self.authentication_token_webhook_version,
            self.authentication_token_webhook_cache_ttl,
        );
        let webhook = TokenWebhook::new(path, version, believed);
        webhook.map(Some).with_context(|| format!("cannot use {}", path.display()))
    }
}
