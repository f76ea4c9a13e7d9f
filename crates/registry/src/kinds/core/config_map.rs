//! Configuration data.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::ConfigMap;
use serde_json::json;

use crate::{ResourceDef, Strategy, resource, rules};

/// What a ConfigMap or a Secret can hold.
pub(super) const MAX_SIZE: usize = 1024 * 1024;

pub(crate) fn definition() -> ResourceDef {
    resource::<ConfigMap, _>(ConfigMapStrategy)
        .short_names(&["cm"])
        .column("Data", "string", 0, |map, _| {
            let binary = map.binary_data.as_ref().map_or(0, |d| d.len());
            json!(map.data.as_ref().map_or(0, |d| d.len()) + binary)
        })
        .build()
}

struct ConfigMapStrategy;

impl Strategy<ConfigMap> for ConfigMapStrategy {
    fn validate(&self, map: &ConfigMap, errors: &mut FieldErrors) {
        let (data, binary) = (FieldPath::new("data"), FieldPath::new("binaryData"));
        for key in map.data.iter().flat_map(|d| d.keys()) {
            rules::follows(key, names::config_map_key, &data.key(key), errors);
            if map.binary_data.as_ref().is_some_and(|b| b.contains_key(key)) {
                errors.invalid(&data.key(key), key, "duplicate of key present in binaryData");
            }
        }
        for key in map.binary_data.iter().flat_map(|d| d.keys()) {
            rules::follows(key, names::config_map_key, &binary.key(key), errors);
        }
        let text: usize = map.data.iter().flatten().map(|(_, v)| v.len()).sum();
        let bytes: usize = map.binary_data.iter().flatten().map(|(_, v)| v.0.len()).sum();
        if text + bytes > MAX_SIZE {
            errors.too_long(&FieldPath::default(), MAX_SIZE);
        }
    }

    fn validate_update(&self, new: &ConfigMap, old: &ConfigMap, errors: &mut FieldErrors) {
        let changed =
            [("data", new.data != old.data), ("binaryData", new.binary_data != old.binary_data)];
        stays_immutable(old.immutable, new.immutable, &changed, errors);
    }
}

/// What was made immutable stays so, with all its data.
pub(super) fn stays_immutable(
    old: Option<bool>,
    new: Option<bool>,
    changed: &[(&str, bool)],
    errors: &mut FieldErrors,
) {
    if old != Some(true) {
        return;
    }
    let why = "field is immutable when `immutable` is set";
    if new != Some(true) {
        errors.forbidden(&FieldPath::new("immutable"), why);
    }
    for (field, _) in changed.iter().filter(|(_, changed)| *changed) {
        errors.forbidden(&FieldPath::new(field), why);
    }
}
