//! What a user wants to store something on.

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::{
    Quantity as GivenQuantity,
    api::core::v1::{
        PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeClaimStatus,
        TypedLocalObjectReference, TypedObjectReference,
    },
};
use serde_json::json;

use super::access_modes::{self, CLASS_ANNOTATION, OLD_CLASS, or_unset};
use crate::{
    Exists, ResourceDef, Strategy, label_selector, resource,
    rules::{self, text},
    warnings::{annotations, fraction},
};

const STORAGE: &str = "storage";
const FILESYSTEM: &str = "Filesystem";
const PENDING: &str = "Pending";
const BOUND: &str = "Bound";
const KIND: &str = "PersistentVolumeClaim";
const IMMUTABLE: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

pub(crate) fn definition() -> ResourceDef {
    resource::<PersistentVolumeClaim, _>(ClaimStrategy)
        .short_names(&["pvc"])
        .shown_when_deleted()
        .status(|claim, from| claim.status.clone_from(&from.status))
        .column("Status", "string", 0, |claim, _| json!(phase(claim)))
        .column("Volume", "string", 0, |claim, _| json!(volume(claim)))
        .column("Capacity", "string", 0, |claim, _| json!(capacity(claim)))
        .column("Access Modes", "string", 0, |claim, _| json!(modes(claim)))
        .column("StorageClass", "string", 0, |claim, _| json!(class(claim)))
        .column("VolumeAttributesClass", "string", 0, |claim, _| {
            let spec = claim.spec.as_ref();
            json!(or_unset(spec.and_then(|spec| spec.volume_attributes_class_name.as_ref())))
        })
        .age()
        .column("VolumeMode", "string", 1, |claim, _| {
            let spec = claim.spec.as_ref();
            json!(or_unset(spec.and_then(|spec| spec.volume_mode.as_ref())))
        })
        .build()
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    match claim.metadata.deletion_timestamp {
        Some(_) => "Terminating",
        None => text(claim.status.as_ref().and_then(|status| status.phase.as_ref())),
    }
}

fn volume(claim: &PersistentVolumeClaim) -> &str {
    text(claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()))
}

/// Of a volume that it has.
fn bound(claim: &PersistentVolumeClaim) -> Option<&PersistentVolumeClaimStatus> {
    claim.status.as_ref().filter(|_| !volume(claim).is_empty())
}

fn capacity(claim: &PersistentVolumeClaim) -> &str {
    let capacity = bound(claim).and_then(|status| status.capacity.as_ref()?.get(STORAGE));
    capacity.map(|capacity| capacity.0.as_str()).unwrap_or_default()
}

fn modes(claim: &PersistentVolumeClaim) -> String {
    access_modes::shown(bound(claim).and_then(|status| status.access_modes.as_ref()))
}

fn class(claim: &PersistentVolumeClaim) -> &str {
    let annotations = claim.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION));
    text(annotated.or(claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref())))
}

struct ClaimStrategy;

impl Strategy<PersistentVolumeClaim> for ClaimStrategy {
    fn default(&self, claim: &mut PersistentVolumeClaim) {
        if let Some(spec) = &mut claim.spec {
            spec.volume_mode.get_or_insert_with(|| FILESYSTEM.to_owned());
        }
    }

    fn prepare_create(&self, claim: &mut PersistentVolumeClaim) {
        let phase = Some(PENDING.to_owned());
        claim.status = Some(PersistentVolumeClaimStatus { phase, ..Default::default() });
        claim.spec.iter_mut().for_each(normalize_sources);
    }

    fn prepare_update(&self, new: &mut PersistentVolumeClaim, _old: &PersistentVolumeClaim) {
        new.spec.iter_mut().for_each(normalize_sources);
    }

    fn validate(&self, claim: &PersistentVolumeClaim, errors: &mut FieldErrors) {
        validate_spec(claim, &FieldPath::new("spec"), errors);
    }

