//! The key fields of an element of a list, out of its JSON, of which nothing else is kept.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value, value::RawValue};

/// A field by which the elements of a list are told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyField {
    pub(super) name: String,
    /// What it is for an element that does not have it.
    pub(super) default: Option<Value>,
}

impl KeyField {
    pub(super) fn new(name: &str) -> Self {
        // The only one with a default among those of Kubernetes' types.
        let default = (name == "protocol").then(|| "TCP".into());
        Self { name: name.to_owned(), default }
    }
}

/// An object with these fields alone. `None` if it is no object.
pub(super) fn of(keys: &[KeyField], json: &RawValue) -> Option<Value> {
    let mut json = serde_json::Deserializer::from_str(json.get());
    json.deserialize_map(Fields(keys)).ok().map(Value::Object)
}

struct Fields<'k>(&'k [KeyField]);

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut found = Map::new();
        while let Some(key) = fields.next_key_seed(Name(self.0))? {
            match key {
                Some(key) => drop(found.insert(key.name.clone(), fields.next_value()?)),
                None => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// The key field of a name, if it is one's.
struct Name<'k>(&'k [KeyField]);

impl<'de, 'k> DeserializeSeed<'de> for Name<'k> {
    type Value = Option<&'k KeyField>;

    fn deserialize<D: Deserializer<'de>>(self, name: D) -> Result<Self::Value, D::Error> {
        name.deserialize_str(self)
    }
}

impl<'k> Visitor<'_> for Name<'k> {
    type Value = Option<&'k KeyField>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().find(|key| key.name == name))
    }
}
