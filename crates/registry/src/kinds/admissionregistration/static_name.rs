//! Names of what a server reads from files of its own (Kubernetes: `pkg/apis/admissionregistration/validation/static_suffix.go`).

use api_types::meta::ObjectMeta;

use crate::rules::text;

const SUFFIX: &str = ".static.k8s.io";

/// What is told of an object with such a name.
pub(super) fn warnings(metadata: &ObjectMeta) -> Vec<String> {
    let is_static = text(metadata.name.as_ref()).ends_with(SUFFIX);
    let warning = || {
        format!(
            "metadata.name: names ending with {SUFFIX:?} are reserved for static manifest-based configurations and cannot be managed via the API"
        )
    };
    is_static.then(warning).into_iter().collect()
}