    fn validate_update(
        &self,
        new: &PersistentVolumeClaim,
        old: &PersistentVolumeClaim,
        errors: &mut FieldErrors,
    ) {
        let none = PersistentVolumeClaimSpec::default();
        let (new_spec, old_spec) =
            (new.spec.as_ref().unwrap_or(&none), old.spec.as_ref().unwrap_or(&none));
        let path = FieldPath::new("spec");
        if comparable(new, new_spec, old_spec) != *old_spec {
            errors.forbidden(&path, IMMUTABLE);
        }
        let least = capacity_of(old);
        if let (Some(now), Some(before)) = (requested(new_spec), requested(old_spec))
            && now.compare(before).is_lt()
            && now.compare(least).is_le()
        {
            let path = path.child("resources").child("requests").child(STORAGE);
            errors.forbidden(&path, "field can not be less than status.capacity");
        }
        let (now, before) = (&new_spec.volume_mode, &old_spec.volume_mode);
        let shown = text(now.as_ref());
        rules::immutable(now, before, shown, &FieldPath::new("volumeMode"), errors);
    }

    fn validate_status(
        &self,
        new: &PersistentVolumeClaim,
        _: &PersistentVolumeClaim,
        errors: &mut FieldErrors,
    ) {
        let capacity = new.status.iter().flat_map(|status| status.capacity.iter().flatten());
        for (name, amount) in capacity {
            let path = FieldPath::new("status").child("capacity").key(name);
            not_negative(amount, &path, errors);
        }
    }

    fn warnings(
        &self,
        claim: &PersistentVolumeClaim,
        _: Option<&PersistentVolumeClaim>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        let (mut warnings, annotated) = (Vec::new(), claim.metadata.annotations.as_ref());
        let path = FieldPath::default();
        annotations(annotated, &[(CLASS_ANNOTATION, OLD_CLASS)], &path, &mut warnings);
        claim.spec.iter().for_each(|it| fractions(it, &path.child("spec"), &mut warnings));
        warnings
    }
}

/// What a template of claims gets.
pub(crate) fn default(claim: &mut PersistentVolumeClaim) {
    ClaimStrategy.default(claim);
    let status = claim.status.get_or_insert_default();
    status.phase.get_or_insert_with(|| PENDING.to_owned());
}

/// The new spec with what may be changed as it was.
fn comparable(
    claim: &PersistentVolumeClaim,
    new: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaimSpec,
) -> PersistentVolumeClaimSpec {
    let mut comparable = new.clone();
    if text(old.volume_name.as_ref()).is_empty() {
        comparable.volume_name.clone_from(&old.volume_name);
    }
    // The default class is given to claims that were there before it.
    let annotations = claim.metadata.annotations.as_ref();
    let is_annotated = annotations.is_some_and(|all| all.contains_key(CLASS_ANNOTATION));
    if old.storage_class_name.is_none() && !is_annotated {
        comparable.storage_class_name = None;
    }
    let is_bound = claim.status.as_ref().is_some_and(|s| s.phase.as_deref() == Some(BOUND));
    if is_bound {
        let amount = old.resources.as_ref().and_then(|it| it.requests.as_ref()?.get(STORAGE));
        let requests = comparable.resources.as_mut().and_then(|it| it.requests.as_mut());
        if let (Some(requests), Some(amount)) = (requests, amount) {
            requests.insert(STORAGE.to_owned(), amount.clone());
        }
        comparable.volume_attributes_class_name.clone_from(&old.volume_attributes_class_name);
    }
    comparable
}

fn requested(spec: &PersistentVolumeClaimSpec) -> Option<Quantity> {
    let requests = spec.resources.as_ref()?.requests.as_ref()?;
    requests.get(STORAGE).and_then(|amount| Quantity::try_from(amount).ok())
}

fn capacity_of(claim: &PersistentVolumeClaim) -> Quantity {
    let capacity = claim.status.as_ref().and_then(|status| status.capacity.as_ref()?.get(STORAGE));
    let capacity = capacity.and_then(|capacity| Quantity::try_from(capacity).ok());
    capacity.unwrap_or_else(|| Quantity::from_units(0))
}

/// Adds what is told of amounts of storage that are no whole bytes.
pub(crate) fn fractions(
    spec: &PersistentVolumeClaimSpec,
    path: &FieldPath,
    warnings: &mut Vec<String>,
) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    fraction(resources.requests.as_ref(), STORAGE, &path.child("requests"), warnings);
    fraction(resources.limits.as_ref(), STORAGE, &path.child("limits"), warnings);
}

fn not_negative(amount: &GivenQuantity, path: &FieldPath, errors: &mut FieldErrors) {
    if Quantity::try_from(amount).is_ok_and(Quantity::is_negative) {
        errors.invalid(path, &amount.0, rules::NOT_NEGATIVE);
    }
}

