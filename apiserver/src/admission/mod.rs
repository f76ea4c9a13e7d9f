//! Admission: what the cluster as a whole has to say about a change, before the kind's own strategy has its
//! say. The plugins run in the order of [`Admission::standard`]; a plugin is a file here and a line there.

mod namespace_lifecycle;
mod service_account;
mod service_cluster_ip;

use std::{fmt, sync::Arc};

use api_machinery::ApiError;
use async_trait::async_trait;
use registry::ResourceDef;
use serde_json::Value;
use store::Revision;

use crate::{
    call::Call,
    config::Config,
    request::Verb,
    storage::{Address, Storage, WriteError},
};

pub(crate) use service_cluster_ip::{Repair, Suspects, Warning};

/// What a plugin may know of a create or update.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) call: &'a Call,
    /// The object's state before; absent at creation.
    pub(crate) old: Option<&'a Value>,
    /// The object's UID, which it gets only now if it is being created.
    pub(crate) uid: &'a str,
    pub(crate) dry_run: bool,
}

impl Attributes<'_> {
    /// Whether an object of this core kind is being written itself, not a subresource of it.
    fn is_core(&self, plural: &str) -> bool {
        let info = &self.call.info;
        info.subresource.is_none()
            && info.def.names.group.is_empty()
            && info.def.names.plural == plural
    }

    fn is_creation(&self) -> bool {
        self.call.info.verb == Verb::Create
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
trait Plugin: fmt::Debug + Send + Sync {
    /// Completes or refuses the object of a create or update.
    async fn admit(&self, _: &Attributes<'_>, _: &mut Value) -> Result<Vec<Claim>, ApiError> {
        Ok(Vec::new())
    }

    /// Refuses a deletion.
    fn may_remove(&self, _: &Call, _: Address<'_>) -> Result<(), ApiError> {
        Ok(())
    }

    /// Cleans up after an object that has changed.
    async fn changed(&self, _: &ResourceDef, _old: &Value, _new: &Value) {}

    /// Cleans up after an object that is gone.
    async fn removed(&self, _: &ResourceDef, _: &Value) {}
}

/// The plugins in their order.
#[derive(Debug)]
pub(crate) struct Admission(Vec<Box<dyn Plugin>>);

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

    /// Asks every plugin about an object; what was claimed so far is given back if one refuses.
    pub(crate) async fn admit(
        &self,
        storage: &Storage,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Admitted, ApiError> {
        let mut admitted = Admitted::default();
        for plugin in &self.0 {
            match plugin.admit(attributes, object).await {
                Ok(claims) => admitted.0.extend(claims),
                Err(error) => {
                    admitted.undo(storage).await;
                    return Err(error);
                }
            }
        }
        Ok(admitted)
    }

    /// Asks every plugin whether an object may be deleted.
    pub(crate) fn may_remove(&self, call: &Call, at: Address<'_>) -> Result<(), ApiError> {
        self.0.iter().try_for_each(|plugin| plugin.may_remove(call, at))
    }

    /// Tells every plugin that an object has changed.
    pub(crate) async fn changed(&self, def: &ResourceDef, old: &Value, new: &Value) {
        for plugin in &self.0 {
            plugin.changed(def, old, new).await;
        }
    }

    /// Tells every plugin that an object is gone.
    pub(crate) async fn removed(&self, def: &ResourceDef, object: &Value) {
        for plugin in &self.0 {
            plugin.removed(def, object).await;
        }
    }
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
