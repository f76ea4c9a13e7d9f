//! Policies that may refuse a request, warn of it, or note it (Kubernetes: `plugin/policy/validating`).

use std::{collections::BTreeMap, sync::Arc};

use api_machinery::ApiError;
use api_types::{
    api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    meta::StatusCause,
};
use async_trait::async_trait;
use expressions::{Budget, REQUEST_LIMIT, Type, Value as CelValue, Variables};
use registry::AnyObject;
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    aside::aside,
    configured::{self, Binding, Common, Compiled, Compiler, Configured, Kind, Parts, Policy},
    invocation::{self, Surroundings},
};
use crate::{
    admission::{Attributes, Plugin, matching::is_exempt_from_policies},
    authorizer::Authorizer,
    catalogue::InForce,
    storage::Storage,
};

/// As long as the message that an expression makes may be (Kubernetes: `MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE: usize = 5 * 1024;
/// As long as what an expression has for the audit log may be (Kubernetes: `maxAuditAnnotationValueLength`).
const NOTE: usize = 10 * 1024;
/// Where the audit log is told what is not as it is to be.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Of what no reason is given for.
const INVALID: &str = "Invalid";

/// See the module.
#[derive(Debug)]
pub(crate) struct ValidatingPolicies {
    surroundings: Surroundings,
    configured: Configured<Validating>,
}

/// The kind.
#[derive(Debug)]
struct Validating;

/// What a policy demands, and what it says for the audit log.
#[derive(Debug)]
struct Rules {
    validations: Vec<Validation>,
    annotations: Vec<(String, Compiled)>,
}

#[derive(Debug)]
struct Validation {
    source: String,
    program: Compiled,
    message: Option<String>,
    message_program: Option<Compiled>,
    reason: Option<String>,
}

/// Why a request is not as it is to be.
#[derive(Debug)]
struct Fault {
    /// Which of the policy's validations says so.
    validation: usize,
    reason: String,
    message: String,
}

impl Fault {
    fn invalid(validation: usize, message: String) -> Self {
        Self { validation, reason: INVALID.to_owned(), message }
    }
}

/// As the audit log is told of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Noted<'a> {
    message: &'a str,
    policy: &'a str,
    binding: &'a str,
    expression_index: usize,
    validation_actions: &'a [String],
}

/// The first of the refusals.
#[derive(Debug, Default)]
struct Refused(Option<Fault>);

impl Kind for Validating {
    type Policy = ValidatingAdmissionPolicy;
    type Binding = ValidatingAdmissionPolicyBinding;
    type Rules = Rules;
    const PLURALS: [&'static str; 2] =
        ["validatingadmissionpolicies", "validatingadmissionpolicybindings"];

    fn common(policy: &ValidatingAdmissionPolicy) -> Common {
        configured::of_validating(policy)
    }

    fn rules(policy: ValidatingAdmissionPolicy, compiler: &Compiler) -> Rules {
        let spec = policy.spec.unwrap_or_default();
        let validations = spec.validations.into_iter().flatten().map(|it| Validation {
            program: compiler.compile(&it.expression, &[Type::Bool]),
            source: it.expression,
            message: it.message,
            message_program: it
                .message_expression
                .filter(|source| !source.is_empty())
                .map(|source| compiler.compile(&source, &[Type::String])),
            reason: it.reason,
        });
        let annotations = spec.audit_annotations.into_iter().flatten();
        let wanted = [Type::String, Type::Null];
        let annotations =
            annotations.map(|it| (it.key, compiler.compile(it.value_expression.trim(), &wanted)));
        Rules { validations: validations.collect(), annotations: annotations.collect() }
    }

    fn binding(binding: ValidatingAdmissionPolicyBinding) -> (String, Binding) {
        configured::validating_binding(binding)
    }
}

#[async_trait]
impl Plugin for ValidatingPolicies {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let policies = self.configured.policies(&self.surroundings.storage);
        if policies.is_empty() || is_exempt_from_policies(attributes) {
            return Ok(());
        }
        Box::pin(self.ask(&policies, attributes, object)).await
    }
}

