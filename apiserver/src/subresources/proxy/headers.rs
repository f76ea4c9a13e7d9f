//! The headers of a request that is led on, and of its answer. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use crate::{
    peer::Peer,
    websocket::{tokens, without_token},
};

/// What is between two neighbours, and not for who is behind them (Go: `httputil.ReverseProxy`).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// What names of headers begin with that say whom a request acts as, here or for who is asked.
const IDENTITIES: [&str; 2] = ["impersonate-", "x-remote-"];
/// Where a client would be from, if it were to be believed.
const ORIGINS: [HeaderName; 2] = [header::FORWARDED, HeaderName::from_static("x-real-ip")];
/// What a browser would take for all that has the server's address (Kubernetes: `corsRemovingTransport`, of the first four).
const OF_THE_ADDRESS: [HeaderName; 8] = [
    header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
    header::ACCESS_CONTROL_ALLOW_HEADERS,
    header::ACCESS_CONTROL_ALLOW_METHODS,
    header::ACCESS_CONTROL_ALLOW_ORIGIN,
    header::ALT_SVC,
    header::STRICT_TRANSPORT_SECURITY,
    HeaderName::from_static("clear-site-data"),
    HeaderName::from_static("service-worker-allowed"),
];

/// Whether the client wants another protocol on its connection.
pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let upgrade = |token: &str| token.eq_ignore_ascii_case("upgrade");
    headers.contains_key(header::UPGRADE)
        && tokens(headers, &header::CONNECTION).any(|token| upgrade(&token))
}

/// The host that the client asked.
pub(super) fn host(parts: &Parts) -> Option<String> {
    let given = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    given.or(parts.uri.authority().map(http::uri::Authority::as_str)).map(str::to_owned)
}

/// The headers that a request goes on with: what proves who the client is stays here.
pub(crate) fn onwards(parts: &Parts, upgrades: bool) -> HeaderMap {
    let mut headers = passed(&parts.headers, upgrades);
    for name in [header::AUTHORIZATION, header::EXPECT].iter().chain(&ORIGINS) {
        headers.remove(name);
    }
    let is_identity =
        |name: &&HeaderName| IDENTITIES.iter().any(|it| name.as_str().starts_with(it));
    let identities: Vec<_> = headers.keys().filter(is_identity).cloned().collect();
    for name in identities {
        headers.remove(name);
    }
    headers = without_token(&headers);
    // The links of a page are looked at on its way back.
    if tokens(&headers, &header::ACCEPT).any(|kind| kind.starts_with("text/html")) {
        headers.remove(header::ACCEPT_ENCODING);
    }
    if let Some(host) = host(parts).and_then(|host| HeaderValue::try_from(host).ok()) {
        headers.insert(FORWARDED_HOST, host.clone());
        headers.insert(header::HOST, host);
    }
    headers.insert(FORWARDED_PROTO, HeaderValue::from_static("https"));
    if let Some(Peer(address)) = parts.extensions.get() {
        let before = tokens(&headers, &FORWARDED_FOR);
        let all: Vec<_> = before.chain([address.to_string()]).collect();
        if let Ok(all) = all.join(", ").try_into() {
            headers.insert(FORWARDED_FOR, all);
        }
    }
    if let Ok(path) = HeaderValue::from_str(parts.uri.path()) {
        headers.insert(FORWARDED_URI, path);
    }
    headers
}

/// The headers that an answer comes back with.
pub(crate) fn back(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let mut headers = passed(headers, upgrades);
    for name in &OF_THE_ADDRESS {
        headers.remove(name);
    }
    headers
}

/// Whether an answer changes to a protocol that the request asked for.
pub(crate) fn same_protocol(asked: &HeaderMap, answered: &HeaderMap) -> bool {
    let mut changed = tokens(answered, &header::UPGRADE).peekable();
    let is_wanted =
        |to: String| tokens(asked, &header::UPGRADE).any(|it| it.eq_ignore_ascii_case(&to));
    changed.peek().is_some() && changed.all(is_wanted)
}

/// Those that are for who is behind; where the protocol changes, also what is said of that.
fn passed(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let mut passed = headers.clone();
    for name in tokens(headers, &header::CONNECTION) {
        passed.remove(name.as_str());
    }
    for name in &HOP_BY_HOP {
        passed.remove(name);
    }
    if upgrades {
        passed.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        let protocols = headers.get_all(header::UPGRADE);
        passed.extend(protocols.iter().map(|it| (header::UPGRADE, it.clone())));
    }
    passed
}

/// Where an answer sends the client: what is absolute on one of the `hosts` that were asked is below the path that
/// leads there (Kubernetes: `rewriteURL`).
pub(super) fn location(given: &str, hosts: &[String], prefix: &str) -> String {
    let (host, path) = split(given);
    let elsewhere = host.is_some_and(|host| hosts.iter().all(|own| own != host));
    if elsewhere || !path.starts_with('/') {
        return given.to_owned();
    }
    let below = path.strip_prefix(prefix);
    match below.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#'])) {
        true => path.to_owned(),
        false => format!("{prefix}{path}"),
    }
}

