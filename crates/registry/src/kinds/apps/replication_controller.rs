//! What came before ReplicaSets: of the core group, and with labels as its selector.

use api_machinery::{FieldErrors, FieldPath};
use api_types::{
    api::core::v1::{
        Container, ReplicationController, ReplicationControllerSpec, ReplicationControllerStatus,
    },
    meta::LabelSelector,
};
use serde_json::json;

use super::pods;
use crate::{
    Exists, ResourceDef, SelectorPath, Strategy, Subresource, cells, kinds::core::pod::template,
    resource, rules,
};

pub(crate) fn definition() -> ResourceDef {
    let mut def = resource::<ReplicationController, _>(ReplicationControllerStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["rc"])
        .categories(&["all"])
        .status(|rc, from| rc.status.clone_from(&from.status))
        .subresource(Subresource::Scale)
        .column("Desired", "integer", 0, |rc, _| {
            json!(rc.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0))
        })
        .column("Current", "integer", 0, |rc, _| json!(count(rc, |s| Some(s.replicas))))
        .column("Ready", "integer", 0, |rc, _| json!(count(rc, |s| s.ready_replicas)))
        .age()
        .column("Containers", "string", 1, |rc, _| json!(of_containers(rc, |c| Some(&c.name))))
        .column("Images", "string", 1, |rc, _| json!(of_containers(rc, |c| c.image.as_ref())))
        .column("Selector", "string", 1, |rc, _| {
            json!(cells::labels(rc.spec.as_ref().and_then(|s| s.selector.as_ref())))
        })
        .build();
    def.scale.selector = SelectorPath::Labels(vec!["spec".to_owned(), "selector".to_owned()]);
    def
}

fn count(
    rc: &ReplicationController,
    of: impl Fn(&ReplicationControllerStatus) -> Option<i32>,
) -> i32 {
    rc.status.as_ref().and_then(of).unwrap_or(0)
}

fn of_containers(
    rc: &ReplicationController,
    get: impl Fn(&Container) -> Option<&String>,
) -> String {
    let template = rc.spec.as_ref().and_then(|s| s.template.as_ref());
    template.map(|template| pods::of_containers(template, get)).unwrap_or_default()
}

struct ReplicationControllerStrategy;

impl Strategy<ReplicationController> for ReplicationControllerStrategy {
    /// As it was before there was a choice.
    fn orphans(&self) -> bool {
        true
    }

    /// The template's labels stand for a selector that is missing, and for missing labels.
    fn default(&self, rc: &mut ReplicationController) {
        let Some(spec) = &mut rc.spec else { return };
        spec.replicas.get_or_insert(1);
        let Some(pod) = &mut spec.template else { return };
        template::default(pod);
        let labels = pod.metadata.as_ref().and_then(|metadata| metadata.labels.clone());
        let Some(labels) = labels.filter(|labels| !labels.is_empty()) else { return };
        if spec.selector.as_ref().is_none_or(|selector| selector.is_empty()) {
            spec.selector = Some(labels.clone());
        }
        if rc.metadata.labels.as_ref().is_none_or(|own| own.is_empty()) {
            rc.metadata.labels = Some(labels);
        }
    }

    fn prepare_create(&self, rc: &mut ReplicationController) {
        rc.status = Some(ReplicationControllerStatus::default());
    }

    fn validate(&self, rc: &ReplicationController, errors: &mut FieldErrors) {
        let none = ReplicationControllerSpec::default();
        validate_spec(rc.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &ReplicationController, old: &ReplicationController) -> FieldErrors {
        self.faults(old)
    }

    fn warnings(
        &self,
        new: &ReplicationController,
        old: Option<&ReplicationController>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        pods::warnings(new, old, new.spec.as_ref().and_then(|spec| spec.template.as_ref()))
    }

    fn fields(&self, rc: &ReplicationController) -> Vec<(&'static str, String)> {
        vec![("status.replicas", count(rc, |s| Some(s.replicas)).to_string())]
    }
}

fn validate_spec(spec: &ReplicationControllerSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(spec.replicas, &path.child("replicas"), errors);
    rules::not_negative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
    let selector = LabelSelector { match_labels: spec.selector.clone(), match_expressions: None };
    let selector = pods::selector(&selector, &path.child("selector"), errors);
    match &spec.template {
        Some(template) => {
            let path = path.child("template");
            pods::template(selector.as_ref(), template, &path, errors);
            pods::without_deadline(template, "ReplicationController", &path, errors);
        }
        None => errors.required(&path.child("template"), ""),
    }
}
