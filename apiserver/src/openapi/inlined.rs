//! A kind's schema in one piece.

use registry::ResourceDef;
use serde_json::{Map, Value, json};

use super::{operation::schema_name, schemas::Schemas};

const ROOT: &str = "#/$defs/";
/// What says which values there are.
const KEYWORDS: [&str; 3] = ["format", "type", "x-kubernetes-embedded-resource"];
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The schema of a kind's objects, with what it refers to in the places where it does. Of what is within itself nothing is
/// known.
pub(crate) fn whole_schema(def: &ResourceDef) -> Value {
    let mut schemas = Schemas::new(ROOT);
    schemas.add_kind(def);
    let all = schemas.into_inner();
    Inlining { all: &all, within: Vec::new() }.schema(&all[&schema_name(def)])
}

struct Inlining<'a> {
    all: &'a Map<String, Value>,
    within: Vec<&'a str>,
}

impl<'a> Inlining<'a> {
    fn schema(&mut self, schema: &'a Value) -> Value {
        let reference = ["/$ref", "/allOf/0/$ref"].into_iter().find_map(|at| schema.pointer(at));
        let name = reference.and_then(Value::as_str).and_then(|it| it.strip_prefix(ROOT));
        let Some(name) = name else { return self.inner(schema) };
        let Some(meant) = self.all.get(name).filter(|_| !self.within.contains(&name)) else {
            return json!({"type": "object"});
        };
        self.within.push(name);
        let whole = self.schema(meant);
        self.within.pop();
        whole
    }

    fn inner(&mut self, schema: &'a Value) -> Value {
        let mut inner = Map::new();
        for keyword in KEYWORDS {
            inner.extend(schema.get(keyword).map(|said| (keyword.to_owned(), said.clone())));
        }
        if schema[INT_OR_STRING] == true || schema["format"] == "int-or-string" {
            inner.insert(INT_OR_STRING.to_owned(), true.into());
        }
        if let Some(fields) = schema["properties"].as_object() {
            let fields = fields.iter().map(|(name, field)| (name.clone(), self.schema(field)));
            inner.insert("properties".to_owned(), Value::Object(fields.collect()));
        }
        for keyword in ["additionalProperties", "items"] {
            if let Some(within) = schema.get(keyword).filter(|within| within.is_object()) {
                inner.insert(keyword.to_owned(), self.schema(within));
            }
        }
        Value::Object(inner)
    }
}
