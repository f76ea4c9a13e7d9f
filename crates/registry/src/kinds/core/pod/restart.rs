//! The faults of when a container is started again, if it says so itself (Kubernetes: `validateContainerRestartPolicy`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Container, ContainerRestartRule};

use crate::rules;

const POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const MAX_RULES: usize = 20;
const MAX_CODES: usize = 255;

pub(super) fn validate(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    let rules = container.restart_policy_rules.as_deref().unwrap_or_default();
    let (policy, at) = (container.restart_policy.as_ref(), path.child("restartPolicy"));
    if policy.is_none() && !rules.is_empty() {
        errors.required(&at, "must specify restartPolicy when restart rules are used");
    }
    rules::supported(policy, &POLICIES, &at, errors);
    let path = path.child("restartPolicyRules");
    if rules.len() > MAX_RULES {
        errors.too_many(&path, rules.len(), MAX_RULES);
    }
    for (i, rule) in rules.iter().enumerate() {
        one(rule, &path.index(i), errors);
    }
}

fn one(rule: &ContainerRestartRule, path: &FieldPath, errors: &mut FieldErrors) {
    rules::supported(Some(&rule.action), &ACTIONS, &path.child("action"), errors);
    let path = path.child("exitCodes");
    let Some(codes) = &rule.exit_codes else {
        return errors.required(&path, "must be specified");
    };
    rules::supported(Some(&codes.operator), &OPERATORS, &path.child("operator"), errors);
    let values = codes.values.as_ref().map_or(0, Vec::len);
    if values > MAX_CODES {
        errors.too_many(&path.child("values"), values, MAX_CODES);
    }
}
