//! Which requests are meant, and which of several that mean one counts.

use std::cmp::Reverse;

use api_types::gateway::{HttpPathMatch, HttpRouteMatch, NamedMatch};

use super::pattern::{MAX_WORD, Pattern, literal};

/// Requests of which all of that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Their path, decoded.
    pub path: PathMatch,
    /// Their method; nothing: any.
    pub method: Option<String>,
    /// Their headers, by names in lower case, each once.
    pub headers: Vec<(String, ValueMatch)>,
    /// Parameters of their query and their values, decoded, each once: of several the first is meant.
    pub query: Vec<(String, String)>,
}

/// A path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This one.
    Exact(String),
    /// Those that match as a whole.
    Pattern(Pattern),
    /// This one and all below it; without a slash at the end.
    Prefix(String),
}

/// What a header's value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueMatch {
    /// This one.
    Exact(String),
    /// Those that match as a whole.
    Pattern(Pattern),
}

/// What comes first where several mean a request: an exact path, then a regular expression, then the longest prefix, each
/// the longer the earlier; a method; more headers; more parameters.
pub type Precedence = Reverse<(u8, usize, bool, usize, usize)>;

impl Match {
    /// Reads one.
    ///
    /// # Errors
    ///
    /// Why it can't be served.
    pub fn read(given: &HttpRouteMatch) -> Result<Self, String> {
        Ok(Match {
            path: path(given.path.as_ref())?,
            method: given.method.clone(),
            headers: headers(&given.headers)?,
            query: query(&given.query_params)?,
        })
    }

    /// Its regular expressions, with the names of the headers that they are for; that of the path has none.
    pub fn patterns(&self) -> impl Iterator<Item = (&str, &Pattern)> {
        let of_path = match &self.path {
            PathMatch::Pattern(pattern) => Some(("", pattern)),
            PathMatch::Exact(_) | PathMatch::Prefix(_) => None,
        };
        let of_headers = self.headers.iter().filter_map(|(name, value)| match value {
            ValueMatch::Pattern(pattern) => Some((name.as_str(), pattern)),
            ValueMatch::Exact(_) => None,
        });
        of_path.into_iter().chain(of_headers)
    }

    /// The least one comes first.
    #[must_use]
    pub fn precedence(&self) -> Precedence {
        let (kind, length) = match &self.path {
            PathMatch::Exact(path) => (2, path.len()),
            PathMatch::Pattern(pattern) => (1, pattern.given.len()),
            PathMatch::Prefix(prefix) => (0, prefix.len()),
        };
        Reverse((kind, length, self.method.is_some(), self.headers.len(), self.query.len()))
    }
}

fn path(given: Option<&HttpPathMatch>) -> Result<PathMatch, String> {
    let value = given.and_then(|path| path.value.as_deref()).unwrap_or("/");
    let type_ = given.and_then(|path| path.type_.as_deref()).unwrap_or("PathPrefix");
    if type_ == "RegularExpression" {
        let pattern = Pattern::new(value).map_err(|why| format!("path {value:?}: {why}"))?;
        return Ok(PathMatch::Pattern(pattern));
    }
    if !value.starts_with('/') {
        return Err(format!("path {value:?} does not begin with a slash"));
    }
    if literal(value).len() > MAX_WORD {
        return Err("a path is too long".to_owned());
    }
    match type_ {
        "Exact" => Ok(PathMatch::Exact(value.to_owned())),
        "PathPrefix" => Ok(PathMatch::Prefix(value.trim_end_matches('/').to_owned())),
        other => Err(format!("paths of type {other:?} are not served")),
    }
}

