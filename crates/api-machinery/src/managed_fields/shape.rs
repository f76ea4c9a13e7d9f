//! What of an object is owned field by field, element by element, or as a whole: told by the schema of its kind.

use std::collections::HashMap;

use serde_json::{Map, Value, value::RawValue};

use super::{
    field_set::PathElement,
    key_fields::{self, KeyField},
    lists,
};

/// The shapes of a kind and of all that it uses.
#[derive(Debug)]
pub struct Shapes {
    /// The first is the kind's.
    all: Vec<Kind>,
}

/// A field of a structure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    shape: usize,
    /// Whether the structure that it is is there, be it empty, wherever the other one is.
    is_part: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Owned as a whole: what is no object and no list, and what is said to be.
    Whole,
    /// An object with fields of their own shapes, and others if there is one for them.
    Struct(HashMap<String, Field>, Option<usize>),
    /// An object whose values are alike.
    Map(usize),
    /// A list of values, each owned.
    Set,
    /// A list of objects that are told apart by some of their fields.
    List(Vec<KeyField>, usize),
    /// Whatever it is: objects by field, the rest as a whole.
    Unknown,
}

const WHOLE: usize = 1;
const UNKNOWN: usize = 2;

/// The shape of one value among a kind's.
#[derive(Clone, Copy, Debug)]
pub struct Shape<'s> {
    shapes: &'s Shapes,
    at: usize,
}

impl Shapes {
    /// Those of a JSON schema, with the types that it uses under `$defs`. Types of Kubernetes are known by name; others
    /// say by `x-kubernetes-list-type`, `x-kubernetes-list-map-keys` and `x-kubernetes-map-type` how they are owned.
    #[must_use]
    pub fn of_schema(schema: &Value) -> Self {
        let all = vec![Kind::Unknown, Kind::Whole, Kind::Unknown];
        let mut builder = Builder { defs: &schema["$defs"], known: HashMap::new(), all };
        let name = schema["title"].as_str().unwrap_or_default();
        let root = builder.shape(schema, name, ("", ""));
        builder.all[0] = builder.all[root].clone();
        Self { all: builder.all }
    }

    /// The kind's own.
    #[must_use]
    pub fn root(&self) -> Shape<'_> {
        Shape { shapes: self, at: 0 }
    }
}

impl<'s> Shape<'s> {
    pub(super) fn kind(self) -> &'s Kind {
        &self.shapes.all[self.at]
    }

    /// What is below a step.
    pub(super) fn of(self, element: &PathElement) -> Self {
        let at = match (self.kind(), element) {
            (Kind::Struct(fields, rest), PathElement::Field(name)) => {
                fields.get(name).map(|field| field.shape).or(*rest).unwrap_or(UNKNOWN)
            }
            (Kind::Map(of) | Kind::List(_, of), _) => *of,
            (Kind::Unknown, _) => UNKNOWN,
            _ => WHOLE,
        };
        Self { at, ..self }
    }

    /// Whether it is a structure with this field.
    pub(super) fn names(self, field: &str) -> bool {
        matches!(self.kind(), Kind::Struct(fields, _) if fields.contains_key(field))
    }

    /// Whether it is a structure of which that in this field is a part: there, be it empty, wherever it is itself. Each
    /// kind has metadata.
    pub(super) fn contains(self, field: &str) -> bool {
        let of_kind = self.at == 0 && field == "metadata";
        let is_part =
            |fields: &HashMap<String, Field>| fields.get(field).is_some_and(|f| f.is_part);
        of_kind || matches!(self.kind(), Kind::Struct(fields, _) if is_part(fields))
    }

    /// Whether it is a structure that can't have this field.
    pub(super) fn lacks(self, field: &str) -> bool {
        matches!(self.kind(), Kind::Struct(fields, None) if !fields.contains_key(field))
    }

    /// Whether the value is owned as a whole.
    pub(super) fn is_whole(self, value: &Value) -> bool {
        match value {
            Value::Object(_) => self.is_whole_object(),
            Value::Array(_) => self.is_whole_list(),
            _ => true,
        }
    }

    /// Whether an object is, here.
    pub(super) fn is_whole_object(self) -> bool {
        !matches!(self.kind(), Kind::Struct(..) | Kind::Map(_) | Kind::Unknown)
    }

    /// Whether a list is, here.
    pub(super) fn is_whole_list(self) -> bool {
        !matches!(self.kind(), Kind::Set | Kind::List(..))
    }

    /// The step to an element of a list. `None` if it lacks a key field.
    pub(super) fn element(self, value: &Value) -> Option<PathElement> {
        let Kind::List(keys, _) = self.kind() else {
            return Some(PathElement::Value(value.to_string()));
        };
        let mut fields = Map::new();
        for key in keys {
            match value.get(&key.name).filter(|v| !v.is_null()).or(key.default.as_ref()) {
                Some(value) => drop(fields.insert(key.name.clone(), value.clone())),
                // One that is not given is no part of the key; without any there is none.
                None if keys.len() > 1 => {}
                None => return None,
            }
        }
        (!fields.is_empty()).then(|| PathElement::Key(Value::Object(fields).to_string()))
    }

    /// The same of an element in JSON.
    pub(super) fn element_of(self, json: &RawValue) -> Option<PathElement> {
        let value = match self.kind() {
            Kind::List(keys, _) => key_fields::of(keys, json)?,
            _ => serde_json::from_str(json.get()).ok()?,
        };
        self.element(&value)
    }
}

