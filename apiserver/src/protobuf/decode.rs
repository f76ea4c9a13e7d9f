//! From protobuf to JSON values.

use std::time::Duration;

use api_machinery::{ApiError, duration};
use api_types::jiff::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Map, Value};

use super::{
    schema::{ALTERNATIVE, Field, MESSAGES, Message, Shape, Type, message_of},
    wire::{MAGIC, Malformed, Reader, Wire},
};
use crate::budget::{Budget, Spent, VALUES};

pub(super) type Object = Map<String, Value>;

/// How deep messages may be nested: those that are not a schema within a schema don't come near it.
const MAX_DEPTH: usize = 96;

/// The object in a body.
///
/// # Errors
/// 400 if it is malformed or has too many values, 415 if the kind is not known in this form.
pub(crate) fn decode(body: &[u8]) -> Result<Value, ApiError> {
    let unknown = body.strip_prefix(MAGIC).ok_or_else(|| bad_request(Malformed))?;
    let (api_version, kind, raw) = envelope(unknown).map_err(bad_request)?;
    let known = message_of(&api_version, &kind).ok_or_else(|| unknown_kind(&api_version, &kind))?;
    let budget = Budget::default();
    let object = message(known, raw, 0, &budget);
    let mut object = object.map_err(|malformed| match budget.is_spent() {
        true => ApiError::bad_request(format!("the body has more than {VALUES} values")),
        false => bad_request(malformed),
    })?;
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    Ok(Value::Object(object))
}

fn bad_request(_: Malformed) -> ApiError {
    ApiError::bad_request("the body is not a Kubernetes protobuf message")
}

fn unknown_kind(api_version: &str, kind: &str) -> ApiError {
    ApiError::unsupported_media_type(format!(
        "{kind} in version {api_version:?} is not known as protobuf here; send it as JSON"
    ))
}

impl From<Spent> for Malformed {
    fn from(_: Spent) -> Self {
        Self
    }
}

/// API version, kind and message of a `runtime.Unknown`.
pub(super) fn envelope(bytes: &[u8]) -> Result<(String, String, &[u8]), Malformed> {
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
pub(super) fn message(
    message: &Message,
    bytes: &[u8],
    depth: usize,
    budget: &Budget,
) -> Result<Object, Malformed> {
    budget.map()?;
    let mut object = Object::new();
    if depth >= MAX_DEPTH {
        return Err(Malformed);
    }
    for field in Reader::new(bytes) {
        let (number, wire) = field?;
        let Some(field) = message.field(number) else { continue };
        match (field.name, field.type_, wire) {
            ("", Type::Message(at), Wire::Bytes(bytes)) => {
                object.extend(self::message(&MESSAGES.all[at], bytes, depth + 1, budget)?);
            }
            ("", ..) => return Err(Malformed),
            _ => add(&mut object, field, wire, depth, budget)?,
        }
    }
    Ok(object)
}

fn add(
    object: &mut Object,
    field: &Field,
    wire: Wire<'_>,
    depth: usize,
    budget: &Budget,
) -> Result<(), Malformed> {
    let name = || field.name.to_owned();
    match field.shape {
        Shape::List => {
            let list = object.entry(name()).or_insert_with(|| Value::Array(Vec::new()));
            // Of two alternatives the list counts.
            if !list.is_array() {
                *list = Value::Array(Vec::new());
            }
            let value = value(field.type_, wire, depth, budget)?;
            list.as_array_mut().ok_or(Malformed)?.push(value);
        }
        Shape::Map => {
            let (key, value) = entry(field.type_, wire, depth, budget)?;
            let map = object.entry(name()).or_insert_with(|| Value::Object(Map::new()));
            map.as_object_mut().ok_or(Malformed)?.insert(key, value);
        }
        Shape::Plain | Shape::Optional => {
            let value = value(field.type_, wire, depth, budget)?;
            if field.shape == Shape::Optional || !is_zero(&value) {
                object.insert(name(), value);
            }
        }
    }
    Ok(())
}

/// An entry of a map: a message of key and value. Either may be left out when empty.
fn entry(
    type_: Type,
    wire: Wire<'_>,
    depth: usize,
    budget: &Budget,
) -> Result<(String, Value), Malformed> {
    let Wire::Bytes(bytes) = wire else { return Err(Malformed) };
    let (mut key, mut of_key) = (String::new(), None);
    for field in Reader::new(bytes) {
        match field? {
            (1, Wire::Bytes(text)) => key = text_of(text)?,
            (2, wire) => of_key = Some(value(type_, wire, depth, budget)?),
            _ => {}
        }
    }
    let value = of_key.map_or_else(|| value(type_, Wire::Bytes(&[]), depth, budget), Ok)?;
    Ok((key, value))
}

fn value(type_: Type, wire: Wire<'_>, depth: usize, budget: &Budget) -> Result<Value, Malformed> {
    budget.value()?;
    Ok(match (type_, wire) {
        (Type::Bool, Wire::Varint(number)) => (number != 0).into(),
        (Type::Int, Wire::Varint(number)) => number.cast_signed().into(),
        (Type::Double, Wire::Fixed64(bits)) => f64::from_bits(bits).into(),
        (Type::Text, Wire::Bytes(text)) => text_of(text)?.into(),
        (Type::Bytes, Wire::Bytes(bytes)) => BASE64.encode(bytes).into(),
        (Type::Time, Wire::Bytes(bytes)) => time(bytes, false)?,
        (Type::MicroTime, Wire::Bytes(bytes)) => time(bytes, true)?,
        (Type::Quantity, Wire::Bytes(bytes)) => first_text(bytes)?.into(),
        (Type::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Type::Texts, Wire::Bytes(bytes)) => texts(bytes, budget)?,
        (Type::Duration, Wire::Bytes(bytes)) => text_of_duration(bytes)?,
        (Type::Raw, Wire::Bytes(bytes)) => match first_text(bytes)? {
            nothing if nothing.is_empty() => Value::Null,
            json => serde_json::from_str(&json).map_err(|_| Malformed)?,
        },
        (Type::Message(at), Wire::Bytes(bytes)) => {
            let mut object = message(&MESSAGES.all[at], bytes, depth + 1, budget)?;
            object.remove(ALTERNATIVE).unwrap_or(Value::Object(object))
        }
        _ => return Err(Malformed),
    })
}

pub(super) fn is_zero(value: &Value) -> bool {
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

fn texts(bytes: &[u8], budget: &Budget) -> Result<Value, Malformed> {
    let text = |bytes: &[u8]| {
        budget.value()?;
        text_of(bytes).map(Value::from)
    };
    let texts = Reader::new(bytes).filter_map(|field| match field {
        Ok((1, Wire::Bytes(bytes))) => Some(text(bytes)),
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

/// Nanoseconds. Those of Kubernetes' objects are none but what goes forward.
fn text_of_duration(bytes: &[u8]) -> Result<Value, Malformed> {
    let mut nanos = 0;
    for field in Reader::new(bytes) {
        if let (1, Wire::Varint(number)) = field? {
            nanos = u64::try_from(number.cast_signed()).map_err(|_| Malformed)?;
        }
    }
    Ok(duration::format(Duration::from_nanos(nanos)).into())
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
