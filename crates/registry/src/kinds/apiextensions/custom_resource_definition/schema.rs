//! Whether a schema is a structural one: what there is to each field is said outside of logic, which only restricts it
//! (Kubernetes: `apiextensions-apiserver/pkg/apiserver/schema`, `…/apis/apiextensions/validation`).

use api_machinery::{FieldErrors, FieldPath};
use serde_json::{Map, Value, json};

use crate::custom_resource::{Rules, ValueFaults, check_rules, is_set};

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Of JSON Schema, and not of this dialect.
const NOT_SUPPORTED: [&str; 6] =
    ["$ref", "additionalItems", "definitions", "dependencies", "id", "patternProperties"];
/// What says what a value is, and has no place in logic.
const ELSEWHERE: [(&str, &str); 12] = [
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("description", "must be empty to be structural"),
    ("externalDocs", "must be undefined to be structural"),
    ("nullable", "must be false to be structural"),
    ("title", "must be empty to be structural"),
    ("type", "must be empty to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
];
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
const RULES: &str = "x-kubernetes-validations";

/// Where a schema is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// All faults of a schema; those of its defaults if there are no others.
pub(super) fn check(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let mut faults = FieldErrors::default();
    dialect(schema, path, &mut faults);
    structure(schema, Level::Root, path, &mut faults);
    if faults.is_empty() {
        let mut values = ValueFaults::default();
        defaults(schema, path, &mut values, &mut faults);
        faults.extend(Rules::faults(schema, path));
    }
    if faults.is_empty()
        && let Ok(Some(rules)) = Rules::of(schema, path)
    {
        rules.check_defaults(schema, path, &mut faults);
    }
    errors.extend(faults);
}

/// The faults of a schema's rules alone.
pub(super) fn rules(schema: &Value, path: &FieldPath) -> FieldErrors {
    Rules::faults(schema, path)
}

/// The schemas of fields, with their paths.
fn fields<'a>(
    schema: &'a Value,
    path: &FieldPath,
) -> impl Iterator<Item = (&'a str, &'a Value, FieldPath)> {
    let path = path.child("properties");
    let fields = schema["properties"].as_object().into_iter().flatten();
    fields.map(move |(name, field)| (name.as_str(), field, path.key(name)))
}

/// The schemas of a list of alternatives, or the like.
fn several<'a>(
    schema: &'a Value,
    keyword: &str,
    path: &FieldPath,
) -> impl Iterator<Item = (&'a Value, FieldPath)> {
    let path = path.child(keyword);
    let all = schema[keyword].as_array().into_iter().flatten().enumerate();
    all.map(move |(index, schema)| (schema, path.index(index)))
}

fn one<'a>(schema: &'a Value, keyword: &str, path: &FieldPath) -> Option<(&'a Value, FieldPath)> {
    let found = schema.get(keyword).filter(|found| found.is_object());
    found.map(|found| (found, path.child(keyword)))
}

fn text<'a>(schema: &'a Value, keyword: &str) -> &'a str {
    schema[keyword].as_str().unwrap_or_default()
}

/// Whether the schemas can be what they are here, each by itself.
fn dialect(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    keywords(schema, path, errors);
    lists(schema, path, errors);
    maps(schema, path, errors);
    check_rules(schema, path, errors);
    let ones = ["additionalProperties", "items", "not"];
    let within = ones.into_iter().filter_map(|keyword| one(schema, keyword, path));
    let logic = ["allOf", "anyOf", "oneOf"];
    let logic = logic.into_iter().flat_map(|keyword| several(schema, keyword, path));
    let within = within.chain(logic).chain(fields(schema, path).map(|(_, s, path)| (s, path)));
    within.for_each(|(schema, path)| dialect(schema, &path, errors));
}

fn keywords(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    for keyword in NOT_SUPPORTED.into_iter().filter(|keyword| schema.get(keyword).is_some()) {
        errors.forbidden(&path.child(keyword), &format!("{keyword} is not supported"));
    }
    match text(schema, "type") {
        "null" => {
            let why = "type cannot be set to null, use nullable as an alternative";
            errors.forbidden(&path.child("type"), why);
        }
        "" => {}
        type_ if !TYPES.contains(&type_) => {
            errors.not_supported(&path.child("type"), type_, &TYPES);
        }
        _ => {}
    }
    if schema["items"].is_array() {
        let why = "items must be a schema object and not an array";
        errors.forbidden(&path.child("items"), why);
    }
    if is_set(schema, "uniqueItems") {
        let why =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.forbidden(&path.child("uniqueItems"), why);
    }
    if schema[PRESERVE] == false {
        errors.invalid(&path.child(PRESERVE), false, "must be true or undefined");
    }
}

fn maps(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let has_fields = schema["properties"].as_object().is_some_and(|fields| !fields.is_empty());
    let rest = &schema["additionalProperties"];
    if has_fields && (rest.is_object() || *rest == false) {
        let why = "additionalProperties and properties are mutual exclusive";
        errors.forbidden(&path.child("additionalProperties"), why);
    }
    if schema.get("x-kubernetes-map-type").is_none() {
        return;
    }
    of_type(schema, "object", "must be object if x-kubernetes-map-type is specified", path, errors);
    let given = text(schema, "x-kubernetes-map-type");
    if !["atomic", "granular"].contains(&given) {
        let path = path.child("x-kubernetes-map-type");
        errors.not_supported(&path, given, &["atomic", "granular"]);
    }
}

