//! From JSON to CBOR, to the byte as Kubernetes' deterministic encoding. JSON is gone through once, as a value or as text.

use std::{convert::Infallible, fmt, ops::Range};

use bytes::Bytes;
use minicbor::{Encoder, data::Tag, encode::Error};
use serde::{
    Deserializer,
    de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// The tag around each document.
const SELF_DESCRIBED: u64 = 55_799;

/// What lists and maps begin with, and how many elements the same byte can tell of.
const LIST: u8 = 0x80;
const MAP: u8 = 0xa0;
const FEW: usize = 23;

type Sink<'a> = Encoder<&'a mut Vec<u8>>;
type Written = Result<(), Error<Infallible>>;

/// A document.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_document(&mut out, value);
    out
}

/// What a document has within.
pub(crate) fn item<'de, D: Deserializer<'de>>(value: D) -> Result<Bytes, D::Error> {
    let mut out = Vec::new();
    Item(&mut out).deserialize(value)?;
    Ok(out.into())
}

/// An event of a watch, whose object is a document, too.
pub(crate) fn event(kind: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    fill(&mut out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?.map(2)?;
        sink.bytes(b"type")?.bytes(kind.as_bytes())?;
        sink.bytes(b"object")?;
        Ok(())
    });
    put_document(&mut out, object);
    out
}

/// What comes before the items of a list: so many of them follow, and then nothing.
pub(crate) fn list(api_version: &str, kind: &str, metadata: &Value, items: usize) -> Bytes {
    let mut out = Vec::new();
    fill(&mut out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?.map(4)?;
        sink.bytes(b"kind")?.bytes(kind.as_bytes())?;
        sink.bytes(b"metadata")?;
        Ok(())
    });
    put_value(&mut out, metadata);
    fill(&mut out, |sink| {
        sink.bytes(b"apiVersion")?.bytes(api_version.as_bytes())?;
        sink.bytes(b"items")?.array(items as u64)?;
        Ok(())
    });
    out.into()
}

fn put_document(out: &mut Vec<u8>, value: &Value) {
    fill(out, |sink| {
        sink.tag(Tag::new(SELF_DESCRIBED))?;
        Ok(())
    });
    put_value(out, value);
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    Item(out).deserialize(value).expect("every value has a form in CBOR");
}

fn fill(out: &mut Vec<u8>, write: impl FnOnce(&mut Sink<'_>) -> Written) {
    // Memory takes whatever is written, and no message is one of ours.
    let written = write(&mut Encoder::new(out));
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Writes whatever it visits.
struct Item<'a>(&'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Item<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        fill(self.0, |sink| sink.null().map(drop));
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, set: bool) -> Result<(), E> {
        fill(self.0, |sink| sink.bool(set).map(drop));
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, int: i64) -> Result<(), E> {
        fill(self.0, |sink| sink.i64(int).map(drop));
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, int: u64) -> Result<(), E> {
        fill(self.0, |sink| sink.u64(int).map(drop));
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, real: f64) -> Result<(), E> {
        fill(self.0, |sink| float(sink, real));
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        fill(self.0, |sink| sink.bytes(text.as_bytes()).map(drop));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let (begin, mut count) = (self.0.len(), 0);
        self.0.push(LIST);
        while items.next_element_seed(Item(self.0))?.is_some() {
            count += 1;
        }
        set_count(self.0, begin, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let (begin, mut fields) = (self.0.len(), Vec::new());
        self.0.push(MAP);
        let mut start = self.0.len();
        while entries.next_key_seed(Item(self.0))?.is_some() {
            let name = start..self.0.len();
            entries.next_value_seed(Item(self.0))?;
            start = self.0.len();
            fields.push((name, start));
        }
        sort(self.0, &mut fields);
        set_count(self.0, begin, fields.len());
        Ok(())
    }
}

/// Puts fields, each with the place of its name and where it ends, in the order of their names' encodings: these begin with
/// their lengths.
fn sort(out: &mut Vec<u8>, fields: &mut [(Range<usize>, usize)]) {
    let is_sorted =
        fields.is_sorted_by(|(one, _), (other, _)| out[one.clone()] <= out[other.clone()]);
    let Some((first, _)) = fields.first().filter(|_| !is_sorted) else { return };
    let begin = first.start;
    fields.sort_by(|(one, _), (other, _)| out[one.clone()].cmp(&out[other.clone()]));
    let unsorted = out.split_off(begin);
    for (name, end) in fields {
        out.extend_from_slice(&unsorted[name.start - begin..*end - begin]);
    }
}

/// Tells how many elements a list or a map has, in the place that was kept for it.
fn set_count(out: &mut Vec<u8>, at: usize, count: usize) {
    let kind = out[at];
    let mut head = Vec::new();
    fill(&mut head, |sink| sink.array(count as u64).map(drop));
    head[0] |= kind;
    if count <= FEW {
        out[at] = head[0];
    } else {
        drop(out.splice(at..=at, head));
    }
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
