//! A number of pods alike.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::{
    apps::v1::{ReplicaSet, ReplicaSetSpec},
    core::v1::Container,
};
use serde_json::json;

use super::pods;
use crate::{
    Exists, ResourceDef, Strategy, Subresource, cells, kinds::core::pod::template, resource, rules,
};

pub(crate) fn definition() -> ResourceDef {
    resource::<ReplicaSet, _>(ReplicaSetStrategy)
        .generation(|new, old| new.spec != old.spec)
        .short_names(&["rs"])
        .categories(&["all"])
        .status(|set, from| set.status.clone_from(&from.status))
        .subresource(Subresource::Scale)
        .column("Desired", "integer", 0, |rs, _| json!(wanted(rs)))
        .column("Current", "integer", 0, |rs, _| {
            json!(rs.status.as_ref().map_or(0, |s| s.replicas))
        })
        .column("Ready", "integer", 0, |rs, _| json!(ready(rs)))
        .age()
        .column("Containers", "string", 1, |rs, _| json!(of_containers(rs, |c| Some(&c.name))))
        .column("Images", "string", 1, |rs, _| json!(of_containers(rs, |c| c.image.as_ref())))
        .column("Selector", "string", 1, |rs, _| {
            json!(rs.spec.as_ref().map_or_else(String::new, |s| cells::selector(&s.selector)))
        })
        .build()
}

fn wanted(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(0)
}

fn ready(set: &ReplicaSet) -> i32 {
    set.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0)
}

fn of_containers(set: &ReplicaSet, get: impl Fn(&Container) -> Option<&String>) -> String {
    let template = set.spec.as_ref().and_then(|s| s.template.as_ref());
    template.map(|template| pods::of_containers(template, get)).unwrap_or_default()
}

struct ReplicaSetStrategy;

impl Strategy<ReplicaSet> for ReplicaSetStrategy {
    fn default(&self, set: &mut ReplicaSet) {
        let Some(spec) = &mut set.spec else { return };
        spec.replicas.get_or_insert(1);
        if let Some(pod) = &mut spec.template {
            template::default(pod);
        }
    }

    fn prepare_create(&self, set: &mut ReplicaSet) {
        set.status = Some(api_types::api::apps::v1::ReplicaSetStatus::default());
    }

    fn validate(&self, set: &ReplicaSet, errors: &mut FieldErrors) {
        let none = ReplicaSetSpec::default();
        validate_spec(set.spec.as_ref().unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    /// Of its pods, too, what was taken before it was refused may stay.
    fn lasting(&self, _: &ReplicaSet, old: &ReplicaSet) -> FieldErrors {
        self.faults(old)
    }

    fn validate_update(&self, new: &ReplicaSet, old: &ReplicaSet, errors: &mut FieldErrors) {
        let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return };
        let shown = serde_json::to_value(&new.selector).unwrap_or_default();
        let path = FieldPath::new("spec").child("selector");
        rules::immutable(&new.selector, &old.selector, format_args!("{shown}"), &path, errors);
    }

    fn warnings(&self, new: &ReplicaSet, old: Option<&ReplicaSet>, _: &Exists<'_>) -> Vec<String> {
        pods::warnings(new, old, new.spec.as_ref().and_then(|spec| spec.template.as_ref()))
    }

    fn fields(&self, set: &ReplicaSet) -> Vec<(&'static str, String)> {
        vec![("status.replicas", set.status.as_ref().map_or(0, |s| s.replicas).to_string())]
    }
}

fn validate_spec(spec: &ReplicaSetSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(spec.replicas, &path.child("replicas"), errors);
    rules::not_negative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
    let selector = pods::selector(&spec.selector, &path.child("selector"), errors);
    match &spec.template {
        Some(template) => {
            let path = path.child("template");
            pods::template(selector.as_ref(), template, &path, errors);
            pods::without_deadline(template, "ReplicaSet", &path, errors);
        }
        None => errors.required(&path.child("template"), ""),
    }
}
