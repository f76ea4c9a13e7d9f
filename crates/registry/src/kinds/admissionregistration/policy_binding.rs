//! Where policies hold, and with which parameters (Kubernetes: `pkg/apis/admissionregistration`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::admissionregistration::v1::{
    MutatingAdmissionPolicyBinding, ParamRef, ValidatingAdmissionPolicyBinding,
};
use serde_json::{Value, json};

use super::{match_resources, static_name};
use crate::{
    Exists, ResourceDef, Strategy, resource,
    rules::{self, text},
};

const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const TWICE: &str = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";

pub(crate) fn validating() -> ResourceDef {
    resource::<ValidatingAdmissionPolicyBinding, _>(Validating)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .categories(&["api-extensions"])
        .column("PolicyName", "string", 0, |binding, _| json!(binding.spec.policy_name))
        .column("ParamRef", "string", 0, |binding, _| params(binding.spec.param_ref.as_ref()))
        .build()
}

pub(crate) fn mutating() -> ResourceDef {
    resource::<MutatingAdmissionPolicyBinding, _>(Mutating)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .categories(&["api-extensions"])
        .column("PolicyName", "string", 0, |binding, _| {
            json!(binding.spec.as_ref().and_then(|it| it.policy_name.as_ref()))
        })
        .column("ParamRef", "string", 0, |binding, _| {
            params(binding.spec.as_ref().and_then(|it| it.param_ref.as_ref()))
        })
        .build()
}

/// As Kubernetes shows them.
fn params(params: Option<&ParamRef>) -> Value {
    let Some(params) = params else { return json!("<unset>") };
    let name = text(params.name.as_ref());
    if name.is_empty() {
        return json!(params.selector.as_ref().map_or("<unset>", |_| "<selector>"));
    }
    match text(params.namespace.as_ref()) {
        "" => json!(format!("*/{name}")),
        namespace => json!(format!("{namespace}/{name}")),
    }
}

struct Validating;

impl Strategy<ValidatingAdmissionPolicyBinding> for Validating {
    fn default(&self, binding: &mut ValidatingAdmissionPolicyBinding) {
        binding.spec.match_resources.iter_mut().for_each(match_resources::default);
    }

    fn validate(&self, binding: &ValidatingAdmissionPolicyBinding, errors: &mut FieldErrors) {
        let (path, spec) = (FieldPath::new("spec"), &binding.spec);
        rules::named(
            &spec.policy_name,
            names::dns1123_subdomain,
            &path.child("policyName"),
            errors,
        );
        if let Some(params) = &spec.param_ref {
            match_resources::param_ref(params, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            match_resources::validate(resources, &path.child("matchResources"), errors);
        }
        actions(&spec.validation_actions, &path.child("validationActions"), errors);
    }

    fn warnings(
        &self,
        it: &ValidatingAdmissionPolicyBinding,
        _: Option<&ValidatingAdmissionPolicyBinding>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}

fn actions(given: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, action) in given.iter().enumerate() {
        let path = path.index(i);
        if !ACTIONS.contains(&action.as_str()) {
            errors.not_supported(&path, action, &ACTIONS);
        }
        rules::unique(&mut seen, action, &path, errors);
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        errors.invalid(path, format_args!("{}", json!(given)), TWICE);
    }
    if given.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
}

struct Mutating;

impl Strategy<MutatingAdmissionPolicyBinding> for Mutating {
    fn default(&self, binding: &mut MutatingAdmissionPolicyBinding) {
        let spec = binding.spec.get_or_insert_default();
        spec.match_resources.iter_mut().for_each(match_resources::default);
    }

    fn validate(&self, binding: &MutatingAdmissionPolicyBinding, errors: &mut FieldErrors) {
        let (path, Some(spec)) = (FieldPath::new("spec"), &binding.spec) else { return };
        let name = text(spec.policy_name.as_ref());
        rules::named(name, names::dns1123_subdomain, &path.child("policyName"), errors);
        if let Some(params) = &spec.param_ref {
            match_resources::param_ref(params, &path.child("paramRef"), errors);
        }
        if let Some(resources) = &spec.match_resources {
            let path = path.child("matchResources");
            match_resources::validate(resources, &path, errors);
            match_resources::changes_alone(Some(resources), &path, errors);
        }
    }

    fn warnings(
        &self,
        it: &MutatingAdmissionPolicyBinding,
        _: Option<&MutatingAdmissionPolicyBinding>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}
