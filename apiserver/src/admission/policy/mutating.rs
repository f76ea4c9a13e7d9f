//! Policies that change what a request brings (Kubernetes: `plugin/policy/mutating`).

use std::{collections::BTreeMap, sync::Arc};

use api_machinery::{ApiError, extent, managed_fields, patch};
use api_types::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding,
};
use async_trait::async_trait;
use expressions::{
    Budget, Composed, EXPRESSION_LIMIT, EvaluationError, REQUEST_LIMIT, Type, Value as CelValue,
};
use registry::{AnyObject, ResourceDef};
use serde_json::{Value, json};

use super::{
    aside::aside,
    configured::{self, Binding, Common, Compiled, Compiler, Configured, Kind, Parts, Policy},
    invocation::{self, Invocation, Surroundings},
};
use crate::{
    admission::{
        Attributes, Claim, Operation, Plugin, changed,
        matching::{Seen, is_exempt_from_policies},
    },
    authorizer::Authorizer,
    catalogue::InForce,
    storage::Storage,
};

/// What mutations may make of an object, as [`extent::weight`] weighs it, unless it was brought heavier: many small values
/// weigh more than the longest body of a request.
const HEAVIEST: usize = 8 << 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct MutatingPolicies {
    surroundings: Surroundings,
    configured: Configured<Mutating>,
    /// Look again at what policies have changed. There are none if it looks again itself at what others have changed since,
    /// for the policies that wish to.
    reinvoked: Option<Vec<Box<dyn Plugin>>>,
}

/// The kind.
#[derive(Debug)]
struct Mutating;

#[derive(Debug)]
struct Rules {
    mutations: Vec<Mutation>,
}

#[derive(Debug)]
struct Mutation {
    source: String,
    program: Compiled,
    is_patch: bool,
}

impl Kind for Mutating {
    type Policy = MutatingAdmissionPolicy;
    type Binding = MutatingAdmissionPolicyBinding;
    type Rules = Rules;
    const PLURALS: [&'static str; 2] =
        ["mutatingadmissionpolicies", "mutatingadmissionpolicybindings"];

    fn common(policy: &MutatingAdmissionPolicy) -> Common {
        configured::of_mutating(policy)
    }

    fn rules(policy: MutatingAdmissionPolicy, compiler: &Compiler) -> Rules {
        let spec = policy.spec.unwrap_or_default();
        let mutations = spec.mutations.into_iter().flatten().map(|it| {
            let is_patch = it.patch_type == "JSONPatch";
            let patch = it.json_patch.and_then(|it| it.expression);
            let apply = it.apply_configuration.and_then(|it| it.expression);
            let (source, wanted) = match is_patch {
                true => (patch, Type::list(Type::named("JSONPatch"))),
                false => (apply, Type::named("Object")),
            };
            let source = source.unwrap_or_default().trim().to_owned();
            Mutation { program: compiler.compile(&source, &[wanted]), source, is_patch }
        });
        Rules { mutations: mutations.collect() }
    }

    fn binding(binding: MutatingAdmissionPolicyBinding) -> (String, Binding) {
        configured::mutating_binding(binding)
    }
}

#[async_trait]
impl Plugin for MutatingPolicies {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let policies = self.configured.policies(&self.surroundings.storage);
        let changes = matches!(attributes.operation, Operation::Create | Operation::Update);
        if let Some(object) = object.filter(|_| changes && !policies.is_empty())
            && !is_exempt_from_policies(attributes)
        {
            Box::pin(self.change(&policies, attributes, object)).await?;
        }
        Ok(Vec::new())
    }
}

impl MutatingPolicies {
    /// Those of the cache, and who looks again at what they have changed; or, without, those that wish to see again what
    /// others have changed (Kubernetes: `reinvocationPolicy`).
    pub(crate) fn new(
        catalogue: InForce,
        storage: Arc<Storage>,
        authorizer: Arc<Authorizer>,
        reinvoked: Option<Vec<Box<dyn Plugin>>>,
    ) -> Self {
        let configured = Configured::new(&catalogue.load());
        let surroundings = Surroundings { catalogue, storage, authorizer };
        Self { surroundings, configured, reinvoked }
    }

