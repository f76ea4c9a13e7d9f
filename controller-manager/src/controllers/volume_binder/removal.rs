//! How a node is told to take away what was on a volume: by an annotation of its Node for each, which its kubelet removes when it
//! has done so. So no node needs to see volumes that none of its pods use.

use std::collections::BTreeSet;

use api_types::api::core::v1::{Node, PersistentVolume};

/// Begins the name of the annotation, which ends with the volume's; the value is the directory.
const REMOVE: &str = "remove.minik8s.io/";
/// On a volume whose node was told.
pub(super) const TOLD: &str = "minik8s.io/removed-by";

/// The annotation for the volume of this name.
pub(super) fn key(volume: &str) -> String {
    format!("{REMOVE}{volume}")
}

/// Whether the node is still to remove what was on the volume.
pub(super) fn is_told(node: &Node, volume: &str) -> bool {
    node.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(&key(volume)))
}

/// Whether a node was told.
pub(super) fn was_told(volume: &PersistentVolume) -> bool {
    volume.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(TOLD))
}

/// The node of a volume that was made there, and the directory.
pub(super) fn place(volume: &PersistentVolume) -> Option<(String, String)> {
    let spec = volume.spec.as_ref()?;
    let required = spec.node_affinity.as_ref()?.required.as_ref()?;
    let field = required.node_selector_terms.first()?.match_fields.as_ref()?.first()?;
    let node = field.values.as_ref()?.first()?.clone();
    Some((node, spec.host_path.as_ref()?.path.clone()))
}

/// The volumes of which a node has taken away what was on them.
pub(super) fn done(old: Option<&Node>, new: Option<&Node>) -> Vec<String> {
    let told = |node: Option<&Node>| -> BTreeSet<String> {
        let annotations = node.and_then(|node| node.metadata.annotations.as_ref());
        let names = annotations.into_iter().flatten().map(|(name, _)| name);
        names.filter_map(|name| name.strip_prefix(REMOVE)).map(str::to_owned).collect()
    };
    told(old).difference(&told(new)).cloned().collect()
}