/// All faults of a claim's spec (Kubernetes: `ValidatePersistentVolumeClaimSpec`).
pub(crate) fn validate_spec(
    claim: &PersistentVolumeClaim,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let none = PersistentVolumeClaimSpec::default();
    let spec = claim.spec.as_ref().unwrap_or(&none);
    let at = path.child("accessModes");
    if spec.access_modes.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&at, "at least 1 access mode is required");
    }
    if let Some(selector) = &spec.selector {
        label_selector::validate(selector, &path.child("selector"), errors);
    }
    access_modes::validate(spec.access_modes.as_ref(), &at, errors);
    validate_amount(spec, &path.child("resources").key(STORAGE), errors);
    let (class, attributes) = (&spec.storage_class_name, &spec.volume_attributes_class_name);
    for (field, name) in [("storageClassName", class), ("volumeAttributesClassName", attributes)] {
        let rule = names::dns1123_subdomain;
        rules::maybe_follows(name.as_ref(), rule, &path.child(field), errors);
    }
    access_modes::volume_mode(spec.volume_mode.as_ref(), &path.child("volumeMode"), errors);
    validate_sources(spec, path, errors);
}

fn validate_amount(spec: &PersistentVolumeClaimSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(requested) = requested(spec) else { return errors.required(path, "") };
    if requested.is_negative() || requested.is_zero() {
        errors.invalid(path, requested.to_string(), rules::POSITIVE);
    } else if !requested.is_whole() {
        errors.invalid(path, requested.to_string(), "must be an integer");
    }
}

fn validate_sources(spec: &PersistentVolumeClaimSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let (local, any) = (&spec.data_source, &spec.data_source_ref);
    if let Some(source) = local {
        let (kind, group) = (&source.kind, source.api_group.as_ref());
        source_fields(&source.name, kind, group, &path.child("dataSource"), errors);
    }
    if let Some(source) = any {
        let path = path.child("dataSourceRef");
        let (kind, group) = (&source.kind, source.api_group.as_ref());
        source_fields(&source.name, kind, group, &path, errors);
        let namespace = source.namespace.as_ref();
        rules::maybe_follows(namespace, names::dns1123_label, &path.child("namespace"), errors);
    }
    let (Some(local), Some(any)) = (local, any) else { return };
    let why = if !text(any.namespace.as_ref()).is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if *local != as_local(any) {
        "must match dataSourceRef"
    } else {
        return;
    };
    errors.invalid(path, format!("{}", path.child("dataSource")), why);
}

fn source_fields(
    name: &str,
    kind: &str,
    group: Option<&String>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (field, value) in [("name", name), ("kind", kind)] {
        if value.is_empty() {
            errors.required(&path.child(field), "");
        }
    }
    let group = text(group);
    if group.is_empty() && kind != KIND {
        let why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        errors.invalid(path, kind, why);
    } else if !group.is_empty() {
        rules::follows(group, names::dns1123_subdomain, &path.child("apiGroup"), errors);
    }
}

fn as_local(source: &TypedObjectReference) -> TypedLocalObjectReference {
    let TypedObjectReference { api_group, kind, name, .. } = source.clone();
    TypedLocalObjectReference { api_group, kind, name }
}

/// The same source in both fields, as far as the older one may have it (Kubernetes: `NormalizeDataSources`).
fn normalize_sources(spec: &mut PersistentVolumeClaimSpec) {
    let group = "snapshot.storage.k8s.io";
    let is_known = |source: &TypedLocalObjectReference| match text(source.api_group.as_ref()) {
        "" => source.kind == KIND,
        other => other == group && source.kind == "VolumeSnapshot",
    };
    if spec.data_source_ref.is_none() {
        spec.data_source = spec.data_source.take().filter(is_known);
    }
    match (&spec.data_source, &spec.data_source_ref) {
        (Some(local), None) => {
            let TypedLocalObjectReference { api_group, kind, name } = local.clone();
            let any = TypedObjectReference { api_group, kind, name, namespace: None };
            spec.data_source_ref = Some(any);
        }
        (None, Some(any)) if text(any.namespace.as_ref()).is_empty() => {
            spec.data_source = Some(as_local(any));
        }
        _ => {}
    }
}
