//! Reading Kubernetes' protobuf. The typed clients of `kubectl` (`kubectl create configmap`) send nothing else; answers
//! are always JSON, which they take.
//!
//! A body is `k8s\0` and a `runtime.Unknown`, which names the kind and holds its message. The messages are described in
//! `messages.txt`: a line per message, below it a line per field with its number, its name in JSON (`-`: its fields are
//! the message's own; `=`: the message is this field's value), and its type (`*` optional even if zero, `[]` list, `{}` map
//! of strings). The table was made of the Go types of k8s.io/api v0.37.2 by `golden/main.go`, which also writes objects with every field of every
//! message as Kubernetes itself encodes them: the tests read those.

mod wire;

use std::{collections::HashMap, sync::LazyLock};

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};
use wire::{Malformed, Reader, Wire};

/// The content type.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAGIC: &[u8] = b"k8s\0";

type Object = Map<String, Value>;

/// How deep messages may be nested: those that are not a schema within a schema don't come near it.
const MAX_DEPTH: usize = 96;

/// The name of a field that its message is, instead of having it.
const ALTERNATIVE: &str = "=";

/// The fields of a message by number.
type Fields = HashMap<u64, Field>;

#[derive(Debug)]
struct Field {
    /// Empty if the field's own fields stand in its place.
    name: &'static str,
    shape: Shape,
    type_: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Left out when zero.
    Plain,
    /// There if sent, even if zero.
    Optional,
    List,
    Map,
}

static MESSAGES: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut messages: HashMap<&str, Fields> = HashMap::new();
    let mut current = "";
    for line in include_str!("messages.txt").lines() {
        if let Some((number, field)) = line.strip_prefix(' ').and_then(field) {
            messages.entry(current).or_default().insert(number, field);
        } else {
            current = line;
            // Some have no fields.
            messages.entry(current).or_default();
        }
    }
    messages
});

fn field(line: &'static str) -> Option<(u64, Field)> {
    let mut words = line.split(' ');
    let (number, name, type_) = (words.next()?.parse().ok()?, words.next()?, words.next()?);
    let shapes = [("*", Shape::Optional), ("[]", Shape::List), ("{}", Shape::Map)];
    let shaped = shapes.iter().find_map(|(mark, shape)| Some((*shape, type_.strip_prefix(mark)?)));
    let (shape, type_) = shaped.unwrap_or((Shape::Plain, type_));
    Some((number, Field { name: name.trim_matches('-'), shape, type_ }))
}

/// The object in a body.
///
/// # Errors
/// 400 if it is malformed, 415 if the kind is not known in this form.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| bad_request(Malformed))?;
    let (api_version, kind, raw) = envelope(unknown).map_err(bad_request)?;
    let name =
        message_name(&api_version, &kind).ok_or_else(|| unknown_kind(&api_version, &kind))?;
    let mut object = message(&name, raw, 0).map_err(bad_request)?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

/// The message of a kind; options are in every group.
fn message_name(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/').unwrap_or(("core", api_version));
    let short = group.split('.').next().unwrap_or_default();
    [format!("{short}/{version}.{kind}"), format!("meta/v1.{kind}")]
        .into_iter()
        .find(|name| MESSAGES.contains_key(name.as_str()))
}

fn bad_request(_: Malformed) -> ApiError {
    ApiError::bad_request("the body is not a Kubernetes protobuf message")
}

fn unknown_kind(api_version: &str, kind: &str) -> ApiError {
    ApiError::unsupported_media_type(format!(
        "{kind} in version {api_version:?} is not known as protobuf here; send it as JSON"
    ))
}

