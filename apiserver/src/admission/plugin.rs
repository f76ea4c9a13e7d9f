//! What a plugin is, and what it may know.

use std::fmt;

use api_machinery::ApiError;
use api_types::meta::DeleteOptions;
use async_trait::async_trait;
use registry::{AnyObject, Subresource};
use serde_json::Value;
use store::Revision;

use super::feedback::Feedback;
use crate::{identity::Identity, query::Query, storage::Address};

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
    /// What a deletion is to be.
    pub(crate) deletion: Option<&'a DeleteOptions>,
    pub(crate) sender: Option<Sender<'a>>,
    pub(crate) identity: &'a Identity,
    pub(crate) dry_run: bool,
}

/// What a request says beside its object, and whom it is answered to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender<'a> {
    pub(crate) query: &'a Query,
    pub(crate) is_patch: bool,
    pub(crate) feedback: &'a Feedback,
}

impl Attributes<'_> {
    /// Whether it is about an object of this core kind itself, not a subresource of it.
    pub(super) fn is_core(&self, plural: &str) -> bool {
        self.subresource.is_none() && self.at.def.is_core(plural)
    }

    /// Whether it is about how much the containers of a pod may take.
    pub(super) fn resizes(&self) -> bool {
        self.operation == Operation::Update && self.subresource == Some(Subresource::Resize)
    }

    /// The refusal of the request.
    pub(super) fn forbidden(&self, why: &str) -> ApiError {
        let names = &self.at.def.names;
        ApiError::forbidden(&names.group, &names.plural, self.at.name, why)
    }
}

/// A key that a plugin wrote beside the object, to be deleted if the object isn't stored.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(super) key: String,
    /// At which it was written: if it is at another by now, it is another's.
    pub(super) revision: Revision,
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