/// Shapes so far.
struct Builder<'s> {
    defs: &'s Value,
    /// Of types, and whether as a field that is owned field by field in spite of its type.
    known: HashMap<(&'s str, bool), usize>,
    all: Vec<Kind>,
}

impl<'s> Builder<'s> {
    /// The shape of a schema, which is that of the named type, in this field of another type.
    fn shape(&mut self, schema: &'s Value, type_: &'s str, of: (&'s str, &'s str)) -> usize {
        if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
            return self.named(name, of);
        }
        for alternatives in ["allOf", "anyOf", "oneOf"] {
            let given = schema[alternatives].as_array().into_iter().flatten();
            let mut given = given.filter(|schema| !schema["$ref"].is_null());
            if let (Some(only), None) = (given.next(), given.next()) {
                return self.shape(only, type_, of);
            }
        }
        let kind = match () {
            () if has_type(schema, "array") => self.list(schema, of),
            () if has_type(schema, "object") => self.object(schema, type_, of),
            () if schema["x-kubernetes-preserve-unknown-fields"] == true => Kind::Unknown,
            () => Kind::Whole,
        };
        self.add(kind)
    }

    fn add(&mut self, kind: Kind) -> usize {
        match kind {
            Kind::Whole => WHOLE,
            Kind::Unknown => UNKNOWN,
            kind => {
                self.all.push(kind);
                self.all.len() - 1
            }
        }
    }

    fn named(&mut self, name: &'s str, of: (&'s str, &'s str)) -> usize {
        if lists::is_whole(name, of) {
            return WHOLE;
        }
        let key = (name, lists::is_whole(name, ("", "")));
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        // Types may use themselves.
        self.all.push(Kind::Whole);
        let at = self.all.len() - 1;
        self.known.insert(key, at);
        let shape = self.shape(&self.defs[name], name, of);
        self.all[at] = self.all[shape].clone();
        at
    }

    fn list(&mut self, schema: &'s Value, of: (&'s str, &'s str)) -> Kind {
        let keys = match schema["x-kubernetes-list-type"].as_str() {
            Some("set") => Some(Vec::new()),
            Some("map") => Some(map_keys(schema)),
            Some(_) => None,
            None => lists::keys_of(of.0, of.1)
                .map(|keys| keys.iter().map(|name| KeyField::new(name)).collect()),
        };
        match keys {
            None => Kind::Whole,
            Some(keys) if keys.is_empty() => Kind::Set,
            Some(keys) => Kind::List(keys, self.shape(&schema["items"], "", ("", ""))),
        }
    }

    fn object(&mut self, schema: &'s Value, type_: &'s str, of: (&'s str, &'s str)) -> Kind {
        if schema["x-kubernetes-map-type"] == "atomic" || lists::is_whole_map(of) {
            return Kind::Whole;
        }
        let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
        match (schema["properties"].as_object(), &schema["additionalProperties"]) {
            (None, values @ Value::Object(_)) => Kind::Map(self.shape(values, "", ("", ""))),
            (None, Value::Bool(true)) => Kind::Map(UNKNOWN),
            (None, _) if keeps_unknown => Kind::Unknown,
            // Kubernetes' own types without fields are raw: `RawExtension`, `FieldsV1`.
            (None, _) if type_.starts_with("io.k8s.") => Kind::Whole,
            (fields, _) => {
                let fields = fields.into_iter().flatten();
                let field = |(name, field): (&'s String, &'s Value)| {
                    let shape = self.shape(field, "", (type_, name));
                    (name.clone(), Field { shape, is_part: lists::is_part((type_, name)) })
                };
                let mut fields: HashMap<_, _> = fields.map(field).collect();
                if schema["x-kubernetes-embedded-resource"] == true {
                    let common = [("apiVersion", WHOLE), ("kind", WHOLE), ("metadata", UNKNOWN)];
                    for (name, shape) in common {
                        let field = Field { shape, is_part: false };
                        fields.entry(name.to_owned()).or_insert(field);
                    }
                }
                Kind::Struct(fields, keeps_unknown.then_some(UNKNOWN))
            }
        }
    }
}

fn has_type(schema: &Value, type_: &str) -> bool {
    match &schema["type"] {
        Value::Array(types) => types.iter().any(|t| t == type_),
        one => one == type_,
    }
}

/// The key fields that a schema names, with the defaults that it has for them.
fn map_keys(schema: &Value) -> Vec<KeyField> {
    let names = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    let key = |name: &str| {
        let default = &schema["items"]["properties"][name]["default"];
        let default = (!default.is_null()).then(|| default.clone());
        KeyField { name: name.to_owned(), default }
    };
    names.filter_map(Value::as_str).map(key).collect()
}
