//! Reading request bodies: JSON, YAML, Kubernetes' protobuf or CBOR, up to a limit.

use api_machinery::{
    ApiError,
    decode::{self, Decoded},
};
use axum::body::HttpBody;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::{cbor, protobuf};

/// The configuration of a server-side apply: YAML, of which JSON is a part.
const APPLY: &str = "application/apply-patch+yaml";

/// The same in CBOR.
const APPLY_CBOR: &str = "application/apply-patch+cbor";

/// The longest request body that is read (Kubernetes: `MaxRequestBodyBytes`).
const LIMIT: usize = 3 << 20;

/// How much of a body is thrown away beside the answer. Most clients read an answer only when they have sent all; cut off
/// before, they report a broken connection.
const DISCARDED: usize = 128 << 20;

/// Reads a body to its end, or to the limit.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, LIMIT).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::request_entity_too_large(format_args!("limit is {LIMIT}")))
        }
        Err(error) => Err(ApiError::bad_request(format!("the body can't be read: {error}"))),
    }
}

/// Reads on until the body ends, or is too long even to be thrown away.
pub(crate) async fn discard<B: HttpBody<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = DISCARDED;
    while let Some(Ok(frame)) = body.frame().await {
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(less) => left = less,
            None => return,
        }
    }
}

/// The content type without its parameters; empty if absent.
pub(crate) fn media_type(headers: &HeaderMap) -> &str {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim()
}

/// The object in a body.
pub(crate) fn object(headers: &HeaderMap, body: &Bytes) -> Result<Value, ApiError> {
    decoded(headers, body).map(|decoded| decoded.value)
}

/// The object in a body, and what it says twice.
pub(crate) fn decoded(headers: &HeaderMap, body: &Bytes) -> Result<Decoded, ApiError> {
    match media_type(headers) {
        "" | "application/json" | "*/*" | "application/*" => {
            decode::json(body).map_err(|e| undecodable(&e))
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(body),
        protobuf::MEDIA_TYPE => protobuf::decode(body).map(Decoded::of),
        cbor::MEDIA_TYPE => of_cbor(body),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf, application/cbor",
        )),
    }
}

/// Whether a body is the configuration of a server-side apply.
pub(crate) fn is_applied(headers: &HeaderMap) -> bool {
    [APPLY, APPLY_CBOR].contains(&media_type(headers))
}

/// Such a configuration, and what it says twice.
pub(crate) fn applied(headers: &HeaderMap, body: &Bytes) -> Result<Decoded, ApiError> {
    if media_type(headers) == APPLY_CBOR { of_cbor(body) } else { yaml(body) }
}

/// What is in CBOR says nothing twice, or is refused.
fn of_cbor(body: &Bytes) -> Result<Decoded, ApiError> {
    cbor::decode(body).map(Decoded::of).map_err(|fault| {
        let unrecognized = "the object provided is unrecognized (must be of type CBOR)";
        ApiError::bad_request(format!("{unrecognized}: {fault}"))
    })
}

/// The same of a body in YAML.
fn yaml(body: &Bytes) -> Result<Decoded, ApiError> {
    let text = std::str::from_utf8(body).map_err(|e| undecodable(&e))?;
    decode::yaml(text).map_err(|e| undecodable(&format_args!("error converting YAML to JSON: {e}")))
}

fn undecodable(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::bad_request(format!(
        "the object provided is unrecognized (must be of type JSON or YAML): {error}"
    ))
}
