//! The query of a request, and the options that verbs read from it.

use std::{collections::BTreeMap, str::FromStr};

use api_machinery::{
    ApiError, FieldErrors, FieldPath,
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

    /// Whether a parameter is set to something true, if it is given (Kubernetes:
    /// `Convert_Slice_string_To_Pointer_bool`).
    fn choice(&self, name: &str) -> Option<bool> {
        self.all(name).first().map(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
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
    /// The options of a list, checked for what contradicts itself.
    pub(crate) fn of_list(query: &Query, def: &ResourceDef) -> Result<Self, ApiError> {
        refuse(&list_faults(query))?;
        Self::read(query, def)
    }

    /// The options of a watch, checked likewise.
    pub(crate) fn of_watch(query: &Query, def: &ResourceDef) -> Result<Self, ApiError> {
        refuse(&watch_faults(query))?;
        Self::read(query, def)
    }

    fn read(query: &Query, def: &ResourceDef) -> Result<Self, ApiError> {
        Ok(Self {
            selection: Selection::of(query, def)?,
            at: read_at(query)?,
            limit: query.parsed::<usize>("limit")?.filter(|&l| l > 0),
            continuation: query.get("continue").map(str::to_owned),
            timeout_seconds: query.parsed("timeoutSeconds")?,
            bookmarks: query.flag("allowWatchBookmarks"),
            initial_events: query.choice("sendInitialEvents"),
        })
    }
}

fn refuse(errors: &FieldErrors) -> Result<(), ApiError> {
    match errors.is_empty() {
        true => Ok(()),
        false => Err(ApiError::invalid("meta.k8s.io", "ListOptions", "", errors)),
    }
}

/// Kubernetes: `ValidateListOptions`.
fn list_faults(query: &Query) -> FieldErrors {
    let (mut errors, path) = (FieldErrors::default(), FieldPath::new("resourceVersionMatch"));
    if let Some(matching) = query.get("resourceVersionMatch") {
        let version = query.get("resourceVersion");
        if version.is_none() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(&path, why);
        }
        refuse_continue(query, &path, &mut errors);
        if !["Exact", "NotOlderThan"].contains(&matching) {
            errors.not_supported(&path, matching, &["Exact", "NotOlderThan", ""]);
        }
        if (matching, version) == ("Exact", Some("0")) {
            let why = r#"resourceVersionMatch "exact" is forbidden for resourceVersion "0""#;
            errors.forbidden(&path, why);
        }
    }
    if query.choice("sendInitialEvents").is_some() {
        let path = FieldPath::new("sendInitialEvents");
        errors.forbidden(&path, "sendInitialEvents is forbidden for list");
    }
    errors
}

/// Kubernetes: `validateWatchOptions`.
fn watch_faults(query: &Query) -> FieldErrors {
    let (mut errors, path) = (FieldErrors::default(), FieldPath::new("resourceVersionMatch"));
    let (matching, initial) =
        (query.get("resourceVersionMatch"), query.choice("sendInitialEvents"));
    if initial.is_some() && matching != Some("NotOlderThan") {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.forbidden(&path, why);
    }
    let Some(matching) = matching else { return errors };
    if initial.is_none() {
        let why =
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.forbidden(&path, why);
    }
    if matching != "NotOlderThan" {
        errors.not_supported(&path, matching, &["NotOlderThan"]);
    }
    refuse_continue(query, &path, &mut errors);
    errors
}

fn refuse_continue(query: &Query, path: &FieldPath, errors: &mut FieldErrors) {
    if query.get("continue").is_some() {
        errors.forbidden(path, "resourceVersionMatch is forbidden when continue is provided");
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
        (_, None) => Ok(ReadAt::MostRecent),
        (_, Some(Revision(0))) => Ok(ReadAt::Any),
        (Some("Exact"), Some(version)) => Ok(ReadAt::Exact(version)),
        // With a limit, a bare version has always meant exactly that one.
        (None, Some(version)) if query.get("limit").is_some() => Ok(ReadAt::Exact(version)),
        (_, Some(version)) => Ok(ReadAt::NotOlderThan(version)),
    }
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

    fn query(text: &str) -> Query {
        Query::of(&format!("/x?{text}").parse().unwrap()).unwrap()
    }

    fn check(text: &str, expected: Option<ReadAt>) {
        assert_eq!(read_at(&query(text)).ok(), expected, "{text}");
    }

    fn check_list(text: &str, expected: &str) {
        assert_eq!(list_faults(&query(text)).to_string(), expected, "{text}");
    }

    fn check_watch(text: &str, expected: &str) {
        assert_eq!(watch_faults(&query(text)).to_string(), expected, "{text}");
    }

    #[test]
    fn a_list_that_contradicts_itself_is_told_in_kubernetes_words() {
        const FINE: &str = "[]";
        check_list("resourceVersionMatch=Exact&resourceVersion=7", FINE);
        check_list("resourceVersionMatch=NotOlderThan&resourceVersion=0", FINE);
        check_list(
            "resourceVersionMatch=Exact",
            "resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided",
        );
        check_list(
            "resourceVersionMatch=Exact&resourceVersion=0&continue=x",
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided, \
             resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"]",
        );
        check_list(
            "resourceVersionMatch=Near&resourceVersion=7",
            "resourceVersionMatch: Unsupported value: \"Near\": supported values: \"Exact\", \"NotOlderThan\", \"\"",
        );
        for given in ["true", "false", ""] {
            check_list(
                &format!("sendInitialEvents={given}"),
                "sendInitialEvents: Forbidden: sendInitialEvents is forbidden for list",
            );
        }
    }

    #[test]
    fn a_watch_that_contradicts_itself_is_told_in_kubernetes_words() {
        check_watch("resourceVersion=7&continue=x", "[]");
        check_watch("sendInitialEvents=false&resourceVersionMatch=NotOlderThan", "[]");
        check_watch(
            "sendInitialEvents=true",
            "resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        );
        check_watch(
            "resourceVersionMatch=Exact&continue=x",
            "[resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is \
             provided, resourceVersionMatch: Unsupported value: \"Exact\": supported values: \"NotOlderThan\", \
             resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden when continue is provided]",
        );
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
        check("resourceVersionMatch=NotOlderThan", Some(ReadAt::MostRecent));
        check("resourceVersion=7&continue=x", None);
        check("resourceVersion=x", None);
    }
}
