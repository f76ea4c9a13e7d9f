//! Acting as somebody else: `kubectl --as`. Who may do so has the request carried out, and authorized, as that identity
//! (Kubernetes: `k8s.io/apiserver/pkg/endpoints/filters/impersonation.go`).

use std::{collections::BTreeMap, fmt, sync::Arc};

use api_machinery::ApiError;
use http::{HeaderMap, HeaderValue};

use crate::{
    identity::{ACCOUNT_PREFIX, ANONYMOUS, AUTHENTICATED, Identity, UNAUTHENTICATED},
    path_segments,
    rbac::Action,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
/// The API group of what isn't a user, a group or a service account.
const AUTHENTICATION: &str = "authentication.k8s.io";

/// One thing that a request claims about whom it acts as. Each needs the permission to be claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Claim {
    Account { namespace: String, name: String },
    User(String),
    Group(String),
    Extra { key: String, value: String },
    Uid(String),
}

/// Whom the request acts as: the identity itself if it says nothing else.
///
/// # Errors
/// 403 if the identity may not act as that one, 500 (as in Kubernetes) if it doesn't say as which user.
pub(crate) fn effective(
    identity: &Arc<Identity>,
    headers: &HeaderMap,
    authorize: impl Fn(Action<'_>) -> Result<(), ApiError>,
) -> Result<Arc<Identity>, ApiError> {
    let claims = claims(headers);
    if claims.is_empty() {
        return Ok(identity.clone());
    }
    if !claims.iter().any(|c| matches!(c, Claim::User(_) | Claim::Account { .. })) {
        let claims: Vec<_> = claims.iter().map(ToString::to_string).collect();
        let claims = claims.join(" ");
        let why = format!("requested [{claims}] without impersonating a user name");
        return Err(ApiError::internal(why));
    }
    for claim in &claims {
        authorize(claim.action())?;
    }
    Ok(Arc::new(become_it(claims)))
}

/// What the headers claim, the user first.
fn claims(headers: &HeaderMap) -> Vec<Claim> {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let first = |name| headers.get(name).map(text).filter(|v| !v.is_empty());
    let mut claims: Vec<Claim> = first(USER).map(user).into_iter().collect();
    claims.extend(headers.get_all(GROUP).iter().map(text).map(Claim::Group));
    for (name, value) in headers {
        if let Some(key) = name.as_str().strip_prefix(EXTRA_PREFIX) {
            claims.push(Claim::Extra { key: path_segments::decode(key), value: text(value) });
        }
    }
    claims.extend(first(UID).map(Claim::Uid));
    claims
}

fn user(name: String) -> Claim {
    match name.strip_prefix(ACCOUNT_PREFIX).and_then(|account| account.split_once(':')) {
        Some((namespace, account)) if !namespace.is_empty() && !account.is_empty() => {
            Claim::Account { namespace: namespace.to_owned(), name: account.to_owned() }
        }
        _ => Claim::User(name),
    }
}

impl Claim {
    /// What has to be permitted.
    fn action(&self) -> Action<'_> {
        let action = |group, resource, name| Action {
            verb: "impersonate",
            group,
            resource,
            name,
            ..Action::default()
        };
        match self {
            Self::Account { namespace, name } => {
                Action { namespace: Some(namespace), ..action("", "serviceaccounts", name) }
            }
            Self::User(name) => action("", "users", name),
            Self::Group(name) => action("", "groups", name),
            Self::Extra { key, value } => {
                Action { subresource: Some(key), ..action(AUTHENTICATION, "userextras", value) }
            }
            Self::Uid(uid) => action(AUTHENTICATION, "uids", uid),
        }
    }
}

/// As Go prints an `ObjectReference`: kind, namespace, name, UID, API version, resource version, field path.
impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, namespace, name, version, path) = match self {
            Self::Account { namespace, name } => {
                ("ServiceAccount", namespace.as_str(), name, "", "")
            }
            Self::User(name) => ("User", "", name, "", ""),
            Self::Group(name) => ("Group", "", name, "", ""),
            Self::Extra { key, value } => {
                ("UserExtra", "", value, "authentication.k8s.io/v1", key.as_str())
            }
            Self::Uid(uid) => ("UID", "", uid, "authentication.k8s.io/v1", ""),
        };
        write!(f, "{{{kind} {namespace} {name}  {version}  {path}}}")
    }
}

