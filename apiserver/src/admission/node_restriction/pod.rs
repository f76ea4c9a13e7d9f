//! What a kubelet writes of pods: the statuses of its own, and mirror pods. Pure.

use api_types::{
    api::core::v1::{Pod, PodStatus},
    meta::OwnerReference,
};
use registry::MIRROR;

use super::why::{Why, ensure, unexpected};
use crate::admission::Operation;
use crate::node_authorizer::{is_mirror, names_objects};

/// Fails if a node may not do this with a pod. `own_uid`: that of the node's object, if there is one.
pub(super) fn check(
    node: &str,
    (operation, subresource): (Operation, Option<&str>),
    new: Option<&Pod>,
    old: Option<&Pod>,
    own_uid: impl FnOnce() -> Option<String>,
) -> Result<(), Why> {
    let is_own = |pod: Option<&Pod>| node_of(pod) == Some(node);
    match (subresource, operation) {
        (None, Operation::Create) => new.map_or(Ok(()), |pod| check_mirror(node, pod, own_uid)),
        (None, Operation::Delete) => ensure(is_own(old), || {
            format!("node {node:?} can only delete pods with spec.nodeName set to itself")
        }),
        (None, operation) => Err(format!(
            "{}, node {node:?} can only create and delete mirror pods",
            unexpected(operation)
        )),
        (Some("status"), Operation::Update) => {
            ensure(is_own(old), || {
                format!(
                    "node {node:?} can only update pod status for pods with spec.nodeName set to itself"
                )
            })?;
            check_status(node, new, old)
        }
        (Some("eviction"), Operation::Create) => ensure(is_own(old), || {
            format!("node {node} can only evict pods with spec.nodeName set to itself")
        }),
        (Some("status" | "eviction"), operation) => Err(unexpected(operation)),
        (Some(other), _) => Err(format!(
            "unexpected pod subresource {other:?}, only 'status' and 'eviction' are allowed"
        )),
    }
}

fn node_of(pod: Option<&Pod>) -> Option<&str> {
    pod?.spec.as_ref()?.node_name.as_deref()
}

fn check_status(node: &str, new: Option<&Pod>, old: Option<&Pod>) -> Result<(), Why> {
    let labels =
        |pod: Option<&Pod>| pod.and_then(|pod| pod.metadata.labels.clone()).unwrap_or_default();
    ensure(labels(new) == labels(old), || {
        format!("node {node:?} cannot update labels through pod status")
    })?;
    let status = |pod: Option<&Pod>| pod.and_then(|pod| pod.status.clone()).unwrap_or_default();
    let (new, old): (PodStatus, PodStatus) = (status(new), status(old));
    ensure(
        new.resource_claim_statuses.unwrap_or_default()
            == old.resource_claim_statuses.unwrap_or_default(),
        || format!("node {node:?} cannot update resource claim statues"),
    )?;
    ensure(new.extended_resource_claim_status == old.extended_resource_claim_status, || {
        format!("node {node:?} cannot update extended resource claim status")
    })
}

/// A mirror pod gives its node no right to anything.
fn check_mirror(
    node: &str,
    pod: &Pod,
    own_uid: impl FnOnce() -> Option<String>,
) -> Result<(), Why> {
    ensure(is_mirror(pod), || {
        format!(
            "pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods"
        )
    })?;
    ensure(node_of(Some(pod)) == Some(node), || {
        format!("node {node:?} can only create pods with spec.nodeName set to itself")
    })?;
    let itself =
        || format!("node {node:?} can only create pods with an owner reference set to itself");
    match pod.metadata.owner_references.as_deref().unwrap_or_default() {
        [] => return Err(itself()),
        [owner] => {
            let OwnerReference { api_version, kind, name, .. } = owner;
            let is_node =
                (api_version.as_str(), kind.as_str(), name.as_str()) == ("v1", "Node", node);
            ensure(is_node, itself)?;
            check_owner(node, owner, own_uid)?;
        }
        _ => {
            return Err(format!(
                "node {node:?} can only create pods with a single owner reference set to itself"
            ));
        }
    }
    ensure(!names_objects(pod), || {
        format!("node {node:?} can not create pods that reference other API objects")
    })
}

