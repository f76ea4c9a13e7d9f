//! What of a Job's spec may change (Kubernetes: `ValidateJobSpecUpdate`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::{
    batch::v1::{Job, JobSpec},
    core::v1::{Affinity, Container, PodTemplateSpec},
};
use serde::Serialize;

use super::state::{has, is_indexed};
use crate::rules;

/// The faults of the change.
pub(super) fn validate(new_job: &Job, old_job: &Job, errors: &mut FieldErrors) {
    let (Some(new), Some(old)) = (&new_job.spec, &old_job.spec) else { return };
    let path = FieldPath::new("spec");
    completions(new, old, &path.child("completions"), errors);
    let mut same = |field: &str, new: serde_json::Value, old: serde_json::Value| {
        rules::immutable(&new, &old, format_args!("{new}"), &path.child(field), errors);
    };
    same("selector", shown(&new.selector), shown(&old.selector));
    let wanted = changeable(&new.template, &old.template, old_job);
    same("template", shown(&new.template), shown(&wanted));
    same("completionMode", shown(&new.completion_mode), shown(&old.completion_mode));
    same("podFailurePolicy", shown(&new.pod_failure_policy), shown(&old.pod_failure_policy));
    let per_index = shown(&old.backoff_limit_per_index);
    same("backoffLimitPerIndex", shown(&new.backoff_limit_per_index), per_index);
    same("managedBy", shown(&new.managed_by), shown(&old.managed_by));
    same("successPolicy", shown(&new.success_policy), shown(&old.success_policy));
}

fn shown(value: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// An Indexed Job may become larger or smaller, if it runs all indexes at once.
fn completions(new: &JobSpec, old: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let (after, before) = (new.completions, old.completions);
    if !is_indexed(new) {
        return rules::immutable(&after, &before, format_args!("{}", shown(&after)), path, errors);
    }
    if let Some(after) =
        after.filter(|after| Some(*after) != before && Some(*after) != new.parallelism)
    {
        errors.invalid(path, after, "can only be modified in tandem with spec.parallelism");
    }
}

/// The old template with what may be changed as it is in the new one: where pods run and what they need, while there are
/// none.
fn changeable(new: &PodTemplateSpec, old: &PodTemplateSpec, job: &Job) -> PodTemplateSpec {
    let mut wanted = old.clone();
    if !may_change(job) {
        return wanted;
    }
    if let (Some(new), Some(wanted)) = (&new.metadata, &mut wanted.metadata) {
        wanted.labels.clone_from(&new.labels);
        wanted.annotations.clone_from(&new.annotations);
    }
    let (Some(new), Some(pod)) = (&new.spec, &mut wanted.spec) else { return wanted };
    let node_affinity = new.affinity.as_ref().and_then(|affinity| affinity.node_affinity.clone());
    let mut affinity = pod.affinity.take().unwrap_or_default();
    affinity.node_affinity = node_affinity;
    pod.affinity = Some(affinity).filter(|it| new.affinity.is_some() || *it != Affinity::default());
    pod.node_selector.clone_from(&new.node_selector);
    pod.tolerations.clone_from(&new.tolerations);
    pod.scheduling_gates.clone_from(&new.scheduling_gates);
    resources(&mut pod.containers, &new.containers);
    if let (Some(wanted), Some(new)) = (&mut pod.init_containers, &new.init_containers) {
        resources(wanted, new);
    }
    wanted
}

/// Whether the Job is suspended, and has no pods.
fn may_change(job: &Job) -> bool {
    let suspended = job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true);
    let Some(status) = &job.status else { return suspended };
    let idle = status.start_time.is_none() || has(status, "Suspended");
    suspended && idle && status.active.unwrap_or(0) == 0
}

fn resources(wanted: &mut [Container], new: &[Container]) {
    let pairs = wanted.iter_mut().zip(new).filter(|(wanted, new)| wanted.name == new.name);
    pairs.for_each(|(wanted, new)| wanted.resources.clone_from(&new.resources));
}
