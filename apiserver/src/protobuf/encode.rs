//! From JSON values to protobuf, to the byte as Kubernetes' own types are written: what is no pointer there is written even
//! if it is zero, and maps are in the order of their keys.

use std::convert::Infallible;

use api_machinery::{ApiError, duration};
use api_types::jiff::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use serde_json::Value;

use super::{
    decode::Object,
    schema::{ALTERNATIVE, Field, MESSAGES, Shape, message_name},
    wire::{MAGIC, put_bytes, put_fixed64, put_length, put_nested, put_varint},
};

/// The fields of a `runtime.Unknown`, of its type, and of a list.
const TYPE_META: u64 = 1;
const RAW: u64 = 2;
const CONTENT_ENCODING: u64 = 3;
const CONTENT_TYPE: u64 = 4;
const LIST_METADATA: u64 = 1;
const LIST_ITEMS: u64 = 2;

/// The length that comes before an event.
const FRAME_HEAD: usize = 4;

/// What a value has that its kind's message can't have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has no form in protobuf")]
pub(crate) struct Misfit {
    what: String,
}

impl Misfit {
    fn of(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl From<Misfit> for ApiError {
    fn from(misfit: Misfit) -> Self {
        Self::internal(misfit)
    }
}

type Written = Result<(), Misfit>;

/// An object, or a list, in its envelope.
pub(crate) fn encode(object: &Value) -> Result<Vec<u8>, Misfit> {
    let mut out = Vec::new();
    put_enveloped(&mut out, object)?;
    Ok(out)
}

/// The frame of a watch's event: its length, and a `WatchEvent` without an envelope that has the object in one.
pub(crate) fn event(kind: &str, object: &Value) -> Result<Vec<u8>, Misfit> {
    let mut out = vec![0; FRAME_HEAD];
    put_bytes(&mut out, 1, kind.as_bytes());
    put_nested(&mut out, 2, |out| put_nested(out, 1, |out| put_enveloped(out, object)))?;
    let length =
        u32::try_from(out.len() - FRAME_HEAD).map_err(|_| Misfit::of("so long an event"))?;
    out[..FRAME_HEAD].copy_from_slice(&length.to_be_bytes());
    Ok(out)
}

/// How long the first of the frames is, if it is there as a whole, and how much of that is its head.
pub(crate) fn first_length(frames: &[u8]) -> Option<(usize, usize)> {
    let (head, rest) = frames.split_first_chunk::<FRAME_HEAD>()?;
    let length = usize::try_from(u32::from_be_bytes(*head)).ok()?;
    (length <= rest.len()).then_some((FRAME_HEAD + length, FRAME_HEAD))
}

/// A list, put together of its items, which are written one by one.
#[derive(Debug)]
pub(crate) struct List<'a> {
    api_version: &'a str,
    kind: String,
    metadata: &'a Value,
    item: &'static str,
}

impl<'a> List<'a> {
    /// One of items of this kind.
    pub(crate) fn new(
        api_version: &'a str,
        item: &str,
        metadata: &'a Value,
    ) -> Result<Self, Misfit> {
        let kind = format!("{item}List");
        let item = message_name(api_version, item).ok_or_else(|| Misfit::of(&kind))?;
        Ok(Self { api_version, kind, metadata, item })
    }

    /// An item, as it is among the others.
    pub(crate) fn item(&self, object: &Value) -> Result<Bytes, Misfit> {
        let mut out = Vec::new();
        one(&mut out, LIST_ITEMS, self.item, object)?;
        Ok(out.into())
    }