impl ValidatingPolicies {
    /// Those of the cache.
    pub(crate) fn new(
        catalogue: InForce,
        storage: Arc<Storage>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        let configured = Configured::new(&catalogue.load());
        Self { surroundings: Surroundings { catalogue, storage, authorizer }, configured }
    }

    async fn ask(
        &self,
        policies: &[Policy<Rules>],
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let catalogue = self.surroundings.catalogue.load();
        let value =
            |object: Option<&AnyObject>| object.map_or(Ok(Value::Null), AnyObject::to_value);
        let (object, old) = match attributes.options {
            Some(options) => (options.clone(), Value::Null),
            None => (value(object)?, value(attributes.old)?),
        };
        let (objects, mut refused) = ((&object, &old), Refused::default());
        for policy in policies {
            let around = &self.surroundings;
            let Some(seen) = around.seen(policy, &catalogue, attributes, objects).await? else {
                continue;
            };
            let (invocations, misconfigured) =
                around.invocations(policy, &catalogue, attributes, objects).await;
            for it in misconfigured.into_iter().filter(|_| !policy.ignores_failure) {
                let what = if it.binding.is_some() { "binding" } else { "policy" };
                let message = format!("failed to configure {what}: {}", it.why);
                refused.add(policy, it.binding, Fault::invalid(0, message));
            }
            if invocations.is_empty() {
                continue;
            }
            let given = around.given(attributes, &seen).await?;
            let of = (policy, policy.parts().await);
            let mut notes = Notes::default();
            for it in invocations {
                let input = invocation::input(of.1, &given, &it.params);
                let evaluate = || (faults(of, &input), annotate(of, &input));
                let (faults, (noted, not_noted)) = aside(&seen.object, evaluate);
                notes.extend(noted);
                for fault in faults {
                    tell(policy, it.binding, fault, attributes, &mut refused);
                }
                for fault in not_noted {
                    refused.add(policy, Some(it.binding), fault);
                }
            }
            notes.tell(&policy.name, attributes);
        }
        refused.answer(attributes)
    }
}

/// What is to happen for a fault, as the binding says.
fn tell(
    policy: &Policy<Rules>,
    binding: &Binding,
    fault: Fault,
    attributes: &Attributes<'_>,
    refused: &mut Refused,
) {
    let has = |wanted: &str| binding.actions.iter().any(|action| action == wanted);
    let (name, bound) = (&policy.name, &binding.name);
    if let Some(sender) = attributes.sender.filter(|_| has("Audit")) {
        let noted = [Noted {
            message: &fault.message,
            policy: name,
            binding: bound,
            expression_index: fault.validation,
            validation_actions: &binding.actions,
        }];
        sender.feedback.annotate(FAILURE.to_owned(), json!(noted).to_string());
    }
    if let Some(sender) = attributes.sender.filter(|_| has("Warn")) {
        sender.feedback.warn(format!(
            "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{bound}': {}",
            fault.message
        ));
    }
    if has("Deny") {
        refused.add(policy, Some(binding), fault);
    }
}

/// Of a policy in whose way the request is, what it does not keep. What can't be evaluated is a fault, unless failures are
/// ignored.
fn faults((policy, parts): (&Policy<Rules>, &Parts<Rules>), input: &dyn Variables) -> Vec<Fault> {
    let failure =
        |at, message: String| (!policy.ignores_failure).then(|| Fault::invalid(at, message));
    match parts.conditions.hold(input) {
        Ok(true) => {}
        Ok(false) => return Vec::new(),
        Err(why) => return failure(0, why).into_iter().collect(),
    }
    let mut budget = Budget::new(REQUEST_LIMIT);
    let mut faults = Vec::new();
    for (at, validation) in parts.rules.validations.iter().enumerate() {
        match evaluate(&validation.program, &validation.source, input, &mut budget) {
            Ok(CelValue::Bool(true)) => {}
            Ok(_) => faults.push(Fault {
                validation: at,
                reason: validation.reason.clone().unwrap_or_else(|| INVALID.to_owned()),
                message: validation.message(input, &mut budget),
            }),
            Err(why) => faults.extend(failure(at, why)),
        }
    }
    faults
}

