//! Policies: admission's rules as expressions (Kubernetes: `pkg/apis/admissionregistration`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::admissionregistration::v1::{
    AuditAnnotation, MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation, ParamKind,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation,
};
use expressions::Type;
use serde_json::{Value, json};

use super::{
    composition::{self, Composition},
    expression::{self, Given},
    match_resources, static_name,
};
use crate::{
    Exists, ResourceDef, Strategy, resource,
    rules::{self, text},
};

const FAILURE_POLICIES: [&str; 2] = ["Fail", "Ignore"];
const REINVOCATION_POLICIES: [&str; 2] = ["IfNeeded", "Never"];
const REASONS: [&str; 4] = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
const PATCH_TYPES: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];
const SOMETHING: &str = "validations or auditAnnotations must contain at least one item";
const MAX_ANNOTATIONS: usize = 20;
const MAX_ANNOTATION: usize = 5 * 1024;

pub(crate) fn validating() -> ResourceDef {
    resource::<ValidatingAdmissionPolicy, _>(Validating)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .categories(&["api-extensions"])
        .status_alone(|policy, from| policy.status.clone_from(&from.status))
        .column("Validations", "integer", 0, |policy, _| {
            json!(policy.spec.iter().flat_map(|it| it.validations.iter().flatten()).count())
        })
        .column("ParamKind", "string", 0, |policy, _| {
            kind_of(policy.spec.as_ref().and_then(|it| it.param_kind.as_ref()))
        })
        .build()
}

pub(crate) fn mutating() -> ResourceDef {
    resource::<MutatingAdmissionPolicy, _>(Mutating)
        .replaced_by_version()
        .generation(|new, old| new.spec != old.spec)
        .categories(&["api-extensions"])
        .column("Mutations", "integer", 0, |policy, _| {
            json!(policy.spec.iter().flat_map(|it| it.mutations.iter().flatten()).count())
        })
        .column("ParamKind", "string", 0, |policy, _| {
            kind_of(policy.spec.as_ref().and_then(|it| it.param_kind.as_ref()))
        })
        .build()
}

fn kind_of(kind: Option<&ParamKind>) -> Value {
    let shown = kind.map(|it| {
        let (version, kind) = (text(it.api_version.as_ref()), text(it.kind.as_ref()));
        format!("{version}/{kind}")
    });
    json!(shown.unwrap_or_else(|| "<unset>".to_owned()))
}

struct Validating;

impl Strategy<ValidatingAdmissionPolicy> for Validating {
    fn default(&self, policy: &mut ValidatingAdmissionPolicy) {
        let spec = policy.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        spec.match_constraints.iter_mut().for_each(match_resources::default);
    }

    fn validate(&self, policy: &ValidatingAdmissionPolicy, errors: &mut FieldErrors) {
        if let Some(spec) = &policy.spec {
            validating_spec(text(policy.metadata.name.as_ref()), spec, errors);
        }
    }

    fn warnings(
        &self,
        it: &ValidatingAdmissionPolicy,
        _: Option<&ValidatingAdmissionPolicy>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}

fn validating_spec(name: &str, spec: &ValidatingAdmissionPolicySpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec");
    let policy = spec.failure_policy.as_ref();
    rules::one_of(policy, &FAILURE_POLICIES, &path.child("failurePolicy"), errors);
    let given = Given { params: spec.param_kind.is_some(), ..Given::default() };
    if let Some(kind) = &spec.param_kind {
        composition::param_kind(kind, &path.child("paramKind"), errors);
    }
    let constraints = spec.match_constraints.as_ref();
    match_resources::constraints(constraints, &path.child("matchConstraints"), errors);
    let conditions = spec.match_conditions.as_deref();
    let at = path.child("matchConditions");
    expression::match_conditions(conditions, given.params, &at, errors);
    let variables = spec.variables.as_deref();
    let composition = composition::variables(variables, given, &path.child("variables"), errors);
    let validations = spec.validations.as_deref().unwrap_or_default();
    let annotations = spec.audit_annotations.as_deref().unwrap_or_default();
    if validations.is_empty() && annotations.is_empty() {
        errors.required(&path.child("validations"), SOMETHING);
        errors.required(&path.child("auditAnnotations"), SOMETHING);
    }
    for (i, one) in validations.iter().enumerate() {
        validation(one, (&composition, given), &path.child("validations").index(i), errors);
    }
    audit_annotations(
        name,
        annotations,
        (&composition, given),
        &path.child("auditAnnotations"),
        errors,
    );
}

fn validation(
    validation: &Validation,
    (composition, given): (&Composition, Given),
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let at = path.child("expression");
    let environment = composition.environment(Given { authorizer: true, ..given });
    if validation.expression.trim().is_empty() {
        errors.required(&at, "expression is not specified");
    } else {
        expression::validate(&validation.expression, (&environment, &[Type::Bool]), &at, errors);
    }
    let (source, at) =
        (text(validation.message_expression.as_ref()), path.child("messageExpression"));
    if !source.is_empty() && source.trim().is_empty() {
        errors.invalid(&at, source, "must be non-empty if specified");
    } else if !source.is_empty() {
        let environment = composition.environment(given);
        expression::validate(source, (&environment, &[Type::String]), &at, errors);
    }
    let (message, at) = (text(validation.message.as_ref()), path.child("message"));
    if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&at, message, "must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(&at, message, "must not contain line breaks");
    }
    rules::one_of(validation.reason.as_ref(), &REASONS, &path.child("reason"), errors);
}

