//! Which form of an answer a client wants (Kubernetes: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`).

use api_machinery::ApiError;
use http::{HeaderMap, header};

const ONLY_JSON: &str = "only the following media types are accepted: application/json";

/// A form in which objects can be answered, always as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are.
    Object,
    /// As rows with printed columns.
    Table,
    /// Their metadata alone.
    PartialObject,
}

/// One range of an `Accept` header with the parameters that matter here.
#[derive(Debug, Default)]
struct Range<'a> {
    media: &'a str,
    form: &'a str,
    group: &'a str,
    version: &'a str,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Self {
        let mut parts = text.split(';').map(str::trim);
        let mut range = Self { media: parts.next().unwrap_or_default(), ..Self::default() };
        for (name, value) in parts.filter_map(|p| p.split_once('=')) {
            match name {
                "as" => range.form = value,
                "g" => range.group = value,
                "v" => range.version = value,
                _ => {}
            }
        }
        range
    }

    fn is_json(&self) -> bool {
        matches!(self.media, "application/json" | "application/*" | "*/*")
    }

    fn meta_v1(&self) -> bool {
        self.group == "meta.k8s.io" && self.version == "v1"
    }
}

/// The first form of the `Accept` header that this server has. Without the header, the object.
pub(crate) fn form(headers: &HeaderMap) -> Result<Form, ApiError> {
    let form = |range: &Range<'_>| match range.form {
        "" => Some(Form::Object),
        "Table" if range.meta_v1() => Some(Form::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" if range.meta_v1() => {
            Some(Form::PartialObject)
        }
        _ => None,
    };
    first(headers, form).unwrap_or(Ok(Form::Object))
}

/// Whether the client would rather have discovery in one document.
pub(crate) fn aggregated_discovery(headers: &HeaderMap) -> Result<bool, ApiError> {
    let form = |range: &Range<'_>| match (range.form, range.group, range.version) {
        ("", ..) => Some(false),
        ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2") => Some(true),
        _ => None,
    };
    first(headers, form).unwrap_or(Ok(false))
}

/// Fails unless the client takes JSON.
pub(crate) fn json(headers: &HeaderMap) -> Result<(), ApiError> {
    first(headers, |range| range.form.is_empty().then_some(())).unwrap_or(Ok(()))
}

/// Whether the client names this media type, parameters included.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|range| range.trim() == media_type)
}

fn first<T>(
    headers: &HeaderMap,
    choose: impl Fn(&Range<'_>) -> Option<T>,
) -> Option<Result<T, ApiError>> {
    let accepted: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).collect();
    let accepted = accepted.join(",");
    if accepted.trim().is_empty() {
        return None;
    }
    let mut ranges = accepted.split(',').map(|text| Range::parse(text.trim()));
    Some(
        ranges
            .find_map(|range| range.is_json().then(|| choose(&range)).flatten())
            .ok_or_else(|| not_acceptable(ONLY_JSON)),
    )
}

/// There is no answer in a form that the client takes.
pub(crate) fn not_acceptable(message: &str) -> ApiError {
    ApiError::new(406, "NotAcceptable", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(accept: &str, expected: Option<Form>) {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, accept.parse().unwrap());
        assert_eq!(form(&headers).ok(), expected, "{accept}");
    }

    #[test]
    fn the_first_form_that_is_known_wins() {
        check("application/json", Some(Form::Object));
        check("*/*", Some(Form::Object));
        check("application/vnd.kubernetes.protobuf, application/json", Some(Form::Object));
        check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Form::Table));
        check(
            "application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
            Some(Form::Object),
        );
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            Some(Form::PartialObject),
        );
        check("application/vnd.kubernetes.protobuf", None);
        check("application/json;as=Frog;g=meta.k8s.io;v=v1", None);
    }
}
