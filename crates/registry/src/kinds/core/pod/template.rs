//! Pods as other kinds describe them.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::PodTemplateSpec;

use super::{defaults, validation};

/// Defaults of a template.
pub(crate) fn default(template: &mut PodTemplateSpec) {
    if let Some(spec) = &mut template.spec {
        defaults::template(spec);
    }
}

/// The faults of a template: those of its labels and its pods.
pub(crate) fn validate(template: &PodTemplateSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let metadata = template.metadata.as_ref();
    if let Some(labels) = metadata.and_then(|m| m.labels.as_ref()) {
        names::validate_labels(labels, &path.child("metadata").child("labels"), errors);
    }
    if let Some(annotations) = metadata.and_then(|m| m.annotations.as_ref()) {
        names::validate_annotations(
            annotations,
            &path.child("metadata").child("annotations"),
            errors,
        );
    }
    match &template.spec {
        Some(spec) => validation::pod_spec(spec, &path.child("spec"), errors),
        None => errors.required(&path.child("spec").child("containers"), ""),
    }
}
