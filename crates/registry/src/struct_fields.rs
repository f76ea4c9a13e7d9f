//! Whether an object that is going to be encoded will have a field: a look at its outermost fields, for which nothing is
//! encoded.

use std::fmt::{self, Display};

use serde::ser::{self, Impossible, Serialize, SerializeStruct, Serializer};

/// Whether a type that is encoded field by field has this one in its encoding. `None` of other types.
pub(crate) fn has<T: Serialize>(object: &T, field: &'static str) -> Option<bool> {
    match object.serialize(Fields { wanted: field }) {
        Ok(()) => Some(false),
        Err(Outcome::Found) => Some(true),
        Err(Outcome::NoStruct) => None,
    }
}

/// Looks at each field's name, until it is the one that is wanted.
struct Fields {
    wanted: &'static str,
}

/// What ends the look early.
#[derive(Debug)]
enum Outcome {
    Found,
    NoStruct,
}

impl Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Outcome {}

impl ser::Error for Outcome {
    fn custom<T: Display>(_: T) -> Self {
        Self::NoStruct
    }
}

type Looked<T> = Result<T, Outcome>;
type Never = Impossible<(), Outcome>;

impl SerializeStruct for Fields {
    type Ok = ();
    type Error = Outcome;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, _: &T) -> Looked<()> {
        if key == self.wanted { Err(Outcome::Found) } else { Ok(()) }
    }

    fn end(self) -> Looked<()> {
        Ok(())
    }
}

/// Methods for what is no struct.
macro_rules! no_struct {
    ($($method:ident($($given:ty),*) -> $made:ty;)*) => {
        $(fn $method(self, $(_: $given),*) -> Looked<$made> {
            Err(Outcome::NoStruct)
        })*
    };
}

impl Serializer for Fields {
    type Ok = ();
    type Error = Outcome;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Self;
    type SerializeStructVariant = Never;

    fn serialize_struct(self, _: &'static str, _: usize) -> Looked<Self> {
        Ok(self)
    }

    no_struct! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Never;
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Looked<()> {
        Err(Outcome::NoStruct)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Looked<()> {
        Err(Outcome::NoStruct)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Looked<()> {
        Err(Outcome::NoStruct)
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::{Namespace, NamespaceSpec, Pod};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_struct_has_the_fields_that_its_encoding_has() {
        let bare = Namespace::default();
        let with = Namespace { spec: Some(NamespaceSpec::default()), ..Namespace::default() };
        assert_eq!([has(&bare, "spec"), has(&with, "spec")], [Some(false), Some(true)]);
        assert_eq!([has(&bare, "metadata"), has(&Pod::default(), "sp")], [Some(true), Some(false)]);
        assert_eq!(has(&json!({"spec": 1}), "spec"), None);
    }
}
