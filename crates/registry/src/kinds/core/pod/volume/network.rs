//! The faults of volumes that nodes reach over a network.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{
    AWSElasticBlockStoreVolumeSource, CinderVolumeSource, FCVolumeSource, FlockerVolumeSource,
    GCEPersistentDiskVolumeSource, ISCSIVolumeSource, LocalObjectReference, NFSVolumeSource,
    QuobyteVolumeSource, RBDVolumeSource, ScaleIOVolumeSource, StorageOSVolumeSource,
};

use crate::rules::{self, all_of, text};

/// Of a node of a SCSI bus.
const LUNS: std::ops::RangeInclusive<i64> = 0..=255;
const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
const MAX_TENANT: usize = 64;

pub(super) fn gce_disk(
    source: &GCEPersistentDiskVolumeSource,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    rules::required(&source.pd_name, &path.child("pdName"), errors);
    partition(source.partition, path, errors);
}

pub(super) fn aws_disk(
    source: &AWSElasticBlockStoreVolumeSource,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    rules::required(&source.volume_id, &path.child("volumeID"), errors);
    partition(source.partition, path, errors);
}

/// 0 is the whole disk.
fn partition(partition: Option<i32>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(partition) = partition.filter(|partition| !(0..=255).contains(partition)) {
        errors.invalid(&path.child("partition"), partition, "must be between 1 and 255, inclusive");
    }
}

pub(super) fn nfs(source: &NFSVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    all_of(&[("server", &source.server), ("path", &source.path)], path, errors);
    if !source.path.starts_with('/') {
        errors.invalid(&path.child("path"), &source.path, "must be an absolute path");
    }
}

pub(super) fn iscsi(source: &ISCSIVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    all_of(&[("targetPortal", &source.target_portal), ("iqn", &source.iqn)], path, errors);
    if !source.iqn.is_empty() {
        node_name(&source.iqn, &path.child("iqn"), errors);
    }
    rules::between(Some(source.lun), &LUNS, &path.child("lun"), errors);
    let is_authenticated =
        [source.chap_auth_discovery, source.chap_auth_session].contains(&Some(true));
    if is_authenticated && source.secret_ref.is_none() {
        errors.required(&path.child("secretRef"), "");
    }
    if let Some(initiator) = &source.initiator_name {
        node_name(initiator, &path.child("initiatorname"), errors);
    }
}

/// The name of an end of a session of iSCSI (RFC 7143, 4.2.7).
fn node_name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let is_number = |digits: usize| {
        let number = name.get(4..).unwrap_or_default();
        number.len() == digits && number.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let is_valid = match name.get(..3) {
        Some("iqn") => is_qualified(name),
        Some("eui") => is_number(16),
        Some("naa") => is_number(32),
        _ => {
            let why = "must be valid format starting with iqn, eui, or naa";
            return errors.invalid(path, name, why);
        }
    };
    if !is_valid {
        errors.invalid(path, name, "must be valid format");
    }
}

/// `iqn.2001-04.com.example:storage.disk`: since when somebody has a domain, the domain, and what they call it.
fn is_qualified(name: &str) -> bool {
    let parts = name.strip_prefix("iqn.").and_then(|rest| rest.split_once(':'));
    let Some((authority, own)) = parts else { return false };
    let date = authority.bytes().take(8).enumerate().all(|(i, byte)| match i {
        4 => byte == b'-',
        7 => byte == b'.',
        _ => byte.is_ascii_digit(),
    });
    let is_of_domain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    date && authority.len() > 8
        && authority.bytes().all(is_of_domain)
        && !own.is_empty()
        && !own.contains(|c: char| c.is_whitespace() || ",;*&$|".contains(c))
}

pub(super) fn flocker(source: &FlockerVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let (name, id) = (text(source.dataset_name.as_ref()), text(source.dataset_uuid.as_ref()));
    match (name.is_empty(), id.is_empty()) {
        (true, true) => errors.required(path, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            let why = "datasetName and datasetUUID can not be specified simultaneously";
            errors.invalid(path, "resource", why);
        }
        _ => {}
    }
    if name.contains('/') {
        errors.invalid(&path.child("datasetName"), name, "must not contain '/'");
    }
}

pub(super) fn rbd(source: &RBDVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    monitors(&source.monitors, path, errors);
    rules::required(&source.image, &path.child("image"), errors);
}

pub(super) fn cinder(source: &CinderVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(&source.volume_id, &path.child("volumeID"), errors);
    secret(source.secret_ref.as_ref(), path, errors);
}

pub(super) fn scale_io(source: &ScaleIOVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let name = text(source.volume_name.as_ref());
    let fields = [("gateway", &*source.gateway), ("system", &*source.system), ("volumeName", name)];
    all_of(&fields, path, errors);
}

/// By which a node is let in.
fn secret(secret: Option<&LocalObjectReference>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(secret) = secret {
        rules::required(&secret.name, &path.child("secretRef").child("name"), errors);
    }
}

/// Of Ceph.
pub(super) fn monitors(monitors: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    if monitors.is_empty() {
        errors.required(&path.child("monitors"), "");
    }
}

pub(super) fn quobyte(source: &QuobyteVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("registry");
    if source.registry.is_empty() {
        errors.required(&at, PAIRS);
    } else if text(source.tenant.as_ref()).len() > MAX_TENANT {
        let why = "must be a UUID and may not exceed a length of 64 characters";
        errors.required(&path.child("tenant"), why);
    } else {
        for _ in source.registry.split(',').filter(|pair| !is_host_and_port(pair)) {
            errors.invalid(&at, &source.registry, PAIRS);
        }
    }
    rules::required(&source.volume, &path.child("volume"), errors);
}

/// As Go's `net.SplitHostPort` reads it.
fn is_host_and_port(pair: &str) -> bool {
    let Some((host, _)) = pair.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let has_more = |c: char| matches!(c, '[' | ']') || (bare.is_none() && c == ':');
    !bare.unwrap_or(host).contains(has_more)
}

pub(super) fn fibre_channel(source: &FCVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let at = path.child("targetWWNs");
    let none = |list: &Option<Vec<String>>| list.as_ref().is_none_or(Vec::is_empty);
    match (none(&source.target_wwns), none(&source.wwids)) {
        (true, true) => {
            errors.required(&at, "must specify either targetWWNs or wwids, but not both");
        }
        (false, false) => {
            let why = "targetWWNs and wwids can not be specified simultaneously";
            errors.invalid(&at, rules::json(&source.target_wwns), why);
        }
        _ => {}
    }
    if none(&source.target_wwns) {
        return;
    }
    let at = path.child("lun");
    if source.lun.is_none() {
        errors.required(&at, "lun is required if targetWWNs is specified");
    }
    rules::between(source.lun, &LUNS, &at, errors);
}

pub(super) fn storage_os(
    source: &StorageOSVolumeSource,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let name = text(source.volume_name.as_ref());
    rules::named(name, names::dns1123_label, &path.child("volumeName"), errors);
    let (namespace, at) = (source.volume_namespace.as_ref(), path.child("volumeNamespace"));
    rules::maybe_follows(namespace, names::dns1123_label, &at, errors);
    secret(source.secret_ref.as_ref(), path, errors);
}
