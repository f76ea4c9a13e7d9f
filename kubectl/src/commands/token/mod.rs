//! `kubectl token`: the tokens with which hosts join the cluster, in `kubeadm`'s words.

mod create;
mod join;
mod secret;

use std::collections::BTreeMap;

use api_types::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use clap::{Args, Subcommand};
use http::Method;

use self::{
    create::Create,
    secret::{NAME_PREFIX, SECRETS, TYPE, USAGE_PREFIX},
};
use crate::{Failure, api::Call, failure::Failures, output::tabs, session::Session};

/// Make, show and delete the tokens with which hosts join
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl token create --print-join-command   # type what it prints on the host that is to join\n  kubectl token list\n  kubectl token delete abcdef"
)]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    /// Show the tokens there are
    #[command(after_help = "Examples:\n  kubectl token list")]
    List,
    /// Delete tokens: nobody joins with them any more
    #[command(
        after_help = "Examples:\n  kubectl token delete abcdef\n  kubectl token delete abcdef.0123456789abcdef"
    )]
    Delete(Delete),
}

#[derive(Args, Debug)]
struct Delete {
    /// The tokens, or what is before their dots
    #[arg(required = true, value_name = "TOKEN")]
    tokens: Vec<String>,
}

impl Token {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Create(create) => create.run(session).await,
            Action::List => list(session).await,
            Action::Delete(delete) => delete.run(session).await,
        }
    }
}

impl Delete {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for token in &self.tokens {
            let id = token.split_once('.').map_or(token.as_str(), |(id, _)| id);
            let path = format!("{SECRETS}/{NAME_PREFIX}{}", crate::api::escape(id));
            let deleted = session.api().await?.call(Call::new(Method::DELETE, path)).await;
            if failures.keep(deleted)?.is_some() {
                session.io.line(format_args!("bootstrap token {id:?} deleted"))?;
            }
        }
        failures.finish(&session.io)
    }
}

async fn list(session: &Session) -> Result<(), Failure> {
    let call = Call::get(SECRETS).query("fieldSelector", format!("type={TYPE}"));
    let found = session.api().await?.call(call).await?;
    let mut text = "TOKEN\tTTL\tEXPIRES\tUSAGES\tDESCRIPTION\tEXTRA GROUPS\n".to_owned();
    for item in crate::object::items(found) {
        let secret: Secret =
            serde_json::from_value(item).map_err(|error| Failure::message(error.to_string()))?;
        text += &row(&secret.data.unwrap_or_default(), Timestamp::now());
    }
    Ok(session.io.raw(tabs::align(&text, 6, 3).as_bytes())?)
}

fn row(data: &BTreeMap<String, ByteString>, now: Timestamp) -> String {
    let field = |key: &str| {
        let value = data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        value.filter(|value| !value.is_empty())
    };
    let shown = |key: &str| field(key).unwrap_or_else(|| "<none>".to_owned());
    let expires = field("expiration");
    let ttl = expires.as_deref().map_or("<forever>".to_owned(), |text| left(text, now));
    let usages: Vec<_> = data
        .iter()
        .filter(|(_, value)| value.0 == b"true")
        .filter_map(|(key, _)| key.strip_prefix(USAGE_PREFIX))
        .collect();
    format!(
        "{}.{}\t{ttl}\t{}\t{}\t{}\t{}\n",
        shown("token-id"),
        shown("token-secret"),
        expires.as_deref().unwrap_or("<never>"),
        if usages.is_empty() { "<none>".to_owned() } else { usages.join(",") },
        shown("description"),
        shown("auth-extra-groups"),
    )
}

fn left(expiration: &str, now: Timestamp) -> String {
    let end = expiration.parse::<Timestamp>().ok();
    let seconds = end.map(|end| end.duration_since(now).as_secs());
    match seconds {
        Some(seconds) if seconds > 0 => api_machinery::table::human_duration(seconds),
        Some(_) => "<expired>".to_owned(),
        None => "<invalid>".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tokens_row_tells_for_how_long_it_is_good_and_what_for() {
        let check = |fields: &[(&str, &str)], expected: &str| {
            let field = |(key, value): &(&str, &str)| {
                ((*key).to_owned(), ByteString(value.as_bytes().to_vec()))
            };
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            let found = row(&fields.iter().map(field).collect(), now);
            assert_eq!(found.trim_end().replace('\t', "|"), expected);
        };
        let token = [("token-id", "abcdef"), ("token-secret", "0123456789abcdef")];
        let more = [
            ("expiration", "2026-01-01T02:00:00Z"),
            ("usage-bootstrap-authentication", "true"),
            ("usage-bootstrap-signing", "false"),
            ("auth-extra-groups", "system:bootstrappers:a"),
        ];
        check(&token, "abcdef.0123456789abcdef|<forever>|<never>|<none>|<none>|<none>");
        check(
            &[&token[..], &more[..]].concat(),
            "abcdef.0123456789abcdef|120m|2026-01-01T02:00:00Z|authentication|<none>|system:bootstrappers:a",
        );
        let over = [("expiration", "2025-01-01T00:00:00Z")];
        check(
            &[&token[..], &over[..]].concat(),
            "abcdef.0123456789abcdef|<expired>|2025-01-01T00:00:00Z|<none>|<none>|<none>",
        );
    }
}
