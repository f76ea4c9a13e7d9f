//! Nobody gives rights that it does not have: whoever writes a role must hold all that it gives, or have the verb
//! `escalate` on it; whoever binds one must hold all of it too, or have `bind` on it
//! (Kubernetes: `pkg/registry/rbac/*/policybased`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::{
    Metadata,
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef},
    meta::ObjectMeta,
};
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Operation, Plugin};
use crate::{
    authorizer::Authorizer,
    rbac::{self, Action, Asked, Decision, GROUP, has_every_right},
};

/// See the module.
#[derive(Debug)]
pub(super) struct RoleEscalation {
    pub(super) authorizer: Arc<Authorizer>,
}

#[async_trait]
impl Plugin for RoleEscalation {
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
        if has_every_right(attributes.identity) || only_collection_differs(attributes.old, object) {
            return Ok(());
        }
        if let Some(role) = object.get::<Role>() {
            return self.role(attributes, role.rules.as_deref());
        }
        if let Some(role) = object.get::<ClusterRole>() {
            self.role(attributes, role.rules.as_deref())?;
            return self.aggregation(attributes, role);
        }
        if let Some(binding) = object.get::<RoleBinding>() {
            return self.binding(attributes, &binding.role_ref).await;
        }
        match object.get::<ClusterRoleBinding>() {
            Some(binding) => self.binding(attributes, &binding.role_ref).await,
            None => Ok(()),
        }
    }
}

impl RoleEscalation {
    fn role(
        &self,
        attributes: &Attributes<'_>,
        rules: Option<&[PolicyRule]>,
    ) -> Result<(), ApiError> {
        let at = attributes.at;
        if self.may(attributes, "escalate", &at.def.names.plural, at.name) {
            return Ok(());
        }
        self.confirm(attributes, rules.unwrap_or_default())
    }

    /// It could gather any rule, or give up those that others gathered.
    fn aggregation(&self, attributes: &Attributes<'_>, role: &ClusterRole) -> Result<(), ApiError> {
        let at = attributes.at;
        let gathers = |role: &ClusterRole| role.aggregation_rule.is_some();
        let gathered = attributes.old.and_then(AnyObject::get::<ClusterRole>).is_some_and(gathers);
        if !gathers(role) && !gathered
            || self.may(attributes, "escalate", &at.def.names.plural, at.name)
        {
            return Ok(());
        }
        let confirmed = self.confirm(attributes, &rbac::everything());
        let why = "must have cluster-admin privileges to use the aggregationRule";
        confirmed.map_err(|_| refusal(attributes, why))
    }

    async fn binding(&self, attributes: &Attributes<'_>, role: &RoleRef) -> Result<(), ApiError> {
        let plural = if role.kind == "Role" { "roles" } else { "clusterroles" };
        if self.may(attributes, "bind", plural, &role.name) {
            return Ok(());
        }
        let rules = self.authorizer.rbac.role(role, attributes.at.namespace).await?;
        self.confirm(attributes, &rules)
    }

    fn confirm(&self, attributes: &Attributes<'_>, wanted: &[PolicyRule]) -> Result<(), ApiError> {
        let Attributes { identity, at, .. } = attributes;
        let confirmed = self.authorizer.rbac.confirm_no_escalation(identity, at.namespace, wanted);
        confirmed.map_err(|why| refusal(attributes, &why))
    }

    fn may(&self, attributes: &Attributes<'_>, verb: &str, resource: &str, name: &str) -> bool {
        let namespace = attributes.at.namespace;
        let action = Action { verb, group: GROUP, resource, namespace, name, ..Action::default() };
        let decision = self.authorizer.decide(attributes.identity, Asked::Resource(action));
        matches!(decision, Decision::Allowed(_))
    }
}

fn refusal(attributes: &Attributes<'_>, why: &str) -> ApiError {
    let at = attributes.at;
    ApiError::forbidden(GROUP, &at.def.names.plural, at.name, why)
}

/// Whether an update leaves all as it is but what garbage collection goes by: who removes a finalizer needs no rights.
/// Labels are looked at, since roles are gathered by them (Kubernetes: `IsOnlyMutatingGCFields`).
fn only_collection_differs(old: Option<&AnyObject>, new: &AnyObject) -> bool {
    fn same<K: Metadata<Ty = ObjectMeta> + Clone + PartialEq + 'static>(
        old: &AnyObject,
        new: &AnyObject,
    ) -> bool {
        let rest = |object: &AnyObject| {
            let mut object = object.get::<K>()?.clone();
            let metadata = object.metadata_mut();
            (metadata.finalizers, metadata.owner_references) = (None, None);
            (metadata.managed_fields, metadata.resource_version) = (None, None);
            Some(object)
        };
        matches!((rest(old), rest(new)), (Some(old), Some(new)) if old == new)
    }
    let Some(old) = old else { return false };
    same::<Role>(old, new)
        || same::<ClusterRole>(old, new)
        || same::<RoleBinding>(old, new)
        || same::<ClusterRoleBinding>(old, new)
}