fn become_it(claims: Vec<Claim>) -> Identity {
    let mut it = Identity::default();
    let mut of_account = Vec::new();
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for claim in claims {
        match claim {
            Claim::Account { namespace, name } => {
                let account = Identity::of_account(&namespace, &name);
                (it.user, of_account) = (account.user, account.groups);
            }
            Claim::User(name) => it.user = name,
            Claim::Group(group) => it.groups.push(group),
            Claim::Extra { key, value } => extra.entry(key).or_default().push(value),
            Claim::Uid(uid) => it.uid = Some(uid),
        }
    }
    it.extra = extra;
    if it.groups.is_empty() {
        it.groups = of_account;
    }
    join_everybody(&mut it);
    it
}

/// Everybody is in one of two groups, unless the request puts it in one itself.
fn join_everybody(it: &mut Identity) {
    if !it.is_in(AUTHENTICATED) && !it.is_in(UNAUTHENTICATED) {
        let group = if it.user == ANONYMOUS { UNAUTHENTICATED } else { AUTHENTICATED };
        it.groups.push(group.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acting(as_: &[(&'static str, &str)], identity: Identity) -> Result<Identity, String> {
        let header = |(name, value): &(&'static str, &str)| {
            (name.parse::<http::HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        let mut headers = HeaderMap::new();
        for (name, value) in as_.iter().map(header) {
            headers.append(name, value);
        }
        let may = identity.is_in("system:masters");
        let authorize = |action: Action<'_>| {
            let why = format!("cannot impersonate {}", action.name);
            if may {
                Ok(())
            } else {
                Err(ApiError::forbidden("", action.resource, action.name, &why))
            }
        };
        let effective = effective(&Arc::new(identity), &headers, authorize);
        effective.map(|it| (*it).clone()).map_err(|error| format!("{} {error}", error.code()))
    }

    fn check(as_: &[(&'static str, &str)], user: &str, groups: &[&str]) -> Identity {
        let it = acting(as_, Identity::admin()).unwrap();
        let found: Vec<_> = it.groups.iter().map(String::as_str).collect();
        assert_eq!((it.user.as_str(), found.as_slice()), (user, groups));
        it
    }

    #[test]
    fn who_claims_nothing_is_itself() {
        assert_eq!(acting(&[], Identity::admin()).unwrap(), Identity::admin());
    }

    #[test]
    fn a_user_is_taken_with_groups_and_all() {
        check(&[(USER, "jane")], "jane", &["system:authenticated"]);
        let groups = [(USER, "jane"), (GROUP, "dev"), (GROUP, "ops")];
        check(&groups, "jane", &["dev", "ops", "system:authenticated"]);
        check(&[(USER, ANONYMOUS)], ANONYMOUS, &["system:unauthenticated"]);
        let more = [
            (USER, "jane"),
            (UID, "7"),
            ("impersonate-extra-acme.com%2fproject", "a"),
            ("impersonate-extra-acme.com%2fproject", "b"),
        ];
        let it = check(&more, "jane", &["system:authenticated"]);
        assert_eq!(it.uid.as_deref(), Some("7"));
        assert_eq!(it.extra["acme.com/project"], ["a", "b"]);
        let account = "system:serviceaccount:prod:web";
        let groups =
            ["system:serviceaccounts", "system:serviceaccounts:prod", "system:authenticated"];
        check(&[(USER, account)], account, &groups);
    }

    #[test]
    fn groups_without_a_user_are_nobody() {
        let error = acting(&[(GROUP, "dev"), (UID, "7")], Identity::admin()).unwrap_err();
        assert_eq!(
            error,
            "500 Internal error occurred: requested [{Group  dev    } {UID  7  authentication.k8s.io/v1  }] \
             without impersonating a user name"
        );
    }

    #[test]
    fn each_claim_must_be_permitted() {
        let refused =
            |as_: &[(&'static str, &str)]| acting(as_, Identity::anonymous()).unwrap_err();
        assert_eq!(
            refused(&[(USER, "jane")]),
            "403 users \"jane\" is forbidden: cannot impersonate jane"
        );
        assert_eq!(
            refused(&[(USER, "system:serviceaccount:prod:web")]),
            "403 serviceaccounts \"web\" is forbidden: cannot impersonate web"
        );
    }
}
