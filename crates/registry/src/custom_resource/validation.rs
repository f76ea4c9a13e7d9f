//! The faults of an object by its schema, in Kubernetes' words (`k8s.io/kube-openapi/pkg/validation/errors`).

use api_machinery::{FieldErrors, FieldPath};
use jsonschema::{
    Draft, PatternOptions, ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
    paths::{Location, LocationSegment},
};
use serde_json::{Map, Value, json};

use super::{formats, structural_schema::is_set};

/// How many faults are told of.
const MOST_FAULTS: usize = 100;
/// How much is remembered of faults before the first ones are told, and of each besides its path.
const MOST_FAULTS_SIZE: usize = 32 << 20;
const FAULT_SIZE: usize = 512;

/// How large a compiled pattern may be, in bytes.
const PATTERN_SIZE: usize = 2 << 20;

/// A schema as a validator.
#[derive(Debug)]
pub(super) struct Validation(Validator);

impl Validation {
    /// By a structural schema.
    ///
    /// # Errors
    /// If it is no schema.
    pub(super) fn by(schema: &Value) -> Result<Self, String> {
        // OpenAPI 3.0 says `exclusiveMinimum: true` as this draft does.
        // Patterns are matched in linear time, as Go's are: an engine that knows lookaround could take for ever over a text.
        let patterns = PatternOptions::regex().size_limit(PATTERN_SIZE);
        let options =
            jsonschema::options().with_draft(Draft::Draft4).with_pattern_options(patterns);
        let options = formats::ALL
            .into_iter()
            .fold(options, |options, (name, check)| options.with_format(name, check));
        let validator = options.build(&json_schema(schema, false));
        validator.map(Self).map_err(|error| error.to_string())
    }

    /// Adds the faults of an object: the first ones, and only the very first if all together could fill the memory.
    /// What is as in `old` is none, so that an object may be changed that a stricter schema does not take any more.
    pub(super) fn check(&self, object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
        if most_faults_size(object, 0) > MOST_FAULTS_SIZE {
            self.0.validate(object).err().iter().for_each(|error| tell(error, errors));
            return;
        }
        let is_new = |error: &ValidationError<'_>| {
            let before = old.and_then(|old| old.pointer(error.instance_path().as_str()));
            before != Some(error.instance())
        };
        let faults = self.0.iter_errors(object).filter(is_new);
        faults.take(MOST_FAULTS).for_each(|error| tell(&error, errors));
    }
}

/// About how much there is to remember if each value in this one has a fault, whose path is that long.
fn most_faults_size(value: &Value, path: usize) -> usize {
    let within: usize = match value {
        Value::Array(list) => list.iter().map(|v| most_faults_size(v, path + 8)).sum(),
        Value::Object(map) => {
            map.iter().map(|(key, v)| most_faults_size(v, path + 1 + key.len())).sum()
        }
        _ => 0,
    };
    FAULT_SIZE + path + within
}

/// OpenAPI's dialect as JSON Schema: null where it is a value, and the types of `x-kubernetes-int-or-string`. For null
/// Kubernetes looks at nothing but the type and the enum, so that what else there is has to take it (`takes_null`).
fn json_schema(schema: &Value, takes_null: bool) -> Value {
    let Value::Object(fields) = schema else { return schema.clone() };
    let is_nullable = takes_null || is_set(schema, "nullable");
    let mut adapted: Map<String, Value> = fields
        .iter()
        // Those say nothing, and are none for the draft.
        .filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty()))
        .filter(|(keyword, value)| {
            *keyword != "format" || formats::is_checked(schema.get("type"), value)
        })
        .map(|(keyword, value)| {
            let value = match (keyword.as_str(), value) {
                ("properties", Value::Object(schemas)) => schemas
                    .iter()
                    .map(|(name, schema)| (name.clone(), json_schema(schema, false)))
                    .collect(),
                ("allOf" | "anyOf", Value::Array(schemas)) => {
                    schemas.iter().map(|schema| json_schema(schema, is_nullable)).collect()
                }
                ("oneOf", Value::Array(schemas)) if is_nullable => {
                    let null = json!({"enum": [null]});
                    schemas.iter().map(without_null).chain([null]).collect()
                }
                ("not", schema) if is_nullable => without_null(schema),
                ("oneOf", Value::Array(schemas)) => {
                    schemas.iter().map(|schema| json_schema(schema, false)).collect()
                }
                ("additionalProperties" | "items" | "not", schema) => json_schema(schema, false),
                _ => value.clone(),
            };
            (keyword.clone(), value)
        })
        .collect();
    if is_set(schema, "x-kubernetes-int-or-string") {
        adapted.insert("type".to_owned(), json!(["integer", "string"]));
    }
    if let Some(types) = adapted.get_mut("type").filter(|_| is_nullable) {
        let mut all = types.as_array().cloned().unwrap_or_else(|| vec![types.clone()]);
        all.push("null".into());
        *types = all.into();
    }
    if let Some(Value::Array(values)) = adapted.get_mut("enum").filter(|_| takes_null) {
        values.push(Value::Null);
    }
    Value::Object(adapted)
}

