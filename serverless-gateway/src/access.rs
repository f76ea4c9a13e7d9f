//! Who may call functions: whoever is near, or, with authentication, whoever shows a token.

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use anyhow::{Context, bail};
use axum::http::{HeaderMap, header};
use ipnet::IpNet;
use sha2::{Digest, Sha256};

use crate::error::CallError;

/// Whose calls are answered.
#[derive(Clone, Debug)]
pub enum Access {
    /// Those from this host and from these networks.
    Networks(Vec<IpNet>),
    /// Those with one of these bearer tokens, wherever they come from.
    Tokens(Tokens),
}

/// The tokens that are accepted: their digests, so that how long a comparison takes tells nothing about them.
#[derive(Clone, Debug)]
pub struct Tokens(HashSet<[u8; 32]>);

impl Access {
    /// Refuses a call that is not to be answered.
    pub(crate) fn check(
        &self,
        caller: Option<SocketAddr>,
        headers: &HeaderMap,
    ) -> Result<(), CallError> {
        match self {
            Access::Networks(networks) => {
                let ip = caller.map(|caller| caller.ip().to_canonical());
                if ip.is_some_and(|ip| is_near(ip, networks)) {
                    return Ok(());
                }
                let from = ip.map_or_else(|| "an unknown address".to_owned(), |ip| ip.to_string());
                Err(CallError::Forbidden(from))
            }
            Access::Tokens(tokens) => {
                let shown =
                    headers.get(header::AUTHORIZATION).and_then(|v| bearer(v.to_str().ok()?));
                let known = shown.is_some_and(|token| tokens.contain(token));
                if known { Ok(()) } else { Err(CallError::Unauthorized) }
            }
        }
    }

    /// Whether `Authorization` is for the gateway, and not for the function.
    pub(crate) fn takes_authorization(&self) -> bool {
        matches!(self, Access::Tokens(_))
    }
}

impl Tokens {
    /// Reads Kubernetes' static token file: a line `token,user,uid` for each, with more columns allowed.
    ///
    /// # Errors
    /// The file cannot be read, or a line has no token or user.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the tokens from {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("wrong token file {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut tokens = HashSet::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match line.split(',').map(str::trim).collect::<Vec<_>>()[..] {
                [token, user, _uid, ..] if !token.is_empty() && !user.is_empty() => {
                    tokens.insert(Sha256::digest(token).into());
                }
                _ => bail!("line {} is not token,user,uid", number + 1),
            }
        }
        Ok(Tokens(tokens))
    }

    fn contain(&self, token: &str) -> bool {
        self.0.contains(&<[u8; 32]>::from(Sha256::digest(token)))
    }
}

fn is_near(ip: IpAddr, networks: &[IpNet]) -> bool {
    ip.is_loopback() || networks.iter().any(|network| network.contains(&ip))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(access: &Access, caller: &str, authorization: Option<&str>, expected: Option<u16>) {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        }
        let caller = format!("{caller}:4711").parse().unwrap();
        let refused = access.check(Some(caller), &headers).err().map(|error| error.code());
        assert_eq!(refused, expected, "{caller} {authorization:?}");
    }

    #[test]
    fn only_callers_of_this_host_and_of_the_clusters_networks_are_answered() {
        let networks = ["10.244.0.0/16", "fd00:10:244::/56"];
        let access = Access::Networks(networks.map(|it| it.parse().unwrap()).into());
        for near in [
            "127.0.0.1",
            "127.9.9.9",
            "[::1]",
            "10.244.3.7",
            "[::ffff:10.244.3.7]",
            "[fd00:10:244:3::7]",
        ] {
            check(&access, near, None, None);
        }
        for far in ["192.0.2.1", "10.245.0.1", "[2001:db8::1]", "[::ffff:192.0.2.1]"] {
            check(&access, far, Some("Bearer x"), Some(403));
        }
        assert!(access.check(None, &HeaderMap::new()).is_err());
    }

    #[test]
    fn with_authentication_a_token_is_needed_from_everywhere() {
        let tokens = Tokens::parse("s3cret,ann,1\n\n# old\nother, bob, 2, \"a,b\"\n").unwrap();
        let access = Access::Tokens(tokens);
        for shown in ["Bearer s3cret", "bearer  other"] {
            check(&access, "192.0.2.1", Some(shown), None);
        }
        for shown in
            [None, Some("Bearer wrong"), Some("Basic s3cret"), Some("s3cret"), Some("Bearer ")]
        {
            check(&access, "127.0.0.1", shown, Some(401));
        }
    }

    #[test]
    fn a_wrong_line_of_the_token_file_is_named() {
        let fault = |text: &str| Tokens::parse(text).unwrap_err().to_string();
        assert_eq!(fault("a,b,c\nd,e"), "line 2 is not token,user,uid");
        assert_eq!(fault(",user,uid"), "line 1 is not token,user,uid");
    }
}
