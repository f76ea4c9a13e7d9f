//! Quantities in objects: where a kind has them its schema says, and there each gets its canonical form, so that equal
//! amounts are equal texts. What users keep under the same names elsewhere stays as it is.

use std::{collections::BTreeMap, str::FromStr};

use api_machinery::{Quantity, quantity::QuantityError};
use serde_json::Value;

/// The places of quantities within a value.
#[derive(Debug)]
pub(crate) enum Quantities {
    /// The value is one.
    Itself,
    /// It is an object with some in these fields.
    Fields(BTreeMap<String, Quantities>),
    /// It is a map with some in each entry.
    Entries(Box<Quantities>),
    /// It is a list with some in each element.
    Elements(Box<Quantities>),
}

/// A text that stands for a quantity and is none.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Where, from the inside out.
    path: Vec<String>,
    error: QuantityError,
}

impl Unreadable {
    /// The fault with its field.
    pub(crate) fn describe(&self) -> String {
        let path: String = self.path.iter().rev().map(String::as_str).collect();
        format!("{}: {}", path.trim_start_matches('.'), self.error)
    }

    fn below(mut self, segment: String) -> Self {
        self.path.push(segment);
        self
    }
}

impl Quantities {
    /// The places that a schema has; none if there are none.
    pub(crate) fn of_schema(schema: &Value) -> Option<Self> {
        let definitions = &schema["$defs"];
        places(schema, definitions, &mut Vec::new())
    }

    /// Gives all quantities their canonical form; one that equals the old object's in the same place is written as that
    /// is. What is neither text nor number is left to the decoder to refuse.
    pub(crate) fn canonicalize(
        &self,
        value: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Unreadable> {
        match (self, value) {
            (Self::Itself, value) => canonical(value, old, |quantity| quantity),
            (Self::Fields(fields), Value::Object(object)) => {
                fields.iter().try_for_each(|(name, inner)| {
                    let Some(value) = object.get_mut(name) else { return Ok(()) };
                    let old = old.and_then(|old| old.get(name));
                    inner.canonicalize(value, old).map_err(|e| e.below(format!(".{name}")))
                })
            }
            (Self::Entries(inner), Value::Object(map)) => {
                map.iter_mut().try_for_each(|(key, value)| {
                    let old = old.and_then(|old| old.get(key));
                    let done = match **inner {
                        Self::Itself => amount(value, old),
                        _ => inner.canonicalize(value, old),
                    };
                    done.map_err(|e| e.below(format!(".{key}")))
                })
            }
            (Self::Elements(inner), Value::Array(list)) => {
                list.iter_mut().enumerate().try_for_each(|(index, value)| {
                    let old = old.and_then(|old| old.get(index));
                    inner.canonicalize(value, old).map_err(|e| e.below(format!("[{index}]")))
                })
            }
            _ => Ok(()),
        }
    }
}

/// An amount of a resource: never finer than a thousandth, and nothing is zero.
fn amount(value: &mut Value, old: Option<&Value>) -> Result<(), Unreadable> {
    if value.is_null() {
        *value = "0".into();
    }
    canonical(value, old, Quantity::round_up_to_milli)
}

fn canonical(
    value: &mut Value,
    old: Option<&Value>,
    round: impl Fn(Quantity) -> Quantity,
) -> Result<(), Unreadable> {
    let parsed = match value {
        Value::String(text) => Quantity::from_str(text.trim()),
        Value::Number(number) => number.to_string().parse(),
        _ => return Ok(()),
    };
    let quantity = round(parsed.map_err(|error| Unreadable { path: Vec::new(), error })?);
    let equal = |old: &&str| old.parse().is_ok_and(|old| quantity.compare(old).is_eq());
    *value = match old.and_then(Value::as_str).filter(equal) {
        Some(old) => old.into(),
        None => quantity.to_string().into(),
    };
    Ok(())
}

/// The places in a schema. `within` are the definitions being looked at: a type that contains itself adds none.
fn places(schema: &Value, definitions: &Value, within: &mut Vec<String>) -> Option<Quantities> {
    schema.as_object()?;
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.strip_prefix("#/$defs/")) {
        return of_definition(name, definitions, within);
    }
    for combined in ["allOf", "anyOf"] {
        let options = schema[combined].as_array().into_iter().flatten();
        if let Some(found) = options.filter_map(|s| places(s, definitions, within)).next() {
            return Some(found);
        }
    }
    if let Some(found) = places_in(&schema["items"], definitions, within) {
        return Some(Quantities::Elements(found));
    }
    if let Some(found) = places_in(&schema["additionalProperties"], definitions, within) {
        return Some(Quantities::Entries(found));
    }
    let properties = schema["properties"].as_object()?;
    let found: BTreeMap<_, _> = properties
        .iter()
        .filter_map(|(name, schema)| Some((name.clone(), places(schema, definitions, within)?)))
        .collect();
    (!found.is_empty()).then_some(Quantities::Fields(found))
}

fn places_in(
    schema: &Value,
    definitions: &Value,
    within: &mut Vec<String>,
) -> Option<Box<Quantities>> {
    places(schema, definitions, within).map(Box::new)
}

fn of_definition(name: &str, definitions: &Value, within: &mut Vec<String>) -> Option<Quantities> {
    if name == "io.k8s.apimachinery.pkg.api.resource.Quantity" {
        return Some(Quantities::Itself);
    }
    if within.iter().any(|outer| outer == name) {
        return None;
    }
    within.push(name.to_owned());
    let found = places(&definitions[name], definitions, within);
    within.pop();
    found
}
