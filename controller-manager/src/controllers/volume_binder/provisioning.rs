//! The volumes that this controller makes: directories of nodes. Pure.

use std::path::{Component, Path};

use api_machinery::volume_matching as matching;
use api_types::api::core::v1::{Node, PersistentVolume, PersistentVolumeClaim};
use api_types::api::storage::v1::StorageClass;
use serde_json::{Value, json};

use super::decision::{PROVISIONED_BY, PROVISIONER};

/// On volumes that were made: their node takes away what is on them before they go.
pub(super) const OF_NODE: &str = "minik8s.io/host-path";
/// Where a class says that directories are made.
const PATH: &str = "path";
pub(super) const USUAL_PATH: &str = "/var/lib/minik8s/volumes";
const STORAGE: &str = "storage";

/// Why none can be made there.
pub(super) fn fault(class: Option<&StorageClass>) -> Option<String> {
    let root = root(class);
    let path = Path::new(root);
    let is_usable = path.is_absolute() && !path.components().any(|it| it == Component::ParentDir);
    (!is_usable)
        .then(|| format!("parameter {PATH:?} must be an absolute path without '..': {root:?}"))
}

/// After the claim, so that there is one of it.
pub(super) fn name(claim: &PersistentVolumeClaim) -> String {
    format!("pvc-{}", claim.metadata.uid.as_deref().unwrap_or_default())
}

/// The directory of the claim at the node.
pub(super) fn volume(
    claim: &PersistentVolumeClaim,
    class: Option<&StorageClass>,
    node: &Node,
) -> PersistentVolume {
    let (name, root) = (name(claim), root(class));
    let spec = claim.spec.as_ref();
    let policy = class.and_then(|class| class.reclaim_policy.as_deref()).unwrap_or("Delete");
    let host = node.metadata.name.as_deref().unwrap_or_default();
    let here = json!({"key": "metadata.name", "operator": "In", "values": [host]});
    let volume = json!({
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [OF_NODE],
        },
        "spec": {
            "capacity": {STORAGE: matching::requested(claim).to_string()},
            "accessModes": spec.and_then(|spec| spec.access_modes.clone()),
            "volumeMode": spec.and_then(|spec| spec.volume_mode.clone()),
            "volumeAttributesClassName": spec.and_then(|spec| spec.volume_attributes_class_name.clone()),
            "persistentVolumeReclaimPolicy": policy,
            "storageClassName": class.and_then(|class| class.metadata.name.clone()),
            "mountOptions": class.and_then(|class| class.mount_options.clone()),
            "claimRef": claim_reference(claim),
            "hostPath": {"path": format!("{}/{name}", root.trim_end_matches('/')), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}},
        },
    });
    serde_json::from_value(volume).expect("a volume is what is written here")
}

/// What a volume says of the claim that has it.
pub(super) fn claim_reference(claim: &PersistentVolumeClaim) -> Value {
    let metadata = &claim.metadata;
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": metadata.namespace, "name": metadata.name,
        "uid": metadata.uid, "resourceVersion": metadata.resource_version,
    })
}

/// Where a class has directories made.
fn root(class: Option<&StorageClass>) -> &str {
    let parameters = class.and_then(|class| class.parameters.as_ref());
    parameters.and_then(|all| all.get(PATH)).map_or(USUAL_PATH, String::as_str)
}
