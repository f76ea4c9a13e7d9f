//! The faults of a definition (Kubernetes: `apiextensions-apiserver/pkg/apis/apiextensions/validation`). What all versions
//! have alike is looked at once, and told of where Kubernetes' internal version has it: `spec.validation`.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::apiextensions::{
    CustomResourceDefinition,
    v1::{
        CustomResourceColumnDefinition, CustomResourceConversion, CustomResourceDefinitionNames,
        CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresources,
        SelectableField,
    },
};
use serde_json::Value;

use super::schema;
use crate::{
    NameRule,
    custom_resource::{self, client_config as as_client_config, is_path, schemas},
    kinds::admissionregistration::client_config,
    rules::{one_of, text},
};

const APPROVAL: &str = "api-approved.kubernetes.io";
const MORE: &str = "see https://github.com/kubernetes/enhancements/pull/1111";
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] =
    ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const LONGEST_WARNING: usize = 256;
const MOST_SELECTABLE: usize = 8;

pub(super) fn validate(definition: &CustomResourceDefinition, errors: &mut FieldErrors) {
    let (spec, path) = (&definition.spec, FieldPath::new("spec"));
    name(definition, errors);
    approval(definition, errors);
    group(&spec.group, &path.child("group"), errors);
    match spec.scope.as_str() {
        "" => errors.required(&path.child("scope"), ""),
        scope => one_of(
            Some(&scope.to_owned()),
            &["Cluster", "Namespaced"],
            &path.child("scope"),
            errors,
        ),
    }
    if spec.preserve_unknown_fields == Some(true) {
        let why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.invalid(&path.child("preserveUnknownFields"), true, why);
    }
    required_names(&spec.names, &path.child("names"), errors);
    resource_names(&spec.names, &path.child("names"), errors);
    versions(spec, &path.child("versions"), errors);
    conversion(spec.conversion.as_ref(), &path.child("conversion"), errors);
    parts(definition, &path, errors);
    if errors.is_empty()
        && let Err(error) = custom_resource::versions(definition, &spec.names)
    {
        errors.invalid(&path.child("versions"), "", &format!("error building validator: {error}"));
    }
}

fn name(definition: &CustomResourceDefinition, errors: &mut FieldErrors) {
    let (spec, name) = (&definition.spec, text(definition.metadata.name.as_ref()));
    if !name.is_empty() && name != format!("{}.{}", spec.names.plural, spec.group) {
        let path = FieldPath::new("metadata").child("name");
        errors.invalid(&path, name, r#"must be spec.names.plural+"."+spec.group"#);
    }
}

/// Groups of the community take its consent.
fn approval(definition: &CustomResourceDefinition, errors: &mut FieldErrors) {
    let group = &definition.spec.group;
    let is_protected = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !["k8s.io", "kubernetes.io"].into_iter().any(is_protected) {
        return;
    }
    let annotations = definition.metadata.annotations.as_ref();
    let given = text(annotations.and_then(|annotations| annotations.get(APPROVAL)));
    let path = FieldPath::new("metadata").child("annotations").key(APPROVAL);
    let needed = format!("protected groups must have approval annotation {APPROVAL:?}");
    let is_url = given.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty()
    });
    if given.is_empty() {
        errors.required(&path, &format!("{needed}, {MORE}"));
    } else if !given.starts_with("unapproved") && !is_url {
        let why =
            format!("{needed} with either a URL or a reason starting with \"unapproved\", {MORE}");
        errors.invalid(&path, given, &why);
    }
}

fn group(group: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if group.is_empty() {
        errors.required(path, "");
    } else if !joined(group, names::dns1123_subdomain, "", path, errors) && !group.contains('.') {
        errors.invalid(path, group, "should be a domain with at least one dot");
    }
}

