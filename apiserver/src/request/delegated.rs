//! A request for a group version that another server serves: what it is about, as far as its path tells
//! (Kubernetes: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

use std::sync::Arc;

use api_machinery::{ApiError, FieldSelector};
use http::Method;

use super::verb::Verb;
use crate::{delegates::Delegate, path_segments, query::Query};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Delegated {
    pub(crate) delegate: Arc<Delegate>,
    /// Where it goes on: as it came, but for empty segments.
    pub(crate) path: String,
    /// Nothing for discovery.
    pub(crate) resource: Option<ResourcePath>,
}

/// What a path names of a resource that is not known here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResourcePath {
    pub(crate) verb: Verb,
    pub(crate) namespace: Option<String>,
    pub(crate) resource: String,
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<String>,
}

/// Reads a request's line.
///
/// # Errors
/// For what would reach elsewhere on the server than it says.
pub(crate) fn delegated(
    delegate: Arc<Delegate>,
    method: &Method,
    path: &str,
    query: &Query,
) -> Result<Delegated, ApiError> {
    // In a URL that is a `/`: who may see `a\..\..\secrets` would be led to the secrets.
    if path.contains('\\') {
        return Err(ApiError::bad_request(
            "invalid path: a name may not contain \"\\\", but as \"%5C\"",
        ));
    }
    let segments = path_segments::of(path)?;
    let own = if delegate.group.is_empty() { 2 } else { 3 };
    let segments: Vec<&str> = segments.iter().skip(own).map(String::as_str).collect();
    let resource = resource_path(method, &segments, query)?;
    let parts: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    Ok(Delegated { delegate, path: format!("/{}", parts.join("/")), resource })
}

/// What follows a group version in a path: nothing for discovery.
///
/// # Errors
/// For a method that is none of a resource.
pub(crate) fn resource_path(
    method: &Method,
    segments: &[&str],
    query: &Query,
) -> Result<Option<ResourcePath>, ApiError> {
    let owned = |text: Option<&&str>| text.map(|text| (*text).to_owned());
    let (is_watch, segments) = match segments {
        ["watch", rest @ ..] if !rest.is_empty() => (true, rest),
        all => (false, all),
    };
    let (namespace, segments) = match segments {
        // These are of the namespace itself.
        ["namespaces", namespace, "status" | "finalize", ..] => (Some(*namespace), segments),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        ["namespaces", namespace] => (Some(*namespace), segments),
        _ => (None, segments),
    };
    let Some(resource) = segments.first() else { return Ok(None) };
    let mut name = owned(segments.get(1));
    let verb = if is_watch { Verb::Watch } else { verb(method, name.is_some(), query)? };
    if matches!(verb, Verb::List | Verb::Watch) && name.is_none() {
        name = only_name(query);
    }
    Ok(Some(ResourcePath {
        verb,
        namespace: namespace.map(str::to_owned),
        resource: (*resource).to_owned(),
        name,
        subresource: owned(segments.get(2)),
    }))
}

fn verb(method: &Method, is_named: bool, query: &Query) -> Result<Verb, ApiError> {
    Ok(match *method {
        Method::GET | Method::HEAD if is_named => Verb::Get,
        Method::GET | Method::HEAD if query.flag("watch") => Verb::Watch,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT => Verb::Update,
        Method::PATCH => Verb::Patch,
        Method::DELETE if is_named => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return Err(ApiError::method_not_allowed()),
    })
}

/// A list or a watch of one object by its name is judged like a request for that one.
fn only_name(query: &Query) -> Option<String> {
    let fields = FieldSelector::parse(query.get("fieldSelector")?).ok()?;
    fields.requires("metadata.name").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &Method, path: &str, expected: &str) {
        let uri: http::Uri = path.parse().unwrap();
        let segments = path_segments::of(uri.path()).unwrap();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let text = match resource_path(method, &segments, &Query::of(&uri).unwrap()) {
            Ok(None) => "discovery".to_owned(),
            Ok(Some(it)) => [
                Some(it.verb.as_str().to_owned()),
                it.namespace,
                Some(it.resource),
                it.name,
                it.subresource,
            ]
            .map(|part| part.unwrap_or_else(|| "-".to_owned()))
            .join(" "),
            Err(error) => error.code().to_string(),
        };
        assert_eq!(text, expected, "{method} {path}");
    }

    #[test]
    fn a_path_says_what_is_asked_of_which_resource() {
        check(&Method::GET, "/", "discovery");
        check(&Method::GET, "/frogs", "list - frogs - -");
        check(&Method::GET, "/frogs?watch=1", "watch - frogs - -");
        check(&Method::GET, "/watch/namespaces/a/frogs/b", "watch a frogs b -");
        check(&Method::GET, "/frogs?fieldSelector=metadata.name%3Db", "list - frogs b -");
        check(&Method::GET, "/namespaces/a/frogs/b/log", "get a frogs b log");
        check(&Method::GET, "/namespaces/a/frogs/b%7Cc", "get a frogs b|c -");
        check(&Method::PUT, "/namespaces/a/status", "update a namespaces a status");
        check(&Method::GET, "/namespaces/a", "get a namespaces a -");
        check(&Method::POST, "/namespaces/a/frogs", "create a frogs - -");
        check(&Method::DELETE, "/namespaces/a/frogs", "deletecollection a frogs - -");
        check(&Method::DELETE, "/frogs/b", "delete - frogs b -");
        check(&Method::PATCH, "/frogs/b/scale", "patch - frogs b scale");
        check(&Method::TRACE, "/frogs/b", "405");
    }
}
