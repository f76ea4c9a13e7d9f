//! The fields of an object that is new, straight from its JSON to `FieldsV1`: what [`compare`](super::compare) finds
//! when there was nothing before, at a tenth of the cost. Every creation pays for it.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    field_set::{FieldSet, PathElement},
    shape::Shape,
};

/// The fields of a new object, as `FieldsV1`, but for what is `nobodys`, with all below. `None` if it is no object.
#[must_use]
pub fn fields_of_created(
    json: &[u8],
    shape: Shape<'_>,
    nobodys: &FieldSet,
) -> Option<Box<RawValue>> {
    let mut written = Vec::with_capacity(json.len());
    let value = Below { shape, nobodys: Some(nobodys), is_member: false, written: &mut written };
    value.deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()?;
    RawValue::from_string(String::from_utf8(written).ok()?).ok()
}

/// A value, whose fields are to be written.
struct Below<'w> {
    shape: Shape<'w>,
    nobodys: Option<&'w FieldSet>,
    /// Whether the step to it is a member itself.
    is_member: bool,
    written: &'w mut Vec<u8>,
}

impl Below<'_> {
    fn leaf<E>(self) -> Result<(), E> {
        self.written.extend_from_slice(b"{}");
        Ok(())
    }

    fn open(&mut self) {
        let start: &[u8] = if self.is_member { br#"{".":{}"# } else { b"{" };
        self.written.extend_from_slice(start);
    }

    /// Writes a step, and what is below it, unless there is nothing to be said.
    fn step<E>(
        &mut self,
        element: &PathElement,
        is_member: bool,
        below: impl FnOnce(Below<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.written.len();
        if !self.written.ends_with(b"{") {
            self.written.push(b',');
        }
        element.write(self.written);
        self.written.push(b':');
        let at = self.written.len();
        let (shape, nobodys) =
            (self.shape.of(element), self.nobodys.and_then(|n| n.below(element)));
        below(Below { shape, nobodys, is_member, written: self.written })?;
        if !is_member && self.written[at..] == *b"{}" {
            self.written.truncate(before);
        }
        Ok(())
    }

    /// What is a member and has nothing below says so without a dot.
    fn close(self, from: usize) {
        if self.written[from..] == *br#"{".":{}"# {
            self.written.truncate(from + 1);
        }
        self.written.push(b'}');
    }
}

impl<'de> DeserializeSeed<'de> for Below<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.leaf()
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.leaf()
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.leaf()
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf()
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        if self.shape.is_whole_object() {
            while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return self.leaf();
        }
        // What was there from the beginning is a part of the nothing before.
        let (from, is_new) = (self.written.len(), self.is_member);
        self.open();
        while let Some(name) = fields.next_key::<String>()? {
            let is_part = !is_new && self.shape.contains(&name);
            let element = PathElement::Field(name);
            if self.nobodys.is_some_and(|nobodys| nobodys.has(&element)) {
                fields.next_value::<IgnoredAny>()?;
                continue;
            }
            self.step(&element, !is_part, |below| fields.next_value_seed(below))?;
        }
        self.close(from);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        if self.shape.is_whole_list() {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return self.leaf();
        }
        let from = self.written.len();
        self.open();
        let mut named = Vec::new();
        while let Some(item) = items.next_element::<&RawValue>()? {
            named.extend(self.shape.element_of(item).map(|element| (element, item)));
        }
        // Of elements that can't be told apart only the first counts.
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        named.dedup_by(|(a, _), (b, _)| a == b);
        for (element, item) in named {
            let mut item = serde_json::Deserializer::from_str(item.get());
            self.step(&element, true, |below| below.deserialize(&mut item))
                .map_err(serde::de::Error::custom)?;
        }
        self.close(from);
        Ok(())
    }
}
