//! Who makes volumes for the claims that name it, and how.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::{core::v1::TopologySelectorTerm, storage::v1::StorageClass};
use serde_json::json;

use super::parameters;
use crate::{
    Exists, ResourceDef, Strategy,
    kinds::node_labels,
    resource,
    rules::{self, text},
    warnings::tell,
};

const DELETE: &str = "Delete";
const IMMEDIATE: &str = "Immediate";
/// On the class of claims that name none; the other is what it was called before.
const DEFAULT_ANNOTATIONS: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];

pub(crate) fn definition() -> ResourceDef {
    resource::<StorageClass, _>(StorageClassStrategy)
        .short_names(&["sc"])
        .shown_when_deleted()
        .only_own_columns()
        .column("Name", "string", 0, |class, _| json!(name(class)))
        .format("name")
        .column("Provisioner", "string", 0, |class, _| json!(class.provisioner))
        .column("ReclaimPolicy", "string", 0, |class, _| {
            json!(class.reclaim_policy.as_deref().unwrap_or(DELETE))
        })
        .column("VolumeBindingMode", "string", 0, |class, _| {
            json!(class.volume_binding_mode.as_deref().unwrap_or(IMMEDIATE))
        })
        .column("AllowVolumeExpansion", "string", 0, |class, _| {
            json!(class.allow_volume_expansion.unwrap_or(false))
        })
        .age()
        .build()
}

fn name(class: &StorageClass) -> String {
    let name = text(class.metadata.name.as_ref());
    let annotation = |key: &&str| class.metadata.annotations.as_ref()?.get(*key);
    let is_default = DEFAULT_ANNOTATIONS.iter().filter_map(annotation).any(|it| it == "true");
    if is_default { format!("{name} (default)") } else { name.to_owned() }
}

struct StorageClassStrategy;

impl Strategy<StorageClass> for StorageClassStrategy {
    fn default(&self, class: &mut StorageClass) {
        class.reclaim_policy.get_or_insert_with(|| DELETE.to_owned());
        class.volume_binding_mode.get_or_insert_with(|| IMMEDIATE.to_owned());
    }

    fn validate(&self, class: &StorageClass, errors: &mut FieldErrors) {
        let path = FieldPath::new;
        parameters::provisioner(&class.provisioner, &path("provisioner"), errors);
        parameters::validate(class.parameters.as_ref(), &path("parameters"), errors);
        let policies = [DELETE, "Retain"];
        let policy = class.reclaim_policy.as_ref();
        rules::one_of(policy, &policies, &path("reclaimPolicy"), errors);
        let modes = [IMMEDIATE, "WaitForFirstConsumer"];
        let mode = text(class.volume_binding_mode.as_ref());
        if !modes.contains(&mode) {
            errors.not_supported(&path("volumeBindingMode"), mode, &modes);
        }
        for (index, term) in class.allowed_topologies.iter().flatten().enumerate() {
            validate_term(term, &path("allowedTopologies").index(index), errors);
        }
    }

    fn validate_update(&self, new: &StorageClass, old: &StorageClass, errors: &mut FieldErrors) {
        let path = FieldPath::new;
        let shown = serde_json::to_value(&new.parameters).unwrap_or_default();
        let (now, before) = (&new.parameters, &old.parameters);
        rules::immutable(now, before, format_args!("{shown}"), &path("parameters"), errors);
        let (now, before) = (&new.provisioner, &old.provisioner);
        rules::immutable(now, before, now, &path("provisioner"), errors);
        for (field, now, before) in [
            ("reclaimPolicy", &new.reclaim_policy, &old.reclaim_policy),
            ("volumeBindingMode", &new.volume_binding_mode, &old.volume_binding_mode),
        ] {
            rules::immutable(now, before, text(now.as_ref()), &path(field), errors);
        }
    }

    fn warnings(
        &self,
        class: &StorageClass,
        _: Option<&StorageClass>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, term) in class.allowed_topologies.iter().flatten().enumerate() {
            let path = FieldPath::new("allowedTopologies").index(index);
            let path = path.child("matchLabelExpressions");
            for (index, wanted) in term.match_label_expressions.iter().flatten().enumerate() {
                if let Some(why) = node_labels::deprecation(&wanted.key) {
                    tell(&path.index(index).child("key"), why, &mut warnings);
                }
            }
        }
        warnings
    }
}

fn validate_term(term: &TopologySelectorTerm, path: &FieldPath, errors: &mut FieldErrors) {
    let mut keys = BTreeSet::new();
    for (index, wanted) in term.match_label_expressions.iter().flatten().enumerate() {
        let path = path.child("matchLabelExpressions").index(index);
        if wanted.values.is_empty() {
            errors.required(&path.child("values"), "");
        }
        let mut values = BTreeSet::new();
        for (index, value) in wanted.values.iter().enumerate() {
            rules::unique(&mut values, value, &path.child("values").index(index), errors);
        }
        rules::follows(&wanted.key, names::qualified_name, &path.child("key"), errors);
        rules::unique(&mut keys, &wanted.key, &path.child("key"), errors);
    }
}
