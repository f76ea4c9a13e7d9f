//! The faults of what a Job makes of its pods' failures and successes (Kubernetes: `validatePodFailurePolicy`,
//! `validateSuccessPolicy`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, index_set::IndexSet, names};
use api_types::api::batch::v1::{
    JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicyRule,
};

use super::state::is_indexed;
use crate::rules;

pub(super) const NEEDS_INDEXES: &str = "requires indexed completion mode";

const MOST_RULES: usize = 20;
const MOST_EXIT_CODES: usize = 255;
const MOST_PATTERNS: usize = 20;
const LONGEST_INDEXES: usize = 64 * 1024;

const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// All of them.
pub(super) fn validate(spec: &JobSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(policy) = &spec.pod_failure_policy {
        let path = path.child("podFailurePolicy").child("rules");
        if policy.rules.len() > MOST_RULES {
            errors.too_many(&path, policy.rules.len(), MOST_RULES);
        }
        for (i, rule) in policy.rules.iter().enumerate() {
            failure_rule(rule, spec, &path.index(i), errors);
        }
    }
    if let Some(policy) = &spec.success_policy {
        let path = path.child("successPolicy");
        match is_indexed(spec) {
            true => success_rules(&policy.rules, spec, &path.child("rules"), errors),
            false => {
                let shown = serde_json::to_value(policy).unwrap_or_default();
                errors.invalid(&path, format_args!("{shown}"), NEEDS_INDEXES);
            }
        }
    }
    let allowed: &[_] = match spec.pod_failure_policy {
        Some(_) => &["Failed"],
        None => &["Failed", "TerminatingOrFailed"],
    };
    let replacing = spec.pod_replacement_policy.as_ref();
    if let Some(given) = replacing.filter(|given| !allowed.contains(&given.as_str())) {
        errors.not_supported(&path.child("podReplacementPolicy"), given, allowed);
    }
}

fn failure_rule(
    rule: &PodFailurePolicyRule,
    spec: &JobSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let at = path.child("action");
    if rule.action == "FailIndex" && spec.backoff_limit_per_index.is_none() {
        errors.invalid(&at, &rule.action, "requires the backoffLimitPerIndex to be set");
    }
    needed(&rule.action, ACTIONS, &at, errors);
    let patterns = rule.on_pod_conditions.as_deref().unwrap_or_default();
    if let Some(codes) = &rule.on_exit_codes {
        exit_codes(codes, spec, &path.child("onExitCodes"), errors);
    }
    pod_conditions(patterns, &path.child("onPodConditions"), errors);
    let kinds = usize::from(rule.on_exit_codes.is_some()) + usize::from(!patterns.is_empty());
    match kinds {
        0 => errors.wrong(path, "specifying one of OnExitCodes and OnPodConditions is required"),
        2 => errors.wrong(path, "specifying both OnExitCodes and OnPodConditions is not supported"),
        _ => {}
    }
}

/// One of a few, and not nothing.
fn needed(given: &str, allowed: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    if given.is_empty() {
        let all = allowed.iter().map(|one| format!("{one:?}")).collect::<Vec<_>>().join(" ");
        errors.required(path, &format!("valid values: [{all}]"));
    } else if !allowed.contains(&given) {
        errors.not_supported(path, given, allowed);
    }
}

fn exit_codes(
    codes: &PodFailurePolicyOnExitCodesRequirement,
    spec: &JobSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    needed(&codes.operator, OPERATORS, &path.child("operator"), errors);
    let pod = spec.template.spec.iter();
    let mut containers = pod.flat_map(|pod| {
        pod.init_containers.iter().flatten().chain(&pod.containers).map(|it| &it.name)
    });
    if let Some(name) =
        codes.container_name.as_ref().filter(|name| !containers.any(|it| it == *name))
    {
        let why = "must be one of the container or initContainer names in the pod template";
        errors.invalid(&path.child("containerName"), name, why);
    }
    let path = path.child("values");
    match codes.values.len() {
        0 => errors.invalid(&path, &codes.values, "at least one value is required"),
        given if given > MOST_EXIT_CODES => errors.too_many(&path, given, MOST_EXIT_CODES),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for (i, code) in codes.values.iter().enumerate() {
        if codes.operator == "In" && *code == 0 {
            errors.invalid(&path.index(i), code, "must not be 0 for the In operator");
        }
        rules::unique(&mut seen, code, &path.index(i), errors);
    }
    if !codes.values.is_sorted() {
        errors.invalid(&path, &codes.values, "must be ordered");
    }
}

fn pod_conditions(
    patterns: &[PodFailurePolicyOnPodConditionsPattern],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if patterns.len() > MOST_PATTERNS {
        errors.too_many(path, patterns.len(), MOST_PATTERNS);
    }
    for (i, pattern) in patterns.iter().enumerate() {
        let path = path.index(i);
        rules::follows(&pattern.type_, names::qualified_name, &path.child("type"), errors);
        needed(rules::text(pattern.status.as_ref()), STATUSES, &path.child("status"), errors);
    }
}

fn success_rules(
    rules: &[SuccessPolicyRule],
    spec: &JobSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if rules.is_empty() {
        let why = "at least one rules must be specified when the successPolicy is specified";
        errors.required(path, why);
    }
    if rules.len() > MOST_RULES {
        errors.too_many(path, rules.len(), MOST_RULES);
    }
    for (i, rule) in rules.iter().enumerate() {
        success_rule(rule, spec.completions.unwrap_or(0), &path.index(i), errors);
    }
}

fn success_rule(
    rule: &SuccessPolicyRule,
    completions: i32,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if rule.succeeded_count.is_none() && rule.succeeded_indexes.is_none() {
        let why = "at least one of succeededCount or succeededIndexes must be specified";
        errors.required(path, why);
    }
    let mut total = None;
    if let Some(indexes) = &rule.succeeded_indexes {
        let path = path.child("succeededIndexes");
        if indexes.len() > LONGEST_INDEXES {
            errors.too_long(&path, LONGEST_INDEXES);
        }
        match IndexSet::parse(indexes, completions.try_into().unwrap_or(0)) {
            Ok(set) => total = i32::try_from(set.len()).ok(),
            Err(why) => {
                total = Some(0);
                errors.invalid(&path, indexes, &format!("error parsing succeededIndexes: {why}"));
            }
        }
    }
    let path = path.child("succeededCount");
    let Some(count) = rule.succeeded_count else { return };
    rules::not_negative(Some(count), &path, errors);
    let mut at_most = |most: i32, of: &str| {
        if count > most {
            let why = format!("must be less than or equal to {most} (the number of {of})");
            errors.invalid(&path, count, &why);
        }
    };
    at_most(completions, "specified completions");
    if let Some(total) = total {
        at_most(total, "indexes in the specified succeededIndexes field");
    }
}
