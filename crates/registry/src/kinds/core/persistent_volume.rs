//! Storage that is there whether somebody uses it or not.

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::api::core::v1::{PersistentVolume, PersistentVolumeSpec, PersistentVolumeStatus};
use serde_json::{Map, Value, json};

use super::{
    access_modes::{self, CLASS_ANNOTATION, OLD_CLASS, or_unset},
    node_selector,
    pod::volume,
    volume_plugins,
};
use crate::{
    Exists, ResourceDef, Strategy,
    kinds::node_labels,
    resource,
    rules::{self, text},
    warnings::{annotations, tell},
};

const STORAGE: &str = "storage";
const RETAIN: &str = "Retain";
const RECYCLE: &str = "Recycle";
const OLD_ANNOTATIONS: [(&str, &str); 2] = [
    (CLASS_ANNOTATION, OLD_CLASS),
    (
        "volume.beta.kubernetes.io/mount-options",
        "deprecated since v1.31; use \"mountOptions\" attribute instead",
    ),
];
/// Of these Kubernetes tells who uses them in pods, not who has volumes of them.
const NOT_TOLD: [&str; 2] = ["flocker", "quobyte"];
/// All that a spec says beside where the storage is.
const COMMON: [&str; 9] = [
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

pub(crate) fn definition() -> ResourceDef {
    resource::<PersistentVolume, _>(VolumeStrategy)
        .short_names(&["pv"])
        .shown_when_deleted()
        .status(|volume, from| volume.status.clone_from(&from.status))
        .column("Capacity", "string", 0, |volume, _| json!(capacity(volume)))
        .column("Access Modes", "string", 0, |volume, _| {
            json!(access_modes::shown(spec(volume).and_then(|spec| spec.access_modes.as_ref())))
        })
        .column("Reclaim Policy", "string", 0, |volume, _| {
            json!(text(spec(volume).and_then(|it| it.persistent_volume_reclaim_policy.as_ref())))
        })
        .column("Status", "string", 0, |volume, _| json!(phase(volume)))
        .column("Claim", "string", 0, |volume, _| json!(claim(volume)))
        .column("StorageClass", "string", 0, |volume, _| json!(class(volume)))
        .column("VolumeAttributesClass", "string", 0, |volume, _| {
            let class = spec(volume).and_then(|spec| spec.volume_attributes_class_name.as_ref());
            json!(or_unset(class))
        })
        .column("Reason", "string", 0, |volume, _| {
            json!(text(volume.status.as_ref().and_then(|status| status.reason.as_ref())))
        })
        .age()
        .column("VolumeMode", "string", 1, |volume, _| {
            json!(or_unset(spec(volume).and_then(|spec| spec.volume_mode.as_ref())))
        })
        .build()
}

fn spec(volume: &PersistentVolume) -> Option<&PersistentVolumeSpec> {
    volume.spec.as_ref()
}

fn capacity(volume: &PersistentVolume) -> &str {
    let capacity = spec(volume).and_then(|spec| spec.capacity.as_ref()?.get(STORAGE));
    capacity.map_or("0", |capacity| capacity.0.as_str())
}

fn phase(volume: &PersistentVolume) -> &str {
    match volume.metadata.deletion_timestamp {
        Some(_) => "Terminating",
        None => text(volume.status.as_ref().and_then(|status| status.phase.as_ref())),
    }
}

fn claim(volume: &PersistentVolume) -> String {
    let Some(claim) = spec(volume).and_then(|spec| spec.claim_ref.as_ref()) else {
        return String::new();
    };
    format!("{}/{}", text(claim.namespace.as_ref()), text(claim.name.as_ref()))
}

fn class(volume: &PersistentVolume) -> &str {
    let annotations = volume.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    text(annotated.or(spec(volume).and_then(|spec| spec.storage_class_name.as_ref())))
}

struct VolumeStrategy;

impl Strategy<PersistentVolume> for VolumeStrategy {
    fn default(&self, volume: &mut PersistentVolume) {
        let Some(spec) = &mut volume.spec else { return };
        let policy = spec.persistent_volume_reclaim_policy.take().filter(|it| !it.is_empty());
        spec.persistent_volume_reclaim_policy = policy.or_else(|| Some(RETAIN.to_owned()));
        spec.volume_mode.get_or_insert_with(|| "Filesystem".to_owned());
        if let Some(path) = &mut spec.host_path {
            path.type_.get_or_insert_default();
        }
    }

    fn prepare_create(&self, volume: &mut PersistentVolume) {
        let phase = Some("Pending".to_owned());
        volume.status = Some(PersistentVolumeStatus { phase, ..Default::default() });
    }

    fn validate(&self, volume: &PersistentVolume, errors: &mut FieldErrors) {
        let none = PersistentVolumeSpec::default();
        validate_spec(spec(volume).unwrap_or(&none), &FieldPath::new("spec"), errors);
    }

    fn validate_update(
        &self,
        new: &PersistentVolume,
        old: &PersistentVolume,
        errors: &mut FieldErrors,
    ) {
        let none = PersistentVolumeSpec::default();
        let (new, old) = (spec(new).unwrap_or(&none), spec(old).unwrap_or(&none));
        let path = FieldPath::new("spec");
        if sources(new) != sources(old) {
            let path = path.child("persistentvolumesource");
            errors.forbidden(&path, "spec.persistentvolumesource is immutable after creation");
        }
        let (now, before) = (&new.volume_mode, &old.volume_mode);
        let shown = text(now.as_ref());
        rules::immutable(now, before, shown, &FieldPath::new("volumeMode"), errors);
        if old.node_affinity.is_some() {
            let shown = serde_json::to_value(&new.node_affinity).unwrap_or_default();
            let path = FieldPath::new("nodeAffinity");
            let (now, before) = (&new.node_affinity, &old.node_affinity);
            rules::immutable(now, before, format_args!("{shown}"), &path, errors);
        }
        let (now, before) = (&new.volume_attributes_class_name, &old.volume_attributes_class_name);
        if before.is_some() && now.is_none() {
            let path = path.child("volumeAttributesClassName");
            errors.forbidden(&path, "update from non-nil value to nil is forbidden");
        }
    }

    fn warnings(
        &self,
        volume: &PersistentVolume,
        _: Option<&PersistentVolume>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let (mut warnings, annotated) = (Vec::new(), volume.metadata.annotations.as_ref());
        annotations(annotated, &OLD_ANNOTATIONS, &FieldPath::default(), &mut warnings);
        if let Some(spec) = spec(volume) {
            spec_warnings(spec, &FieldPath::new("spec"), &mut warnings);
        }
        warnings
    }
}

fn spec_warnings(spec: &PersistentVolumeSpec, path: &FieldPath, warnings: &mut Vec<String>) {
    if spec.persistent_volume_reclaim_policy.as_deref() == Some(RECYCLE) {
        let what = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
        tell(&path.child("persistentVolumeReclaimPolicy"), what, warnings);
    }
    let required = spec.node_affinity.as_ref().and_then(|it| it.required.as_ref());
    let at = path.child("nodeAffinity.required.nodeSelectorTerms");
    for (index, term) in required.iter().flat_map(|it| &it.node_selector_terms).enumerate() {
        node_labels::term(term, &at.index(index), warnings);
    }
    for source in sources(spec).keys().filter(|source| !NOT_TOLD.contains(&source.as_str())) {
        volume_plugins::source(source, path, warnings);
    }
}

/// Where the storage is: one, if all is well.
fn sources(spec: &PersistentVolumeSpec) -> Map<String, Value> {
    let Ok(Value::Object(mut fields)) = serde_json::to_value(spec) else { return Map::new() };
    fields.retain(|name, _| !COMMON.contains(&name.as_str()));
    fields
}

fn validate_spec(spec: &PersistentVolumeSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("accessModes");
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&at, "");
    }
    access_modes::validate(spec.access_modes.as_ref(), &at, errors);
    validate_capacity(spec, &path.child("capacity"), errors);
    let (policy, at) =
        (&spec.persistent_volume_reclaim_policy, path.child("persistentVolumeReclaimPolicy"));
    rules::one_of(policy.as_ref(), &["Delete", RECYCLE, RETAIN], &at, errors);
    if let Some(affinity) = &spec.node_affinity {
        let path = path.child("nodeAffinity").child("required");
        match &affinity.required {
            Some(required) => node_selector::validate(required, &path, errors),
            None => errors.required(&path, "must specify required node constraints"),
        }
    }
    validate_source(spec, path, errors);
    let class = spec.storage_class_name.as_ref();
    rules::maybe_follows(class, names::dns1123_subdomain, &path.child("storageClassName"), errors);
    access_modes::volume_mode(spec.volume_mode.as_ref(), &path.child("volumeMode"), errors);
    validate_attributes(spec, path, errors);
}

