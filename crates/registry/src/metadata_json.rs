//! An object's metadata in its JSON, which is put together and taken apart there: what is said of the managers of its fields is as
//! long as all the rest, and hardly anybody reads it.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The comma, since a field's name may end like this, too (`a\"metadata`).
const METADATA: &[u8] = br#","metadata":{"#;
const MANAGED_FIELDS: &[u8] = br#""managedFields":"#;
const VERSION: &[u8] = br#""resourceVersion":""#;

/// Where the inside of an object's own metadata begins. Most types have them before anything else that has an inside.
#[must_use]
pub fn metadata_of(json: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Whole<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let opened = json.iter().skip(1).position(|byte| matches!(byte, b'{' | b'['))? + 2;
    if json[..opened].ends_with(METADATA) {
        return Some(opened);
    }
    let whole: Whole<'_> = serde_json::from_slice(json).ok()?;
    Some(whole.metadata.get().as_ptr().addr() - json.as_ptr().addr() + 1)
}

/// An object that says nothing of its managers, with what is said of them as the first of its metadata.
pub(crate) fn with_managed_fields(json: Vec<u8>, managed_fields: &RawValue) -> Vec<u8> {
    let Some(at) = metadata_of(&json) else { return json };
    let (head, rest) = json.split_at(at);
    let comma: &[u8] = if rest.starts_with(b"}") { b"" } else { b"," };
    [head, MANAGED_FIELDS, managed_fields.get().as_bytes(), comma, rest].concat()
}

/// The same taken apart again, with or without a version before it. `None` if it is not in this order.
#[must_use]
pub fn without_managed_fields(json: &[u8]) -> Option<(Vec<u8>, Box<RawValue>)> {
    let start = metadata_of(json)?;
    let version = json[start..].strip_prefix(VERSION).and_then(|rest| {
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit())?;
        rest[digits..].starts_with(b"\",").then_some(VERSION.len() + digits + 2)
    });
    let start = start + version.unwrap_or_default();
    let rest = json[start..].strip_prefix(MANAGED_FIELDS)?;
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<Box<RawValue>>();
    let managed_fields = values.next()?.ok()?;
    let rest = rest[values.byte_offset()..].strip_prefix(b",")?;
    Some(([&json[..start], rest].concat(), managed_fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managers_are_put_into_metadata_and_taken_out_again() {
        let managers = RawValue::from_string(r#"[{"manager":"a"}]"#.to_owned()).unwrap();
        let check = |bare: &str, whole: &str| {
            let put = with_managed_fields(bare.into(), &managers);
            assert_eq!(String::from_utf8(put.clone()).unwrap(), whole);
            let (json, taken) = without_managed_fields(&put).unwrap();
            assert_eq!((json, taken.get()), (bare.into(), managers.get()));
        };
        check(
            r#"{"kind":"A","metadata":{"name":"a"},"data":{"metadata":{}}}"#,
            r#"{"kind":"A","metadata":{"managedFields":[{"manager":"a"}],"name":"a"},"data":{"metadata":{}}}"#,
        );
        let versioned = br#"{"metadata":{"resourceVersion":"7","managedFields":[],"name":"a"}}"#;
        let (json, taken) = without_managed_fields(versioned).unwrap();
        assert_eq!(json, br#"{"metadata":{"resourceVersion":"7","name":"a"}}"#);
        assert_eq!(taken.get(), "[]");
        check(
            r#"{"a\"metadata":{"b":1},"metadata":{"name":"a"}}"#,
            r#"{"a\"metadata":{"b":1},"metadata":{"managedFields":[{"manager":"a"}],"name":"a"}}"#,
        );
        let other = br#"{"metadata":{"name":"a","managedFields":[]}}"#;
        assert!(without_managed_fields(other).is_none());
    }
}
