//! Admission: what the cluster as a whole has to say about a request. First every plugin may change the object that is
//! brought, before the kind's own strategy has its say; then every plugin may refuse what is going to be stored. They are
//! asked in the order of [`Admission::standard`]; a plugin is a file here and a line there.

mod admitted;
mod certificate_signing;
mod changed;
mod claims;
mod conditions;
mod default_class;
mod default_ingress_class;
mod default_storage_class;
mod default_toleration_seconds;
mod deny_service_external_ips;
mod device_admin_access;
mod feedback;
mod gpu_job_sources;
mod limit_ranger;
mod matching;
mod namespace_lifecycle;
mod node_restriction;
mod plugin;
mod pod_security;
mod policy;
mod priority;
mod repair;
mod request;
mod resource_quota;
mod role_escalation;
mod runtime_class;
mod scheduler_strategy;
mod service_account;
mod service_cluster_ip;
mod service_node_port;
mod service_ranges;
mod standard;
mod storage_protection;
mod taint_nodes_by_condition;
mod variables;
mod webhook;

use api_machinery::ApiError;
use registry::AnyObject;

use crate::storage::{Address, Storage};

pub(crate) use admitted::Admitted;
pub(crate) use claims::renew as renew_claims;
pub(crate) use feedback::Feedback;
pub(crate) use plugin::{Attributes, Claim, Operation, Plugin, Sender};
pub(crate) use repair::{Repair, Suspects, Warning};
pub(crate) use service_ranges::{DEFAULT as DEFAULT_SERVICE_RANGE, known as known_service_ranges};

/// The plugins in their order.
#[derive(Debug)]
pub(crate) struct Admission(pub(crate) Vec<Box<dyn Plugin>>);

impl Admission {
    /// Lets every plugin change an object; what was claimed so far is given back if one refuses.
    pub(crate) async fn mutate(
        &self,
        storage: &Storage,
        attributes: &Attributes<'_>,
        mut object: Option<&mut AnyObject>,
    ) -> Result<Admitted, ApiError> {
        let mut admitted = Admitted::default();
        for plugin in &self.0 {
            match plugin.mutate(attributes, object.as_deref_mut()).await {
                Ok(claims) => admitted.0.extend(claims),
                Err(error) => {
                    admitted.undo(storage).await;
                    return Err(refused(plugin.as_ref(), attributes, error));
                }
            }
        }
        Ok(admitted)
    }

    /// Asks every plugin about what is going to be stored or to be deleted, or about a connection.
    pub(crate) async fn validate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&AnyObject>,
    ) -> Result<(), ApiError> {
        for plugin in &self.0 {
            let answer = plugin.validate(attributes, object).await;
            answer.map_err(|error| refused(plugin.as_ref(), attributes, error))?;
        }
        Ok(())
    }

    /// Both, for a request that stores no object of its own, so that nothing is claimed for it.
    pub(crate) async fn admit(
        &self,
        storage: &Storage,
        attributes: &Attributes<'_>,
        mut object: Option<&mut AnyObject>,
    ) -> Result<(), ApiError> {
        self.mutate(storage, attributes, object.as_deref_mut()).await?;
        self.validate(attributes, object.as_deref()).await
    }

    /// Tells every plugin that an object has changed.
    pub(crate) async fn changed(&self, at: Address<'_>, old: &AnyObject, new: &AnyObject) {
        for plugin in &self.0 {
            plugin.changed(at, old, new).await;
        }
    }

    /// Tells every plugin that an object is gone.
    pub(crate) async fn removed(&self, at: Address<'_>, object: &AnyObject) {
        for plugin in &self.0 {
            plugin.removed(at, object).await;
        }
    }
}

fn refused(plugin: &dyn Plugin, attributes: &Attributes<'_>, error: ApiError) -> ApiError {
    let Attributes { operation, at, subresource, options, identity, .. } = attributes;
    tracing::debug!(
        ?plugin, ?operation, resource = at.def.qualified(), ?subresource, namespace = at.namespace,
        name = at.name, ?options, user = identity.user, %error, "admission refuses"
    );
    error
}