    /// One after another; then, if something has changed, again the plugins before them and those that wish it.
    async fn change(
        &self,
        policies: &[Policy<Rules>],
        attributes: &Attributes<'_>,
        object: &mut AnyObject,
    ) -> Result<(), ApiError> {
        let before = object.to_value()?;
        // The state that each one has left.
        let mut left: Vec<Option<Value>> = vec![None; policies.len()];
        for (policy, left) in policies.iter().zip(&mut left) {
            if self.reinvoked.is_some() || policy.is_reinvoked {
                self.change_by(policy, attributes, object).await?;
                *left = Some(object.to_value()?).filter(|_| policy.is_reinvoked);
            }
        }
        if let Some(reinvoked) = &self.reinvoked
            && before != object.to_value()?
        {
            for plugin in reinvoked {
                plugin.mutate(attributes, Some(&mut *object)).await?;
            }
        }
        for (policy, left) in policies.iter().zip(left) {
            if let Some(left) = left
                && left != object.to_value()?
            {
                self.change_by(policy, attributes, object).await?;
            }
        }
        Ok(())
    }

    async fn change_by(
        &self,
        policy: &Policy<Rules>,
        attributes: &Attributes<'_>,
        object: &mut AnyObject,
    ) -> Result<(), ApiError> {
        let (catalogue, around) = (self.surroundings.catalogue.load(), &self.surroundings);
        let old = attributes.old.map_or(Ok(Value::Null), AnyObject::to_value)?;
        let before = object.to_value()?;
        let Some(seen) = around.seen(policy, &catalogue, attributes, (&before, &old)).await? else {
            return Ok(());
        };
        let (invocations, misconfigured) =
            around.invocations(policy, &catalogue, attributes, (&before, &old)).await;
        if let Some(it) = misconfigured.into_iter().find(|_| !policy.ignores_failure) {
            let why = format!("failed to configure binding: {}", it.why);
            return Err(refusal(policy, it.binding, &why));
        }
        if invocations.is_empty() {
            return Ok(());
        }
        let given = around.given(attributes, &seen).await?;
        let of = (policy, policy.parts().await);
        let patched = aside(&seen.object, || changed_by(of, &invocations, given, &seen))?;
        if patched == *seen.object {
            return Ok(());
        }
        let value = match std::ptr::eq(seen.def, attributes.at.def) {
            true => patched,
            false => around.storage.converted(patched, attributes.at.def).await?,
        };
        *object = changed::decoded(attributes, value)
            .map_err(|error| refusal(policy, None, &error.to_string()))?;
        Ok(())
    }
}

fn refusal(policy: &Policy<Rules>, binding: Option<&Binding>, why: &str) -> ApiError {
    let name = &policy.name;
    let message = match binding.map(|binding| &binding.name) {
        Some(binding) => format!("policy '{name}' with binding '{binding}' denied request: {why}"),
        None => format!("policy {name:?} denied request: {why}"),
    };
    ApiError::new(403, "Invalid", message)
}

