//! Admission: what the cluster as a whole has to say about a request. First every plugin may change the object that is
//! brought, before the kind's own strategy has its say; then every plugin may refuse what is going to be stored. They are
//! asked in the order of [`Admission::standard`]; a plugin is a file here and a line there.

mod namespace_lifecycle;
mod service_account;
mod service_cluster_ip;

use std::{fmt, sync::Arc};

use api_machinery::ApiError;
use async_trait::async_trait;
use registry::{AnyObject, Subresource};
use serde_json::Value;
use store::Revision;

use crate::{
    config::Config,
    identity::Identity,
    storage::{Address, Storage, WriteError},
};

pub(crate) use service_cluster_ip::{Repair, Suspects, Warning};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Create,
    Update,
    Delete,
    /// A connection to it is opened: `pods/exec` and the like.
    Connect,
}

/// What a plugin may know of a request, beside the object that it brings: that of the path's own kind, or a Scale or
/// Binding; none with a deletion or a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) operation: Operation,
    /// The resource, the namespace and the name, which is empty while the server is to choose one.
    pub(crate) at: Address<'a>,
    pub(crate) subresource: Option<Subresource>,
    /// The object's UID, which it gets only now if it is being created.
    pub(crate) uid: &'a str,
    /// What is there before, of the same kind as the object that is brought; absent at creation, and if it can't be read.
    pub(crate) old: Option<&'a AnyObject>,
    /// What a connection is to be: a `PodExecOptions` or the like.
    pub(crate) options: Option<&'a Value>,
    pub(crate) identity: &'a Identity,
    pub(crate) dry_run: bool,
}

impl Attributes<'_> {
    /// Whether it is about an object of this core kind itself, not a subresource of it.
    fn is_core(&self, plural: &str) -> bool {
        self.subresource.is_none() && self.at.def.is_core(plural)
    }
}

/// A key that a plugin wrote beside the object, to be deleted if the object isn't stored.
#[derive(Debug)]
pub(crate) struct Claim {
    key: String,
    /// At which it was written: if it is at another by now, it is another's.
    revision: Revision,
}

/// A part of admission. Each method has the answer of a plugin that doesn't care.
#[async_trait]
pub(crate) trait Plugin: fmt::Debug + Send + Sync {
    /// Completes or refuses the object that is brought.
    async fn mutate(
        &self,
        _: &Attributes<'_>,
        _: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        Ok(Vec::new())
    }

    /// Refuses what is going to be stored, the deletion, or the connection.
    async fn validate(&self, _: &Attributes<'_>, _: Option<&AnyObject>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Cleans up after an object that has changed.
    async fn changed(&self, _: Address<'_>, _old: &AnyObject, _new: &AnyObject) {}

    /// Cleans up after an object that is gone.
    async fn removed(&self, _: Address<'_>, _: &AnyObject) {}
}

/// The plugins in their order.
#[derive(Debug)]
pub(crate) struct Admission(pub(crate) Vec<Box<dyn Plugin>>);

/// What was claimed for an object that is about to be stored.
#[derive(Debug, Default)]
pub(crate) struct Admitted(Vec<Claim>);

impl Admission {
    /// Every plugin, in the order in which they are asked.
    pub(crate) fn standard(storage: &Arc<Storage>, config: &Config) -> Self {
        let range = config.service_cidr;
        Self(vec![
            Box::new(namespace_lifecycle::NamespaceLifecycle { storage: storage.clone() }),
            Box::new(service_account::ServiceAccount),
            Box::new(service_cluster_ip::ServiceClusterIp { storage: storage.clone(), range }),
        ])
    }

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

impl Admitted {
    /// Gives back what was claimed if the object is certainly not stored. If nobody knows, it stays claimed: a claim
    /// without an object is found by the repair, two objects with one address are not mended by anybody.
    pub(crate) async fn settle<T>(self, storage: &Storage, result: &Result<T, WriteError>) {
        if matches!(result, Err(WriteError::Refused(_) | WriteError::Outdated(_))) {
            self.undo(storage).await;
        }
    }

    /// Gives back what was claimed. What can't be given back now is left to the repair.
    async fn undo(self, storage: &Storage) {
        for Claim { key, revision } in self.0 {
            if let Err(WriteError::Unknown(error)) = storage.delete(&key, revision).await {
                tracing::warn!(key, %error, "claim stays until it is repaired");
            }
        }
    }
}
