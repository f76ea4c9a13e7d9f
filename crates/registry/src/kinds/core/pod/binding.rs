//! Binding a pod to a node, which only happens once.

use api_machinery::{ApiError, FieldErrors, FieldPath};
use api_types::{
    api::core::v1::{Binding, Pod, PodCondition},
    jiff::Timestamp,
    meta::Time,
};

use super::{columns::node_name, gated};
use crate::rules::text;

/// Makes the pod what the binding makes it: on the node, with the binding's labels and annotations, scheduled.
///
/// # Errors
/// 422 if the binding names no node; 409 if the pod is another one than the binding's, is being
/// deleted, has a node already, or is not to be scheduled yet.
pub fn bind(pod: &mut Pod, binding: &Binding, now: Timestamp) -> Result<(), ApiError> {
    validate(binding)?;
    may_be_bound(pod, binding)?;
    pod.spec.get_or_insert_default().node_name.clone_from(&binding.target.name);
    let (from, to) = (&binding.metadata, &mut pod.metadata);
    merge(from.annotations.as_ref(), &mut to.annotations);
    merge(from.labels.as_ref(), &mut to.labels);
    mark_scheduled(pod, now);
    Ok(())
}

type Map = std::collections::BTreeMap<String, String>;

fn merge(from: Option<&Map>, to: &mut Option<Map>) {
    if let Some(from) = from {
        to.get_or_insert_default().extend(from.clone());
    }
}

fn validate(binding: &Binding) -> Result<(), ApiError> {
    let mut errors = FieldErrors::default();
    let path = FieldPath::new("target");
    let kind = text(binding.target.kind.as_ref());
    if !matches!(kind, "" | "Node") {
        errors.not_supported(&path.child("kind"), kind, &["Node", "<empty>"]);
    }
    if text(binding.target.name.as_ref()).is_empty() {
        errors.required(&path.child("name"), "");
    }
    if errors.is_empty() {
        return Ok(());
    }
    Err(ApiError::invalid("", "Binding", text(binding.metadata.name.as_ref()), &errors))
}

fn may_be_bound(pod: &Pod, binding: &Binding) -> Result<(), ApiError> {
    let name = text(pod.metadata.name.as_ref());
    let conflict = |why: String| Err(ApiError::conflict("", "pods/binding", name, &why));
    let (wanted, found) = (text(binding.metadata.uid.as_ref()), text(pod.metadata.uid.as_ref()));
    if !wanted.is_empty() && wanted != found {
        return conflict(format!(
            "Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        ));
    }
    if pod.metadata.deletion_timestamp.is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let node = node_name(pod);
    if !node.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {node:?}"));
    }
    if gated(pod) {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    Ok(())
}

fn mark_scheduled(pod: &mut Pod, now: Timestamp) {
    let conditions = pod.status.get_or_insert_default().conditions.get_or_insert_default();
    conditions.retain(|c| c.type_ != "PodScheduled");
    conditions.push(PodCondition {
        type_: "PodScheduled".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(now)),
        ..PodCondition::default()
    });
}
