//! Whose a token is: it is good only as long as its service account, and what else it is bound to, is there.

use api_types::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::absent::Absent;
use crate::{
    identity::{AUTHENTICATED, Identity},
    objects::Objects,
    tokens::{Claims, Private, Reference, TokenError},
};

/// How long after its deletion began an object counts as there (Kubernetes: `jwt.DefaultLeeway`).
const LEEWAY: SignedDuration = SignedDuration::from_secs(60);

/// What else is said about who has a token.
const EXTRA: &str = "authentication.kubernetes.io";

/// Where it is found out what is there.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) objects: Objects<'a>,
    pub(super) absent: &'a Absent,
}

/// Who has a token with these claims.
pub(super) async fn identity(known: Known<'_>, claims: &Claims) -> Result<Identity, TokenError> {
    let Private { namespace, node, pod, secret, account, .. } = &claims.kubernetes;
    let place = Some(namespace.as_str());
    check_account(known, namespace, account).await?;
    if let Some(secret) = secret {
        check_bound(known, "secrets", place, secret, "secret").await?;
    }
    match (pod, node) {
        (Some(pod), _) => check_bound(known, "pods", place, pod, "pod").await?,
        (None, Some(node)) => check_bound(known, "nodes", None, node, "node").await?,
        (None, None) => {}
    }
    let mut identity = Identity::of_account(namespace, &account.name);
    identity.groups.push(AUTHENTICATED.to_owned());
    identity.uid = Some(account.uid.clone());
    let mut add = |key: &str, value: String| {
        if !value.is_empty() {
            identity.extra.insert(format!("{EXTRA}/{key}"), vec![value]);
        }
    };
    for (kind, reference) in [("pod", pod), ("node", node)] {
        let Some(Reference { name, uid }) = reference else { continue };
        add(&format!("{kind}-name"), name.clone());
        add(&format!("{kind}-uid"), uid.clone());
    }
    add("credential-id", format!("JTI={}", claims.id));
    Ok(identity)
}

async fn check_account(
    known: Known<'_>,
    namespace: &str,
    claim: &Reference,
) -> Result<(), TokenError> {
    let name = &claim.name;
    let found = find(known, "serviceaccounts", Some(namespace), claim).await?;
    let found =
        found.ok_or_else(|| TokenError::Refused(format!("serviceaccounts {name:?} not found")))?;
    let uid = &found.uid;
    if *uid != claim.uid {
        let why = format!("service account UID ({uid}) does not match claim ({})", claim.uid);
        return Err(TokenError::Refused(why));
    }
    if found.is_deleted() {
        let why = format!("service account {namespace}/{name} has been deleted");
        return Err(TokenError::Refused(why));
    }
    Ok(())
}

/// `word` is what the object is called in what is said of it.
async fn check_bound(
    known: Known<'_>,
    plural: &str,
    namespace: Option<&str>,
    claim: &Reference,
    word: &str,
) -> Result<(), TokenError> {
    let invalidated =
        || TokenError::Refused("service account token has been invalidated".to_owned());
    let found = find(known, plural, namespace, claim).await?.ok_or_else(invalidated)?;
    let uid = &found.uid;
    if *uid != claim.uid {
        return Err(TokenError::Refused(format!(
            "{word} UID ({uid}) does not match service account {word} ref claim ({})",
            claim.uid
        )));
    }
    if found.is_deleted() { Err(invalidated()) } else { Ok(()) }
}

async fn find(
    Known { objects, absent }: Known<'_>,
    plural: &str,
    namespace: Option<&str>,
    claim: &Reference,
) -> Result<Option<Metadata>, TokenError> {
    let name = claim.name.as_str();
    let cached: Option<Object> =
        objects.cached(plural, namespace, name).map_err(TokenError::Unknown)?;
    if cached.is_some() || absent.has(&claim.uid) {
        return Ok(cached.map(|object| object.metadata));
    }
    let found: Option<Object> =
        objects.find(plural, namespace, name).await.map_err(TokenError::Unknown)?;
    if found.is_none() {
        absent.note(&claim.uid);
    }
    Ok(found.map(|object| object.metadata))
}

/// What is looked at of an object, which may be large.
#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    uid: String,
    deletion_timestamp: Option<Timestamp>,
}

impl Metadata {
    fn is_deleted(&self) -> bool {
        self.deletion_timestamp.is_some_and(|time| time < Timestamp::now() - LEEWAY)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(deletion: &Value, expected: bool) {
        let object = json!({"metadata": {"deletionTimestamp": deletion}});
        let object: Object = serde_json::from_value(object).unwrap();
        assert_eq!(object.metadata.is_deleted(), expected, "{deletion}");
    }

    #[test]
    fn what_is_held_long_after_its_deletion_does_not_count_as_there() {
        let ago = |seconds| json!(Timestamp::now() - SignedDuration::from_secs(seconds));
        check(&Value::Null, false);
        check(&ago(30), false);
        check(&ago(90), true);
        check(&ago(-90), false);
    }
}
