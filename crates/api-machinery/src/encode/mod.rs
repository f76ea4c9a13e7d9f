//! JSON values to YAML 1.1, to the byte as Kubernetes writes it with `sigs.k8s.io/yaml`: `golden/documents.json` has what
//! that makes of texts on which its rules turn.

mod emitter;
mod order;
mod style;

use serde_json::Value;

use self::emitter::Emitter;

/// The document's text, ending in a line break.
#[must_use]
pub fn yaml(value: &Value) -> String {
    Emitter::default().document(value)
}

/// The lines of a list's item, as they are below the list's key in a document.
#[must_use]
pub fn yaml_item(item: &Value) -> String {
    Emitter::default().item(item)
}

#[cfg(test)]
mod tests;
