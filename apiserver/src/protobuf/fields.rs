//! The fields of messages, from JSON that is gone through once, as a value or as text: each is written as it is come across,
//! and then they are put in the order of their numbers. What is no pointer in Go is written even if it is zero, and maps are
//! in the order of their keys.

use std::{cell::RefCell, fmt, iter::Peekable};

use api_machinery::{ApiError, duration};
use api_types::jiff::Timestamp;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Number, value::RawValue};

use super::{
    schema::{Field, MESSAGES, Message, Shape, Type},
    wire::{put_bytes, put_fixed64, put_nested, put_varint, put_whole},
};

/// What a value has that its kind's message can't have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} has no form in protobuf")]
pub(crate) struct Misfit {
    what: String,
}

impl Misfit {
    pub(super) fn of(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl From<Misfit> for ApiError {
    fn from(misfit: Misfit) -> Self {
        Self::internal(misfit)
    }
}

pub(super) type Written = Result<(), Misfit>;

/// The fields of a message as a value has them, or a text that is read.
pub(super) fn message<'de>(
    out: &mut Vec<u8>,
    message: &'static Message,
    value: impl Deserializer<'de>,
) -> Written {
    let trace = Trace::default();
    let written = Fields { out, message, trace: &trace }.deserialize(value);
    written.map_err(|_| Misfit::of(trace.0.into_inner()))
}

/// Where a value does not fit, and why: what readers tell would show the value.
#[derive(Debug, Default)]
struct Trace(RefCell<String>);

impl Trace {
    fn misfit<E: de::Error>(&self, what: &str) -> E {
        self.0.replace(what.to_owned());
        E::custom(what)
    }

    /// If nobody has said it yet.
    fn fails(&self, what: &str) {
        if self.0.borrow().is_empty() {
            self.0.replace(what.to_owned());
        }
    }

