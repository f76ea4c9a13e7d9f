//! The faults of a Job's spec (Kubernetes: `ValidateJobSpec`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::batch::v1::{Job, JobSpec};

use super::{policies, state::is_indexed};
use crate::{
    kinds::{apps::pods, core::pod::template},
    label_selector,
    rules::{self, text},
};

/// How much `status.completedIndexes` may have to tell.
const MOST_INDEXES: i32 = 100_000;
/// The same where failures are counted for each index, too.
const MOST_WITH_FAILURES: i32 = 10_000;
const LONGEST_MANAGER: usize = 63;

/// All faults but those of the selector.
pub(in crate::kinds::batch) fn spec(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    numbers(spec, path, errors);
    if let Some(manager) = &spec.managed_by {
        managed_by(manager, &path.child("managedBy"), errors);
    }
    let modes = ["NonIndexed", "Indexed"];
    let mode = spec.completion_mode.as_ref();
    if let Some(mode) = mode.filter(|mode| !modes.contains(&mode.as_str())) {
        errors.not_supported(&path.child("completionMode"), mode, &modes);
    }
    if is_indexed(spec) {
        indexed(spec, path, errors);
    } else if mode.is_none_or(|mode| mode == "NonIndexed") {
        for (value, field) in [
            (spec.backoff_limit_per_index, "backoffLimitPerIndex"),
            (spec.max_failed_indexes, "maxFailedIndexes"),
        ] {
            if let Some(value) = value {
                errors.invalid(&path.child(field), value, policies::NEEDS_INDEXES);
            }
        }
    }
    policies::validate(spec, path, errors);
    template::validate(&spec.template, &path.child("template"), errors);
    restart_policy(spec, path, errors);
}

fn numbers(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    rules::not_negative(spec.parallelism, &path.child("parallelism"), errors);
    rules::not_negative(spec.completions, &path.child("completions"), errors);
    let deadline = spec.active_deadline_seconds;
    rules::not_negative(deadline, &path.child("activeDeadlineSeconds"), errors);
    rules::not_negative(spec.backoff_limit, &path.child("backoffLimit"), errors);
    let ttl = spec.ttl_seconds_after_finished;
    rules::not_negative(ttl, &path.child("ttlSecondsAfterFinished"), errors);
    let per_index = path.child("backoffLimitPerIndex");
    rules::not_negative(spec.backoff_limit_per_index, &per_index, errors);
    rules::not_negative(spec.max_failed_indexes, &path.child("maxFailedIndexes"), errors);
    if spec.max_failed_indexes.is_some() && spec.backoff_limit_per_index.is_none() {
        errors.required(&per_index, "when maxFailedIndexes is specified");
    }
}

fn managed_by(manager: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match manager.split_once('/') {
        _ if manager.is_empty() => errors.required(path, ""),
        Some((host, rest)) if !host.is_empty() && !rest.is_empty() => {
            rules::follows(host, names::dns1123_subdomain, path, errors);
        }
        _ => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.invalid(path, manager, why);
        }
    }
    if manager.len() > LONGEST_MANAGER {
        errors.too_long(path, LONGEST_MANAGER);
    }
}

/// What holds where each index succeeds or fails by itself.
fn indexed(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let mut at_most = |field: &str, value: Option<i32>, most: i32, when: &str| {
        if let Some(value) = value.filter(|value| *value > most) {
            let why = format!("must be less than or equal to {most}{when}");
            errors.invalid(&path.child(field), value, &why);
        }
    };
    let failed = spec.max_failed_indexes;
    let when = " when completion mode is Indexed";
    at_most("parallelism", spec.parallelism, MOST_INDEXES, when);
    let many = spec.completions.is_some_and(|completions| completions > MOST_INDEXES);
    let many = many && spec.backoff_limit_per_index.is_some();
    if many {
        let when = format!(
            " when completions are above {MOST_INDEXES} and used with backoff limit per index"
        );
        at_most("parallelism", spec.parallelism, MOST_WITH_FAILURES, &when);
        at_most("maxFailedIndexes", failed, MOST_WITH_FAILURES, &when);
    }
    at_most("maxFailedIndexes", failed, MOST_INDEXES, "");
    let most_failed = path.child("maxFailedIndexes");
    match (spec.completions, failed) {
        (None, _) => {
            errors.required(&path.child("completions"), "when completion mode is Indexed");
        }
        (Some(completions), Some(failed)) if failed > completions => {
            errors.invalid(&most_failed, failed, "must be less than or equal to completions");
        }
        (Some(_), None) if many => {
            let why = format!("must be specified when completions is above {MOST_INDEXES}");
            errors.required(&most_failed, &why);
        }
        _ => {}
    }
}

/// A pod that always starts its containers anew never ends.
fn restart_policy(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("template").child("spec").child("restartPolicy");
    let pod = spec.template.spec.as_ref();
    match text(pod.and_then(|pod| pod.restart_policy.as_ref())) {
        "" | "Always" => errors.required(&path, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        "OnFailure" if spec.pod_failure_policy.is_none() => {}
        given @ "OnFailure" => {
            let why = "only \"Never\" is supported when podFailurePolicy is specified";
            errors.invalid(&path, given, why);
        }
        other => errors.not_supported(&path, other, &["Never", "OnFailure"]),
    }
}

/// Whoever made the selector, it must select the pods of the template.
pub(super) fn selector(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("selector");
    let Some(selector) = &spec.selector else { return errors.required(&at, "") };
    label_selector::validate(selector, &at, errors);
    if let Ok(selector) = selector.try_into() {
        pods::labels_match(&selector, &spec.template, &path.child("template"), errors);
    }
}

/// The hosts' names of the pods are made of the Job's name and an index.
pub(super) fn hostname(job: &Job, spec: &JobSpec, errors: &mut FieldErrors) {
    let last = spec.completions.filter(|completions| *completions > 0 && is_indexed(spec));
    let Some(last) = last.map(|completions| completions - 1) else { return };
    let name = text(job.metadata.name.as_ref());
    let host = format!("{name}-{last}");
    if !names::dns1123_label(&host).is_empty() {
        let why = format!("will not able to create pod with invalid DNS label: {host}");
        errors.invalid(&FieldPath::new("metadata").child("name"), name, &why);
    }
}
