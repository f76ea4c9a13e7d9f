//! That a volume is to be at a node, and whether it is.

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::storage::v1::{
    VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentStatus, VolumeError,
};
use serde_json::json;

use super::parameters;
use crate::{
    ResourceDef, Strategy, resource,
    rules::{self, text},
};

const MOST_BYTES: usize = 256 * 1024;
const LONGEST_MESSAGE: usize = 1024;

pub(crate) fn definition() -> ResourceDef {
    resource::<VolumeAttachment, _>(AttachmentStrategy)
        .replaced_by_version()
        .shown_when_deleted()
        .status_alone(|attachment, from| attachment.status.clone_from(&from.status))
        .column("Attacher", "string", 0, |it, _| json!(it.spec.attacher))
        .format("name")
        .column("PV", "string", 0, |it, _| {
            json!(text(it.spec.source.persistent_volume_name.as_ref()))
        })
        .column("Node", "string", 0, |it, _| json!(it.spec.node_name))
        .column("Attached", "boolean", 0, |it, _| {
            json!(it.status.as_ref().is_some_and(|status| status.attached))
        })
        .build()
}

struct AttachmentStrategy;

impl Strategy<VolumeAttachment> for AttachmentStrategy {
    fn prepare_create(&self, attachment: &mut VolumeAttachment) {
        attachment.status = Some(VolumeAttachmentStatus::default());
    }

    fn validate(&self, attachment: &VolumeAttachment, errors: &mut FieldErrors) {
        let (spec, path) = (&attachment.spec, FieldPath::new("spec"));
        parameters::driver(&spec.attacher, &path.child("attacher"), errors);
        validate_source(&spec.source, &path.child("source"), errors);
        let rule = names::dns1123_subdomain;
        rules::follows(&spec.node_name, rule, &path.child("nodeName"), errors);
        if let Some(status) = &attachment.status {
            validate_attached(status, &FieldPath::new("status"), errors);
        }
    }

    fn validate_update(
        &self,
        new: &VolumeAttachment,
        old: &VolumeAttachment,
        errors: &mut FieldErrors,
    ) {
        let shown = serde_json::to_value(&new.spec).unwrap_or_default();
        let path = FieldPath::new("spec");
        rules::immutable(&new.spec, &old.spec, format_args!("{shown}"), &path, errors);
    }

    fn validate_status(
        &self,
        new: &VolumeAttachment,
        _: &VolumeAttachment,
        errors: &mut FieldErrors,
    ) {
        if let Some(status) = &new.status {
            validate_attached(status, &FieldPath::new("status"), errors);
        }
    }
}

fn validate_source(source: &VolumeAttachmentSource, path: &FieldPath, errors: &mut FieldErrors) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    let (volume, inline) = (&source.persistent_volume_name, &source.inline_volume_spec);
    match (volume, inline) {
        (None, None) => errors.required(path, ONE),
        (Some(_), Some(_)) => errors.forbidden(path, ONE),
        (None, Some(inline)) if inline.csi.is_none() => {
            let path = path.child("inlineVolumeSpec").child("csi");
            errors.required(&path, "has to be specified in the context of inline volumes");
        }
        (None, Some(_)) => {}
        (Some(volume), None) if volume.is_empty() => {
            let path = path.child("persistentVolumeName");
            errors.required(&path, "must specify non empty persistentVolumeName");
        }
        (Some(volume), None) => {
            let path = path.child("persistentVolumeName");
            rules::follows(volume, names::dns1123_subdomain, &path, errors);
        }
    }
}

fn validate_attached(status: &VolumeAttachmentStatus, path: &FieldPath, errors: &mut FieldErrors) {
    let none = BTreeMap::new();
    let metadata = status.attachment_metadata.as_ref().unwrap_or(&none);
    let size: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_BYTES {
        errors.too_long(&path.child("attachmentMetadata"), MOST_BYTES);
    }
    for (field, error) in
        [("attachError", &status.attach_error), ("detachError", &status.detach_error)]
    {
        if let Some(error) = error {
            validate_error(error, &path.child(field), errors);
        }
    }
}

fn validate_error(error: &VolumeError, path: &FieldPath, errors: &mut FieldErrors) {
    if text(error.message.as_ref()).len() > LONGEST_MESSAGE {
        errors.too_long(&path.child("message"), LONGEST_MESSAGE);
    }
    if let Some(code) = error.error_code.filter(|code| *code < 0) {
        let why = "must be between 0 and 2147483647, inclusive";
        errors.invalid(&path.child("errorCode"), code, why);
    }
}
