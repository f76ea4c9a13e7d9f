//! How `metadata.managedFields` spells a set of paths: `FieldsV1`. Most writes of an object read one and write one, from the text
//! and to it, with nothing in between.

use std::{collections::BTreeSet, fmt};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor,
};
use serde_json::{Value, value::RawValue};

use super::field_set::{FieldSet, PathElement};
use crate::extent;

/// Among what is below a step: that the step itself is in the set.
const ITSELF: &str = ".";

impl PathElement {
    /// `f:spec`, `k:{"name":"web"}`, `v:"a"`, `i:0`.
    fn encoded(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(fields) => format!("k:{fields}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// The same, in JSON. Most names have nothing to be escaped.
    pub(super) fn write(&self, json: &mut Vec<u8>) {
        match self {
            Self::Field(name) if !name.bytes().any(is_escaped) => {
                json.extend_from_slice(b"\"f:");
                json.extend_from_slice(name.as_bytes());
                json.push(b'"');
            }
            _ => serde_json::to_writer(json, &self.encoded()).expect("memory takes it"),
        }
    }

    /// The same read. `None` for what nobody has written so far.
    fn decoded(text: &str) -> Option<Self> {
        let (sort, rest) = text.split_once(':')?;
        let json = || serde_json::from_str::<Value>(rest).ok();
        match sort {
            "f" => Some(Self::Field(rest.to_owned())),
            "k" => json().filter(Value::is_object).map(|fields| Self::Key(fields.to_string())),
            "v" => json().map(|value| Self::Value(value.to_string())),
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }
}

fn is_escaped(byte: u8) -> bool {
    matches!(byte, b'"' | b'\\' | 0..=31)
}

impl FieldSet {
    /// As `FieldsV1`: a step that is a member, and has others below it, has `.` among them.
    #[must_use]
    pub fn to_fields_v1(&self) -> Box<RawValue> {
        let mut json = Vec::new();
        self.write(false, &mut json);
        let json = String::from_utf8(json).expect("it was put together from texts");
        RawValue::from_string(json).expect("it was put together from JSON")
    }

    fn write(&self, is_member: bool, json: &mut Vec<u8>) {
        json.push(b'{');
        if is_member && !self.is_empty() {
            json.extend_from_slice(br#"".":{}"#);
        }
        for element in self.members.iter().chain(self.children.keys()).collect::<BTreeSet<_>>() {
            if !json.ends_with(b"{") {
                json.push(b',');
            }
            element.write(json);
            json.push(b':');
            match self.children.get(element) {
                Some(below) => below.write(self.members.contains(element), json),
                None => json.extend_from_slice(b"{}"),
            }
        }
        json.push(b'}');
    }
}

/// What `FieldsV1` says, no deeper than an object may be.
impl<'de> Deserialize<'de> for FieldSet {
    fn deserialize<D: Deserializer<'de>>(fields: D) -> Result<Self, D::Error> {
        Ok(Below { depth: extent::MAX_DEPTH }.deserialize(fields)?.set)
    }
}

/// What is below a step, and how much deeper that may go.
struct Below {
    depth: usize,
}

#[derive(Default)]
struct Read {
    set: FieldSet,
    /// Whether the step itself is said to be in the set.
    has_itself: bool,
}

impl<'de> DeserializeSeed<'de> for Below {
    type Value = Read;

    fn deserialize<D: Deserializer<'de>>(self, fields: D) -> Result<Read, D::Error> {
        fields.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Below {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FieldsV1")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Read, A::Error> {
        let mut read = Read::default();
        while let Some(step) = fields.next_key()? {
            let Step::Below(element) = step else {
                fields.next_value::<IgnoredAny>()?;
                read.has_itself = true;
                continue;
            };
            let depth = self.depth.checked_sub(1).ok_or_else(|| Error::custom("too deep"))?;
            let below = fields.next_value_seed(Below { depth })?;
            if below.set.is_empty() || below.has_itself {
                read.set.insert(element.clone());
            }
            read.set.insert_below(element, below.set);
        }
        Ok(read)
    }
}

/// What is said of a step.
enum Step {
    /// That it is in the set.
    Itself,
    /// What is below it.
    Below(PathElement),
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: Deserializer<'de>>(step: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step of a path")
            }

            fn visit_str<E: Error>(self, step: &str) -> Result<Step, E> {
                match step {
                    ITSELF => Ok(Step::Itself),
                    _ => PathElement::decoded(step).map(Step::Below).ok_or_else(|| {
                        Error::custom(format_args!("{step:?} is no step of a path"))
                    }),
                }
            }
        }

        step.deserialize_str(Text)
    }
}