fn check_owner(
    node: &str,
    owner: &OwnerReference,
    own_uid: impl FnOnce() -> Option<String>,
) -> Result<(), Why> {
    ensure(owner.controller == Some(true), || {
        format!(
            "node {node:?} can only create pods with a controller owner reference set to itself"
        )
    })?;
    ensure(owner.block_owner_deletion != Some(true), || {
        format!("node {node:?} must not set blockOwnerDeletion on an owner reference")
    })?;
    let uid = own_uid().unwrap_or_default();
    ensure(owner.uid == uid, || {
        format!("node {node} UID mismatch: expected {} got {uid}", owner.uid)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn typed(pod: &Value) -> Pod {
        serde_json::from_value(pod.clone()).unwrap()
    }

    fn checked(
        what: (Operation, Option<&str>),
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Why> {
        let (new, old) = (new.map(typed), old.map(typed));
        check("n1", what, new.as_ref(), old.as_ref(), || Some("u1".to_owned()))
    }

    fn pod_of(node: &str) -> Value {
        json!({"metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"nodeName": node, "containers": []}})
    }

    #[test]
    fn a_node_writes_of_its_own_pods() {
        let (own, other) = (pod_of("n1"), pod_of("n2"));
        let status = (Operation::Update, Some("status"));
        let eviction = (Operation::Create, Some("eviction"));
        let deletion = (Operation::Delete, None);
        for (what, why) in [
            (
                status,
                "node \"n1\" can only update pod status for pods with spec.nodeName set to itself",
            ),
            (eviction, "node n1 can only evict pods with spec.nodeName set to itself"),
            (deletion, "node \"n1\" can only delete pods with spec.nodeName set to itself"),
        ] {
            assert_eq!(checked(what, Some(&own), Some(&own)), Ok(()), "{what:?}");
            assert_eq!(checked(what, Some(&other), Some(&other)), Err(why.to_owned()));
            // By what is there, not by what is brought.
            assert_eq!(checked(what, Some(&own), Some(&other)), Err(why.to_owned()));
        }
        let mut relabelled = own.clone();
        relabelled["metadata"]["labels"]["a"] = "c".into();
        let why = "node \"n1\" cannot update labels through pod status";
        assert_eq!(checked(status, Some(&relabelled), Some(&own)), Err(why.to_owned()));
        let mut claimed = own.clone();
        claimed["status"]["resourceClaimStatuses"] =
            json!([{"name": "c", "resourceClaimName": "x"}]);
        let why = "node \"n1\" cannot update resource claim statues";
        assert_eq!(checked(status, Some(&claimed), Some(&own)), Err(why.to_owned()));
        let why =
            "unexpected operation \"UPDATE\", node \"n1\" can only create and delete mirror pods";
        let update = (Operation::Update, None);
        assert_eq!(checked(update, Some(&own), Some(&own)), Err(why.to_owned()));
        let exec = (Operation::Connect, Some("exec"));
        let why = "unexpected pod subresource \"exec\", only 'status' and 'eviction' are allowed";
        assert_eq!(checked(exec, None, Some(&own)), Err(why.to_owned()));
    }

    #[test]
    fn a_node_makes_mirror_pods_that_name_nothing() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1", "controller": true});
        let mirror = json!({
            "metadata": {"name": "p", "annotations": {MIRROR: "x"}, "ownerReferences": [owner]},
            "spec": {"nodeName": "n1", "containers": []},
        });
        let check = |pointer: &str, value: Value, expected: Result<(), &str>| {
            let mut pod = mirror.clone();
            *pod.pointer_mut(pointer).unwrap() = value.clone();
            let found = checked((Operation::Create, None), Some(&pod), None);
            assert_eq!(found, expected.map_err(str::to_owned), "{pointer} {value}");
        };
        check("/spec/containers", json!([]), Ok(()));
        let why = "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods";
        check("/metadata/annotations", json!({}), Err(why));
        let why = "node \"n1\" can only create pods with spec.nodeName set to itself";
        check("/spec/nodeName", json!("n2"), Err(why));
        let why = "node \"n1\" can only create pods with an owner reference set to itself";
        check("/metadata/ownerReferences", json!([]), Err(why));
        check("/metadata/ownerReferences/0/name", json!("n2"), Err(why));
        let why = "node \"n1\" can only create pods with a single owner reference set to itself";
        check("/metadata/ownerReferences", json!([owner, owner]), Err(why));
        let why =
            "node \"n1\" can only create pods with a controller owner reference set to itself";
        check("/metadata/ownerReferences/0/controller", json!(false), Err(why));
        let why = "node n1 UID mismatch: expected u2 got u1";
        check("/metadata/ownerReferences/0/uid", json!("u2"), Err(why));
        let why = "node \"n1\" can not create pods that reference other API objects";
        let with =
            |field: &str, value: Value| json!({"nodeName": "n1", "containers": [], field: value});
        check("/spec", with("serviceAccountName", json!("a")), Err(why));
        // The claim of such a volume would be made for it.
        let ephemeral = json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]);
        check("/spec", with("volumes", ephemeral), Err(why));
    }
}