fn audit_annotations(
    name: &str,
    annotations: &[AuditAnnotation],
    (composition, given): (&Composition, Given),
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if annotations.len() > MAX_ANNOTATIONS {
        let why = format!("must not have more than {MAX_ANNOTATIONS} auditAnnotations");
        errors.invalid(path, format_args!("{}", json!(annotations)), &why);
    }
    let environment = composition.environment(Given { authorizer: true, ..given });
    let mut keys = BTreeSet::new();
    for (i, annotation) in annotations.iter().enumerate() {
        let path = path.index(i);
        let at = path.child("key");
        rules::follows(&format!("{name}/{}", annotation.key), names::qualified_name, &at, errors);
        rules::unique(&mut keys, &annotation.key, &at, errors);
        let (source, at) = (annotation.value_expression.trim(), path.child("valueExpression"));
        if source.is_empty() {
            errors.required(&at, "valueExpression is not specified");
        } else if source.len() > MAX_ANNOTATION {
            errors.required(&at, &format!("must not exceed {MAX_ANNOTATION} bytes in length"));
        } else {
            let wanted = [Type::String, Type::Null];
            expression::validate(source, (&environment, &wanted), &at, errors);
        }
    }
}

struct Mutating;

impl Strategy<MutatingAdmissionPolicy> for Mutating {
    fn default(&self, policy: &mut MutatingAdmissionPolicy) {
        let spec = policy.spec.get_or_insert_default();
        spec.failure_policy.get_or_insert_with(|| "Fail".to_owned());
        spec.match_constraints.iter_mut().for_each(match_resources::default);
    }

    fn validate(&self, policy: &MutatingAdmissionPolicy, errors: &mut FieldErrors) {
        if let Some(spec) = &policy.spec {
            mutating_spec(spec, errors);
        }
    }

    fn warnings(
        &self,
        it: &MutatingAdmissionPolicy,
        _: Option<&MutatingAdmissionPolicy>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        static_name::warnings(&it.metadata)
    }
}

fn mutating_spec(spec: &MutatingAdmissionPolicySpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec");
    let policy = spec.failure_policy.as_ref();
    rules::one_of(policy, &FAILURE_POLICIES, &path.child("failurePolicy"), errors);
    let given = Given { params: spec.param_kind.is_some(), ..Given::default() };
    if let Some(kind) = &spec.param_kind {
        composition::param_kind(kind, &path.child("paramKind"), errors);
    }
    let (constraints, at) = (spec.match_constraints.as_ref(), path.child("matchConstraints"));
    match_resources::constraints(constraints, &at, errors);
    match_resources::changes_alone(constraints, &at, errors);
    let conditions = spec.match_conditions.as_deref();
    let at = path.child("matchConditions");
    expression::match_conditions(conditions, given.params, &at, errors);
    let variables = spec.variables.as_deref();
    let composition = composition::variables(variables, given, &path.child("variables"), errors);
    let (mutations, at) = (spec.mutations.as_deref().unwrap_or_default(), path.child("mutations"));
    if mutations.is_empty() {
        errors.required(&at, "mutations must contain at least one item");
    }
    for (i, one) in mutations.iter().enumerate() {
        mutation(one, (&composition, given), &at.index(i), errors);
    }
    let (policy, at) = (spec.reinvocation_policy.as_ref(), path.child("reinvocationPolicy"));
    if text(policy).is_empty() {
        errors.required(&at, "");
    }
    rules::one_of(policy, &REINVOCATION_POLICIES, &at, errors);
}

fn mutation(
    mutation: &Mutation,
    (composition, given): (&Composition, Given),
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let patch = mutation.json_patch.as_ref().map(|it| text(it.expression.as_ref()));
    let apply = mutation.apply_configuration.as_ref().map(|it| text(it.expression.as_ref()));
    let (patch_path, apply_path) = (path.child("jsonPatch"), path.child("applyConfiguration"));
    let (wanted, given_patch, at, other, other_at) = match mutation.patch_type.as_str() {
        "" => return errors.required(&path.child("patchType"), ""),
        "JSONPatch" => (Type::list(Type::named("JSONPatch")), patch, patch_path, apply, apply_path),
        "ApplyConfiguration" => (Type::named("Object"), apply, apply_path, patch, patch_path),
        other => return errors.not_supported(&path.child("patchType"), other, &PATCH_TYPES),
    };
    let type_ = &mutation.patch_type;
    if other.is_some() {
        let shown = if type_ == "JSONPatch" { "{applyConfiguration}" } else { "{jsonPatch}" };
        let why = format!("must not be specified when patchType is {type_}");
        errors.invalid(&other_at, shown, &why);
    }
    let Some(source) = given_patch else {
        return errors.required(&at, &format!("must be specified when patchType is {type_}"));
    };
    let at = at.child("expression");
    if source.trim().is_empty() {
        return errors.required(&at, "");
    }
    let environment = composition.environment(Given { authorizer: true, patches: true, ..given });
    expression::validate(source.trim(), (&environment, &[wanted]), &at, errors);
}
