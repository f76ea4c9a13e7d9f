//! Who makes objects the parameters of a policy has to be able to read them: the policy could tell what they are
//! (Kubernetes: `pkg/registry/admissionregistration/*/authz.go`).

use std::sync::Arc;

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::api::admissionregistration::v1::{
    MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ParamKind, ParamRef,
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use async_trait::async_trait;
use registry::AnyObject;
use serde_json::Value;

use super::{invocation::Surroundings, params};
use crate::{
    admission::{Attributes, Operation, Plugin},
    authorizer::Authorizer,
    catalogue::{Catalogue, InForce},
    rbac::{Action, Asked, Decision, has_every_right},
    storage::Storage,
};

const GROUP: &str = "admissionregistration.k8s.io";
/// Whatever there is.
const ANY: &str = "*";

/// See the module.
#[derive(Debug)]
pub(crate) struct ParamRights(Surroundings);

/// What a binding gives to a policy.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Given<'a> {
    /// The plural of its kind.
    policies: &'static str,
    policy: &'a str,
    params: &'a ParamRef,
}

#[async_trait]
impl Plugin for ParamRights {
    async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        let writes = matches!(attributes.operation, Operation::Create | Operation::Update);
        let Some(object) = object.filter(|_| writes && attributes.at.def.names.group == GROUP)
        else {
            return Ok(());
        };
        if has_every_right(attributes.identity) {
            return Ok(());
        }
        let old = attributes.old;
        if let Some(kind) = param_kind(object) {
            return match old.and_then(param_kind) == Some(kind) {
                true => Ok(()),
                false => self.of_kind(attributes, kind),
            };
        }
        match given(object) {
            Some(now) if old.and_then(given) != Some(now) => self.of_binding(attributes, now).await,
            _ => Ok(()),
        }
    }
}

impl ParamRights {
    /// By what is in force.
    pub(crate) fn new(
        catalogue: InForce,
        storage: Arc<Storage>,
        authorizer: Arc<Authorizer>,
    ) -> Self {
        Self(Surroundings { catalogue, storage, authorizer })
    }

    fn of_kind(&self, attributes: &Attributes<'_>, kind: &ParamKind) -> Result<(), ApiError> {
        let catalogue = self.0.catalogue.load();
        let (group, resource) = target(Some(kind), &catalogue);
        let action = Action { verb: "get", group, resource, name: ANY, ..Action::default() };
        if self.may(attributes, action) {
            return Ok(());
        }
        let user = &attributes.identity.user;
        let name = kind.kind.as_deref().unwrap_or_default();
        let version = kind.api_version.as_deref().unwrap_or_default();
        let why = format!(
            "user {user} must have \"get\" permission on all objects of the referenced paramKind (kind={name}, apiVersion={version})"
        );
        Err(refusal(attributes, "paramKind", &why))
    }

    async fn of_binding(
        &self,
        attributes: &Attributes<'_>,
        given: Given<'_>,
    ) -> Result<(), ApiError> {
        let resource = (GROUP, given.policies);
        let policy: Option<Value> = self.0.objects().find_of(resource, None, given.policy).await?;
        let kind = policy.as_ref().map(|policy| policy["spec"]["paramKind"].clone());
        let kind: Option<ParamKind> = kind.and_then(|kind| serde_json::from_value(kind).ok());
        let catalogue = self.0.catalogue.load();
        let (group, resource) = target(kind.as_ref(), &catalogue);
        let name = given.params.name.as_deref().unwrap_or_default();
        let verb = if name.is_empty() { "list" } else { "get" };
        let namespace = given.params.namespace.as_deref().filter(|it| !it.is_empty());
        let action = Action { verb, group, resource, namespace, name, ..Action::default() };
        if self.may(attributes, action) {
            return Ok(());
        }
        let user = &attributes.identity.user;
        let else_all = format!(
            "to determine minimum required permissions and user {user} does not have \"{verb}\" permission for all groups, versions and resources"
        );
        let why = match (&policy, &kind) {
            (None, _) => format!("unable to get policy {} {else_all}", given.policy),
            (_, Some(kind)) if resource == ANY => {
                let kind = kind.kind.as_deref().unwrap_or_default();
                format!("unable to resolve paramKind {kind} {else_all}")
            }
            _ => format!(
                "user {user} does not have \"{verb}\" permission on the object referenced by paramRef"
            ),
        };
        Err(refusal(attributes, "paramRef", &why))
    }

    fn may(&self, attributes: &Attributes<'_>, action: Action<'_>) -> bool {
        let decision = self.0.authorizer.decide(attributes.identity, Asked::Resource(action));
        matches!(decision, Decision::Allowed(_))
    }
}

/// The API group and the resource that are to be read; all, as far as nobody knows which.
fn target<'a>(kind: Option<&'a ParamKind>, catalogue: &'a Catalogue) -> (&'a str, &'a str) {
    let Some(kind) = kind else { return (ANY, ANY) };
    let version = kind.api_version.as_deref().unwrap_or_default();
    let group = version.rsplit_once('/').map_or("", |(group, _)| group);
    let def = params::definition(kind, catalogue);
    (group, def.map_or(ANY, |def| def.names.plural.as_str()))
}

fn refusal(attributes: &Attributes<'_>, field: &str, why: &str) -> ApiError {
    let at = attributes.at;
    let mut errors = FieldErrors::default();
    errors.forbidden(&FieldPath::new("spec").child(field), why);
    ApiError::invalid(GROUP, at.def.names.kind.as_str(), at.name, &errors)
}

fn param_kind(object: &AnyObject) -> Option<&ParamKind> {
    if let Some(policy) = object.get::<ValidatingAdmissionPolicy>() {
        return policy.spec.as_ref()?.param_kind.as_ref();
    }
    object.get::<MutatingAdmissionPolicy>()?.spec.as_ref()?.param_kind.as_ref()
}

fn given(object: &AnyObject) -> Option<Given<'_>> {
    if let Some(binding) = object.get::<ValidatingAdmissionPolicyBinding>() {
        let (policies, spec) = ("validatingadmissionpolicies", &binding.spec);
        let params = spec.param_ref.as_ref()?;
        return Some(Given { policies, policy: &spec.policy_name, params });
    }
    let spec = object.get::<MutatingAdmissionPolicyBinding>()?.spec.as_ref()?;
    let policy = spec.policy_name.as_deref().unwrap_or_default();
    let params = spec.param_ref.as_ref()?;
    Some(Given { policies: "mutatingadmissionpolicies", policy, params })
}
