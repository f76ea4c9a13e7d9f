//! What a kubelet writes of claims: how large their volumes have become. Pure.

use api_types::api::core::v1::PersistentVolumeClaim as Claim;

use super::why::{Why, ensure, unexpected};
use crate::admission::Operation;

/// Fails if a node may not make the new claim of the old one.
pub(super) fn check(
    node: &str,
    (operation, subresource): (Operation, Option<&str>),
    new: Option<&Claim>,
    old: Option<&Claim>,
) -> Result<(), Why> {
    ensure(subresource == Some("status"), || "may only update PVC status".to_owned())?;
    ensure(operation == Operation::Update, || unexpected(operation))?;
    ensure(new.is_some() && rest(new) == rest(old), || {
        format!(
            "node {node:?} is not allowed to update fields other than status.quantity and status.conditions"
        )
    })
}

/// All that a node has no say in: who it is and whose, when it goes, and what becomes of its volume.
fn rest(claim: Option<&Claim>) -> Option<Claim> {
    let mut claim = claim?.clone();
    (claim.metadata.managed_fields, claim.metadata.resource_version) = (None, None);
    let status = claim.status.get_or_insert_default();
    (status.capacity, status.conditions) = (None, None);
    (status.allocated_resources, status.allocated_resource_statuses) = (None, None);
    Some(claim)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_node_says_of_a_claim_how_large_it_is_and_no_more() {
        let old = json!({
            "metadata": {"name": "c", "resourceVersion": "1", "finalizers": ["kubernetes.io/pvc-protection"]},
            "spec": {"volumeName": "v"}, "status": {"phase": "Bound"},
        });
        let typed = |claim: &Value| -> Claim { serde_json::from_value(claim.clone()).unwrap() };
        let update = (Operation::Update, Some("status"));
        let check = |pointer: &str, field: &str, value: Value, expected: bool| {
            let mut new = old.clone();
            new.pointer_mut(pointer).unwrap()[field] = value;
            let why = "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions";
            let expected = if expected { Ok(()) } else { Err(why.to_owned()) };
            let found = check("n1", update, Some(&typed(&new)), Some(&typed(&old)));
            assert_eq!(found, expected, "{pointer} {field}");
        };
        let resizing = json!([{"type": "Resizing", "status": "True"}]);
        check("/status", "capacity", json!({"storage": "2Gi"}), true);
        check("/status", "conditions", resizing, true);
        check("/status", "allocatedResources", json!({"storage": "2Gi"}), true);
        check("/status", "allocatedResourceStatuses", json!({"storage": "NodeResizeFailed"}), true);
        check("/metadata", "resourceVersion", Value::Null, true);
        check("/status", "phase", json!("Lost"), false);
        check("/metadata", "finalizers", json!([]), false);
        let owner = json!([{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "u"}]);
        check("/metadata", "ownerReferences", owner, false);
        check("/metadata", "labels", json!({"a": "b"}), false);
        check("/metadata", "annotations", json!({"a": "b"}), false);
        check("/spec", "volumeName", json!("w"), false);
    }

    #[test]
    fn a_node_writes_nothing_of_a_claim_but_its_status() {
        let found = check("n1", (Operation::Update, None), None, None);
        assert_eq!(found, Err("may only update PVC status".to_owned()));
        let found = check("n1", (Operation::Delete, Some("status")), None, None);
        assert_eq!(found, Err("unexpected operation \"DELETE\"".to_owned()));
    }
}
