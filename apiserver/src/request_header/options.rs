//! What front proxies say, and where. Pure.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    identity::{AUTHENTICATED, Identity, UNAUTHENTICATED},
    path_segments,
};

/// Which front proxies are believed, and the headers in which they say for whom they make a request (Kubernetes:
/// `--requestheader-…`).
#[derive(Clone, Debug, Default)]
pub struct RequestHeaderOptions {
    /// The authorities of their certificates, PEM.
    pub authorities: String,
    /// The common names that their certificates may have: any if none is said.
    pub allowed_names: Vec<String>,
    /// Headers with the user's name: the first one that has any counts.
    pub username_headers: Vec<String>,
    /// The same with the user's UID.
    pub uid_headers: Vec<String>,
    /// Headers with the user's groups, each of which may be there several times.
    pub group_headers: Vec<String>,
    /// What headers begin with that say more of the user; the rest of such a name is the key.
    pub extra_header_prefixes: Vec<String>,
}

impl RequestHeaderOptions {
    /// The headers of all front proxies, as other servers are told of them in a ConfigMap's data.
    pub(crate) fn told(data: &BTreeMap<String, String>) -> Self {
        let told = |key: &str| {
            let list = data.get(key).map(String::as_str).unwrap_or_default();
            let mut names: Vec<String> = serde_json::from_str(list).unwrap_or_default();
            // With nothing every header begins.
            names.retain(|name| !name.is_empty());
            names
        };
        Self {
            username_headers: told("requestheader-username-headers"),
            uid_headers: told("requestheader-uid-headers"),
            group_headers: told("requestheader-group-headers"),
            extra_header_prefixes: told("requestheader-extra-headers-prefix"),
            ..Self::default()
        }
    }

    /// Whom the headers name, if they name anybody.
    pub(super) fn identity(&self, headers: &HeaderMap) -> Option<Identity> {
        let groups = self.group_headers.iter().flat_map(|name| headers.get_all(name.as_str()));
        let mut identity = Identity {
            user: first(headers, &self.username_headers)?,
            groups: groups.filter(|group| !group.is_empty()).map(text).collect(),
            uid: first(headers, &self.uid_headers),
            extra: self.extra(headers),
        };
        // A proxy may have somebody in that one (Kubernetes: `AuthenticatedGroupAdder`).
        let is_placed = identity.is_in(AUTHENTICATED) || identity.is_in(UNAUTHENTICATED);
        if !is_placed && !identity.is_anonymous() {
            identity.groups.push(AUTHENTICATED.to_owned());
        }
        Some(identity)
    }

    /// Removes all of these headers.
    pub(crate) fn clear(&self, headers: &mut HeaderMap) {
        let named = [&self.username_headers, &self.uid_headers, &self.group_headers];
        for name in named.into_iter().flatten() {
            headers.remove(name.as_str());
        }
        let is_extra = |name: &HeaderName| {
            self.extra_header_prefixes.iter().any(|prefix| rest(name, prefix).is_some())
        };
        let extra: Vec<_> = headers.keys().filter(|name| is_extra(name)).cloned().collect();
        for name in extra {
            headers.remove(name);
        }
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.extra_header_prefixes {
            for (name, value) in headers {
                if let Some(key) = rest(name, prefix) {
                    extra.entry(decoded(key)).or_default().push(text(value));
                }
            }
        }
        extra
    }
}

/// The first value of the first header that has one.
fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    let mut values = names.iter().filter_map(|name| headers.get(name.as_str()));
    values.find(|value| !value.is_empty()).map(text)
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

/// What a header's name has after a beginning, in lower case.
fn rest<'n>(name: &'n HeaderName, prefix: &str) -> Option<&'n str> {
    let (beginning, rest) = name.as_str().split_at_checked(prefix.len())?;
    beginning.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A key without percent-encoding. One that is not encoded in order stays as it is.
