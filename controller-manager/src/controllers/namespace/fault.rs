//! What keeps a namespace from being emptied.

use kube::discovery::ApiResource;

use crate::frame;

#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the namespace is another one now")]
    Replaced,
    #[error(
        "unexpected items still remain in namespace: {namespace} for gvr: {}/{}, Resource={}",
        resource.group, resource.version, resource.plural
    )]
    Remaining { namespace: String, resource: ApiResource },
    /// There may be objects of kinds that are not known.
    #[error("{0}")]
    Undiscovered(String),
}

impl frame::Fault for Fault {
    /// The one that has taken the namespace's name is looked at for itself.
    fn may_pass(&self) -> bool {
        !matches!(self, Self::Replaced)
    }
}
