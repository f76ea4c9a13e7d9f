//! The selector of a Job and the labels of its pods, which the server makes so that no other Job has the same
//! (Kubernetes: `generateSelector`).

use api_machinery::{FieldErrors, FieldPath, LabelSelector};
use api_types::api::batch::v1::{Job, JobSpec};

use crate::rules::text;

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
/// The same labels before they got a prefix.
const LEGACY_UID: &str = "controller-uid";
const LEGACY_NAME: &str = "job-name";

/// Makes them, unless the client makes its own. What the client gave stays: if it is something else, it is refused.
pub(super) fn selector(job: &mut Job) {
    let wanted = labels(job);
    let Some(spec) = job.spec.as_mut().filter(|spec| !is_manual(spec)) else { return };
    let metadata = spec.template.metadata.get_or_insert_default();
    let of_template = metadata.labels.get_or_insert_default();
    for (key, value) in &wanted {
        of_template.entry((*key).to_owned()).or_insert_with(|| value.clone());
    }
    let selector = spec.selector.get_or_insert_default().match_labels.get_or_insert_default();
    let uid = job.metadata.uid.clone().unwrap_or_default();
    selector.entry(UID.to_owned()).or_insert(uid);
}

fn is_manual(spec: &JobSpec) -> bool {
    spec.manual_selector == Some(true)
}

fn labels(job: &Job) -> [(&'static str, String); 4] {
    let uid = text(job.metadata.uid.as_ref()).to_owned();
    let name = text(job.metadata.name.as_ref()).to_owned();
    [(LEGACY_UID, uid.clone()), (LEGACY_NAME, name.clone()), (UID, uid), (NAME, name)]
}

/// The faults of what the client gave in their place.
pub(super) fn validate(job: &Job, spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(selector) = spec.selector.as_ref().filter(|_| !is_manual(spec)) else { return };
    let none = Default::default();
    let metadata = spec.template.metadata.as_ref();
    let given = metadata.and_then(|metadata| metadata.labels.as_ref()).unwrap_or(&none);
    let wanted = labels(job);
    let at = path.child("template").child("metadata").child("labels");
    for (key, value) in &wanted {
        let why = format!("must be '{value}'");
        match given.get(*key) {
            Some(given) if given == value => {}
            None => errors.required(&at.key(key), &why),
            Some(_) => {
                let shown = serde_json::to_value(given).unwrap_or_default();
                errors.invalid(&at.key(key), format_args!("{shown}"), &why);
            }
        }
    }
    let own = wanted.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    if LabelSelector::try_from(selector).is_ok_and(|selector| !selector.matches(&own)) {
        let shown = serde_json::to_value(selector).unwrap_or_default();
        let why = "`selector` not auto-generated";
        errors.invalid(&path.child("selector"), format_args!("{shown}"), why);
    }
}