fn of_type(schema: &Value, type_: &str, why: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match text(schema, "type") {
        given if given == type_ => {}
        "" => errors.required(&path.child("type"), why),
        given => errors.invalid(&path.child("type"), given, why),
    }
}

fn lists(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let keys = schema["x-kubernetes-list-map-keys"].as_array();
    let keys: Vec<&str> = keys.into_iter().flatten().filter_map(Value::as_str).collect();
    let place = path.child("x-kubernetes-list-type");
    let needs_map = "must be map if x-kubernetes-list-map-keys is non-empty";
    let Some(list_type) = schema.get("x-kubernetes-list-type").and_then(Value::as_str) else {
        if !keys.is_empty() {
            errors.required(&place, needs_map);
        }
        return;
    };
    of_type(schema, "array", "must be array if x-kubernetes-list-type is specified", path, errors);
    if !["atomic", "set", "map"].contains(&list_type) {
        errors.not_supported(&place, list_type, &["atomic", "set", "map"]);
    }
    if !keys.is_empty() && list_type != "map" {
        errors.invalid(&place, list_type, needs_map);
    }
    let (items, place) = (&schema["items"], path.child("items"));
    if list_type != "atomic" && is_set(items, "nullable") {
        let why = format!("cannot be nullable when x-kubernetes-list-type is {list_type}");
        errors.forbidden(&place.child("nullable"), &why);
    }
    match list_type {
        "set" => set(items, &place, errors),
        "map" => map_list(&keys, items, path, errors),
        _ => {}
    }
}

/// An element is owned as a whole.
fn set(items: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let (keyword, is_atomic) = match text(items, "type") {
        "array" => {
            let keyword = "x-kubernetes-list-type";
            (keyword, items.get(keyword).is_none_or(|given| given == "atomic"))
        }
        "object" => {
            let keyword = "x-kubernetes-map-type";
            (keyword, items[keyword] == "atomic")
        }
        _ => return,
    };
    if !is_atomic {
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        errors.invalid(&path.child(keyword), text(items, keyword), why);
    }
}

fn map_list(keys: &[&str], items: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    let place = path.child("x-kubernetes-list-map-keys");
    if keys.is_empty() {
        errors.required(&place, "must not be empty if x-kubernetes-list-type is map");
    }
    let path = path.child("items");
    if items.is_null() {
        return errors.required(&path, "must have a schema if x-kubernetes-list-type is map");
    }
    if items["type"] != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        return errors.invalid(&path.child("type"), text(items, "type"), why);
    }
    for (index, key) in keys.iter().enumerate() {
        if keys[..index].contains(key) {
            errors.invalid(&place, keys, "must not contain duplicate entries");
        }
        match items["properties"].get(key) {
            None => errors.invalid(&place, keys, "entries must all be names of item properties"),
            Some(field) => {
                key_field(key, field, items, &path.child("properties").key(key), errors);
            }
        }
    }
}

fn key_field(key: &str, field: &Value, items: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    if matches!(text(field, "type"), "array" | "object") {
        let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
        errors.invalid(&path.child("type"), text(field, "type"), why);
    }
    let required = items["required"].as_array().into_iter().flatten();
    if !required.into_iter().any(|name| name == key) && field.get("default").is_none() {
        let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
        errors.required(&path.child("default"), why);
    }
    if is_set(field, "nullable") {
        let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
        errors.forbidden(&path.child("nullable"), why);
    }
}

/// Whether what there is is said where it has to be.
fn structure(schema: &Value, level: Level, path: &FieldPath, errors: &mut FieldErrors) {
    if schema["type"] == "array" && !schema["items"].is_object() {
        errors.required(&path.child("items"), "must be specified");
    }
    types(schema, level, path, errors);
    extensions(schema, path, errors);
    every_object(schema, level, path, errors);
    logic(schema, schema, path, path, errors);
    if schema.get("additionalProperties").is_some() && level == Level::Root {
        errors.forbidden(&path.child("additionalProperties"), "must not be used at the root");
    }
    if let Some((items, path)) = one(schema, "items", path) {
        structure(items, Level::Item, &path, errors);
    }
    let rest = one(schema, "additionalProperties", path);
    let fields = fields(schema, path).map(|(_, field, path)| (field, path));
    fields.chain(rest).for_each(|(field, path)| structure(field, Level::Field, &path, errors));
}

fn types(schema: &Value, level: Level, path: &FieldPath, errors: &mut FieldErrors) {
    let (type_, path) = (text(schema, "type"), &path.child("type"));
    if is_set(schema, EMBEDDED) && type_ != "object" {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        match type_ {
            "" => errors.required(path, why),
            type_ => errors.invalid(path, type_, why),
        }
    } else if type_.is_empty() && !is_set(schema, INT_OR_STRING) && !is_set(schema, PRESERVE) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(path, why);
    } else if level == Level::Root && type_ != "object" && !type_.is_empty() {
        errors.invalid(path, type_, "must be object at the root");
    }
}

