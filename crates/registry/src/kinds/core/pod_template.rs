//! A template of pods that nobody makes pods of by itself.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Container, PodTemplate};
use serde_json::json;

use super::pod::{template, warnings};
use crate::{Exists, ResourceDef, Strategy, cells, resource, rules::text};

pub(crate) fn definition() -> ResourceDef {
    resource::<PodTemplate, _>(PodTemplateStrategy)
        .generation(|new, old| new.template != old.template)
        .shown_when_deleted()
        .column("Containers", "string", 0, |t, _| json!(of_containers(t, |c| Some(&c.name))))
        .column("Images", "string", 0, |t, _| json!(of_containers(t, |c| c.image.as_ref())))
        .column("Pod Labels", "string", 0, |t, _| {
            let metadata = t.template.as_ref().and_then(|t| t.metadata.as_ref());
            json!(cells::labels(metadata.and_then(|m| m.labels.as_ref())))
        })
        .build()
}

fn of_containers(template: &PodTemplate, get: impl Fn(&Container) -> Option<&String>) -> String {
    let spec = template.template.as_ref().and_then(|template| template.spec.as_ref());
    let containers = spec.into_iter().flat_map(|spec| &spec.containers);
    containers.map(|container| text(get(container))).collect::<Vec<_>>().join(",")
}

struct PodTemplateStrategy;

impl Strategy<PodTemplate> for PodTemplateStrategy {
    fn default(&self, object: &mut PodTemplate) {
        if let Some(pod) = &mut object.template {
            template::default(pod);
        }
    }

    fn validate(&self, object: &PodTemplate, errors: &mut FieldErrors) {
        let path = FieldPath::new("template");
        match &object.template {
            Some(pod) => template::validate(pod, &path, errors),
            None => errors.required(&path.child("spec").child("containers"), ""),
        }
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &PodTemplate, old: &PodTemplate) -> FieldErrors {
        self.faults(old)
    }

    fn warnings(
        &self,
        new: &PodTemplate,
        old: Option<&PodTemplate>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let (mut warnings, before) = (Vec::new(), old.and_then(|old| old.template.as_ref()));
        if let Some(template) = new.template.as_ref().filter(|now| Some(*now) != before) {
            warnings::template(template, &FieldPath::new("template"), &mut warnings);
        }
        warnings
    }
}