/// All faults of a text as one; whether there are any.
fn joined(
    value: &str,
    rule: NameRule,
    before: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> bool {
    let faults = rule(value).join(",");
    if !faults.is_empty() {
        errors.invalid(path, value, &format!("{before}{faults}"));
    }
    !faults.is_empty()
}

fn required_names(
    names: &CustomResourceDefinitionNames,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (field, name) in [
        ("plural", names.plural.as_str()),
        ("singular", text(names.singular.as_ref())),
        ("kind", &names.kind),
        ("listKind", text(names.list_kind.as_ref())),
    ] {
        if name.is_empty() {
            errors.required(&path.child(field), "");
        }
    }
}

fn resource_names(
    names: &CustomResourceDefinitionNames,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let lists = [("shortNames", &names.short_names), ("categories", &names.categories)];
    let singular = text(names.singular.as_ref());
    for (field, name) in [("plural", names.plural.as_str()), ("singular", singular)] {
        if !name.is_empty() {
            joined(name, names::dns1035_label, "", &path.child(field), errors);
        }
    }
    let list_kind = text(names.list_kind.as_ref());
    for (field, name) in [("kind", names.kind.as_str()), ("listKind", list_kind)] {
        let rule: NameRule = |name| names::dns1035_label(&name.to_lowercase());
        if !name.is_empty() {
            let before = "may have mixed case, but should otherwise match: ";
            joined(name, rule, before, &path.child(field), errors);
        }
    }
    for (field, list) in lists {
        for (index, name) in list.iter().flatten().enumerate() {
            joined(name, names::dns1035_label, "", &path.child(field).index(index), errors);
        }
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        let why = "kind and listKind may not be the same";
        errors.invalid(&path.child("listKind"), list_kind, why);
    }
}

fn versions(spec: &CustomResourceDefinitionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let names: Vec<&str> = spec.versions.iter().map(|version| version.name.as_str()).collect();
    for (index, version) in spec.versions.iter().enumerate() {
        let path = path.index(index);
        joined(&version.name, names::dns1035_label, "", &path.child("name"), errors);
        if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
            let place = path.child("schema").child("openAPIV3Schema");
            errors.required(&place, "schemas are required");
        }
        deprecation(version, &path.child("deprecationWarning"), errors);
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        errors.invalid(path, &names, "must contain unique version names");
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        errors.invalid(path, &names, "must have exactly one version marked as storage version");
    }
}

fn deprecation(
    version: &CustomResourceDefinitionVersion,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(warning) = &version.deprecation_warning else { return };
    if version.deprecated != Some(true) {
        return errors.invalid(path, warning, "can only be set for deprecated versions");
    }
    if warning.is_empty() {
        errors.invalid(path, warning, "must not be an empty string");
    }
    if warning.len() > LONGEST_WARNING {
        errors.invalid(path, warning, "must be <= 256 characters long");
    }
    if let Some(at) = warning.find(char::is_control) {
        let why = format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        );
        errors.invalid(path, warning, &why);
    }
}

/// Told of where Kubernetes' internal version has it: `webhookClientConfig` beside `conversionReviewVersions`.
fn conversion(
    conversion: Option<&CustomResourceConversion>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(CustomResourceConversion { strategy, webhook }) = conversion else { return };
    match strategy.as_str() {
        "" => errors.required(&path.child("strategy"), ""),
        given => {
            let strategies = ["None", "Webhook"];
            one_of(Some(&given.to_owned()), &strategies, &path.child("strategy"), errors);
        }
    }
    let config = webhook.as_ref().and_then(|webhook| webhook.client_config.as_ref());
    let versions = webhook.iter().flat_map(|webhook| webhook.conversion_review_versions.clone());
    let versions: Vec<String> = versions.collect();
    let (config_path, versions_path) =
        (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        config.iter().for_each(|_| errors.forbidden(&config_path, why));
        versions.first().iter().for_each(|_| errors.forbidden(&versions_path, why));
        return;
    }
    match config {
        None => errors.required(&config_path, "required when strategy is set to Webhook"),
        Some(config) => client_config::validate(&as_client_config(config), &config_path, errors),
    }
    match versions.is_empty() {
        true => errors.required(&versions_path, ""),
        false => client_config::review_versions(&versions, &versions_path, errors),
    }
}

/// What versions may have alike.
fn parts(definition: &CustomResourceDefinition, path: &FieldPath, errors: &mut FieldErrors) {
    let versions = &definition.spec.versions;
    let schemas = schemas(definition);
    for (found, place) in placed(&schemas, path) {
        schema::check(found, &place, errors);
    }
    let each = |index: usize| versions[index].subresources.as_ref();
    for (found, place) in hoisted(versions.len(), each, path, ["subresources"; 2]) {
        subresources(found, &place, errors);
    }
    let each = |index: usize| versions[index].additional_printer_columns.as_ref();
    for (found, place) in hoisted(versions.len(), each, path, ["additionalPrinterColumns"; 2]) {
        let columns = found.iter().enumerate();
        columns.for_each(|(index, found)| column(found, &place.index(index), errors));
    }
    for (index, version) in versions.iter().enumerate() {
        let fields = version.selectable_fields.as_deref().unwrap_or_default();
        let place = match versions.len() {
            1 => path.child("selectableFields"),
            _ => path.child("versions").index(index).child("selectableFields"),
        };
        selectable_fields(fields, schemas[index].as_ref(), &place, errors);
    }
}

/// What is wrong with rules of schemas that were there before: they may have been taken when rules could cost more.
pub(super) fn lasting(
    new: &CustomResourceDefinition,
    old: &CustomResourceDefinition,
) -> FieldErrors {
    let (before, schemas) = (schemas(old), schemas(new));
    let mut errors = FieldErrors::default();
    for (found, place) in placed(&schemas, &FieldPath::new("spec")) {
        if before.iter().flatten().any(|schema| schema == found) {
            errors.extend(schema::rules(found, &place));
        }
    }
    errors
}