fn extensions(schema: &Value, path: &FieldPath, errors: &mut FieldErrors) {
    if is_set(schema, INT_OR_STRING) {
        for keyword in [PRESERVE, EMBEDDED].into_iter().filter(|keyword| is_set(schema, keyword)) {
            let why = "must be false if x-kubernetes-int-or-string is true";
            errors.invalid(&path.child(keyword), true, why);
        }
    }
    if !is_set(schema, EMBEDDED) {
        return;
    }
    if schema.get("additionalProperties").is_some() {
        let why = "must not be used if x-kubernetes-embedded-resource is set";
        errors.forbidden(&path.child("additionalProperties"), why);
    }
    if !is_set(schema, PRESERVE) && schema["properties"].as_object().is_none_or(Map::is_empty) {
        let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.required(&path.child("properties"), why);
    }
}

/// What a schema says of what all objects of the API have.
fn every_object(schema: &Value, level: Level, path: &FieldPath, errors: &mut FieldErrors) {
    if level != Level::Root && !is_set(schema, EMBEDDED) {
        return;
    }
    let path = path.child("properties");
    for (name, type_) in [("apiVersion", "string"), ("kind", "string"), ("metadata", "object")] {
        let given = schema["properties"].get(name).map(|field| text(field, "type"));
        if let Some(given) = given.filter(|given| *given != type_) {
            let why = format!("must be {type_}");
            errors.invalid(&path.key(name).child("type"), given, &why);
        }
    }
    if let Some(metadata) = schema["properties"].get("metadata").filter(|_| level == Level::Root)
        && !is_bare_metadata(metadata)
    {
        let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.forbidden(&path.key("metadata"), why);
    }
}

fn is_bare_metadata(metadata: &Value) -> bool {
    let keywords = metadata.as_object().into_iter().flatten();
    let is_name = |name: &String| ["name", "generateName"].contains(&name.as_str());
    keywords.into_iter().all(|(keyword, value)| match (keyword.as_str(), value) {
        ("type", _) => true,
        ("properties", Value::Object(fields)) => fields.keys().all(is_name),
        _ => false,
    })
}

/// What of `nested`, which is the logic of a schema or within it, is not of a structure that is said outside of it.
fn logic(
    schema: &Value,
    nested: &Value,
    path: &FieldPath,
    nested_path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let is_outside = std::ptr::eq(schema, nested);
    let pattern = json!([{"type": "integer"}, {"type": "string"}]);
    let is_pattern = |found: &Value| found["anyOf"] == pattern;
    for keyword in ["allOf", "anyOf", "oneOf"] {
        if keyword == "anyOf" && is_outside && is_pattern(nested) {
            continue;
        }
        for (index, (part, place)) in several(nested, keyword, nested_path).enumerate() {
            if is_outside && keyword == "allOf" && index == 0 && is_pattern(part) {
                continue;
            }
            restriction(schema, part, path, &place, errors);
        }
    }
    if let Some((part, place)) = one(nested, "not", nested_path) {
        restriction(schema, part, path, &place, errors);
    }
}

/// Something that only restricts what a schema says.
fn restriction(
    schema: &Value,
    part: &Value,
    path: &FieldPath,
    place: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (keyword, why) in ELSEWHERE {
        if part.get(keyword).is_some_and(|given| *given != false && *given != "") {
            errors.forbidden(&place.child(keyword), why);
        }
    }
    if is_set(part, PRESERVE) {
        errors.forbidden(&place.child(PRESERVE), "must be false to be structural");
    }
    if part.get(RULES).is_some() {
        errors.forbidden(&place.child(RULES), "must be empty to be structural");
    }
    logic(schema, part, path, place, errors);
    let missing = |path: &FieldPath, place: &FieldPath, errors: &mut FieldErrors| {
        errors.required(path, &format!("because it is defined in {place}"));
    };
    for (name, field, place) in fields(part, place) {
        let path = path.child("properties").key(name);
        if name == "metadata" {
            errors.forbidden(&place, "must not be specified in a nested context");
        }
        match schema["properties"].get(name) {
            Some(schema) => restriction(schema, field, &path, &place, errors),
            None => missing(&path, &place, errors),
        }
    }
    if let Some((items, place)) = one(part, "items", place) {
        match one(schema, "items", path) {
            Some((schema, path)) => restriction(schema, items, &path, &place, errors),
            None => missing(&path.child("items"), &place, errors),
        }
    }
}

/// Whether each default is what its schema takes.
fn defaults(schema: &Value, path: &FieldPath, values: &mut ValueFaults, errors: &mut FieldErrors) {
    if let Some(default) = schema.get("default") {
        values.check(schema, default, &path.child("default"), errors);
    }
    let within = ["additionalProperties", "items"];
    let within = within.into_iter().filter_map(|keyword| one(schema, keyword, path));
    let within = within.chain(fields(schema, path).map(|(_, field, path)| (field, path)));
    within.for_each(|(schema, path)| defaults(schema, &path, values, errors));
}
