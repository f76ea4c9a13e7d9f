//! What Kubernetes' extensions of OpenAPI say of values: lists with nothing twice, embedded objects that say what they are
//! (Kubernetes: `apiextensions-apiserver/pkg/apiserver/schema/{listtype,objectmeta}`), numbers of 32 bits.

use std::collections::HashSet;

use api_machinery::{FieldErrors, FieldPath};
use serde_json::{Map, Number, Value};

use super::structural_schema::{is_set, of_field};

/// How many bytes of paths and values faults are told with, and a last one.
const MOST_TOLD: usize = 1 << 20;

/// Adds the faults of an object, but for those of what it has from `old`.
pub(super) fn check(schema: &Value, object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let mut check = Check { errors, room: MOST_TOLD };
    check.value(schema, object, old, &Path::Root);
}

/// One that is a text only if it has to be told of.
#[derive(Clone, Copy)]
enum Path<'a> {
    Root,
    Field(&'a Path<'a>, &'a str),
    Element(&'a Path<'a>, usize),
}

impl Path<'_> {
    fn told(&self) -> FieldPath {
        match self {
            Self::Root => FieldPath::default(),
            Self::Field(parent, name) => parent.told().child(name),
            Self::Element(parent, index) => parent.told().index(*index),
        }
    }
}

struct Check<'a> {
    errors: &'a mut FieldErrors,
    /// How much can still be told.
    room: usize,
}

impl Check<'_> {
    fn value(&mut self, schema: &Value, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        if old == Some(value) {
            return;
        }
        match value {
            Value::Object(object) => {
                if is_set(schema, "x-kubernetes-embedded-resource") {
                    self.embedded(object, path);
                }
                for (name, field) in object {
                    let (path, old) = (Path::Field(path, name), old.and_then(|old| old.get(name)));
                    if let Some(schema) = of_field(schema, name) {
                        self.value(schema, field, old, &path);
                    }
                }
            }
            Value::Array(list) => {
                self.list(schema, list, path);
                for (index, element) in list.iter().enumerate() {
                    let old = old.and_then(|old| old.get(index));
                    self.value(&schema["items"], element, old, &Path::Element(path, index));
                }
            }
            Value::Number(number) => self.number(schema, number, path),
            _ => {}
        }
    }

    /// Kubernetes: `IsValueValidAgainstRange`.
    fn number(&mut self, schema: &Value, number: &Number, path: &Path<'_>) {
        let range = f64::from(i32::MIN)..=f64::from(i32::MAX);
        let is_short = schema["type"] == "integer" && schema["format"] == "int32";
        if is_short && number.as_f64().is_some_and(|number| !range.contains(&number)) {
            self.tell(path, &"".into(), |errors, path, value| {
                let why = "Checked value must be of type integer with format int32";
                errors.invalid(&FieldPath::new("<nil>"), value, &format!("{why} in {path}"));
            });
        }
    }

    fn list(&mut self, schema: &Value, list: &[Value], path: &Path<'_>) {
        let identity = |element: &Value| match schema["x-kubernetes-list-type"].as_str()? {
            "set" => Some(element.clone()),
            "map" => Some(key(schema, element)),
            _ => None,
        };
        let mut seen = HashSet::new();
        for (index, element) in list.iter().enumerate() {
            let Some(identity) = identity(element) else { return };
            // Maps are in the order of their keys.
            if !seen.insert(identity.to_string()) {
                let path = Path::Element(path, index);
                self.tell(&path, &identity, |errors, path, value| errors.duplicate(path, value));
            }
        }
    }

    fn embedded(&mut self, object: &Map<String, Value>, path: &Path<'_>) {
        for name in ["apiVersion", "kind"] {
            let said = object.get(name).and_then(Value::as_str);
            if said.is_none_or(str::is_empty) {
                self.tell(&Path::Field(path, name), &Value::Null, |errors, path, _| {
                    errors.required(path, "must not be empty");
                });
            }
        }
    }

    fn tell(
        &mut self,
        path: &Path<'_>,
        value: &Value,
        tell: impl FnOnce(&mut FieldErrors, &FieldPath, std::fmt::Arguments<'_>),
    ) {
        if self.room == 0 {
            return;
        }
        let (path, value) = (path.told().to_string(), value.to_string());
        self.room = self.room.saturating_sub(path.len() + value.len());
        tell(self.errors, &FieldPath::new(&path), format_args!("{value}"));
    }
}

/// What an element of a map is found by.
fn key(schema: &Value, element: &Value) -> Value {
    let names = schema["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
    let names = names.filter_map(Value::as_str);
    let named = names.filter_map(|name| Some((name.to_owned(), element.get(name)?.clone())));
    Value::Object(named.collect())
}