fn placed<'a>(schemas: &'a [Option<Value>], path: &FieldPath) -> Vec<(&'a Value, FieldPath)> {
    let each = |index: usize| schemas[index].as_ref();
    let found = hoisted(schemas.len(), each, path, ["validation", "schema"]).into_iter();
    found.map(|(schema, place)| (schema, place.child("openAPIV3Schema"))).collect()
}

/// One for all if they are alike, at the first name; else each at the second, within its version.
fn hoisted<'a, T: PartialEq>(
    count: usize,
    of: impl Fn(usize) -> Option<&'a T>,
    path: &FieldPath,
    [all, each]: [&str; 2],
) -> Vec<(&'a T, FieldPath)> {
    if (1..count).all(|index| of(index) == of(0)) {
        let first = (count > 0).then(|| of(0)).flatten();
        return first.map(|found| (found, path.child(all))).into_iter().collect();
    }
    let place = |index| path.child("versions").index(index).child(each);
    (0..count).filter_map(|index| Some((of(index)?, place(index)))).collect()
}

fn subresources(
    subresources: &CustomResourceSubresources,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(scale) = &subresources.scale else { return };
    let mut replicas = |field: &str, given: &str, within: &str| {
        let path = path.child("scale").child(field);
        if given.is_empty() {
            errors.required(&path, "");
        } else if !simple_path(given, &path, errors) && !given.starts_with(&format!("{within}.")) {
            errors.invalid(&path, given, &format!("should be a json path under {within}"));
        }
    };
    replicas("specReplicasPath", &scale.spec_replicas_path, ".spec");
    replicas("statusReplicasPath", &scale.status_replicas_path, ".status");
    let selector = text(scale.label_selector_path.as_ref());
    let path = path.child("scale").child("labelSelectorPath");
    let is_within = |within| selector.starts_with(within);
    if !selector.is_empty()
        && !simple_path(selector, &path, errors)
        && ![".spec.", ".status."].into_iter().any(is_within)
    {
        errors.invalid(&path, selector, "should be a json path under either .spec or .status");
    }
}

/// Whether it is none.
fn simple_path(given: &str, path: &FieldPath, errors: &mut FieldErrors) -> bool {
    if !given.starts_with('.') {
        errors.invalid(path, given, "must be a simple json path starting with .");
    }
    !given.starts_with('.')
}

fn column(column: &CustomResourceColumnDefinition, path: &FieldPath, errors: &mut FieldErrors) {
    if column.name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    match column.type_.as_str() {
        "" => errors.required(&path.child("type"), &types),
        type_ if !COLUMN_TYPES.contains(&type_) => {
            errors.invalid(&path.child("type"), type_, &types)
        }
        _ => {}
    }
    let format = text(column.format.as_ref());
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let formats = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.invalid(&path.child("format"), format, &formats);
    }
    let place = path.child("JSONPath");
    if column.json_path.is_empty() {
        errors.required(&place, "");
    } else if !simple_path(&column.json_path, &place, errors) && !is_path(&column.json_path) {
        errors.invalid(&place, &column.json_path, "must be a json path");
    }
}

/// Each is a field of the schema's that is a text, a number or a truth.
fn selectable_fields(
    fields: &[SelectableField],
    schema: Option<&Value>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if fields.len() > MOST_SELECTABLE {
        errors.too_many(path, fields.len(), MOST_SELECTABLE);
    }
    let mut seen = BTreeSet::new();
    for (index, field) in fields.iter().enumerate() {
        let (given, path) = (&field.json_path, path.index(index).child("jsonPath"));
        if given.is_empty() {
            errors.required(&path, "");
            continue;
        }
        let of = |schema: &Value, name: &str| schema["properties"].get(name).cloned();
        let found = given.strip_prefix('.').zip(schema).and_then(|(given, schema)| {
            given.split('.').try_fold(schema.clone(), |schema, name| of(&schema, name))
        });
        let type_ = found.as_ref().and_then(|found| found["type"].as_str());
        if given.starts_with(".metadata.") {
            errors.invalid(&path, given, "must not point to fields in metadata");
        } else if found.is_none() {
            errors.invalid(&path, given, "is an invalid path: does not refer to a valid field");
        } else if !matches!(type_, Some("string" | "integer" | "boolean")) {
            let why = "must point to a field of type boolean, integer or string";
            errors.invalid(
                &path,
                given,
                &format!("{why}. Enum string fields and strings with formats are allowed."),
            );
        }
        if !seen.insert(given) {
            errors.duplicate(&path, given);
        }
    }
}
