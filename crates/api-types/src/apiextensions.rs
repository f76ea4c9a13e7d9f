//! `CustomResourceDefinition`, as `k8s-openapi` has it but for its bounds: `maximum: 10` goes out as it came in, and not as
//! `10.0`, which clients would take for a change.

use std::{
    borrow::Cow,
    ops::{Deref, DerefMut},
};

use k8s_openapi::{Metadata, Resource};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::Error};
use serde_json::{Number, Value};

pub use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1;

use crate::meta::ObjectMeta;

/// The numbers of a schema, which are no parts of values.
const BOUNDS: [&str; 3] = ["maximum", "minimum", "multipleOf"];
/// Up to where each whole number has a floating-point number of its own.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// A kind that comes from data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CustomResourceDefinition(pub v1::CustomResourceDefinition);

impl Deref for CustomResourceDefinition {
    type Target = v1::CustomResourceDefinition;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for CustomResourceDefinition {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Resource for CustomResourceDefinition {
    const API_VERSION: &'static str = v1::CustomResourceDefinition::API_VERSION;
    const GROUP: &'static str = v1::CustomResourceDefinition::GROUP;
    const KIND: &'static str = v1::CustomResourceDefinition::KIND;
    const VERSION: &'static str = v1::CustomResourceDefinition::VERSION;
    const URL_PATH_SEGMENT: &'static str = v1::CustomResourceDefinition::URL_PATH_SEGMENT;
    type Scope = <v1::CustomResourceDefinition as Resource>::Scope;
}

impl Metadata for CustomResourceDefinition {
    type Ty = ObjectMeta;

    fn metadata(&self) -> &Self::Ty {
        &self.0.metadata
    }

    fn metadata_mut(&mut self) -> &mut Self::Ty {
        &mut self.0.metadata
    }
}

impl Serialize for CustomResourceDefinition {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serde_json::to_value(&self.0).map_err(S::Error::custom)?;
        let versions = object.pointer_mut("/spec/versions").and_then(Value::as_array_mut);
        for version in versions.into_iter().flatten() {
            version.pointer_mut("/schema/openAPIV3Schema").into_iter().for_each(whole_bounds);
        }
        object.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CustomResourceDefinition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Deserialize::deserialize(deserializer).map(Self)
    }
}

impl JsonSchema for CustomResourceDefinition {
    fn schema_name() -> Cow<'static, str> {
        v1::CustomResourceDefinition::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        v1::CustomResourceDefinition::json_schema(generator)
    }
}

fn whole_bounds(schema: &mut Value) {
    for (keyword, value) in schema.as_object_mut().into_iter().flatten() {
        match (keyword.as_str(), value) {
            (keyword, Value::Number(number)) if BOUNDS.contains(&keyword) => whole(number),
            ("properties" | "patternProperties" | "definitions", Value::Object(schemas)) => {
                schemas.values_mut().for_each(whole_bounds);
            }
            ("allOf" | "anyOf" | "oneOf" | "items", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(whole_bounds);
            }
            ("items" | "additionalProperties" | "additionalItems" | "not", schema) => {
                whole_bounds(schema);
            }
            _ => {}
        }
    }
}

fn whole(number: &mut Number) {
    let whole = number.as_f64().filter(|n| number.is_f64() && n.fract() == 0.0);
    if let Some(whole) = whole.filter(|n| n.abs() < MOST_EXACT) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is a whole number within the range"
        )]
        let whole = whole as i64;
        *number = whole.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_stay_whole_numbers_and_values_stay_as_they_are() {
        let bounded = |bound: Value, value: Value| json!({"type": "number", "maximum": bound, "minimum": 0.5, "default": value});
        let schema = json!({"type": "object", "properties": {
            "maximum": bounded(json!(10), json!(1.0)),
            "list": {"type": "array", "items": bounded(json!(-3), json!({"maximum": 2.0}))},
            "map": {"type": "object", "additionalProperties": bounded(json!(1e300), json!(1))},
            "one": {"anyOf": [{"minimum": 4}, {"not": {"multipleOf": 5}}]},
        }});
        let version = json!({
            "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
        });
        let object = json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {},
            "spec": {"group": "", "names": {"kind": "", "plural": ""}, "scope": "", "versions": [version]},
        });
        let decoded: CustomResourceDefinition = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(decoded).unwrap(), object);
    }
}
