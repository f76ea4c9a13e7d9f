//! Pods as other kinds describe them.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::PodTemplateSpec;

use super::{annotations, defaults, validation};

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
        names::validate_labels(labels, &path.child("labels"), errors);
    }
    let (given, at) = (metadata.and_then(|m| m.annotations.as_ref()), path.child("annotations"));
    given.iter().for_each(|given| names::validate_annotations(given, &at, errors));
    annotations::validate(given, &at, errors);
    let path = path.child("spec");
    let Some(spec) = &template.spec else {
        return errors.required(&path.child("containers"), "");
    };
    validation::pod_spec(spec, None, &path, errors);
    if spec.ephemeral_containers.as_ref().is_some_and(|added| !added.is_empty()) {
        let why = "ephemeral containers not allowed in pod template";
        errors.forbidden(&path.child("ephemeralContainers"), why);
    }
}