fn headers(given: &[NamedMatch]) -> Result<Vec<(String, ValueMatch)>, String> {
    let mut headers: Vec<(String, ValueMatch)> = Vec::new();
    for NamedMatch { type_, name, value } in given {
        let name = name.to_ascii_lowercase();
        if headers.iter().any(|(other, _)| *other == name) {
            continue;
        }
        if !is_header(&name) {
            return Err(format!(
                "header {name:?}: only letters, digits and hyphens are served in names"
            ));
        }
        let wanted = match type_.as_deref().unwrap_or("Exact") {
            "Exact" if literal(value).len() > MAX_WORD => {
                return Err(format!("header {name:?}: the value is too long"));
            }
            "Exact" => ValueMatch::Exact(value.clone()),
            "RegularExpression" => ValueMatch::Pattern(
                Pattern::new(value).map_err(|why| format!("header {name:?}: {why}"))?,
            ),
            other => return Err(format!("header {name:?}: type {other:?} is not served")),
        };
        headers.push((name, wanted));
    }
    Ok(headers)
}

fn query(given: &[NamedMatch]) -> Result<Vec<(String, String)>, String> {
    let mut query: Vec<(String, String)> = Vec::new();
    for NamedMatch { type_, name, value } in given {
        if query.iter().any(|(other, _)| other == name) {
            continue;
        }
        let type_ = type_.as_deref().unwrap_or("Exact");
        if type_ != "Exact" {
            return Err(format!("query parameter {name:?}: type {type_:?} is not served"));
        }
        // Each byte may come in three forms, which take 18, and the name is said twice.
        if 2 * name.len() + value.len() > MAX_WORD / 18 {
            return Err("a query parameter is too long".to_owned());
        }
        query.push((name.clone(), value.clone()));
    }
    Ok(query)
}

/// Whether servers know a header by that name.
pub(super) fn is_header(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 256
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(given: &Value) -> Result<Match, String> {
        Match::read(&serde_json::from_value(given.clone()).unwrap())
    }

    #[test]
    fn which_comes_first_is_told_by_path_then_method_then_headers_then_parameters() {
        let header = |name: &str| json!({"name": name, "value": "x"});
        let path = |type_: &str, value: &str| json!({"type": type_, "value": value});
        let ordered = [
            json!({"path": path("Exact", "/a/b")}),
            json!({"path": path("Exact", "/a")}),
            json!({"path": path("RegularExpression", "/a.*")}),
            json!({"path": path("PathPrefix", "/a/bc")}),
            json!({"path": path("PathPrefix", "/a/b/")}),
            json!({"path": path("PathPrefix", "/"), "method": "GET"}),
            json!({"headers": [header("a"), header("b")]}),
            json!({"headers": [header("a"), header("A")], "queryParams": [header("q")]}),
            json!({"headers": [header("a")]}),
            json!({"queryParams": [header("q")]}),
            json!({}),
        ];
        let ranks: Vec<_> = ordered.iter().map(|it| read(it).unwrap().precedence()).collect();
        assert!(ranks.is_sorted_by(|a, b| a < b), "{ranks:?}");
    }

    #[test]
    fn what_cannot_be_served_is_told() {
        for (given, expected) in [
            (
                json!({"path": {"type": "RegularExpression", "value": "("}}),
                "path \"(\": unclosed group",
            ),
            (
                json!({"path": {"type": "Glob", "value": "/*"}}),
                "paths of type \"Glob\" are not served",
            ),
            (json!({"path": {"value": "a"}}), "path \"a\" does not begin with a slash"),
            (
                json!({"headers": [{"name": "a_b", "value": "x"}]}),
                "header \"a_b\": only letters, digits and hyphens are served in names",
            ),
            (
                json!({"headers": [{"name": "a", "value": "*", "type": "RegularExpression"}]}),
                "header \"a\": repetition operator missing expression",
            ),
            (
                json!({"queryParams": [{"name": "a", "value": "x", "type": "RegularExpression"}]}),
                "query parameter \"a\": type \"RegularExpression\" is not served",
            ),
            (
                json!({"headers": [{"name": "a", "value": ";".repeat(4000)}]}),
                "header \"a\": the value is too long",
            ),
        ] {
            assert_eq!(read(&given), Err(expected.to_owned()));
        }
    }
}
