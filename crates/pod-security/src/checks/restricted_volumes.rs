//! A volume must be of those types that need no trust in what is written in the pod.

use std::collections::BTreeSet;

use api_types::api::core::v1::Volume;

use crate::{
    Violation,
    check::{Check, Revision},
    checks::host_path_volumes,
    pod::Pod,
    wording::{join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: "restrictedVolumes",
    replaces: Some(host_path_volumes::ID),
    revisions: &[Revision { since: 0, verdict: restricted_volumes }],
};

fn restricted_volumes(pod: &Pod<'_>) -> Option<Violation> {
    let bad: Vec<&Volume> =
        pod.spec.volumes.iter().flatten().filter(|volume| !is_allowed(volume)).collect();
    let types: BTreeSet<&str> = bad.iter().map(|volume| type_of(volume)).collect();
    let nouns = pluralize("restricted volume type", "restricted volume types", types.len());
    (!bad.is_empty()).then(|| Violation {
        reason: "restricted volume types",
        detail: format!(
            "{} {} {} {nouns} {}",
            pluralize("volume", "volumes", bad.len()),
            join_quote(bad.iter().map(|volume| volume.name.as_str())),
            pluralize("uses", "use", bad.len()),
            join_quote(types)
        ),
    })
}

fn is_allowed(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

/// The first type that is set, as Kubernetes looks for them.
fn type_of(volume: &Volume) -> &'static str {
    [
        (volume.host_path.is_some(), "hostPath"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.cinder.is_some(), "cinder"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.flocker.is_some(), "flocker"),
        (volume.fc.is_some(), "fc"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
    ]
    .into_iter()
    .find_map(|(is_set, name)| is_set.then_some(name))
    .unwrap_or("unknown")
}
