//! From JSON values to CBOR, to the byte as Kubernetes' deterministic encoding.

use std::convert::Infallible;

use bytes::Bytes;
use minicbor::{Encoder, data::Tag, encode::Error};
use serde_json::{Number, Value};

/// The tag around each document.
const SELF_DESCRIBED: u64 = 55_799;

type Sink<'a> = Encoder<&'a mut Vec<u8>>;
type Written = Result<(), Error<Infallible>>;

/// A document.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?;
        put(sink, value)
    });
    out
}

/// What a document has within.
pub(crate) fn item(value: &Value) -> Bytes {
    let mut out = Vec::new();
    fill(&mut out, |sink| put(sink, value));
    out.into()
}

/// An event of a watch, whose object is a document, too.
pub(crate) fn event(kind: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?.map(2)?;
        sink.bytes(b"type")?.bytes(kind.as_bytes())?;
        sink.bytes(b"object")?.tag(Tag::new(SELF_DESCRIBED))?;
        put(sink, object)
    });
    out
}

/// What comes before the items of a list: so many of them follow, and then nothing.
pub(crate) fn list(api_version: &str, kind: &str, metadata: &Value, items: usize) -> Bytes {
    let mut out = Vec::new();
    fill(&mut out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?.map(4)?;
        sink.bytes(b"kind")?.bytes(kind.as_bytes())?;
        sink.bytes(b"metadata")?;
        put(sink, metadata)?;
        sink.bytes(b"apiVersion")?.bytes(api_version.as_bytes())?;
        sink.bytes(b"items")?.array(items as u64)?;
        Ok(())
    });
    out.into()
}

fn fill(out: &mut Vec<u8>, write: impl FnOnce(&mut Sink<'_>) -> Written) {
    // Memory takes whatever is written, and no message is one of ours.
    let written = write(&mut Encoder::new(out));
    debug_assert!(written.is_ok(), "{written:?}");
}

fn put(sink: &mut Sink<'_>, value: &Value) -> Written {
    match value {
        Value::Null => sink.null()?,
        Value::Bool(set) => sink.bool(*set)?,
        Value::Number(number) => return self::number(sink, number),
        Value::String(text) => sink.bytes(text.as_bytes())?,
        Value::Array(list) => {
            sink.array(list.len() as u64)?;
            return list.iter().try_for_each(|value| put(sink, value));
        }
        Value::Object(object) => {
            sink.map(object.len() as u64)?;
            let mut fields: Vec<_> = object.iter().collect();
            // As their encodings are ordered, which begin with their lengths.
            fields.sort_by_key(|(name, _)| (name.len(), name.as_str()));
            return fields.into_iter().try_for_each(|(name, value)| {
                sink.bytes(name.as_bytes())?;
                put(sink, value)
            });
        }
    };
    Ok(())
}

fn number(sink: &mut Sink<'_>, number: &Number) -> Written {
    if let Some(int) = number.as_i64() {
        sink.i64(int)?;
    } else if let Some(int) = number.as_u64() {
        sink.u64(int)?;
    } else {
        float(sink, number.as_f64().unwrap_or_default())?;
    }
    Ok(())
}

/// In the smallest width that has it.
fn float(sink: &mut Sink<'_>, real: f64) -> Written {
    #[expect(clippy::cast_possible_truncation, reason = "whether it is the same is what is asked")]
    let single = real as f32;
    if f64::from(single).to_bits() != real.to_bits() {
        sink.f64(real)?;
    } else if is_half(single) {
        sink.f16(single)?;
    } else {
        sink.f32(single)?;
    }
    Ok(())
}

/// Whether half a float has it: up to 65504, eleven digits in base two, none of them below 2^-24.
fn is_half(single: f32) -> bool {
    const LARGEST: f32 = 65504.0;
    const SMALLEST: f32 = 1.0 / 16_777_216.0;
    let is_short = single.to_bits() & 0x1fff == 0;
    single.abs() <= LARGEST && is_short && (single / SMALLEST).fract() == 0.0
}