fn validate_capacity(spec: &PersistentVolumeSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let capacity = spec.capacity.clone().unwrap_or_default();
    if capacity.is_empty() {
        errors.required(path, "");
    }
    if !capacity.contains_key(STORAGE) || capacity.len() > 1 {
        let shown = serde_json::to_value(&capacity).unwrap_or_default().to_string();
        errors.not_supported(path, &shown, &[STORAGE]);
    }
    for (name, amount) in &capacity {
        let Ok(parsed) = Quantity::try_from(amount) else { continue };
        if parsed.is_negative() || parsed.is_zero() {
            errors.invalid(&path.key(name), &amount.0, rules::POSITIVE);
        }
    }
}

fn validate_source(spec: &PersistentVolumeSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let sources = sources(spec);
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for other in sources.keys().skip(1) {
        errors.forbidden(&path.child(other), "may not specify more than 1 volume type");
    }
    if let Some(source) = &spec.host_path {
        volume::host_path(source, &path.child("hostPath"), errors);
        let is_root = source.path.split('/').all(|part| part.is_empty() || part == ".");
        if is_root && spec.persistent_volume_reclaim_policy.as_deref() == Some(RECYCLE) {
            let path = path.child("persistentVolumeReclaimPolicy");
            errors.forbidden(&path, "may not be 'recycle' for a hostPath mount of '/'");
        }
    }
    if let Some(source) = &spec.local {
        let at = path.child("local").child("path");
        if source.path.is_empty() {
            errors.required(&at, "");
        } else if source.path.split('/').any(|part| part == "..") {
            errors.invalid(&at, &source.path, "must not contain '..'");
        }
        if spec.node_affinity.is_none() {
            let path = path.child("nodeAffinity");
            errors.required(&path, "Local volume requires node affinity");
        }
    }
}

fn validate_attributes(spec: &PersistentVolumeSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(class) = &spec.volume_attributes_class_name else { return };
    let at = path.child("volumeAttributesClassName");
    if class.is_empty() {
        errors.required(&at, "an empty string is disallowed");
    } else {
        rules::follows(class, names::dns1123_subdomain, &at, errors);
    }
    if spec.csi.is_none() {
        let why = "has to be specified when using volumeAttributesClassName";
        errors.required(&path.child("csi"), why);
    }
}
