//! Bytes to JSON values, as Kubernetes reads them: JSON, and YAML 1.1 as `sigs.k8s.io/yaml` means it. A field that is
//! given twice counts as given last; that it was given twice is told.

mod decoded;
mod json;
mod scalar;
mod yaml;

pub use decoded::Decoded;
pub(crate) use decoded::{LONGEST_PATH, MOST_TOLD};
pub(crate) use scalar::float_text;
pub use yaml::YamlError;

/// Reads one JSON document.
///
/// # Errors
/// If it is none, or is nested deeper than 127 levels.
pub fn json(bytes: &[u8]) -> Result<Decoded, serde_json::Error> {
    json::decode(bytes)
}

/// Reads the first document of a YAML text; `null` if there is none.
///
/// # Errors
/// For what is no YAML, has no form in JSON (`.inf`, a map as a key), is nested too deep or grows by its aliases
/// beyond measure.
pub fn yaml(text: &str) -> Result<Decoded, YamlError> {
    yaml::decode(text)
}

/// Whether a YAML text that has no quotes is that text.
pub(crate) fn is_plain_text(text: &str) -> bool {
    matches!(scalar::Scalar::plain(text), scalar::Scalar::Text(_))
}
