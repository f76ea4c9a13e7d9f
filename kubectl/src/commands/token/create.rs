//! `kubectl token create`.

use std::time::Duration;

use api_machinery::duration;
use api_types::jiff::Timestamp;
use clap::Args;
use http::Method;
use rand::RngExt;
use serde_json::json;

use super::{
    join,
    secret::{NAME_PREFIX, SECRETS, TYPE, USAGE_PREFIX},
};
use crate::{Failure, api::Call, session::Session};

const LETTERS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
const USAGES: [&str; 2] = ["signing", "authentication"];

/// Make a token with which hosts join
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl token create --print-join-command\n  kubectl token create --ttl=2h --description='the lab'\n  kubectl token create abcdef.0123456789abcdef --ttl=0   # good until it is deleted"
)]
pub(super) struct Create {
    /// The token; usually made at random
    #[arg(value_parser = parse)]
    token: Option<String>,
    /// How long it is good; 0 until it is deleted
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration::parse)]
    ttl: Duration,
    /// What it is for, for who lists tokens
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// The groups of who has it; those of the default may become nodes
    #[arg(
        long,
        value_name = "GROUP",
        value_delimiter = ',',
        default_value = "system:bootstrappers:kubeadm:default-node-token"
    )]
    groups: Vec<String>,
    /// What it may be used for
    #[arg(long, value_delimiter = ',', default_values = USAGES, value_parser = clap::builder::PossibleValuesParser::new(USAGES))]
    usages: Vec<String>,
    /// Print what is to be typed on the host that joins, instead of the token alone
    #[arg(long)]
    print_join_command: bool,
}

impl Create {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let token = self.token.clone().unwrap_or_else(random);
        // Before there is a token that nobody has seen.
        let cluster = match self.print_join_command {
            true => Some(join::cluster(session).await?),
            false => None,
        };
        let secret = self.secret(&token);
        session.api().await?.call(Call::new(Method::POST, SECRETS).body(&secret)).await?;
        match cluster {
            Some(cluster) => session.io.line(cluster.command(&token))?,
            None => session.io.line(&token)?,
        }
        Ok(())
    }

    fn secret(&self, token: &str) -> serde_json::Value {
        let (id, secret) = token.split_once('.').unwrap_or_default();
        let mut data = json!({
            "token-id": id, "token-secret": secret, "auth-extra-groups": self.groups.join(","),
        });
        for usage in &self.usages {
            data[format!("{USAGE_PREFIX}{usage}")] = json!("true");
        }
        if let Some(description) = &self.description {
            data["description"] = json!(description);
        }
        if !self.ttl.is_zero() {
            let end = Timestamp::now() + self.ttl;
            // Whole seconds, as Kubernetes writes it.
            data["expiration"] = json!(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        }
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": TYPE, "stringData": data,
            "metadata": {"name": format!("{NAME_PREFIX}{id}"), "namespace": "kube-system"},
        })
    }
}

fn parse(text: &str) -> Result<String, String> {
    let plain = |part: &str| part.bytes().all(|letter| LETTERS.contains(&letter));
    match text.split_once('.') {
        Some((id, secret))
            if (id.len(), secret.len()) == (ID_LENGTH, SECRET_LENGTH)
                && plain(id)
                && plain(secret) =>
        {
            Ok(text.to_owned())
        }
        _ => Err(r#"the bootstrap token is not of the form "\A([a-z0-9]{6})\.([a-z0-9]{16})\z""#
            .to_owned()),
    }
}

fn random() -> String {
    let mut random = rand::rng();
    let mut letters = |count| -> String {
        (0..count).map(|_| char::from(LETTERS[random.random_range(0..LETTERS.len())])).collect()
    };
    format!("{}.{}", letters(ID_LENGTH), letters(SECRET_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_what_the_api_server_takes() {
        for _ in 0..100 {
            parse(&random()).unwrap();
        }
        assert_ne!(random(), random());
        for wrong in ["abcdef", "abcdef.0123", "ABCDEF.0123456789abcdef"] {
            assert!(parse(wrong).unwrap_err().contains("is not of the form"), "{wrong}");
        }
    }
}
