//! How lists are merged: the `patchStrategy` and `patchMergeKey` tags of Kubernetes' types, as a table.

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

/// The ends of the paths of the lists that are merged, without indices; the longest that fits counts.
const TABLE: &[(&[&str], ListMerge)] = &[
    (&["metadata", "finalizers"], ListMerge::Set),
    (&["metadata", "ownerReferences"], ListMerge::Key("uid")),
    (&["status", "conditions"], ListMerge::Key("type")),
    (&["status", "reservedFor"], ListMerge::Key("uid")),
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
    // Containers of all three sorts.
    (&["containers", "env"], ListMerge::Key("name")),
    (&["containers", "ports"], ListMerge::Key("containerPort")),
    (&["containers", "volumeMounts"], ListMerge::Key("mountPath")),
    (&["containers", "volumeDevices"], ListMerge::Key("devicePath")),
    (&["initContainers", "env"], ListMerge::Key("name")),
    (&["initContainers", "ports"], ListMerge::Key("containerPort")),
    (&["initContainers", "volumeMounts"], ListMerge::Key("mountPath")),
    (&["initContainers", "volumeDevices"], ListMerge::Key("devicePath")),
    (&["ephemeralContainers", "env"], ListMerge::Key("name")),
    (&["ephemeralContainers", "ports"], ListMerge::Key("containerPort")),
    (&["ephemeralContainers", "volumeMounts"], ListMerge::Key("mountPath")),
    (&["ephemeralContainers", "volumeDevices"], ListMerge::Key("devicePath")),
    // Services, nodes, service accounts, functions.
    (&["spec", "ports"], ListMerge::Key("port")),
    (&["spec", "podCIDRs"], ListMerge::Set),
    (&["spec", "finalizers"], ListMerge::Atomic),
    (&["status", "addresses"], ListMerge::Key("type")),
    (&["secrets"], ListMerge::Key("name")),
    (&["spec", "env"], ListMerge::Key("name")),
];

/// Paths of objects of which a merged patch keeps only the keys it names (`retainKeys`): they are unions.
const UNIONS: &[&[&str]] = &[&["spec", "volumes"], &["spec", "strategy"]];

/// How the list at this path (field names without indices) is merged.
#[must_use]
pub fn merge_key(path: &[&str]) -> ListMerge {
    let fits = |end: &[&str]| path.ends_with(end) && (end.len() > 1 || path.len() == 1);
    let rows = TABLE.iter().filter(|(end, _)| fits(end));
    rows.max_by_key(|(end, _)| end.len()).map_or(ListMerge::Atomic, |(_, merge)| *merge)
}

/// Whether the object at this path is one of several alternatives.
#[must_use]
pub fn is_union(path: &[&str]) -> bool {
    UNIONS.iter().any(|end| path.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::{ListMerge, merge_key};

    #[test]
    fn the_same_field_name_is_merged_by_where_it_is() {
        let check = |path: &str, expected| {
            assert_eq!(merge_key(&path.split('.').collect::<Vec<_>>()), expected, "{path}");
        };
        check("spec.ports", ListMerge::Key("port"));
        check("spec.containers.ports", ListMerge::Key("containerPort"));
        check("spec.template.spec.containers.ports", ListMerge::Key("containerPort"));
        check("ports", ListMerge::Atomic);
        check("subsets.ports", ListMerge::Atomic);
        check("spec.containers.args", ListMerge::Atomic);
        check("spec.tolerations", ListMerge::Atomic);
        check("metadata.finalizers", ListMerge::Set);
        check("secrets", ListMerge::Key("name"));
        check("imagePullSecrets", ListMerge::Atomic);
        check("spec.template.spec.imagePullSecrets", ListMerge::Key("name"));
    }
}