/// The object after all mutations of a policy, each of which sees what those before it have made. They share what they
/// may cost.
fn changed_by(
    (policy, parts): (&Policy<Rules>, &Parts<Rules>),
    invocations: &[Invocation<'_>],
    mut given: BTreeMap<&'static str, CelValue>,
    seen: &Seen<'_>,
) -> Result<Value, ApiError> {
    let mut object = seen.object.clone().into_owned();
    let heaviest = extent::weight(&object).max(HEAVIEST);
    let mut budget = Budget::new(REQUEST_LIMIT);
    for it in invocations {
        for mutation in &parts.rules.mutations {
            given.insert("object", CelValue::from(&object));
            let input = invocation::input(parts, &given, &it.params);
            let made = mutated(parts, mutation, &input, (&object, seen.def), &mut budget);
            match made.and_then(|made| made.map(|made| bounded(made, heaviest)).transpose()) {
                Ok(Some(next)) => object = next,
                Ok(None) => {}
                Err(_) if policy.ignores_failure => {}
                Err(why) => return Err(refusal(policy, Some(it.binding), &why)),
            }
        }
    }
    Ok(object)
}

/// What a mutation has made, if others can bear it: the next mutation may nest it, and double it, again.
fn bounded(object: Value, heaviest: usize) -> Result<Value, String> {
    shallow(&object)?;
    match extent::weight(&object) <= heaviest {
        true => Ok(object),
        false => Err("the object that comes of it is too large".to_owned()),
    }
}

fn shallow(value: &Value) -> Result<(), String> {
    match extent::is_within(value, extent::MAX_DEPTH) {
        true => Ok(()),
        false => Err("what comes of it exceeds max depth".to_owned()),
    }
}

/// The object after a mutation, if its policy is for it.
fn mutated(
    parts: &Parts<Rules>,
    mutation: &Mutation,
    input: &Composed,
    (object, def): (&Value, &ResourceDef),
    budget: &mut Budget,
) -> Result<Option<Value>, String> {
    if !parts.conditions.hold(input)? {
        return Ok(None);
    }
    let program = mutation.program.as_ref().map_err(Clone::clone)?;
    let source = &mutation.source;
    let value = program
        .evaluate_out_of(input, budget)
        .and_then(|value| written(&value, budget))
        .map_err(|why| format!("expression '{source}' resulted in error: {why}"))?;
    match mutation.is_patch {
        true => patched(object, &value).map(Some),
        false => applied(object, value, def).map(Some),
    }
}

/// What shares its parts is small until it is written: that may cost as much again as an expression.
fn written(value: &CelValue, budget: &mut Budget) -> Result<Value, EvaluationError> {
    let mut portion = budget.portion(EXPRESSION_LIMIT);
    let json = value.to_json(&mut portion);
    budget.settle(EXPRESSION_LIMIT, &portion);
    json
}

/// A test that fails leaves the object as it is.
fn patched(object: &Value, operations: &Value) -> Result<Value, String> {
    match patch::apply_json(object, operations) {
        Ok(patched) => Ok(patched),
        Err(_) if has_failed_test(object, operations) => Ok(object.clone()),
        Err(why) => Err(format!("JSON Patch: {why}")),
    }
}

/// Whether what keeps a patch from being applied is one of its tests: without them it can be.
fn has_failed_test(object: &Value, operations: &Value) -> bool {
    let all = operations.as_array().map(Vec::as_slice).unwrap_or_default();
    let others: Vec<_> = all.iter().filter(|it| it["op"] != "test").cloned().collect();
    others.len() < all.len() && patch::apply_json(object, &json!(others)).is_ok()
}

/// As an apply merges it.
fn applied(object: &Value, mut configuration: Value, def: &ResourceDef) -> Result<Value, String> {
    shallow(&configuration)?;
    for field in ["apiVersion", "kind"] {
        configuration[field] = object[field].clone();
    }
    let shape = def.shapes().root();
    let misfit = managed_fields::check(&configuration, shape);
    misfit.map_err(|why| {
        format!("error applying patch: failed to convert patch object to typed object: {why}")
    })?;
    Ok(managed_fields::merge(object, &configuration, shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mutations_make_is_neither_deeper_nor_heavier_than_an_object_may_be() {
        let nested = |depth| (0..depth).fold(json!("a"), |inner, _| json!({"a": inner}));
        assert!(bounded(nested(extent::MAX_DEPTH), HEAVIEST).is_ok());
        assert!(bounded(nested(extent::MAX_DEPTH + 1), HEAVIEST).is_err());
        let heavy = json!({"a": "x".repeat(HEAVIEST)});
        let weight = extent::weight(&heavy);
        assert!(bounded(heavy.clone(), HEAVIEST).is_err());
        assert!(bounded(heavy, weight).is_ok());
    }
}
