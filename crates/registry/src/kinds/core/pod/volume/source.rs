//! The faults of what a volume is (Kubernetes: `validateVolumeSource`).

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::{
    api::core::v1::{
        AzureDiskVolumeSource, CSIVolumeSource, ConfigMapVolumeSource, DownwardAPIVolumeSource,
        EmptyDirVolumeSource, EphemeralVolumeSource, FlexVolumeSource, GitRepoVolumeSource,
        HostPathVolumeSource, ImageVolumeSource, PersistentVolumeClaim, SecretVolumeSource, Volume,
    },
    meta::ObjectMeta,
};

use super::{files, network, projected};
use crate::{
    kinds::{core::persistent_volume_claim, storage::parameters},
    rules::{self, all_of, text},
};

/// Tells the faults of a source, if the volume has it.
type Check = fn(&Volume, &FieldPath, &mut FieldErrors) -> Option<()>;

/// All sources in Kubernetes' order, each with the field of its faults.
#[rustfmt::skip]
const SOURCES: [(&str, Check); 30] = [
    ("emptyDir", |it, path, errors| it.empty_dir.as_ref().map(|it| empty_dir(it, path, errors))),
    ("hostPath", |it, path, errors| it.host_path.as_ref().map(|it| host_path(it, path, errors))),
    ("gitRepo", |it, path, errors| it.git_repo.as_ref().map(|it| git_repo(it, path, errors))),
    ("persistentDisk", |it, path, errors| it.gce_persistent_disk.as_ref().map(|it| network::gce_disk(it, path, errors))),
    ("awsElasticBlockStore", |it, path, errors| it.aws_elastic_block_store.as_ref().map(|it| network::aws_disk(it, path, errors))),
    ("secret", |it, path, errors| it.secret.as_ref().map(|it| secret(it, path, errors))),
    ("nfs", |it, path, errors| it.nfs.as_ref().map(|it| network::nfs(it, path, errors))),
    ("iscsi", |it, path, errors| it.iscsi.as_ref().map(|it| network::iscsi(it, path, errors))),
    ("glusterfs", |it, path, errors| it.glusterfs.as_ref().map(|it| all_of(&[("endpoints", &it.endpoints), ("path", &it.path)], path, errors))),
    ("flocker", |it, path, errors| it.flocker.as_ref().map(|it| network::flocker(it, path, errors))),
    ("persistentVolumeClaim", |it, path, errors| it.persistent_volume_claim.as_ref().map(|it| all_of(&[("claimName", &it.claim_name)], path, errors))),
    ("rbd", |it, path, errors| it.rbd.as_ref().map(|it| network::rbd(it, path, errors))),
    ("cinder", |it, path, errors| it.cinder.as_ref().map(|it| network::cinder(it, path, errors))),
    ("cephfs", |it, path, errors| it.cephfs.as_ref().map(|it| network::monitors(&it.monitors, path, errors))),
    ("quobyte", |it, path, errors| it.quobyte.as_ref().map(|it| network::quobyte(it, path, errors))),
    ("downwardAPI", |it, path, errors| it.downward_api.as_ref().map(|it| downward_api(it, path, errors))),
    ("fc", |it, path, errors| it.fc.as_ref().map(|it| network::fibre_channel(it, path, errors))),
    ("flexVolume", |it, path, errors| it.flex_volume.as_ref().map(|it| flex(it, path, errors))),
    ("configMap", |it, path, errors| it.config_map.as_ref().map(|it| config_map(it, path, errors))),
    ("azureFile", |it, path, errors| it.azure_file.as_ref().map(|it| all_of(&[("secretName", &it.secret_name), ("shareName", &it.share_name)], path, errors))),
    ("vsphereVolume", |it, path, errors| it.vsphere_volume.as_ref().map(|it| all_of(&[("volumePath", &it.volume_path)], path, errors))),
    ("photonPersistentDisk", |it, path, errors| it.photon_persistent_disk.as_ref().map(|it| all_of(&[("pdID", &it.pd_id)], path, errors))),
    ("portworxVolume", |it, path, errors| it.portworx_volume.as_ref().map(|it| all_of(&[("volumeID", &it.volume_id)], path, errors))),
    ("azureDisk", |it, path, errors| it.azure_disk.as_ref().map(|it| azure_disk(it, path, errors))),
    ("storageos", |it, path, errors| it.storageos.as_ref().map(|it| network::storage_os(it, path, errors))),
    ("projected", |it, path, errors| it.projected.as_ref().map(|it| projected::validate(it, path, errors))),
    ("scaleIO", |it, path, errors| it.scale_io.as_ref().map(|it| network::scale_io(it, path, errors))),
    ("csi", |it, path, errors| it.csi.as_ref().map(|it| csi(it, path, errors))),
    ("ephemeral", |it, path, errors| it.ephemeral.as_ref().map(|it| ephemeral(it, path, errors))),
    ("image", |it, path, errors| it.image.as_ref().map(|it| image(it, path, errors))),
];

/// The faults of the only source that a volume has.
pub(super) fn validate(volume: &Volume, path: &FieldPath, errors: &mut FieldErrors) {
    let mut is_given = false;
    for (field, check) in SOURCES {
        let mut faults = FieldErrors::default();
        match check(volume, &path.child(field), &mut faults) {
            None => {}
            Some(()) if is_given => {
                let why = "may not specify more than 1 volume type";
                errors.forbidden(&path.child(as_one_too_many(field)), why);
            }
            Some(()) => {
                is_given = true;
                errors.extend(faults);
            }
        }
    }
    if !is_given {
        errors.required(path, "must specify a volume type");
    }
    let iscsi = volume.iscsi.as_ref().filter(|iscsi| iscsi.initiator_name.is_some());
    if iscsi.is_some_and(|it| volume.name.len() + 1 + it.target_portal.len() > 64) {
        let why = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        errors.invalid(&path.child("name"), &volume.name, why);
    }
}

