//! The segments of a path, decoded.

use api_machinery::ApiError;

/// All that are not empty.
///
/// # Errors
/// For what would reach into other keys of the store, or elsewhere on another server.
pub(crate) fn of(path: &str) -> Result<Vec<String>, ApiError> {
    let segments: Vec<String> = path.split('/').filter(|s| !s.is_empty()).map(decode).collect();
    // A slash that was encoded is none between segments.
    if segments.iter().any(|s| s.contains('/') || matches!(s.as_str(), "." | "..")) {
        return Err(ApiError::bad_request(
            "invalid path: a name may not be \".\" or \"..\" or contain \"/\"",
        ));
    }
    Ok(segments)
}

/// Undoes percent-encoding of a path segment. A lone `%` stays as it is.
pub(crate) fn decode(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| segment.get(at + 1..at + 3)).flatten();
        if let Some(byte) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            decoded.push(byte);
            at += 3;
        } else {
            decoded.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}
