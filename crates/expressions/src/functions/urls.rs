//! URLs, read as Go reads them (Kubernetes: `cel/library/urls.go`).

use std::{collections::BTreeMap, fmt::Write, sync::Arc};

use super::{
    arguments::{opaque, text},
    signature::{Answer, Row},
};
use crate::{
    budget::{Budget, EvaluationError},
    value::{Key, Opaque, Value},
};

const TYPE: &str = "kubernetes.URL";
/// What stays as it is in a path.
const PATH: &str = "-_.~$&+,/:;=@!*'()";

pub(super) const ROWS: &[Row] = &[
    ("url(string): kubernetes.URL", |b, a| {
        let given = text(a, 0)?;
        let parsed = parse(b, given)?;
        parsed.map(Value::opaque).ok_or_else(|| {
            EvaluationError::new(
                "URL parse error during conversion from string: invalid URI for request",
            )
        })
    }),
    ("isURL(string): bool", |b, a| Ok(Value::Bool(parse(b, text(a, 0)?)?.is_some()))),
    ("(kubernetes.URL).getScheme(): string", |_, a| Ok(Value::text(&url(a)?.scheme))),
    ("(kubernetes.URL).getHost(): string", |_, a| Ok(Value::text(&url(a)?.host))),
    ("(kubernetes.URL).getHostname(): string", |_, a| {
        Ok(Value::text(host_and_port(&url(a)?.host).0))
    }),
    ("(kubernetes.URL).getPort(): string", |_, a| Ok(Value::text(host_and_port(&url(a)?.host).1))),
    ("(kubernetes.URL).getEscapedPath(): string", |b, a| {
        b.spend_on_text(url(a)?.path.len())?;
        Ok(Value::text(escaped(&url(a)?.path)))
    }),
    ("(kubernetes.URL).getQuery(): map(string, list(string))", query),
];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

impl Opaque for Url {
    fn type_name(&self) -> &str {
        TYPE
    }

    fn equals(&self, other: &dyn Opaque) -> bool {
        other.downcast::<Self>() == Some(self)
    }
}

fn url(args: &[Value]) -> Result<&Url, EvaluationError> {
    opaque(args, 0)
}

/// Nothing if it is neither an absolute address nor an absolute path.
fn parse(budget: &mut Budget, text: &str) -> Result<Option<Url>, EvaluationError> {
    budget.spend_on_text(text.len())?;
    Ok(read(text))
}

pub(super) fn read(text: &str) -> Option<Url> {
    if text.contains(|c: char| c.is_ascii_control()) {
        return None;
    }
    let text = text.split_once('#').map_or(text, |(before, _)| before);
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    let (scheme, rest) = match text.split_once(':') {
        _ if text.starts_with('/') => (String::new(), text),
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_ascii_lowercase(), rest),
        _ => return None,
    };
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() => {
            let end = rest.find('/').unwrap_or(rest.len());
            rest.split_at(end)
        }
        _ => ("", rest),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    (is_host(host) && escapes_are_whole(path)).then(|| Url {
        scheme,
        host: host.to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn is_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((_, after)) => {
                return after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            }
            None => return false,
        },
        None => host,
    };
    let (name, port) = name.split_once(':').unwrap_or((name, ""));
    is_port(port) && !name.contains(|c: char| c.is_whitespace() || "<>\"{}|\\^`".contains(c))
}

fn is_port(port: &str) -> bool {
    port.chars().all(|c| c.is_ascii_digit())
}

fn escapes_are_whole(text: &str) -> bool {
    text.split('%').skip(1).all(|after| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

fn host_and_port(host: &str) -> (&str, &str) {
    if let Some((inner, after)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (inner, after.trim_start_matches(':'));
    }
    host.split_once(':').unwrap_or((host, ""))
}

fn escaped(path: &str) -> String {
    let mut escaped = String::new();
    for octet in path.bytes() {
        let c = char::from(octet);
        if c.is_ascii_alphanumeric() || c == '%' || PATH.contains(c) && c.is_ascii() {
            escaped.push(c);
        } else {
            // Into a text it can't fail.
            let _ = write!(escaped, "%{octet:02X}");
        }
    }
    escaped
}

fn query(budget: &mut Budget, args: &[Value]) -> Answer {
    let query = &url(args)?.query;
    budget.spend_on(query.len())?;
    let mut values: BTreeMap<Key, Vec<Value>> = BTreeMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty() && !pair.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) else { continue };
        values.entry(Key::text(key)).or_default().push(Value::text(value));
    }
    let values = values.into_iter().map(|(key, values)| (key, Value::list(values)));
    Ok(Value::Map(Arc::new(values.collect())))
}

fn unescaped(text: &str) -> Option<String> {
    if !escapes_are_whole(text) {
        return None;
    }
    let mut parts = text.split('%');
    let mut octets = parts.next().unwrap_or_default().replace('+', " ").into_bytes();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        octets.push(u8::from_str_radix(digits, 16).ok()?);
        octets.extend(rest.replace('+', " ").into_bytes());
    }
    Some(String::from_utf8_lossy(&octets).into_owned())
}