    fn within(&self, name: &str) {
        self.0.borrow_mut().insert_str(0, &format!("{name}: "));
    }
}

/// Writes the fields of a message as they are visited, and puts them in order. All are zero if there is nothing.
struct Fields<'a> {
    out: &'a mut Vec<u8>,
    message: &'static Message,
    trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Fields<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let (message, trace) = (self.message, self.trace);
        value.deserialize_any(self).inspect_err(|_| trace.fails(message.name))
    }
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.message.name)
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        put_zeros(self.out, self.message);
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, set: bool) -> Result<(), E> {
        if !self.message.is_alternatives {
            return Err(self.trace.misfit(self.message.name));
        }
        put_allowed(self.out, self.message, set);
        Ok(())
    }

    /// A list is one of alternatives.
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        match self.message.fields.iter().find(|field| field.shape == Shape::List) {
            Some(field) if self.message.is_alternatives => {
                Put { out: self.out, field: *field, trace: self.trace }.visit_seq(items)
            }
            _ => Err(self.trace.misfit(self.message.name)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<(), A::Error> {
        let Self { out, message, trace } = self;
        if !message.is_alternatives {
            return fields(out, message, trace, entries);
        }
        // Where a schema may stand in for `true`, it says that, too.
        put_allowed(out, message, true);
        let one = message.fields.iter().find_map(|field| match (field.shape, field.type_) {
            (Shape::Optional, Type::Message(at)) => Some((field.number, &MESSAGES.all[at])),
            _ => None,
        });
        let (number, message) = one.ok_or_else(|| trace.misfit(message.name))?;
        put_nested(out, number, |out| fields(out, message, trace, entries))
    }
}

fn fields<'de, A: MapAccess<'de>>(
    out: &mut Vec<u8>,
    message: &'static Message,
    trace: &Trace,
    mut entries: A,
) -> Result<(), A::Error> {
    let (begin, mut pieces) = (out.len(), Vec::new());
    while let Some(slot) = entries.next_key_seed(Slot(message))? {
        let Some(slot) = slot else {
            entries.next_value::<IgnoredAny>()?;
            continue;
        };
        let (field, start) = (message.slots[slot], out.len() - begin);
        let put = Put { out: &mut *out, field, trace };
        entries.next_value_seed(put).inspect_err(|_| trace.within(field.name))?;
        pieces.push((slot, start..out.len() - begin));
    }
    pieces.sort_by_key(|(slot, _)| *slot);
    pieces.dedup_by_key(|(slot, _)| *slot);
    let unordered = out.split_off(begin);
    let pieces = pieces.into_iter().map(|(slot, range)| (slot, &unordered[range]));
    put_ordered(out, message, &mut pieces.peekable(), &mut 0);
    Ok(())
}

/// The place of a field by its name, if there is such a field.
struct Slot(&'static Message);

impl<'de> DeserializeSeed<'de> for Slot {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Option<usize>, D::Error> {
        name.deserialize_identifier(self)
    }
}

impl Visitor<'_> for Slot {
    type Value = Option<usize>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Option<usize>, E> {
        Ok(self.0.slot(name))
    }
}

/// Fields in the order of their numbers, with those that are not there.
fn put_ordered<'a>(
    out: &mut Vec<u8>,
    message: &'static Message,
    pieces: &mut Peekable<impl Iterator<Item = (usize, &'a [u8])>>,
    slot: &mut usize,
) {
    for field in &message.fields {
        match field.type_ {
            Type::Message(at) if field.name.is_empty() => put_whole(out, field.number, |out| {
                put_ordered(out, &MESSAGES.all[at], &mut *pieces, &mut *slot);
            }),
            _ => {
                match pieces.next_if(|(at, _)| at == slot) {
                    Some((_, written)) => out.extend_from_slice(written),
                    None if field.shape == Shape::Plain => {
                        put_zero(out, field.number, field.type_);
                    }
                    None => {}
                }
                *slot += 1;
            }
        }
    }
}

fn put_zeros(out: &mut Vec<u8>, message: &'static Message) {
    if message.is_alternatives {
        put_allowed(out, message, false);
    }
    for field in message.fields.iter().filter(|field| field.shape == Shape::Plain) {
        put_zero(out, field.number, field.type_);
    }
}

/// Of a message that is a boolean or something else, the boolean.
fn put_allowed(out: &mut Vec<u8>, message: &'static Message, is_allowed: bool) {
    let bool = message.fields.iter().find(|field| field.type_ == Type::Bool);
    bool.inspect(|field| put_varint(out, field.number, is_allowed.into()));
}

fn put_zero(out: &mut Vec<u8>, number: u64, type_: Type) {
    match type_ {
        Type::Bool | Type::Int => put_varint(out, number, 0),
        Type::Double => put_fixed64(out, number, 0),
        Type::Text => put_bytes(out, number, b""),
        // Nothing of these is written as nothing.
        Type::Bytes => {}
        Type::Quantity => put_whole(out, number, |out| put_bytes(out, 1, b"0")),
        Type::Duration => put_whole(out, number, |out| put_varint(out, 1, 0)),
        Type::IntOrString => put_whole(out, number, |out| put_int_or_string(out, (0, 0, ""))),
        Type::Time | Type::MicroTime | Type::Raw | Type::Texts => put_bytes(out, number, b""),
        Type::Message(at) => put_whole(out, number, |out| put_zeros(out, &MESSAGES.all[at])),
    }
}

/// Writes the value of a field as it is visited.
struct Put<'a> {
    out: &'a mut Vec<u8>,
    field: Field,
    trace: &'a Trace,
}

impl<'de> DeserializeSeed<'de> for Put<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        let (Field { number, shape, type_, .. }, trace) = (self.field, self.trace);
        match (shape, type_) {
            (Shape::Plain, Type::Message(at)) => put_nested(self.out, number, |out| {
                Fields { out, message: &MESSAGES.all[at], trace }.deserialize(value)
            }),
            (Shape::Plain, Type::Raw) => {
                let json = Box::<RawValue>::deserialize(value)?;
                put_whole(self.out, number, |out| match json.get() {
                    "null" => {}
                    json => put_bytes(out, 1, json.as_bytes()),
                });
                Ok(())
            }
            (Shape::Plain, _) => value.deserialize_any(self),
            _ => value.deserialize_option(self),
        }
    }
}

