//! Tokens with which a node joins: each is a Secret of kube-system, which says until when it is good and what its bearer is
//! (Kubernetes: `plugin/pkg/auth/authenticator/token/bootstrap`).

use api_types::{ByteString, api::core::v1::Secret, jiff::Timestamp};
use ring::digest::{SHA256, digest};

use crate::{
    identity::{AUTHENTICATED, Identity},
    objects::Objects,
    tokens::TokenError,
};

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of all who have such a token; further ones begin with it.
const GROUP: &str = "system:bootstrappers";
const USER_PREFIX: &str = "system:bootstrap:";

const ID_LENGTH: usize = 6;
const SECRET_LENGTH: usize = 16;
/// The longest name that the API allows a further group, without what it begins with.
const MAX_GROUP: usize = 256;

/// `abcdef.0123456789abcdef`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    id: &'a str,
    secret: &'a str,
}

/// A text, if it looks like such a token.
pub(super) fn parse(text: &str) -> Option<Token<'_>> {
    let (id, secret) = text.split_once('.')?;
    let plain = |part: &str| part.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let fits = id.len() == ID_LENGTH && secret.len() == SECRET_LENGTH;
    (fits && plain(id) && plain(secret)).then_some(Token { id, secret })
}

/// Who has the token. A token that another server has just made may not be known for a moment.
pub(super) fn identity(objects: Objects<'_>, token: Token<'_>) -> Result<Identity, TokenError> {
    let name = format!("bootstrap-token-{}", token.id);
    let found = objects.cached("secrets", Some(NAMESPACE), &name).map_err(TokenError::Unknown)?;
    let secret: Secret = found.ok_or(TokenError::Foreign)?;
    judge(&secret, token, Timestamp::now())
        .map_err(|why| TokenError::Refused(format!("bootstrap token {:?} {why}", token.id)))
}

fn judge(secret: &Secret, token: Token<'_>, now: Timestamp) -> Result<Identity, String> {
    let data = |key: &str| {
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        value.map(|ByteString(bytes)| String::from_utf8_lossy(bytes)).unwrap_or_default()
    };
    if secret.metadata.deletion_timestamp.is_some() {
        return Err("is deleted and awaiting removal".to_owned());
    }
    if secret.type_.as_deref() != Some(TYPE) {
        return Err(format!("has invalid type, expected {TYPE}"));
    }
    // Digests, so that how long it takes does not tell how much of it was right.
    let hash = |text: &str| digest(&SHA256, text.as_bytes());
    if hash(&data("token-secret")).as_ref() != hash(token.secret).as_ref() {
        return Err("has invalid value for key token-secret".to_owned());
    }
    if data("token-id") != token.id {
        return Err("has invalid value for key token-id".to_owned());
    }
    let expiration = data("expiration");
    let lasts = |text: &str| text.parse::<Timestamp>().is_ok_and(|end| end > now);
    if !expiration.is_empty() && !lasts(&expiration) {
        return Err("has expired".to_owned());
    }
    if data("usage-bootstrap-authentication") != "true" {
        return Err("not marked usage-bootstrap-authentication=true".to_owned());
    }
    let mut identity = Identity::new(format!("{USER_PREFIX}{}", token.id), &[GROUP]);
    for group in data("auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        if !is_group(group) {
            return Err(format!("has invalid value for key auth-extra-groups: {group:?}"));
        }
        identity.groups.push(group.to_owned());
    }
    identity.groups.push(AUTHENTICATED.to_owned());
    Ok(identity)
}

/// `system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]`
fn is_group(group: &str) -> bool {
    let Some(own) = group.strip_prefix(GROUP).and_then(|rest| rest.strip_prefix(':')) else {
        return false;
    };
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    own.len() <= MAX_GROUP
        && own.bytes().all(|c| plain(c) || c == b':' || c == b'-')
        && own.bytes().last().is_some_and(plain)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TOKEN: &str = "abcdef.0123456789abcdef";

    #[test]
    fn a_token_has_an_id_and_a_secret() {
        let token = Token { id: "abcdef", secret: "0123456789abcdef" };
        assert_eq!(parse(TOKEN), Some(token));
        for other in ["abcdef", "abcdef.0123456789abcde", "Abcdef.0123456789abcdef", "a.b.c"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[track_caller]
    fn check(field: &str, value: &str, expected: Result<&[&str], &str>) {
        let mut data = json!({
            "token-id": "abcdef", "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
        });
        if !field.is_empty() {
            data[field] = json!(value);
        }
        let data = data.as_object().unwrap().iter().map(|(key, value)| {
            (key.clone(), ByteString(value.as_str().unwrap_or_default().into()))
        });
        let secret = Secret {
            type_: Some(TYPE.to_owned()),
            data: Some(data.collect()),
            ..Secret::default()
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let found = judge(&secret, parse(TOKEN).unwrap(), now);
        let groups =
            found.as_ref().map(|it| it.groups.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(groups.map_err(String::as_str), expected.map(<[_]>::to_vec), "{field} {value}");
    }

    #[test]
    fn a_token_is_good_as_its_secret_says() {
        let all = ["system:bootstrappers", "system:authenticated"];
        check("", "", Ok(&all));
        check("expiration", "2026-01-01T00:00:01Z", Ok(&all));
        check("expiration", "2026-01-01T00:00:00Z", Err("has expired"));
        check("expiration", "tomorrow", Err("has expired"));
        check("token-secret", "0123456789abcdee", Err("has invalid value for key token-secret"));
        check("token-id", "abcdee", Err("has invalid value for key token-id"));
        let unmarked = "not marked usage-bootstrap-authentication=true";
        check("usage-bootstrap-authentication", "yes", Err(unmarked));
        let more = ["system:bootstrappers", "system:bootstrappers:a:b", "system:authenticated"];
        check("auth-extra-groups", "system:bootstrappers:a:b", Ok(&more));
        let wrong = "has invalid value for key auth-extra-groups: \"system:masters\"";
        check("auth-extra-groups", "system:bootstrappers:a,system:masters", Err(wrong));
    }

    #[test]
    fn another_type_or_a_deleted_secret_is_no_token() {
        let check = |given: Value, expected: &str| {
            let secret = serde_json::from_value(given).unwrap();
            let refused = judge(&secret, parse(TOKEN).unwrap(), Timestamp::now());
            assert_eq!(refused.unwrap_err(), expected);
        };
        check(
            json!({"type": "Opaque"}),
            "has invalid type, expected bootstrap.kubernetes.io/token",
        );
        let deleted = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
        check(deleted, "is deleted and awaiting removal");
    }
}
