//! How large and how deep JSON values are.

use serde_json::Value;

/// How deep an object may be nested. Clients read it inside a list or an event, and most libraries give up at 128.
pub const MAX_DEPTH: usize = 120;

/// Whether a value has no more than so many levels of lists and objects.
#[must_use]
pub fn is_within(value: &Value, levels: usize) -> bool {
    let inner = |value| levels > 0 && is_within(value, levels - 1);
    match value {
        Value::Array(list) => levels > 0 && list.iter().all(inner),
        Value::Object(object) => levels > 0 && object.values().all(inner),
        _ => true,
    }
}

/// About how much memory a value takes: the bytes of its texts and 16 for each value.
#[must_use]
pub fn weight(value: &Value) -> usize {
    const EACH: usize = 16;
    EACH + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + weight(value)).sum(),
        _ => 0,
    }
}