impl Put<'_> {
    /// The type of a single value; lists and maps have none.
    fn single(&self) -> Option<Type> {
        (self.field.shape == Shape::Plain).then_some(self.field.type_)
    }

    fn number<E: de::Error>(self, value: &Number) -> Result<(), E> {
        let (single, number) = (self.single(), self.field.number);
        let out = self.out;
        match (single, value.as_i64(), value.as_f64()) {
            (Some(Type::Int), Some(int), _) => put_varint(out, number, int.cast_unsigned()),
            (Some(Type::Double), _, Some(real)) => put_fixed64(out, number, real.to_bits()),
            (Some(Type::Quantity), ..) => {
                put_whole(out, number, |out| put_bytes(out, 1, value.to_string().as_bytes()));
            }
            (Some(Type::IntOrString), Some(int), _) => {
                put_whole(out, number, |out| put_int_or_string(out, (0, int, "")));
            }
            _ => return Err(self.trace.misfit("a number")),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Put<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.field.name)
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        if let Some(type_) = self.single() {
            put_zero(self.out, self.field.number, type_);
        }
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        if self.field.shape == Shape::Optional {
            let field = Field { shape: Shape::Plain, ..self.field };
            return Put { field, ..self }.deserialize(value);
        }
        value.deserialize_any(self)
    }

    fn visit_bool<E: de::Error>(self, set: bool) -> Result<(), E> {
        if self.single() != Some(Type::Bool) {
            return Err(self.trace.misfit("a boolean"));
        }
        put_varint(self.out, self.field.number, set.into());
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, int: i64) -> Result<(), E> {
        self.number(&int.into())
    }

    fn visit_u64<E: de::Error>(self, int: u64) -> Result<(), E> {
        self.number(&int.into())
    }

    fn visit_f64<E: de::Error>(self, real: f64) -> Result<(), E> {
        let number = Number::from_f64(real).ok_or_else(|| self.trace.misfit("no number"))?;
        self.number(&number)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let single = self.single();
        let Self { out, field: Field { number, .. }, trace } = self;
        match single {
            Some(Type::Text) => put_bytes(out, number, text.as_bytes()),
            Some(Type::Bytes) => {
                let bytes = BASE64.decode(text);
                let bytes = bytes.map_err(|_| trace.misfit("what is not base64"))?;
                put_bytes(out, number, &bytes);
            }
            Some(type_ @ (Type::Time | Type::MicroTime)) => {
                let time = time(text, type_ == Type::MicroTime);
                let (seconds, nanos) = time.ok_or_else(|| trace.misfit("what is no time"))?;
                put_whole(out, number, |out| {
                    put_varint(out, 1, seconds.cast_unsigned());
                    put_varint(out, 2, nanos.cast_unsigned());
                });
            }
            Some(Type::Quantity) => {
                put_whole(out, number, |out| put_bytes(out, 1, text.as_bytes()));
            }
            Some(Type::Duration) => {
                let nanos = nanos(text).ok_or_else(|| trace.misfit("what is no duration"))?;
                put_whole(out, number, |out| put_varint(out, 1, nanos));
            }
            Some(Type::IntOrString) => {
                put_whole(out, number, |out| put_int_or_string(out, (1, 0, text)));
            }
            _ => return Err(trace.misfit("a string")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { out, field, trace } = self;
        match (field.shape, field.type_) {
            (Shape::List, _) => {
                let field = Field { shape: Shape::Plain, ..field };
                while items.next_element_seed(Put { out: &mut *out, field, trace })?.is_some() {}
                Ok(())
            }
            (Shape::Plain, Type::Texts) => put_nested(out, field.number, |out| {
                let field = Field { number: 1, type_: Type::Text, ..field };
                while items.next_element_seed(Put { out: &mut *out, field, trace })?.is_some() {}
                Ok(())
            }),
            _ => Err(trace.misfit("a list")),
        }
    }

    /// Entries are in the order of their keys in all JSON that is written here.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { out, field, trace } = self;
        if field.shape != Shape::Map {
            return Err(trace.misfit("an object"));
        }
        let value = Field { number: 2, shape: Shape::Plain, ..field };
        while let Some(key) = entries.next_key::<String>()? {
            put_nested(out, field.number, |out| {
                put_bytes(out, 1, key.as_bytes());
                entries.next_value_seed(Put { out, field: value, trace })
            })?;
        }
        Ok(())
    }
}

/// Seconds and nanoseconds. Kubernetes' times have seconds, or microseconds, at most.
fn time(text: &str, is_micro: bool) -> Option<(i64, i64)> {
    let time: Timestamp = text.parse().ok()?;
    // Before 1970 whole seconds are counted downwards.
    let (seconds, nanos) = match i64::from(time.subsec_nanosecond()) {
        nanos @ ..0 => (time.as_second() - 1, nanos + 1_000_000_000),
        nanos => (time.as_second(), nanos),
    };
    Some((seconds, if is_micro { nanos / 1000 * 1000 } else { 0 }))
}

fn nanos(text: &str) -> Option<u64> {
    let parsed = duration::parse(text).ok()?;
    u64::try_from(parsed.as_nanos()).ok()
}

/// Which of the two it is, and both.
fn put_int_or_string(out: &mut Vec<u8>, (kind, int, text): (u64, i64, &str)) {
    put_varint(out, 1, kind);
    put_varint(out, 2, int.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
}
