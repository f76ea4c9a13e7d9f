//! Documents that change with the program only: each has an `ETag`, and who has it already is told so
//! (Kubernetes: `ServeHTTPWithETag`).

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::respond::{self, Response};

/// How long a client may take a document for the latest.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Freshness {
    /// It asks each time, naming what it has.
    Revalidated,
    /// The address changes with the document.
    Immutable,
}

/// What tells one version of a document from another.
pub(crate) fn hash(document: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    document.hash(&mut hasher);
    format!("{:016X}", hasher.finish())
}

/// The document as JSON, or 304 if the client has this version of it.
pub(crate) fn unless_known(headers: &HeaderMap, document: Bytes, freshness: Freshness) -> Response {
    let tag = format!("\"{}\"", hash(&document));
    let mut response = if has(headers, &tag) {
        let mut response = Response::default();
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        respond::encoded(StatusCode::OK, document)
    };
    let control = match freshness {
        Freshness::Revalidated => "public, no-cache",
        Freshness::Immutable => "public, immutable, max-age=31536000",
    };
    let tag = HeaderValue::from_str(&tag).expect("a hash is of letters and digits");
    response.headers_mut().insert(header::ETAG, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Whether the client says that it has this version.
fn has(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    tags.any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_known_by_its_tag_among_others() {
        let check = |given: &str, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, given.parse().unwrap());
            assert_eq!(has(&headers, "\"A1\""), expected, "{given}");
        };
        check("\"A1\"", true);
        check("W/\"A1\"", true);
        check("\"B\", \"A1\"", true);
        check("*", true);
        check("\"B\"", false);
        check("A1", false);
        assert!(!has(&HeaderMap::new(), "\"A1\""));
    }
}
