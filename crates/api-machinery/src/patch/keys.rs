//! How lists and objects are merged: the `patchStrategy` and `patchMergeKey` tags of Kubernetes' types, as tables. A path
//! is the kind and then the names of fields, without indices.

use serde_json::Value;

/// How a list takes a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMerge {
    /// The patch's list replaces it.
    Atomic,
    /// A set of plain values, which the patch adds to.
    Set,
    /// Objects that are told apart by this field.
    Key(&'static str),
}

/// The ends of the paths of the lists that are merged. Of those that fit the longest counts.
const TABLE: &[(&[&str], ListMerge)] = &[
    (&["metadata", "finalizers"], ListMerge::Set),
    (&["metadata", "ownerReferences"], ListMerge::Key("uid")),
    (&["status", "conditions"], ListMerge::Key("type")),
    (&["CertificateSigningRequest", "status", "conditions"], ListMerge::Atomic),
    (&["CustomResourceDefinition", "status", "conditions"], ListMerge::Atomic),
    (&["ValidatingAdmissionPolicy", "status", "conditions"], ListMerge::Atomic),
    // Pods and pod templates.
    (&["spec", "containers"], ListMerge::Key("name")),
    (&["spec", "initContainers"], ListMerge::Key("name")),
    (&["spec", "ephemeralContainers"], ListMerge::Key("name")),
    (&["spec", "volumes"], ListMerge::Key("name")),
    (&["spec", "imagePullSecrets"], ListMerge::Key("name")),
    (&["spec", "hostAliases"], ListMerge::Key("ip")),
    (&["spec", "topologySpreadConstraints"], ListMerge::Key("topologyKey")),
    (&["spec", "schedulingGates"], ListMerge::Key("name")),
    (&["spec", "resourceClaims"], ListMerge::Key("name")),
    (&["status", "podIPs"], ListMerge::Key("ip")),
    (&["status", "hostIPs"], ListMerge::Key("ip")),
    (&["status", "resourceClaimStatuses"], ListMerge::Key("name")),
    // Containers of all three sorts, and their statuses.
    (&["containers", "ports"], ListMerge::Key("containerPort")),
    (&["initContainers", "ports"], ListMerge::Key("containerPort")),
    (&["ephemeralContainers", "ports"], ListMerge::Key("containerPort")),
    (&["env"], ListMerge::Key("name")),
    (&["volumeMounts"], ListMerge::Key("mountPath")),
    (&["volumeDevices"], ListMerge::Key("devicePath")),
    (&["allocatedResourcesStatus"], ListMerge::Key("name")),
    // The rest.
    (&["Service", "spec", "ports"], ListMerge::Key("port")),
    (&["ServiceAccount", "secrets"], ListMerge::Key("name")),
    (&["spec", "podCIDRs"], ListMerge::Set),
    (&["status", "addresses"], ListMerge::Key("type")),
    (&["spec", "drivers"], ListMerge::Key("name")),
    (&["status", "reservedFor"], ListMerge::Key("uid")),
    (&["webhooks"], ListMerge::Key("name")),
    (&["matchConditions"], ListMerge::Key("name")),
    (&["ValidatingAdmissionPolicy", "spec", "variables"], ListMerge::Key("name")),
    (&["x-kubernetes-validations"], ListMerge::Key("rule")),
];

/// Where a merged patch keeps only the keys it names (`retainKeys`): these objects, or those of these lists, are unions.
const UNIONS: &[&[&str]] = &[
    &["Deployment", "spec", "strategy"],
    &["spec", "volumes"],
    &["spec", "resourceClaims"],
    &["status", "resourceClaimStatuses"],
];

/// Objects that a patch replaces (`replace`).
const REPLACED: &[&[&str]] = &[&["PodDisruptionBudget", "spec", "selector"]];

/// How the list at this path is merged.
#[must_use]
pub fn merge_key(path: &[&str]) -> ListMerge {
    let rows = TABLE.iter().filter(|(end, _)| path.ends_with(end));
    rows.max_by_key(|(end, _)| end.len()).map_or(ListMerge::Atomic, |(_, merge)| *merge)
}

/// Whether the object at this path, or in the list there, is one of several alternatives.
pub(super) fn is_union(path: &[&str]) -> bool {
    UNIONS.iter().any(|end| path.ends_with(end))
}

/// Whether a patch replaces the object at this path as a whole.
pub(super) fn is_replaced(path: &[&str]) -> bool {
    REPLACED.iter().any(|end| path.ends_with(end))
}

/// The same as the tag `patchStrategy` says it; empty if it says nothing.
#[must_use]
pub fn patch_strategy(path: &[&str]) -> String {
    let parts = [
        ("merge", merge_key(path) != ListMerge::Atomic),
        ("retainKeys", is_union(path)),
        ("replace", is_replaced(path)),
    ];
    let said: Vec<&str> = parts.iter().filter(|(_, said)| *said).map(|(name, _)| *name).collect();
    said.join(",")
}

/// Where the paths in an object begin: at its kind.
pub(super) fn root(object: &Value) -> Vec<&str> {
    object.get("kind").and_then(Value::as_str).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::{ListMerge, is_replaced, is_union, merge_key};

    fn path(text: &str) -> Vec<&str> {
        text.split('.').collect()
    }

    #[test]
    fn the_same_field_name_is_merged_by_where_it_is() {
        let check = |text: &str, expected| {
            assert_eq!(merge_key(&path(text)), expected, "{text}");
        };
        check("Service.spec.ports", ListMerge::Key("port"));
        check("Pod.spec.containers.ports", ListMerge::Key("containerPort"));
        check("Deployment.spec.template.spec.containers.ports", ListMerge::Key("containerPort"));
        check("Endpoints.subsets.ports", ListMerge::Atomic);
        check("EndpointSlice.ports", ListMerge::Atomic);
        check("Pod.spec.containers.args", ListMerge::Atomic);
        check("Pod.spec.tolerations", ListMerge::Atomic);
        check("Pod.metadata.finalizers", ListMerge::Set);
        check("Namespace.spec.finalizers", ListMerge::Atomic);
        check("ServiceAccount.secrets", ListMerge::Key("name"));
        check("ServiceAccount.imagePullSecrets", ListMerge::Atomic);
        check("Deployment.spec.template.spec.imagePullSecrets", ListMerge::Key("name"));
        check("ValidatingAdmissionPolicy.spec.variables", ListMerge::Key("name"));
        check("MutatingAdmissionPolicy.spec.variables", ListMerge::Atomic);
        check("Pod.status.conditions", ListMerge::Key("type"));
        check("CertificateSigningRequest.status.conditions", ListMerge::Atomic);
        check("ResourceClaim.status.devices.conditions", ListMerge::Atomic);
        check("Function.spec.env", ListMerge::Key("name"));
    }

    #[test]
    fn objects_are_unions_or_replaced_by_their_kind() {
        assert!(is_union(&path("Deployment.spec.strategy")));
        assert!(!is_union(&path("DaemonSet.spec.updateStrategy")));
        assert!(is_replaced(&path("PodDisruptionBudget.spec.selector")));
        assert!(!is_replaced(&path("Deployment.spec.selector")));
    }
}