fn decoded(key: &str) -> String {
    let is_escape = |after: &str| {
        after.as_bytes().first_chunk::<2>().is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
    };
    match key.split('%').skip(1).all(is_escape) {
        true => path_segments::decode(key),
        false => key.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn options() -> RequestHeaderOptions {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        RequestHeaderOptions {
            username_headers: names(&["X-Remote-User", "X-User"]),
            uid_headers: names(&["X-Remote-Uid"]),
            group_headers: names(&["X-Remote-Group", "X-Group"]),
            extra_header_prefixes: names(&["X-Remote-Extra-", "X-Extra-"]),
            ..RequestHeaderOptions::default()
        }
    }

    fn headers(given: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn check(given: &[(&'static str, &'static str)], expected: &Value) {
        let found = options().identity(&headers(given)).map(|identity| identity.info());
        assert_eq!(json!(found), *expected, "{given:?}");
    }

    #[test]
    fn a_user_has_what_the_headers_say() {
        let all = ["system:authenticated"];
        check(&[], &Value::Null);
        check(&[("x-remote-user", ""), ("x-remote-group", "dev")], &Value::Null);
        check(&[("x-remote-user", "ann")], &json!({"username": "ann", "groups": all}));
        check(
            &[("x-user", "bob"), ("x-remote-user", "ann")],
            &json!({"username": "ann", "groups": all}),
        );
        check(
            &[("x-remote-user", ""), ("x-user", "bob")],
            &json!({"username": "bob", "groups": all}),
        );
        let more = [
            ("x-group", "ops"),
            ("x-remote-user", "ann"),
            ("x-remote-uid", "7"),
            ("x-remote-group", "dev"),
            ("x-remote-group", ""),
            ("x-remote-group", "a b"),
        ];
        let groups = ["dev", "a b", "ops", "system:authenticated"];
        check(&more, &json!({"username": "ann", "uid": "7", "groups": groups}));
    }

    #[test]
    fn who_is_in_one_of_the_two_groups_of_everybody_or_is_nobody_stays_so() {
        for group in ["system:authenticated", "system:unauthenticated"] {
            let given = [("x-remote-user", "ann"), ("x-remote-group", group)];
            check(&given, &json!({"username": "ann", "groups": [group]}));
        }
        check(&[("x-remote-user", "system:anonymous")], &json!({"username": "system:anonymous"}));
    }

    #[test]
    fn keys_are_decoded_and_in_lower_case() {
        let given = [
            ("x-remote-user", "ann"),
            ("x-remote-extra-scopes", "a"),
            ("x-remote-extra-scopes", "b"),
            ("x-extra-scopes", "c"),
            ("x-remote-extra-example.com%2fscopes%20%25", "d"),
            ("x-remote-extra-100%", "e"),
            ("x-remote-extra-a%2fb%2", "f"),
        ];
        let extra = json!({
            "scopes": ["a", "b", "c"], "example.com/scopes %": ["d"], "100%": ["e"], "a%2fb%2": ["f"],
        });
        let groups = ["system:authenticated"];
        check(&given, &json!({"username": "ann", "groups": groups, "extra": extra}));
    }

    #[test]
    fn what_other_servers_are_told_of_is_read() {
        let data = [
            ("requestheader-username-headers", r#"["X-Remote-User","X-User"]"#),
            ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
            ("requestheader-group-headers", "of nobody"),
            ("requestheader-extra-headers-prefix", r#"["","X-Extra-"]"#),
        ];
        let data: BTreeMap<_, _> = data.map(|(key, list)| (key.to_owned(), list.to_owned())).into();
        let told = RequestHeaderOptions::told(&data);
        assert_eq!(told.username_headers, ["X-Remote-User", "X-User"]);
        assert_eq!(told.uid_headers, ["X-Remote-Uid"]);
        assert!(told.group_headers.is_empty());
        assert_eq!(told.extra_header_prefixes, ["X-Extra-"]);
    }

    #[test]
    fn nothing_of_it_goes_further() {
        let mut headers = headers(&[
            ("x-remote-user", "ann"),
            ("x-user", "ann"),
            ("x-remote-uid", "7"),
            ("x-group", "dev"),
            ("x-group", "ops"),
            ("x-extra-scopes", "a"),
            ("x-remote-extra-scopes", "b"),
            ("x-users", "three"),
            ("accept", "*/*"),
        ]);
        options().clear(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-users"]);
    }
}
