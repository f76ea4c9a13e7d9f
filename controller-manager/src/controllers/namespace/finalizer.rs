//! Which namespaces wait for this controller.

use api_types::api::core::v1::Namespace;

pub(super) const FINALIZER: &str = "kubernetes";

pub(super) fn is_leaving(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_some()
}

/// Whether this controller has to empty it.
pub(super) fn is_ours(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|spec| spec.finalizers.as_deref());
    is_leaving(namespace) && finalizers.is_some_and(|all| all.iter().any(|one| one == FINALIZER))
}
