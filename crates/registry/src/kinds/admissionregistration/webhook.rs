//! The webhooks that admission asks: those that may change an object, and those that may but refuse it
//! (Kubernetes: `pkg/apis/admissionregistration`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::admissionregistration::v1::{
        MutatingWebhook, MutatingWebhookConfiguration, ValidatingWebhook,
        ValidatingWebhookConfiguration,
    },
    meta,
};
use serde_json::json;

use super::{client_config, expression, rule, static_name};
use crate::{Exists, ResourceDef, Strategy, label_selector, resource, rules};

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const REINVOCATION_POLICIES: [&str; 2] = ["IfNeeded", "Never"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const SECONDS: i32 = 10;
const MAX_SECONDS: i32 = 30;

pub(crate) fn mutating() -> ResourceDef {
    resource::<MutatingWebhookConfiguration, _>(Mutating)
        .replaced_by_version()
        .generation(|new, old| new.webhooks != old.webhooks)
        .categories(&["api-extensions"])
        .column("Webhooks", "integer", 0, |it, _| json!(it.webhooks.iter().flatten().count()))
        .build()
}

pub(crate) fn validating() -> ResourceDef {
    resource::<ValidatingWebhookConfiguration, _>(Validating)
        .replaced_by_version()
        .generation(|new, old| new.webhooks != old.webhooks)
        .categories(&["api-extensions"])
        .column("Webhooks", "integer", 0, |it, _| json!(it.webhooks.iter().flatten().count()))
        .build()
}

struct Mutating;

impl Strategy<MutatingWebhookConfiguration> for Mutating {
    fn default(&self, configuration: &mut MutatingWebhookConfiguration) {
        for hook in configuration.webhooks.iter_mut().flatten() {
            let mut common = common(hook);
            default(&mut common);
            hook.client_config = common.client_config;
            hook.failure_policy = common.failure_policy;
            hook.match_policy = common.match_policy;
            hook.namespace_selector = common.namespace_selector;
            hook.object_selector = common.object_selector;
            hook.rules = common.rules;
            hook.timeout_seconds = common.timeout_seconds;
            hook.reinvocation_policy.get_or_insert_with(|| "Never".to_owned());
        }
    }

    fn validate(&self, it: &MutatingWebhookConfiguration, errors: &mut FieldErrors) {
        let hooks = it.webhooks.as_deref().unwrap_or_default();
        let commons: Vec<_> = hooks.iter().map(common).collect();
        validate(&commons, errors);
        for (i, hook) in hooks.iter().enumerate() {
            let path = FieldPath::new("webhooks").index(i).child("reinvocationPolicy");
            rules::one_of(hook.reinvocation_policy.as_ref(), &REINVOCATION_POLICIES, &path, errors);
        }
    }

    fn warnings(
        &self,
        it: &MutatingWebhookConfiguration,
        _: Option<&MutatingWebhookConfiguration>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}

struct Validating;

impl Strategy<ValidatingWebhookConfiguration> for Validating {
    fn default(&self, configuration: &mut ValidatingWebhookConfiguration) {
        configuration.webhooks.iter_mut().flatten().for_each(default);
    }

    fn validate(&self, it: &ValidatingWebhookConfiguration, errors: &mut FieldErrors) {
        validate(it.webhooks.as_deref().unwrap_or_default(), errors);
    }

    fn warnings(
        &self,
        it: &ValidatingWebhookConfiguration,
        _: Option<&ValidatingWebhookConfiguration>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}

/// What both kinds of webhooks have.
fn common(hook: &MutatingWebhook) -> ValidatingWebhook {
    let hook = hook.clone();
    ValidatingWebhook {
        admission_review_versions: hook.admission_review_versions,
        client_config: hook.client_config,
        failure_policy: hook.failure_policy,
        match_conditions: hook.match_conditions,
        match_policy: hook.match_policy,
        name: hook.name,
        namespace_selector: hook.namespace_selector,
        object_selector: hook.object_selector,
        rules: hook.rules,
        side_effects: hook.side_effects,
        timeout_seconds: hook.timeout_seconds,
    }
}

fn default(hook: &mut ValidatingWebhook) {
    client_config::default(&mut hook.client_config);
    hook.failure_policy.get_or_insert_with(|| "Fail".to_owned());
    hook.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    hook.namespace_selector.get_or_insert_default();
    hook.object_selector.get_or_insert_default();
    hook.timeout_seconds.get_or_insert(SECONDS);
    hook.rules.iter_mut().flatten().for_each(rule::default);
}

fn validate(hooks: &[ValidatingWebhook], errors: &mut FieldErrors) {
    let mut names = BTreeSet::new();
    for (i, hook) in hooks.iter().enumerate() {
        let path = FieldPath::new("webhooks").index(i);
        webhook(hook, &path, errors);
        if !hook.name.is_empty() {
            rules::unique(&mut names, &hook.name, &path.child("name"), errors);
        }
    }
}

fn webhook(hook: &ValidatingWebhook, path: &FieldPath, errors: &mut FieldErrors) {
    name(&hook.name, &path.child("name"), errors);
    for (i, one) in hook.rules.iter().flatten().enumerate() {
        rule::validate(one, &path.child("rules").index(i), errors);
    }
    let policy = hook.failure_policy.as_ref();
    rules::one_of(policy, &FAILURE_POLICIES, &path.child("failurePolicy"), errors);
    let policy = hook.match_policy.as_ref();
    rules::one_of(policy, &MATCH_POLICIES, &path.child("matchPolicy"), errors);
    side_effects(&hook.side_effects, &path.child("sideEffects"), errors);
    let seconds = hook.timeout_seconds.unwrap_or(SECONDS);
    if !(1..=MAX_SECONDS).contains(&seconds) {
        let why = "the timeout value must be between 1 and 30 seconds";
        errors.invalid(&path.child("timeoutSeconds"), seconds, why);
    }
    selector(hook.namespace_selector.as_ref(), &path.child("namespaceSelector"), errors);
    selector(hook.object_selector.as_ref(), &path.child("objectSelector"), errors);
    client_config::validate(&hook.client_config, &path.child("clientConfig"), errors);
    let (versions, place) =
        (&hook.admission_review_versions, path.child("admissionReviewVersions"));
    if versions.is_empty() {
        errors.required(&place, "must specify one of v1, v1beta1");
    } else {
        client_config::review_versions(versions, &place, errors);
    }
    let conditions = hook.match_conditions.as_deref();
    expression::match_conditions(conditions, false, &path.child("matchConditions"), errors);
}

/// Kubernetes: `IsFullyQualifiedName`.
fn name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        return errors.required(path, "");
    }
    let faults = names::dns1123_subdomain(name);
    if !faults.is_empty() {
        return errors.invalid(path, name, &faults.join(","));
    }
    if name.split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        errors.invalid(path, name, why);
    }
}

fn side_effects(given: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if given.is_empty() {
        errors.required(path, "must specify one of None, NoneOnDryRun");
    } else if !NO_SIDE_EFFECTS.contains(&given) {
        errors.not_supported(path, given, &NO_SIDE_EFFECTS);
    }
}

fn selector(selector: Option<&meta::LabelSelector>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(selector) = selector {
        label_selector::validate(selector, path, errors);
    }
}