/// The host of a reference, if it names one, and what follows.
fn split(reference: &str) -> (Option<&str>, &str) {
    let is_scheme = |text: &str| matches!(text.to_ascii_lowercase().as_str(), "http:" | "https:");
    let after = match reference.split_once("//") {
        Some((scheme, rest)) if scheme.is_empty() || is_scheme(scheme) => rest,
        _ => return (None, reference),
    };
    let end = after.find(['/', '?', '#']).unwrap_or(after.len());
    (Some(&after[..end]), &after[end..])
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(headers: &[(&str, &str)]) -> Parts {
        let mut builder = Request::get("https://server:6443/api/v1/nodes/n/proxy/x%20y?q");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer("10.9.8.7".parse().unwrap()));
        parts
    }

    fn shown(headers: &HeaderMap) -> Vec<String> {
        let one = |(name, value): (&HeaderName, &HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut shown: Vec<_> = headers.iter().map(one).collect();
        shown.sort();
        shown
    }

    const OWN: [&str; 5] = [
        "host: server:6443",
        "x-forwarded-for: 10.9.8.7",
        "x-forwarded-host: server:6443",
        "x-forwarded-proto: https",
        "x-forwarded-uri: /api/v1/nodes/n/proxy/x%20y",
    ];

    #[test]
    fn what_proves_who_the_client_is_and_what_is_between_neighbours_stays() {
        let given = [
            ("authorization", "Bearer secret"),
            ("impersonate-user", "ann"),
            ("impersonate-extra-x", "y"),
            ("x-remote-user", "ann"),
            ("x-remote-extra-x", "y"),
            ("forwarded", "for=192.0.2.1"),
            ("x-real-ip", "192.0.2.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "bank.example"),
            ("proxy-authorization", "Basic secret"),
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("expect", "100-continue"),
        ];
        assert_eq!(shown(&onwards(&parts(&given), false)), OWN);
    }

    #[test]
    fn the_rest_goes_on() {
        let given = [
            ("cookie", "a=b"),
            ("range", "bytes=5-"),
            ("host", "pod.example"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let expected = [
            "cookie: a=b",
            "host: pod.example",
            "range: bytes=5-",
            "x-forwarded-for: 192.0.2.1, 10.9.8.7",
            "x-forwarded-host: pod.example",
            "x-forwarded-proto: https",
            "x-forwarded-uri: /api/v1/nodes/n/proxy/x%20y",
        ];
        assert_eq!(shown(&onwards(&parts(&given), false)), expected);
    }

    #[test]
    fn pages_are_asked_for_as_text() {
        let given = [("accept", "image/png, text/html;q=0.9"), ("accept-encoding", "gzip")];
        assert!(!onwards(&parts(&given), false).contains_key("accept-encoding"));
        let others = [("accept", "*/*"), ("accept-encoding", "gzip")];
        assert!(onwards(&parts(&others), false).contains_key("accept-encoding"));
    }

    #[test]
    fn a_websocket_goes_on_without_the_token_among_its_protocols() {
        let token = "chat, base64url.bearer.authorization.k8s.io.c2VjcmV0";
        let given = [
            ("connection", "keep-alive, Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-protocol", token),
        ];
        let parts = parts(&given);
        assert!(asks_for_upgrade(&parts.headers));
        let expected =
            ["connection: Upgrade", OWN[0], "sec-websocket-protocol: chat", "upgrade: websocket"];
        let found = shown(&onwards(&parts, true));
        assert_eq!(found, [&expected[..], &OWN[1..]].concat());
    }

    #[test]
    fn an_answer_says_nothing_about_what_else_is_at_the_servers_address() {
        let mut headers = HeaderMap::new();
        for name in OF_THE_ADDRESS.iter().chain(&[header::SET_COOKIE]) {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        assert_eq!(shown(&back(&headers, false)), ["set-cookie: x"]);
    }

    #[test]
    fn a_protocol_is_changed_to_one_that_was_asked_for() {
        let check = |asked: &str, answered: &str, expected| {
            let headers = |text: &str| parts(&[("upgrade", text)]).headers;
            let found = same_protocol(&headers(asked), &headers(answered));
            assert_eq!(found, expected, "{asked}: {answered}");
        };
        check("websocket", "WebSocket", true);
        check("h2c, websocket", "websocket", true);
        check("websocket", "h2c", false);
        check("websocket", "", false);
    }

    #[test]
    fn where_an_answer_sends_its_reader_is_led_there_too() {
        let prefix = "/api/v1/namespaces/a/pods/b:80/proxy";
        let hosts = ["10.0.0.1:80".to_owned(), "server:6443".to_owned()];
        let check = |given: &str, expected: &str| {
            assert_eq!(location(given, &hosts, prefix), expected, "{given}");
        };
        check("/login?x=/y", &format!("{prefix}/login?x=/y"));
        check("http://10.0.0.1:80/login/", &format!("{prefix}/login/"));
        check("https://server:6443/login", &format!("{prefix}/login"));
        check("//10.0.0.1:80/login", &format!("{prefix}/login"));
        check(&format!("{prefix}/x"), &format!("{prefix}/x"));
        check(&format!("http://10.0.0.1:80{prefix}"), prefix);
        check(&format!("{prefix}y"), &format!("{prefix}{prefix}y"));
        check("next", "next");
        check("../x", "../x");
        check("https://elsewhere.example/login", "https://elsewhere.example/login");
        check("//elsewhere.example/login", "//elsewhere.example/login");
        check("next?to=http://10.0.0.1:80/", "next?to=http://10.0.0.1:80/");
        check("/a//b", &format!("{prefix}/a//b"));
    }
}
