//! From CBOR to JSON values. What JSON can't say is refused, as by Kubernetes: numbers without end, integers beyond 64 bits,
//! values that are none, keys that are no texts, and the same key twice; and so is what has more values than a body may have.

use api_types::jiff::Timestamp;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD as BASE64_URL},
};
use minicbor::{Decoder, data::Type, decode::Error};
use serde_json::{Map, Number, Value, map::Entry};

use crate::budget::{Budget, Spent, VALUES};

/// How deep a document may be nested, tags included: as deep as JSON is read.
const MAX_DEPTH: usize = 127;

/// Tags that say something about what follows; others are passed over.
const TIME: u64 = 0;
const SECONDS: u64 = 1;
const BIGNUM: u64 = 2;
const NEGATIVE_BIGNUM: u64 = 3;
const LATER_BASE64_URL: u64 = 21;
const LATER_BASE64: u64 = 22;
const LATER_BASE16: u64 = 23;

/// Why bytes are no document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("EOF")]
    Empty,
    #[error("unexpected EOF")]
    CutOff,
    #[error("cbor: {length} bytes of extraneous data starting at index {index}")]
    Extraneous { length: usize, index: usize },
    #[error("cbor: exceeded max nested level {MAX_DEPTH}")]
    TooDeep,
    #[error("cbor: exceeded max number of values {VALUES}")]
    TooMany,
    #[error("cbor: found duplicate map key {key:?} at map element index {index}")]
    Duplicate { key: String, index: usize },
    #[error("cbor: invalid UTF-8 string")]
    Utf8,
    #[error("cbor: cannot unmarshal {what} into a value of JSON")]
    NoJson { what: String },
    #[error("cbor: {0}")]
    Malformed(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        if error.is_end_of_input() { Self::CutOff } else { Self::Malformed(error.to_string()) }
    }
}

impl From<Spent> for Fault {
    fn from(_: Spent) -> Self {
        Self::TooMany
    }
}

/// What the text of a byte string is to be.
#[derive(Clone, Copy, Debug)]
enum Later {
    Base64Url,
    Base64,
    Base16,
}

impl Later {
    fn of(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64Url => BASE64_URL.encode(bytes),
            Self::Base64 => BASE64.encode(bytes),
            Self::Base16 => {
                use std::fmt::Write;
                bytes.iter().fold(String::new(), |mut text, byte| {
                    let _ = write!(text, "{byte:02x}");
                    text
                })
            }
        }
    }
}

/// Where an item is.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    /// How many levels there may be from here on.
    levels: usize,
    /// What its byte strings are, unless it says so itself: its own text.
    later: Option<Later>,
    budget: &'a Budget,
}

impl Place<'_> {
    fn below(self) -> Result<Self, Fault> {
        let levels = self.levels.checked_sub(1).ok_or(Fault::TooDeep)?;
        Ok(Self { levels, ..self })
    }
}

/// Reads one document.
pub(crate) fn decode(bytes: &[u8]) -> Result<Value, Fault> {
    if bytes.is_empty() {
        return Err(Fault::Empty);
    }
    let mut decoder = Decoder::new(bytes);
    let budget = Budget::default();
    let value = item(&mut decoder, Place { levels: MAX_DEPTH, later: None, budget: &budget })?;
    match (decoder.position(), bytes.len() - decoder.position()) {
        (_, 0) => Ok(value),
        (index, length) => Err(Fault::Extraneous { length, index }),
    }
}

/// How long the first of the documents in a sequence is, if it is there as a whole.
pub(crate) fn first_length(bytes: &[u8]) -> Option<usize> {
    let mut decoder = Decoder::new(bytes);
    decoder.skip().ok()?;
    Some(decoder.position())
}