fn evaluate(
    program: &Compiled,
    source: &str,
    input: &dyn Variables,
    budget: &mut Budget,
) -> Result<CelValue, String> {
    let program = program.as_ref().map_err(Clone::clone)?;
    program
        .evaluate_out_of(input, budget)
        .map_err(|why| format!("expression '{source}' resulted in error: {why}"))
}

impl Validation {
    /// What its expression says, if that is a line; else what is said, or the expression.
    fn message(&self, input: &dyn Variables, budget: &mut Budget) -> String {
        let program = self.message_program.as_ref().and_then(|program| program.as_ref().ok());
        if let Some(Ok(CelValue::String(text))) =
            program.map(|program| program.evaluate_out_of(input, budget))
        {
            let text = text.trim();
            if !text.is_empty() && text.len() <= MESSAGE && !text.contains('\n') {
                return text.to_owned();
            }
        }
        match self.message.as_deref().map(str::trim).filter(|message| !message.is_empty()) {
            Some(message) => message.to_owned(),
            None => format!("failed expression: {}", self.source.trim()),
        }
    }
}

/// What a policy has for the audit log; what can't be evaluated is a fault.
fn annotate(
    (policy, parts): (&Policy<Rules>, &Parts<Rules>),
    input: &dyn Variables,
) -> (Vec<(String, String)>, Vec<Fault>) {
    let mut budget = Budget::new(REQUEST_LIMIT);
    let (mut noted, mut faults) = (Vec::new(), Vec::new());
    if parts.rules.annotations.is_empty() || parts.conditions.hold(input) != Ok(true) {
        return (noted, faults);
    }
    for (at, (key, program)) in parts.rules.annotations.iter().enumerate() {
        match evaluate(program, key, input, &mut budget) {
            Ok(CelValue::String(value)) => noted.push((key.clone(), cut(value.trim()))),
            Ok(_) => {}
            Err(_) if policy.ignores_failure => {}
            Err(message) => faults.push(Fault::invalid(at, message)),
        }
    }
    (noted, faults)
}

fn cut(value: &str) -> String {
    value[..value.floor_char_boundary(NOTE)].to_owned()
}

/// What the bindings of a policy have for the audit log, each thing once.
#[derive(Debug, Default)]
struct Notes(BTreeMap<String, Vec<String>>);

impl Notes {
    fn extend(&mut self, noted: Vec<(String, String)>) {
        for (key, value) in noted {
            let values = self.0.entry(key).or_default();
            if !values.contains(&value) {
                values.push(value);
            }
        }
    }

    fn tell(self, policy: &str, attributes: &Attributes<'_>) {
        let Some(sender) = attributes.sender else { return };
        for (key, values) in self.0 {
            sender.feedback.annotate(format!("{policy}/{key}"), values.join(", "));
        }
    }
}

impl Refused {
    fn add(&mut self, policy: &Policy<Rules>, binding: Option<&Binding>, fault: Fault) {
        let (name, message) = (&policy.name, &fault.message);
        let message = match binding.map(|binding| &binding.name) {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{name}' with binding '{binding}' denied request: {message}"
            ),
            None => format!("ValidatingAdmissionPolicy '{name}' denied request: {message}"),
        };
        self.0.get_or_insert(Fault { message, ..fault });
    }

    fn answer(self, attributes: &Attributes<'_>) -> Result<(), ApiError> {
        let Some(Fault { reason, message, .. }) = self.0 else { return Ok(()) };
        let forbidden = attributes.forbidden(&message);
        let code = match reason.as_str() {
            "Forbidden" => 403,
            "Unauthorized" => 401,
            "RequestEntityTooLarge" => 413,
            _ => 422,
        };
        let mut details = forbidden.status().details.clone().unwrap_or_default();
        let cause = StatusCause { message: Some(message), ..StatusCause::default() };
        details.causes.get_or_insert_default().push(cause);
        Err(ApiError::new(code, &reason, forbidden.to_string()).with_details(Some(details)))
    }
}