    /// The pieces of the list.
    pub(crate) fn pieces(&self, items: Vec<Bytes>) -> Result<Vec<Bytes>, Misfit> {
        let mut metadata = Vec::new();
        one(&mut metadata, LIST_METADATA, "meta/v1.ListMeta", self.metadata)?;
        let length = metadata.len() + items.iter().map(Bytes::len).sum::<usize>();
        let mut head = begin(self.api_version, &self.kind);
        put_length(&mut head, RAW, length);
        head.extend(metadata);
        let mut tail = Vec::new();
        end(&mut tail);
        let items = items.into_iter();
        Ok([head.into()].into_iter().chain(items).chain([tail.into()]).collect())
    }
}

fn begin(api_version: &str, kind: &str) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    let Ok(()) = put_nested::<Infallible>(&mut out, TYPE_META, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
        Ok(())
    });
    out
}

fn end(out: &mut Vec<u8>) {
    put_bytes(out, CONTENT_ENCODING, b"");
    put_bytes(out, CONTENT_TYPE, b"");
}

fn put_enveloped(out: &mut Vec<u8>, object: &Value) -> Written {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    out.extend(begin(api_version, kind));
    put_nested(out, RAW, |out| match message_name(api_version, kind) {
        Some(name) => message(out, name, object),
        None => list(out, api_version, kind, object),
    })?;
    end(out);
    Ok(())
}

fn list(out: &mut Vec<u8>, api_version: &str, kind: &str, object: &Value) -> Written {
    let item = kind.strip_suffix("List").and_then(|item| message_name(api_version, item));
    let (Some(item), Some(items)) = (item, object["items"].as_array()) else {
        return Err(Misfit::of(format!("{api_version} {kind}")));
    };
    one(out, LIST_METADATA, "meta/v1.ListMeta", &object["metadata"])?;
    items.iter().try_for_each(|value| one(out, LIST_ITEMS, item, value))
}

/// The fields of a message, whose value is absent if all are zero.
fn message(out: &mut Vec<u8>, name: &'static str, value: &Value) -> Written {
    let fields = MESSAGES.get(name).ok_or_else(|| Misfit::of(name))?;
    if fields.values().any(|field| field.name == ALTERNATIVE) {
        return alternatives(out, fields.iter(), value);
    }
    let nothing = Object::new();
    let object = match value {
        Value::Object(object) => object,
        Value::Null => &nothing,
        _ => return Err(Misfit::of(name)),
    };
    for (number, field) in fields {
        let written = match field.name {
            "" => put_nested(out, *number, |out| message(out, field.type_, value)),
            name => put_field(out, *number, field, object.get(name).unwrap_or(&Value::Null)),
        };
        written.map_err(|misfit| match field.name {
            "" => misfit,
            name => Misfit::of(format!("{name}: {}", misfit.what)),
        })?;
    }
    Ok(())
}

