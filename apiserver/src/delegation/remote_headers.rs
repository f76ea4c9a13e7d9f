//! How a server is told who makes a request that is led on to it (Kubernetes: `client-go/transport`, `SetAuthProxyHeaders`). Pure.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::identity::Identity;

const USER: HeaderName = HeaderName::from_static("x-remote-user");
const UID: HeaderName = HeaderName::from_static("x-remote-uid");
const GROUP: HeaderName = HeaderName::from_static("x-remote-group");
const EXTRA: &str = "x-remote-extra-";

/// Says it, and nothing else of the kind.
///
/// # Errors
/// If something of it can't be said in a header.
pub(crate) fn add(headers: &mut HeaderMap, identity: &Identity) -> Result<(), String> {
    let told: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("x-remote-")).cloned().collect();
    for name in told {
        headers.remove(name);
    }
    headers.append(USER, value(&identity.user)?);
    if let Some(uid) = identity.uid.as_deref().filter(|uid| !uid.is_empty()) {
        headers.append(UID, value(uid)?);
    }
    for group in &identity.groups {
        headers.append(GROUP, value(group)?);
    }
    for (key, values) in &identity.extra {
        let name = HeaderName::try_from(format!("{EXTRA}{}", escaped(key)));
        let name = name.map_err(|error| format!("{key:?}: {error}"))?;
        for text in values {
            headers.append(name.clone(), value(text)?);
        }
    }
    Ok(())
}

fn value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_bytes(text.as_bytes()).map_err(|error| format!("{text:?}: {error}"))
}

/// What a header's name can't have is percent-encoded, in bytes.
fn escaped(key: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ if b"!#$&'*+-.^_`|~".contains(&byte) => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    key.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_client_says_of_itself_goes_on() {
        let mut headers = HeaderMap::new();
        for name in ["x-remote-user", "x-remote-group", "x-remote-extra-scopes", "x-remote-uid"] {
            headers.insert(name, HeaderValue::from_static("system:masters"));
        }
        headers.insert("accept", HeaderValue::from_static("*/*"));
        let mut ann = Identity::new("änn", &["dev", "ops"]);
        ann.extra.insert("example.com/Scopes %".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
        add(&mut headers, &ann).unwrap();
        let mut told: Vec<_> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "accept: */*",
                "x-remote-extra-example.com%2fscopes%20%25: a",
                "x-remote-extra-example.com%2fscopes%20%25: b",
                "x-remote-group: dev",
                "x-remote-group: ops",
                "x-remote-user: änn",
            ]
        );
        assert!(add(&mut headers, &Identity::new("a\nb", &[])).is_err(), "no header has that");
    }
}
