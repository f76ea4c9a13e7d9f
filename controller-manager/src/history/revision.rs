//! One revision as Kubernetes has it: the data is a patch of the owner that brings its template back, and the name is made of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::RawExtension;
use api_types::api::apps::v1::ControllerRevision;
use api_types::api::core::v1::PodTemplateSpec;
use api_types::meta::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use crate::owners::{Owner, controller_reference_of};

/// Of the owner's name, so that the revision's is not too long.
const LONGEST_PREFIX: usize = 223;
/// Digits and consonants that spell nothing, as Kubernetes' own.
const SAFE: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// Its name.
pub(crate) fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// The template that it brings back; `None` if there is none in it.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// The patch that brings a template back.
pub(super) fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("plain data has an encoding");
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// Whether this is its data.
pub(super) fn has(revision: &ControllerRevision, data: &Value) -> bool {
    revision.data.as_ref().is_some_and(|own| own.0 == *data)
}

/// The oldest first.
pub(super) fn sort(revisions: &mut [Arc<ControllerRevision>]) {
    revisions.sort_by_cached_key(|it| {
        let created = it.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (it.revision, created, it.metadata.name.clone())
    });
}

/// A revision before it is known whether the name is free.
pub(super) struct Draft {
    metadata: ObjectMeta,
    prefix: String,
    data: Value,
    number: i64,
}

impl Draft {
    /// Of an owner's template.
    pub(super) fn of<O: Owner<DynamicType = ()>>(
        owner: &O,
        template: &PodTemplateSpec,
        data: Value,
        number: i64,
    ) -> Self {
        let meta = owner.meta();
        let labels = template.metadata.as_ref().and_then(|it| it.labels.clone());
        let metadata = ObjectMeta {
            namespace: meta.namespace.clone(),
            labels: Some(labels.unwrap_or_default()),
            annotations: meta.annotations.clone(),
            owner_references: controller_reference_of(owner, &()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        };
        let name = meta.name.as_deref().unwrap_or_default();
        let prefix = name.chars().take(LONGEST_PREFIX).collect();
        Self { metadata, prefix, data, number }
    }

    pub(super) fn data(&self) -> &Value {
        &self.data
    }

    /// The uid of the owner.
    pub(super) fn owner(&self) -> &str {
        let owners = self.metadata.owner_references.as_deref().unwrap_or_default();
        owners.first().map(|OwnerReference { uid, .. }| uid.as_str()).unwrap_or_default()
    }

    /// As it is to be created after so many names were taken.
    pub(super) fn revision(&self, collisions: i32, hash_label: &str) -> ControllerRevision {
        let hash = hash(&self.data, collisions);
        let mut metadata = self.metadata.clone();
        metadata.name = Some(format!("{}-{hash}", self.prefix));
        metadata.labels.get_or_insert_with(BTreeMap::new).insert(hash_label.to_owned(), hash);
        let data = Some(RawExtension(self.data.clone()));
        ControllerRevision { data, metadata, revision: self.number }
    }
}

/// FNV-1 of the data and the number of collisions, in letters: the names are those that Kubernetes gives.
fn hash(data: &Value, collisions: i32) -> String {
    let text = format!("{data}{collisions}");
    let fnv = |hash: u32, byte: u8| hash.wrapping_mul(0x0100_0193) ^ u32::from(byte);
    let digits = text.bytes().fold(0x811c_9dc5, fnv).to_string();
    digits.bytes().map(|byte| char::from(SAFE[usize::from(byte) % SAFE.len()])).collect()
}