fn without_null(schema: &Value) -> Value {
    json!({"allOf": [json_schema(schema, false)], "not": {"enum": [null]}})
}

fn tell(error: &ValidationError<'_>, errors: &mut FieldErrors) {
    use ValidationErrorKind as Kind;
    let (path, value) = (path(error.instance_path()), &**error.instance());
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    match error.kind() {
        Kind::Required { property } => {
            errors.required(&path.child(property.as_str().unwrap_or_default()), "");
        }
        Kind::Enum { options } => {
            let allowed: Vec<String> = options.as_array().into_iter().flatten().map(text).collect();
            let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
            errors.not_supported(&path, text(value), &allowed);
        }
        Kind::MaxLength { limit } => errors.too_long(&path, size(*limit)),
        Kind::MaxItems { limit } => {
            errors.too_many(&path, value.as_array().map_or(0, Vec::len), size(*limit));
        }
        Kind::MaxProperties { limit } => {
            errors.too_many(&path, value.as_object().map_or(0, Map::len), size(*limit));
        }
        Kind::UniqueItems => errors.duplicate(&path, format_args!("{value}")),
        Kind::Type { .. } => {
            errors.type_invalid(&path, type_of(value), &format!("{path} in body {}", why(error)));
        }
        Kind::Format { .. } => {
            let why = format!("{path} in body {}", why(error));
            errors.type_invalid(&path, format_args!("{value}"), &why);
        }
        Kind::AnyOf { .. }
        | Kind::OneOfNotValid { .. }
        | Kind::OneOfMultipleValid { .. }
        | Kind::Not { .. } => {
            errors.invalid(
                &path,
                format_args!("{value}"),
                &format!("{:?} {}", path.to_string(), why(error)),
            );
        }
        _ => errors.invalid(
            &path,
            format_args!("{value}"),
            &format!("{path} in body {}", why(error)),
        ),
    }
}

/// What is wrong with a value.
fn why(error: &ValidationError<'_>) -> String {
    use ValidationErrorKind as Kind;
    match error.kind() {
        Kind::Type { kind } => {
            format!("must be of type {}: {:?}", types(kind), type_of(error.instance()))
        }
        Kind::Format { format } => format!("must be of type {format}: {}", error.instance()),
        Kind::Pattern { pattern } => format!("should match '{pattern}'"),
        Kind::MinLength { limit } => format!("should be at least {limit} chars long"),
        Kind::MinItems { limit } => format!("should have at least {limit} items"),
        Kind::MinProperties { limit } => format!("should have at least {limit} properties"),
        Kind::Maximum { limit } => format!("should be less than or equal to {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("should be less than {limit}"),
        Kind::Minimum { limit } => format!("should be greater than or equal to {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("should be greater than {limit}"),
        Kind::MultipleOf { multiple_of } => format!("should be a multiple of {multiple_of}"),
        Kind::AnyOf { .. } => "must validate at least one schema (anyOf)".to_owned(),
        Kind::OneOfNotValid { .. } | Kind::OneOfMultipleValid { .. } => {
            "must validate one and only one schema (oneOf)".to_owned()
        }
        Kind::Not { .. } => "must not validate the schema (not)".to_owned(),
        _ => error.to_string(),
    }
}

fn path(location: &Location) -> FieldPath {
    location.iter().fold(FieldPath::default(), |path, segment| match segment {
        LocationSegment::Property(name) => path.child(&name),
        LocationSegment::Index(index) => path.index(index),
    })
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => {
            let all = several.iter().map(|one| one.to_string()).filter(|name| name != "null");
            all.collect::<Vec<_>>().join(",")
        }
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A text without its quotes.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
