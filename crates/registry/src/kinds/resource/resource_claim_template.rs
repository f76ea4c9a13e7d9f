//! Claims of devices that are made for pods.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::resource::v1::ResourceClaimTemplate;

use super::claim;
use crate::{ResourceDef, Strategy, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<ResourceClaimTemplate, _>(TemplateStrategy).shown_when_deleted().build()
}

struct TemplateStrategy;

impl Strategy<ResourceClaimTemplate> for TemplateStrategy {
    fn default(&self, template: &mut ResourceClaimTemplate) {
        claim::default(&mut template.spec.spec);
    }

    fn validate_create(&self, template: &ResourceClaimTemplate, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec");
        if let Some(metadata) = &template.spec.metadata {
            let path = path.child("metadata");
            if let Some(labels) = &metadata.labels {
                names::validate_labels(labels, &path.child("labels"), errors);
            }
            if let Some(annotations) = &metadata.annotations {
                names::validate_annotations(annotations, &path.child("annotations"), errors);
            }
        }
        claim::validate(&template.spec.spec, &path.child("spec"), errors);
    }

    fn validate_update(
        &self,
        new: &ResourceClaimTemplate,
        old: &ResourceClaimTemplate,
        errors: &mut FieldErrors,
    ) {
        rules::immutable(&new.spec, &old.spec, "", &FieldPath::new("spec"), errors);
    }
}
