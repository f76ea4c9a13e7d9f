//! The request of a probe or a hook, and where an answer leads it on to. Pure.

use std::net::Ipv6Addr;

use api_types::api::core::v1::HTTPGetAction;
use url::{Host, ParseError, Position, Url};

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Request {
    url: Url,
    /// The path and the query, as they were given.
    target: String,
    /// The header of that name.
    host: String,
}

impl Request {
    /// As the action says, but for the host and the port.
    pub(super) fn new(action: &HTTPGetAction, host: &str, port: u16) -> Result<Self, String> {
        let scheme = if action.scheme.as_deref() == Some("HTTPS") { "https" } else { "http" };
        let path = action.path.as_deref().unwrap_or("/");
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let at = authority(host, port);
        let text = format!("{scheme}://{at}{target}");
        let url = Url::parse(&text).map_err(|error| format!("parse {text:?}: {error}"))?;
        let headers = action.http_headers.as_deref().unwrap_or_default();
        let given = headers.iter().find(|header| is_host(&header.name));
        Ok(Self { url, target, host: given.map_or(at, |header| header.value.clone()) })
    }

    /// The next one, if the answer to this leads to the same host; as in Kubernetes, no probe goes elsewhere.
    pub(super) fn led_to(&self, location: &str) -> Option<Self> {
        let url = self.url.join(location).ok()?;
        let is_http = matches!(url.scheme(), "http" | "https");
        if !is_http || url.host_str() != self.url.host_str() {
            return None;
        }
        let host = match Url::parse(location) {
            Err(ParseError::RelativeUrlWithoutBase) => self.host.clone(),
            _ => url[Position::BeforeHost..Position::AfterPort].to_owned(),
        };
        let target = url[Position::BeforePath..Position::AfterQuery].to_owned();
        Some(Self { url, target, host })
    }

    pub(super) fn is_secured(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Where it goes.
    pub(super) fn address(&self) -> (String, u16) {
        let host = match self.url.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            None => String::new(),
        };
        (host, self.url.port_or_known_default().unwrap_or_default())
    }

    /// As it is sent, with the action's headers.
    pub(super) fn text(&self, action: &HTTPGetAction, agent: &str) -> String {
        let Self { target, host, .. } = self;
        let mut text = format!(
            "GET {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {agent}\r\n\
             Accept: */*\r\nConnection: close\r\n"
        );
        let headers = action.http_headers.as_deref().unwrap_or_default();
        for header in headers.iter().filter(|header| !is_host(&header.name)) {
            text.push_str(&format!("{}: {}\r\n", header.name, header.value));
        }
        text + "\r\n"
    }
}

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}

/// A host and a port, as they are written together.
pub(super) fn authority(host: &str, port: u16) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(ip) => format!("[{ip}]:{port}"),
        Err(_) => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(action: Value, host: &str) -> Request {
        Request::new(&serde_json::from_value(action).unwrap(), host, 8080).unwrap()
    }

    #[test]
    fn a_request_names_whom_it_asks_unless_a_header_names_a_host() {
        let check = |action: Value, host: &str, expected: &str| {
            let text =
                request(action.clone(), host).text(&serde_json::from_value(action).unwrap(), "me");
            assert!(text.starts_with(expected), "{text}");
        };
        let action = json!({"path": "ready?a=b", "port": 80});
        check(action.clone(), "10.244.0.2", "GET /ready?a=b HTTP/1.1\r\nHost: 10.244.0.2:8080\r\n");
        check(action, "fd00::2", "GET /ready?a=b HTTP/1.1\r\nHost: [fd00::2]:8080\r\n");
        let named = json!({"port": 80, "httpHeaders": [{"name": "host", "value": "web.test"}]});
        check(named, "10.244.0.2", "GET / HTTP/1.1\r\nHost: web.test\r\n");
    }

    #[test]
    fn an_answer_leads_on_to_the_same_host_alone() {
        let named = json!({"path": "/a/b", "port": 80, "scheme": "HTTP",
            "httpHeaders": [{"name": "Host", "value": "web.test"}]});
        let check = |location: &str, expected: Option<(u16, &str, &str)>| {
            let next = request(named.clone(), "10.244.0.2").led_to(location);
            let next = next.map(|next| (next.address().1, next.target, next.host));
            let next = next.as_ref().map(|(port, target, host)| (*port, &**target, &**host));
            assert_eq!(next, expected, "{location}");
        };
        check("c?d", Some((8080, "/a/c?d", "web.test")));
        check("/c", Some((8080, "/c", "web.test")));
        check("https://10.244.0.2/c", Some((443, "/c", "10.244.0.2")));
        check("http://10.244.0.2:81/c", Some((81, "/c", "10.244.0.2:81")));
        check("http://10.244.0.3/c", None);
        check("//10.244.0.3/c", None);
        check("ftp://10.244.0.2/c", None);
    }

    #[test]
    fn an_address_of_ipv6_is_asked_like_any_other() {
        let asked = request(json!({"port": 80}), "fd00::2");
        assert_eq!(asked.address(), ("fd00::2".to_owned(), 8080));
        assert!(asked.led_to("http://[fd00::2]/").is_some() && asked.led_to("http://x/").is_none());
    }
}