/// Of a message that is one of its fields in JSON, the one that the value is. Where a schema may stand in for `true`, it
/// says that, too.
fn alternatives<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a u64, &'a Field)>,
    value: &Value,
) -> Written {
    for (number, field) in fields {
        match (field.shape, field.type_, value) {
            (_, "bool", _) => {
                let is_allowed = value.as_bool().unwrap_or(value.is_object());
                put_varint(out, *number, is_allowed.into());
            }
            (Shape::List, _, Value::Array(_)) | (Shape::Optional, _, Value::Object(_)) => {
                put_field(out, *number, field, value)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn put_field(out: &mut Vec<u8>, number: u64, field: &Field, value: &Value) -> Written {
    match (field.shape, value) {
        // Nothing of these is written as nothing.
        (Shape::Optional | Shape::List | Shape::Map, Value::Null) => Ok(()),
        (Shape::Plain, Value::Null) if field.type_ == "bytes" => Ok(()),
        (Shape::Plain | Shape::Optional, value) => one(out, number, field.type_, value),
        (Shape::List, Value::Array(list)) => {
            list.iter().try_for_each(|value| one(out, number, field.type_, value))
        }
        (Shape::Map, Value::Object(map)) => map.iter().try_for_each(|(key, value)| {
            put_nested(out, number, |out| {
                put_bytes(out, 1, key.as_bytes());
                one(out, 2, field.type_, value)
            })
        }),
        _ => Err(Misfit::of(shown(value))),
    }
}

/// One value of a type, which is zero if there is none.
fn one(out: &mut Vec<u8>, number: u64, type_: &'static str, value: &Value) -> Written {
    match type_ {
        "bool" => put_varint(out, number, or_zero(value, Value::as_bool)?.into()),
        "int32" | "int64" => {
            put_varint(out, number, or_zero(value, Value::as_i64)?.cast_unsigned());
        }
        "double" => put_fixed64(out, number, or_zero(value, Value::as_f64)?.to_bits()),
        "string" => put_bytes(out, number, or_zero(value, Value::as_str)?.as_bytes()),
        "bytes" => {
            let bytes = BASE64.decode(or_zero(value, Value::as_str)?);
            put_bytes(out, number, &bytes.map_err(|_| Misfit::of("what is not base64"))?);
        }
        type_ => return put_nested(out, number, |out| composed(out, type_, value)),
    }
    Ok(())
}

fn or_zero<'v, T: Default>(
    value: &'v Value,
    read: impl Fn(&'v Value) -> Option<T>,
) -> Result<T, Misfit> {
    if value.is_null() {
        return Ok(T::default());
    }
    read(value).ok_or_else(|| Misfit::of(shown(value)))
}

/// What is a message of its own.
fn composed(out: &mut Vec<u8>, type_: &'static str, value: &Value) -> Written {
    match (type_, value) {
        ("time" | "microtime" | "raw" | "strings", Value::Null) => {}
        ("time", Value::String(text)) => put_time(out, text, false)?,
        ("microtime", Value::String(text)) => put_time(out, text, true)?,
        ("quantity", Value::Null) => put_bytes(out, 1, b"0"),
        ("quantity", Value::String(text)) => put_bytes(out, 1, text.as_bytes()),
        ("quantity", Value::Number(number)) => put_bytes(out, 1, number.to_string().as_bytes()),
        ("duration", Value::Null) => put_varint(out, 1, 0),
        ("duration", Value::String(text)) => {
            let parsed = duration::parse(text).ok();
            let nanos = parsed.and_then(|it| u64::try_from(it.as_nanos()).ok());
            put_varint(out, 1, nanos.ok_or_else(|| Misfit::of(shown(value)))?);
        }
        ("intorstring", value) => put_int_or_string(out, value)?,
        ("strings", Value::Array(texts)) => {
            texts.iter().try_for_each(|text| one(out, 1, "string", text))?;
        }
        ("raw", value) => put_bytes(out, 1, value.to_string().as_bytes()),
        (name, value) if MESSAGES.contains_key(name) => message(out, name, value)?,
        (_, value) => return Err(Misfit::of(shown(value))),
    }
    Ok(())
}

/// Seconds and nanoseconds. Kubernetes' times have seconds, or microseconds, at most.
fn put_time(out: &mut Vec<u8>, text: &str, is_micro: bool) -> Written {
    let time: Timestamp = text.parse().map_err(|_| Misfit::of(format!("{text:?}")))?;
    // Before 1970 whole seconds are counted downwards.
    let nanos = i64::from(time.subsec_nanosecond());
    let (seconds, nanos) = match nanos {
        ..0 => (time.as_second() - 1, nanos + 1_000_000_000),
        _ => (time.as_second(), nanos),
    };
    let nanos = if is_micro { nanos / 1000 * 1000 } else { 0 };
    put_varint(out, 1, seconds.cast_unsigned());
    put_varint(out, 2, nanos.cast_unsigned());
    Ok(())
}

fn put_int_or_string(out: &mut Vec<u8>, value: &Value) -> Written {
    let (kind, int, text) = match value {
        Value::Null => (0, 0, ""),
        Value::String(text) => (1, 0, text.as_str()),
        value => (0, value.as_i64().ok_or_else(|| Misfit::of(shown(value)))?, ""),
    };
    put_varint(out, 1, kind);
    put_varint(out, 2, int.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
    Ok(())
}

/// A value as faults tell of it: what it is, and not what it says, which may be a secret.
fn shown(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
