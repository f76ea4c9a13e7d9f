//! What the pods of a StatefulSet or DaemonSet are, or were, made of.

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

use crate::{ResourceDef, Strategy, cells::NONE, resource, rules};

pub(crate) fn definition() -> ResourceDef {
    resource::<ControllerRevision, _>(ControllerRevisionStrategy)
        .column("Controller", "string", 0, |revision, _| json!(controller(revision)))
        .column("Revision", "string", 0, |revision, _| json!(revision.revision))
        .build()
}

/// `statefulset.apps/web`.
fn controller(revision: &ControllerRevision) -> String {
    let owners = revision.metadata.owner_references.iter().flatten();
    let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
    let Some(controller) = controller else { return NONE.to_owned() };
    let group = controller.api_version.split_once('/').map(|(group, _)| format!(".{group}"));
    let kind = controller.kind.to_lowercase();
    format!("{kind}{}/{}", group.unwrap_or_default(), controller.name)
}

struct ControllerRevisionStrategy;

impl Strategy<ControllerRevision> for ControllerRevisionStrategy {
    fn validate(&self, revision: &ControllerRevision, errors: &mut FieldErrors) {
        rules::not_negative(Some(revision.revision), &FieldPath::new("revision"), errors);
    }

    fn validate_create(&self, revision: &ControllerRevision, errors: &mut FieldErrors) {
        let path = FieldPath::new("data");
        match revision.data.as_ref().map(|data| &data.0) {
            None | Some(Value::Null) => errors.required(&path, "data is mandatory"),
            Some(Value::Object(_)) => {}
            Some(_) => errors.required(&path, "data must be a valid JSON object"),
        }
    }

    fn validate_update(
        &self,
        new: &ControllerRevision,
        old: &ControllerRevision,
        errors: &mut FieldErrors,
    ) {
        let shown = serde_json::to_value(&new.data).unwrap_or_default();
        let path = FieldPath::new("data");
        rules::immutable(&new.data, &old.data, format_args!("{shown}"), &path, errors);
    }
}
