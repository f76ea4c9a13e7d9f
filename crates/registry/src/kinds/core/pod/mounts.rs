//! The faults of where a container sees its volumes (Kubernetes: `ValidateVolumeMounts`, `ValidateVolumeDevices`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Container, VolumeDevice, VolumeMount};

use super::volume::{Volumes, files};
use crate::rules::{self, text};

const BIDIRECTIONAL: &str = "Bidirectional";
const NONE: &str = "None";
const NOT_UNIQUE: &str = "must be unique";

pub(super) fn validate(
    container: &Container,
    volumes: &Volumes<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    mounts(container, volumes, &path.child("volumeMounts"), errors);
    devices(container, volumes, &path.child("volumeDevices"), errors);
}

/// Of parts of volumes, and of what is mounted below, Kubernetes tells at the path of the list.
fn mounts(
    container: &Container,
    volumes: &Volumes<'_>,
    list: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut places = BTreeSet::new();
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = list.index(i);
        rules::required(&mount.name, &path.child("name"), errors);
        if !volumes.contains_key(mount.name.as_str()) {
            errors.not_found(&path.child("name"), &mount.name);
        }
        rules::required(&mount.mount_path, &path.child("mountPath"), errors);
        if !places.insert(&mount.mount_path) {
            errors.invalid(&path.child("mountPath"), &mount.mount_path, NOT_UNIQUE);
        }
        beside_devices(mount, container, &path, errors);
        parts(mount, list, &path, errors);
        propagation(mount, container, &list.child("mountPropagation"), errors);
        recursive_read_only(mount, &list.child("recursiveReadOnly"), errors);
    }
}

fn beside_devices(
    mount: &VolumeMount,
    container: &Container,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let devices = container.volume_devices.as_deref().unwrap_or_default();
    if devices.iter().any(|device| device.name == mount.name) {
        let why = "must not already exist in volumeDevices";
        errors.invalid(&path.child("name"), &mount.name, why);
    }
    if devices.iter().any(|device| device.device_path == mount.mount_path) {
        let why = "must not already exist as a path in volumeDevices";
        errors.invalid(&path.child("mountPath"), &mount.mount_path, why);
    }
}

fn parts(mount: &VolumeMount, list: &FieldPath, path: &FieldPath, errors: &mut FieldErrors) {
    let (part, expression) = (text(mount.sub_path.as_ref()), text(mount.sub_path_expr.as_ref()));
    files::descending(part, &list.child("subPath"), errors);
    if !part.is_empty() && !expression.is_empty() {
        let why = "subPathExpr and subPath are mutually exclusive";
        errors.invalid(&path.child("subPathExpr"), expression, why);
    }
    files::descending(expression, &list.child("subPathExpr"), errors);
}

fn propagation(
    mount: &VolumeMount,
    container: &Container,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mode = mount.mount_propagation.as_ref();
    rules::supported(mode, &[BIDIRECTIONAL, "HostToContainer", NONE], path, errors);
    let context = container.security_context.as_ref();
    let is_privileged = context.is_some_and(|context| context.privileged == Some(true));
    if text(mode) == BIDIRECTIONAL && !is_privileged {
        let why = "Bidirectional mount propagation is available only to privileged containers";
        errors.forbidden(path, why);
    }
}

fn recursive_read_only(mount: &VolumeMount, path: &FieldPath, errors: &mut FieldErrors) {
    const DISABLED: &str = "Disabled";
    let mode = mount.recursive_read_only.as_ref();
    let modes = [DISABLED, "Enabled", "IfPossible"];
    rules::supported(mode, &modes, path, errors);
    if mode.is_none_or(|mode| mode == DISABLED || !modes.contains(&mode.as_str())) {
        return;
    }
    if mount.read_only != Some(true) {
        errors.forbidden(path, "may only be specified when readOnly is true");
    }
    if mount.mount_propagation.as_ref().is_some_and(|mode| mode != NONE) {
        let why = "may only be specified when mountPropagation is None or not specified";
        errors.forbidden(path, why);
    }
}

fn devices(
    container: &Container,
    volumes: &Volumes<'_>,
    list: &FieldPath,
    errors: &mut FieldErrors,
) {
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for (i, device) in container.volume_devices.iter().flatten().enumerate() {
        let path = list.index(i);
        let (name, place) = (&device.name, &device.device_path);
        rules::required(name, &path.child("name"), errors);
        if !name.is_empty() && !names.insert(name) {
            errors.invalid(&path.child("name"), name, NOT_UNIQUE);
        }
        match volumes.get(name.as_str()) {
            None => errors.not_found(&path.child("name"), name),
            Some(it) if it.persistent_volume_claim.is_none() && it.ephemeral.is_none() => {
                let why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                errors.invalid(&path.child("name"), name, why);
            }
            Some(_) => {}
        }
        rules::required(place, &path.child("devicePath"), errors);
        if files::has_backsteps(place) {
            let why = "can not contain backsteps ('..')";
            errors.invalid(&path.child("devicePath"), place, why);
        } else if !paths.insert(place) {
            errors.invalid(&path.child("devicePath"), place, NOT_UNIQUE);
        }
        beside_mounts(device, container, &path, errors);
    }
}

fn beside_mounts(
    device: &VolumeDevice,
    container: &Container,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mounts = container.volume_mounts.as_deref().unwrap_or_default();
    if mounts.iter().any(|mount| mount.name == device.name) {
        let why = "must not already exist in volumeMounts";
        errors.invalid(&path.child("name"), &device.name, why);
    }
    if mounts.iter().any(|mount| mount.mount_path == device.device_path) {
        let why = "must not already exist as a path in volumeMounts";
        errors.invalid(&path.child("devicePath"), &device.device_path, why);
    }
}
