//! The faults of a pod's volumes (Kubernetes: `ValidateVolumes`).

pub(super) mod files;
mod network;
mod projected;
mod source;

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::core::v1::{PodSpec, Volume},
    meta::ObjectMeta,
};
use serde_json::Value;

pub(crate) use self::source::host_path;
use crate::rules::{self, text};

/// Those without a fault, by their names.
pub(super) type Volumes<'a> = BTreeMap<&'a str, &'a Volume>;

/// The names of the sources that a volume has: one, if all is well.
pub(super) fn sources(volume: &Volume) -> Vec<String> {
    match serde_json::to_value(volume) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().map(|(k, _)| k).filter(|k| k != "name").collect()
        }
        _ => Vec::new(),
    }
}

/// The faults of all volumes; gives those that can be mounted. The pod's name becomes part of those of claims.
pub(super) fn validate<'a>(
    volumes: &'a [Volume],
    pod: Option<&ObjectMeta>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Volumes<'a> {
    let made = of_ephemeral(volumes, pod);
    let mut sound = Volumes::new();
    for (i, volume) in volumes.iter().enumerate() {
        let (path, mut faults) = (path.index(i), FieldErrors::default());
        let at = path.child("name");
        source::validate(volume, &path, &mut faults);
        if let Some(pod) = pod {
            of_pod(volume, pod, &path, &mut faults);
        }
        rules::named(&volume.name, names::dns1123_label, &at, &mut faults);
        if sound.contains_key(volume.name.as_str()) {
            faults.duplicate(&at, &volume.name);
        }
        if faults.is_empty() {
            sound.insert(&volume.name, volume);
        }
        errors.extend(faults);
        let claim = volume.persistent_volume_claim.as_ref().map(|it| &it.claim_name);
        if let Some(claim) = claim.filter(|claim| made.contains(*claim)) {
            let path = path.child("persistentVolumeClaim").child("claimName");
            let why = "must not reference a PVC that gets created for an ephemeral volume";
            errors.invalid(&path, claim, why);
        }
    }
    sound
}

/// The names of the claims that are made for the volumes of a pod that has a name.
fn of_ephemeral(volumes: &[Volume], pod: Option<&ObjectMeta>) -> BTreeSet<String> {
    let Some(pod) = pod.and_then(|pod| pod.name.as_ref()) else { return BTreeSet::new() };
    let ephemeral = volumes.iter().filter(|volume| volume.ephemeral.is_some());
    ephemeral.map(|volume| format!("{pod}-{}", volume.name)).collect()
}

/// The faults that volumes of templates don't have: a template needs no image yet, and has no claims.
fn of_pod(volume: &Volume, pod: &ObjectMeta, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(image) = &volume.image {
        let reference = text(image.reference.as_ref());
        rules::required(reference, &path.child("image").child("reference"), errors);
    }
    let pod = text(pod.name.as_ref());
    if volume.ephemeral.is_none() || pod.is_empty() || volume.name.is_empty() {
        return;
    }
    let claim = format!("{pod}-{}", volume.name);
    for fault in names::dns1123_subdomain(&claim) {
        let why = format!("PVC name {claim:?}: {fault}");
        errors.invalid(&path.child("name"), &volume.name, &why);
    }
}

/// A pod has no token of an account that it doesn't have.
pub(super) fn without_account(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, volume) in spec.volumes.iter().flatten().enumerate() {
        let sources = volume.projected.iter().flat_map(|it| it.sources.iter().flatten());
        for (j, _) in sources.enumerate().filter(|(_, it)| it.service_account_token.is_some()) {
            let path = path.index(i).child("projected.sources").index(j);
            let why = "must not be specified when serviceAccountName is not set";
            errors.forbidden(&path.child("serviceAccountToken"), why);
        }
    }
}