/// How Kubernetes spells it there.
fn as_one_too_many(field: &str) -> &str {
    match field {
        "persistentDisk" => "gcePersistentDisk",
        "cephfs" => "cephFS",
        "downwardAPI" => "downwarAPI",
        other => other,
    }
}

fn empty_dir(source: &EmptyDirVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let limit = source.size_limit.as_ref().and_then(|limit| Quantity::try_from(limit).ok());
    if limit.is_some_and(Quantity::is_negative) {
        let why = "SizeLimit field must be a valid resource quantity";
        errors.forbidden(&path.child("sizeLimit"), why);
    }
}

/// The faults of a path of the node.
pub(crate) fn host_path(source: &HostPathVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    const TYPES: [&str; 8] = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if source.path.is_empty() {
        return errors.required(&path.child("path"), "");
    }
    files::without_backsteps(&source.path, &path.child("path"), errors);
    rules::supported(source.type_.as_ref(), &TYPES, &path.child("type"), errors);
}

fn git_repo(source: &GitRepoVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(&source.repository, &path.child("repository"), errors);
    files::descending(text(source.directory.as_ref()), &path.child("directory"), errors);
}

fn secret(source: &SecretVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(text(source.secret_name.as_ref()), &path.child("secretName"), errors);
    files::mode(source.default_mode, &path.child("defaultMode"), errors);
    files::of_keys(source.items.as_deref(), &path.child("items"), errors);
}

fn config_map(source: &ConfigMapVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(&source.name, &path.child("name"), errors);
    files::mode(source.default_mode, &path.child("defaultMode"), errors);
    files::of_keys(source.items.as_deref(), &path.child("items"), errors);
}

fn downward_api(source: &DownwardAPIVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    files::mode(source.default_mode, &path.child("defaultMode"), errors);
    files::of_fields(source.items.as_deref(), path, errors);
}

/// Options of Kubernetes' own are given by kubelets.
fn flex(source: &FlexVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(&source.driver, &path.child("driver"), errors);
    for name in source.options.iter().flat_map(|options| options.keys()) {
        let namespace = name.split_once('/').map_or(name.as_str(), |(namespace, _)| namespace);
        let namespace = format!(".{}", namespace.to_lowercase());
        if [".kubernetes.io", ".k8s.io"].iter().any(|own| namespace.ends_with(own)) {
            let why = "kubernetes.io and k8s.io namespaces are reserved";
            errors.invalid(&path.child("options").key(name), name, why);
        }
    }
}

fn azure_disk(source: &AzureDiskVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    const MANAGED: &str = "Managed";
    const OF_MANAGED: &str = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
    const OF_OTHERS: &str =
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
    all_of(&[("diskName", &source.disk_name), ("diskURI", &source.disk_uri)], path, errors);
    let caching = ["None", "ReadOnly", "ReadWrite"];
    let mode = source.caching_mode.as_ref();
    rules::supported(mode, &caching, &path.child("cachingMode"), errors);
    let (kind, kinds) = (source.kind.as_ref(), ["Dedicated", MANAGED, "Shared"]);
    rules::supported(kind, &kinds, &path.child("kind"), errors);
    let (start, form) = match kind {
        None => return,
        Some(kind) if kind == MANAGED => ("/subscriptions/", OF_MANAGED),
        Some(_) => ("https://", OF_OTHERS),
    };
    if !source.disk_uri.starts_with(start) {
        errors.not_supported(&path.child("diskURI"), &source.disk_uri, &[form]);
    }
}

fn csi(source: &CSIVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    parameters::driver(&source.driver, &path.child("driver"), errors);
    let Some(secret) = &source.node_publish_secret_ref else { return };
    if secret.name.is_empty() {
        errors.required(&path.child("nodePublishSecretRef.name"), "");
    } else {
        rules::follows(&secret.name, names::dns1123_subdomain, &path.child("name"), errors);
    }
}

fn ephemeral(source: &EphemeralVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("volumeClaimTemplate");
    let Some(template) = &source.volume_claim_template else {
        return errors.required(&path, "");
    };
    if let Some(metadata) = &template.metadata {
        of_template(metadata, &path.child("metadata"), errors);
    }
    let spec = Some(template.spec.clone());
    let claim = PersistentVolumeClaim { spec, ..PersistentVolumeClaim::default() };
    persistent_volume_claim::validate_spec(&claim, &path.child("spec"), errors);
}

/// Labels and annotations alone are taken over (Kubernetes: `ValidateTemplateObjectMeta`).
fn of_template(metadata: &ObjectMeta, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(annotations) = &metadata.annotations {
        names::validate_annotations(annotations, &path.child("annotations"), errors);
    }
    if let Some(labels) = &metadata.labels {
        names::validate_labels(labels, &path.child("labels"), errors);
    }
    for (field, is_set) in [
        ("name", metadata.name.is_some()),
        ("generateName", metadata.generate_name.is_some()),
        ("namespace", metadata.namespace.is_some()),
        ("uID", metadata.uid.is_some()),
        ("resourceVersion", metadata.resource_version.is_some()),
        ("ownerReferences", metadata.owner_references.is_some()),
        ("finalizers", metadata.finalizers.is_some()),
    ] {
        if is_set {
            errors.forbidden(&path.child(field), "cannot be set");
        }
    }
}

/// Of a template the reference may be filled in later.
fn image(source: &ImageVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let policies = ["Always", "IfNotPresent", "Never"];
    let (policy, at) = (source.pull_policy.as_ref(), path.child("pullPolicy"));
    rules::required(text(policy), &at, errors);
    rules::one_of(policy, &policies, &at, errors);
}