fn item(decoder: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, Fault> {
    let type_ = decoder.datatype()?;
    match type_ {
        Type::Array | Type::ArrayIndef => place.budget.list()?,
        Type::Map | Type::MapIndef => place.budget.map()?,
        _ => place.budget.value()?,
    }
    Ok(match type_ {
        Type::Null => {
            decoder.null()?;
            Value::Null
        }
        Type::Bool => decoder.bool()?.into(),
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => integer(decoder)?,
        Type::F16 => real(decoder.f16()?.into())?,
        Type::F32 => real(decoder.f32()?.into())?,
        Type::F64 => real(decoder.f64()?)?,
        Type::String | Type::StringIndef | Type::Bytes | Type::BytesIndef => {
            text(decoder, type_, place.later)?.into()
        }
        Type::Array | Type::ArrayIndef => list(decoder, place.below()?)?,
        Type::Map | Type::MapIndef => object(decoder, place.below()?)?,
        Type::Tag => tagged(decoder, place.below()?)?,
        other => return Err(Fault::NoJson { what: other.to_string() }),
    })
}

fn integer(decoder: &mut Decoder<'_>) -> Result<Value, Fault> {
    let int = decoder.int()?;
    match i64::try_from(int) {
        Ok(int) => Ok(int.into()),
        Err(_) => Err(Fault::NoJson { what: format!("{int}, which overflows int64,") }),
    }
}

fn real(real: f64) -> Result<Value, Fault> {
    let number = Number::from_f64(real).map(Value::Number);
    number.ok_or_else(|| Fault::NoJson { what: real.to_string() })
}

fn text(decoder: &mut Decoder<'_>, type_: Type, later: Option<Later>) -> Result<String, Fault> {
    let bytes = match type_ {
        // Whether they are texts is asked of the whole alone.
        Type::String | Type::StringIndef => {
            let pieces = decoder.str_iter()?;
            let mut text = String::new();
            for piece in pieces {
                text.push_str(piece.map_err(utf8)?);
            }
            return Ok(text);
        }
        _ => bytes(decoder)?,
    };
    match later {
        Some(later) => Ok(later.of(&bytes)),
        None => String::from_utf8(bytes).map_err(|_| Fault::Utf8),
    }
}

/// That a text is none is told in Kubernetes' words.
fn utf8(error: Error) -> Fault {
    if error.is_end_of_input() || error.is_type_mismatch() { error.into() } else { Fault::Utf8 }
}

fn bytes(decoder: &mut Decoder<'_>) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    for piece in decoder.bytes_iter()? {
        bytes.extend_from_slice(piece?);
    }
    Ok(bytes)
}

/// Whether the end of a list or a map that does not say how long it is has come.
fn is_over(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Fault> {
    match left {
        Some(0) => Ok(true),
        Some(left) => {
            *left -= 1;
            Ok(false)
        }
        None if decoder.datatype()? == Type::Break => {
            decoder.set_position(decoder.position() + 1);
            Ok(true)
        }
        None => Ok(false),
    }
}

/// What a list or a map says of its length is believed as far as there is something.
fn list(decoder: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, Fault> {
    let (mut left, mut list) = (decoder.array()?, Vec::new());
    while !is_over(decoder, &mut left)? {
        list.push(item(decoder, place)?);
    }
    Ok(Value::Array(list))
}

fn object(decoder: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, Fault> {
    let (mut left, mut object) = (decoder.map()?, Map::new());
    while !is_over(decoder, &mut left)? {
        let type_ = decoder.datatype()?;
        let key = match type_ {
            Type::String | Type::StringIndef | Type::Bytes | Type::BytesIndef => {
                text(decoder, type_, place.later)?
            }
            other => return Err(Fault::NoJson { what: format!("a key of type {other}") }),
        };
        let (value, index) = (item(decoder, place)?, object.len());
        match object.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(value);
            }
            Entry::Occupied(entry) => {
                return Err(Fault::Duplicate { key: entry.key().clone(), index });
            }
        }
    }
    Ok(Value::Object(object))
}

/// What a tag says of byte strings holds for all within that no other tag says it of.
fn tagged(decoder: &mut Decoder<'_>, place: Place<'_>) -> Result<Value, Fault> {
    let tag = decoder.tag()?.as_u64();
    let texts = |later: Later| Place { later: Some(later), ..place };
    Ok(match tag {
        TIME => time(&item(decoder, place)?)?,
        SECONDS => seconds(&item(decoder, place)?)?,
        BIGNUM | NEGATIVE_BIGNUM => {
            return Err(Fault::NoJson { what: "an integer of any length".to_owned() });
        }
        LATER_BASE64_URL => item(decoder, texts(Later::Base64Url))?,
        LATER_BASE64 => item(decoder, texts(Later::Base64))?,
        LATER_BASE16 => item(decoder, texts(Later::Base16))?,
        _ => item(decoder, place)?,
    })
}

fn time(value: &Value) -> Result<Value, Fault> {
    let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map(|time| time.to_string().into())
        .ok_or_else(|| Fault::NoJson { what: "what is tagged as a time and is none".to_owned() })
}

/// Seconds since 1970 as a time's text.
fn seconds(value: &Value) -> Result<Value, Fault> {
    const NANOS: f64 = 1e9;
    let whole = value.as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
    #[expect(clippy::cast_possible_truncation, reason = "it saturates, and is no time then")]
    let part = || value.as_f64().map(|seconds| (seconds * NANOS) as i128);
    let time = whole.or_else(|| part().and_then(|nanos| Timestamp::from_nanosecond(nanos).ok()));
    time.map(|time| time.to_string().into())
        .ok_or_else(|| Fault::NoJson { what: "what is tagged as a time and is none".to_owned() })
}