/// API version, kind and message of a `runtime.Unknown`.
fn envelope(bytes: &[u8]) -> Result<(String, String, &[u8]), Malformed> {
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Bytes(type_meta)) => {
                for field in Reader::new(type_meta) {
                    match field? {
                        (1, Wire::Bytes(text)) => api_version = text_of(text)?,
                        (2, Wire::Bytes(text)) => kind = text_of(text)?,
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    Ok((api_version, kind, raw))
}

/// A message as a JSON object. Fields that the table doesn't have are skipped, as protobuf wants it.
fn message(name: &str, bytes: &[u8], depth: usize) -> Result<Object, Malformed> {
    let mut object = Object::new();
    let Some(fields) = MESSAGES.get(name).filter(|_| depth < MAX_DEPTH) else {
        return Err(Malformed);
    };
    for field in Reader::new(bytes) {
        let (number, wire) = field?;
        let Some(field) = fields.get(&number) else { continue };
        if field.name.is_empty() {
            let Wire::Bytes(bytes) = wire else { return Err(Malformed) };
            object.extend(message(field.type_, bytes, depth + 1)?);
        } else {
            add(&mut object, field, wire, depth)?;
        }
    }
    Ok(object)
}

fn add(object: &mut Object, field: &Field, wire: Wire<'_>, depth: usize) -> Result<(), Malformed> {
    let name = || field.name.to_owned();
    match field.shape {
        Shape::List => {
            let list = object.entry(name()).or_insert_with(|| Value::Array(Vec::new()));
            // Of two alternatives the list counts.
            if !list.is_array() {
                *list = Value::Array(Vec::new());
            }
            let value = value(field.type_, wire, depth)?;
            list.as_array_mut().ok_or(Malformed)?.push(value);
        }
        Shape::Map => {
            let (key, value) = entry(field.type_, wire, depth)?;
            let map = object.entry(name()).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().ok_or(Malformed)?.insert(key, value);
        }
        Shape::Plain | Shape::Optional => {
            let value = value(field.type_, wire, depth)?;
            if field.shape == Shape::Optional || !is_zero(&value) {
                object.insert(name(), value);
            }
        }
    }
    Ok(())
}

/// An entry of a map: a message of key and value. Either may be left out when empty.
fn entry(type_: &str, wire: Wire<'_>, depth: usize) -> Result<(String, Value), Malformed> {
    let Wire::Bytes(bytes) = wire else { return Err(Malformed) };
    let (mut key, mut of_key) = (String::new(), None);
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = text_of(text)?,
            (2, wire) => of_key = Some(value(type_, wire, depth)?),
            _ => {}
        }
    }
    let value = of_key.map_or_else(|| value(type_, Wire::Bytes(&[]), depth), Ok)?;
    Ok((key, value))
}

fn value(type_: &str, wire: Wire<'_>, depth: usize) -> Result<Value, Malformed> {
    Ok(match (type_, wire) {
        ("bool", Wire::Varint(number)) => (number != 0).into(),
        ("int32" | "int64", Wire::Varint(number)) => number.cast_signed().into(),
        ("double", Wire::Fixed64(bits)) => f64::from_bits(bits).into(),
        ("string", Wire::Bytes(text)) => text_of(text)?.into(),
        ("bytes", Wire::Bytes(bytes)) => BASE64.encode(bytes).into(),
        ("time" | "microtime", Wire::Bytes(bytes)) => time(bytes, type_ == "microtime")?,
        ("quantity", Wire::Bytes(bytes)) => first_text(bytes)?.into(),
        ("intorstring", Wire::Bytes(bytes)) => int_or_string(bytes)?,
        ("strings", Wire::Bytes(bytes)) => texts(bytes)?,
        ("raw", Wire::Bytes(bytes)) => {
            serde_json::from_str(&first_text(bytes)?).map_err(|_| Malformed)?
        }
        (name, Wire::Bytes(bytes)) => {
            let mut object = message(name, bytes, depth + 1)?;
            object.remove(ALTERNATIVE).unwrap_or(Value::Object(object))
        }
        _ => return Err(Malformed),
    })
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn text_of(bytes: &[u8]) -> Result<String, Malformed> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Malformed)
}

/// The field 1 of a message that has but that one: a quantity's text, raw JSON.
fn first_text(bytes: &[u8]) -> Result<String, Malformed> {
    let mut text = String::new();
    for field in Reader::new(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            text = text_of(bytes)?;
        }
    }
    Ok(text)
}

/// A list that is a message, as maps can have no lists.
fn texts(bytes: &[u8]) -> Result<Value, Malformed> {
    let texts = Reader::new(bytes).filter_map(|field| match field {
        Ok((1, Wire::Bytes(bytes))) => Some(text_of(bytes).map(Value::from)),
        Ok(_) => None,
        Err(malformed) => Some(Err(malformed)),
    });
    texts.collect::<Result<_, _>>().map(Value::Array)
}

/// Seconds and nanoseconds; a message without either is no time.
fn time(bytes: &[u8], micro: bool) -> Result<Value, Malformed> {
    let (mut seconds, mut nanos) = (None, 0);
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Varint(number)) => seconds = Some(number.cast_signed()),
            (2, Wire::Varint(number)) => {
                nanos = i32::try_from(number.cast_signed()).map_err(|_| Malformed)?
            }
            _ => {}
        }
    }
    let Some(seconds) = seconds else { return Ok(Value::Null) };
    let time = Timestamp::new(seconds, nanos).map_err(|_| Malformed)?;
    Ok(if micro { format!("{time:.6}") } else { format!("{time:.0}") }.into())
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Malformed> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Varint(type_)) => is_text = type_ == 1,
            (2, Wire::Varint(int)) => number = int.cast_signed(),
            (3, Wire::Bytes(bytes)) => text = text_of(bytes)?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

#[cfg(test)]
mod tests;
