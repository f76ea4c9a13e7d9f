//! The query of a request, and the options that verbs read from it.

use std::{collections::BTreeMap, str::FromStr};

use api_machinery::{
    ApiError,
    selector::{FieldSelector, LabelSelector},
};
use http::Uri;
use registry::ResourceDef;
use store::Revision;

/// The parameters of a query, decoded, with their values in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(BTreeMap<String, Vec<String>>);

impl Query {
    /// The parameters of a URI.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        let parameters: Vec<(String, String)> = axum::extract::Query::try_from_uri(uri)
            .map_err(|e| ApiError::bad_request(format!("the query can't be read: {e}")))?
            .0;
        let mut query = Self::default();
        for (name, value) in parameters {
            query.0.entry(name).or_default().push(value);
        }
        Ok(query)
    }

    /// All values of a parameter that may be given several times.
    pub(crate) fn all(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Of a parameter given twice, the first counts, as with servers in Go, to which requests may be led on.
    fn first(&self, name: &str) -> Option<&str> {
        self.all(name).first().map(String::as_str)
    }

    /// A parameter that is given and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.first(name).filter(|v| !v.is_empty())
    }

    /// Whether a parameter is set to something true.
    pub(crate) fn flag(&self, name: &str) -> bool {
        matches!(self.first(name), Some("" | "1" | "t" | "true" | "True"))
    }

    /// A parameter as a number or the like.
    pub(crate) fn parsed<T: FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let parse = |v: &str| {
            v.parse().map_err(|_| {
                ApiError::bad_request(format!("invalid value {v:?} of parameter {name:?}"))
            })
        };
        self.get(name).map(parse).transpose()
    }
}

/// Which resource version a read wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadAt {
    /// The latest there is, whoever wrote it.
    MostRecent,
    /// Whatever is at hand.
    Any,
    /// This one or a later one.
    NotOlderThan(Revision),
    /// This one.
    Exact(Revision),
}

/// What of a collection a list, watch or deletecollection is about.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) labels: LabelSelector,
    pub(crate) fields: FieldSelector,
}

impl Selection {
    /// The selectors of a query for objects of a kind, which knows what fields can be selected by.
    pub(crate) fn of(query: &Query, def: &ResourceDef) -> Result<Self, ApiError> {
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())
            .map_err(|e| ApiError::bad_request(format!("unable to parse requirement: {e}")))?;
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default())
            .map_err(|e| ApiError::bad_request(e.to_string()))?;
        def.check_fields(&fields)?;
        Ok(Self { labels, fields })
    }

    /// Whether everything is selected.
    pub(crate) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }
}

/// The options of a list or watch.
#[derive(Clone, Debug)]
pub(crate) struct ListOptions {
    pub(crate) selection: Selection,
    pub(crate) at: ReadAt,
    pub(crate) limit: Option<usize>,
    pub(crate) continuation: Option<String>,
    pub(crate) timeout_seconds: Option<u64>,
    pub(crate) bookmarks: bool,
    pub(crate) initial_events: Option<bool>,
}

impl ListOptions {
    /// The options of a query, checked for what contradicts itself.
    pub(crate) fn of(query: &Query, def: &ResourceDef) -> Result<Self, ApiError> {
        Ok(Self {
            selection: Selection::of(query, def)?,
            at: read_at(query)?,
            limit: query.parsed::<usize>("limit")?.filter(|&l| l > 0),
            continuation: query.get("continue").map(str::to_owned),
            timeout_seconds: query.parsed("timeoutSeconds")?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.get("sendInitialEvents").map(|v| v == "true" || v == "1"),
        })
    }
}

/// Kubernetes' table of what `resourceVersion` and `resourceVersionMatch` mean together:
/// <https://kubernetes.io/docs/reference/using-api/api-concepts/#semantics-for-get-and-list>
fn read_at(query: &Query) -> Result<ReadAt, ApiError> {
    let version = version(query.get("resourceVersion").unwrap_or_default())?;
    if query.get("continue").is_some() && version.is_some_and(|v| v.0 > 0) {
        return Err(ApiError::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    match (query.get("resourceVersionMatch"), version) {
        (None, None) => Ok(ReadAt::MostRecent),
        (None | Some("NotOlderThan"), Some(Revision(0))) => Ok(ReadAt::Any),
        // With a limit, a bare version has always meant exactly that one.
        (None, Some(version)) if query.get("limit").is_some() => Ok(ReadAt::Exact(version)),
        (None | Some("NotOlderThan"), Some(version)) => Ok(ReadAt::NotOlderThan(version)),
        (Some("Exact"), Some(version)) if version.0 > 0 => Ok(ReadAt::Exact(version)),
        (Some("Exact"), Some(_)) => Err(forbidden_match(
            "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"",
        )),
        (Some("NotOlderThan"), None) if query.get("sendInitialEvents").is_some() => {
            Ok(ReadAt::MostRecent)
        }
        (Some("NotOlderThan" | "Exact"), None) => Err(forbidden_match(
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        )),
        (Some(other), _) => Err(ApiError::bad_request(format!(
            "resourceVersionMatch: Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
        ))),
    }
}

fn forbidden_match(why: &str) -> ApiError {
    ApiError::bad_request(format!("resourceVersionMatch: Forbidden: {why}"))
}

/// Reads a resource version; none if it is empty.
pub(crate) fn version(text: &str) -> Result<Option<Revision>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        ApiError::bad_request(format!("Invalid value: {text:?}: resourceVersion must be a number"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, expected: Option<ReadAt>) {
        let query = Query::of(&format!("/x?{query}").parse().unwrap()).unwrap();
        assert_eq!(read_at(&query).ok(), expected, "{query:?}");
    }

    /// A server in Go to which the request is led on would show what nobody was asked about.
    #[test]
    fn of_a_parameter_that_is_given_twice_the_first_counts() {
        let query = Query::of(&"/x?a=1&a=2&b".parse().unwrap()).unwrap();
        assert_eq!((query.get("a"), query.all("a").len(), query.flag("b")), (Some("1"), 2, true));
    }

    #[test]
    fn the_resource_version_and_its_match_say_what_a_list_may_show() {
        check("", Some(ReadAt::MostRecent));
        check("resourceVersion=0", Some(ReadAt::Any));
        check("resourceVersion=7", Some(ReadAt::NotOlderThan(Revision(7))));
        check("resourceVersion=7&limit=2", Some(ReadAt::Exact(Revision(7))));
        check("resourceVersion=7&resourceVersionMatch=Exact", Some(ReadAt::Exact(Revision(7))));
        check("resourceVersion=0&resourceVersionMatch=Exact", None);
        check("resourceVersionMatch=Exact", None);
        check("resourceVersion=7&continue=x", None);
        check("resourceVersion=x", None);
    }
}
