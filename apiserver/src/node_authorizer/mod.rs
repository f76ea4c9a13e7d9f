//! What a kubelet may do by being one: read what the pods on its node use, keep its own objects, and a few things alike for
//! all nodes (Kubernetes: `plugin/pkg/auth/authorizer/node`). What it writes into objects that it may write is looked at by
//! the admission plugin `NodeRestriction`.

mod graph;
mod references;
mod rules;

use std::sync::Arc;

use api_types::api::core::v1::PersistentVolume;

use crate::{
    catalogue::InForce,
    objects::Objects,
    rbac::{Action, Asked},
    storage::Storage,
};

use self::graph::Followed;
use self::references::Kind;
pub(crate) use self::{
    references::{is_mirror, names_objects},
    rules::rules,
};

/// The group and the resource of volumes.
const VOLUMES: (&str, &str) = ("", "persistentvolumes");
/// Where nodes have their leases.
pub(crate) const LEASE_NAMESPACE: &str = "kube-node-lease";

/// See the module.
#[derive(Debug)]
pub(crate) struct NodeAuthorizer {
    catalogue: InForce,
    storage: Arc<Storage>,
    followed: Followed,
}

/// Why nothing is allowed here; others may allow it. Empty if there is nothing to say about that.
type NoOpinion = String;

impl NodeAuthorizer {
    pub(crate) fn new(catalogue: &InForce, storage: Arc<Storage>) -> Self {
        let followed = Followed::new(catalogue, storage.clone());
        Self { catalogue: catalogue.clone(), storage, followed }
    }

    /// Whether a node may do something.
    pub(crate) fn decide(&self, node: &str, asked: Asked<'_>) -> Result<(), NoOpinion> {
        let uses =
            |kind, namespace: &str, name: &str| self.followed.uses(node, kind, namespace, name);
        let uses_volume = |name: &str| {
            self.claim_of(name).is_some_and(|(namespace, claim)| {
                uses(Kind::PersistentVolumeClaim, &namespace, &claim)
            })
        };
        match asked {
            Asked::Resource(action) if (action.group, action.resource) == VOLUMES => {
                check_get(action)?;
                if uses_volume(action.name) { Ok(()) } else { Err(unrelated(node)) }
            }
            _ => judge(node, asked, uses),
        }
    }

    /// The claim that a volume is for, as the cache has it.
    fn claim_of(&self, volume: &str) -> Option<(String, String)> {
        let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
        let volume = objects.cached::<PersistentVolume>("persistentvolumes", None, volume);
        let claim = volume.ok()??.spec?.claim_ref?;
        Some((claim.namespace?, claim.name?))
    }
}

/// `uses`: whether a pod of the node uses an object.
fn judge(
    node: &str,
    asked: Asked<'_>,
    uses: impl Fn(Kind, &str, &str) -> bool,
) -> Result<(), NoOpinion> {
    let Asked::Resource(action) = asked else { return uniformly(asked) };
    let related = |kind| {
        let (namespace, name) = (action.namespace.unwrap_or_default(), action.name);
        match name {
            "" => Err("No Object name found".to_owned()),
            _ if uses(kind, namespace, name) => Ok(()),
            _ => Err(unrelated(node)),
        }
    };
    match (action.group, action.resource) {
        ("", "secrets") => check_read(action).and_then(|()| related(Kind::Secret)),
        ("", "configmaps") => check_read(action).and_then(|()| related(Kind::ConfigMap)),
        ("", "persistentvolumeclaims") => {
            check_claim(action).and_then(|()| related(Kind::PersistentVolumeClaim))
        }
        ("", "serviceaccounts") => {
            check_account(action).and_then(|()| related(Kind::ServiceAccount))
        }
        ("", "nodes") => of_node(node, action),
        ("", "pods") => of_pods(node, action, || related(Kind::Pod)),
        ("coordination.k8s.io", "leases") => of_lease(node, action),
        ("storage.k8s.io", "csinodes") => of_csi_node(node, action),
        // Nothing here leads to these.
        ("storage.k8s.io", "volumeattachments")
        | ("resource.k8s.io", "resourceclaims" | "resourceslices") => Err(unrelated(node)),
        _ => uniformly(asked),
    }
}

fn unrelated(node: &str) -> NoOpinion {
    format!("no relationship found between node '{node}' and this object")
}

/// What holds for all nodes alike.
fn uniformly(asked: Asked<'_>) -> Result<(), NoOpinion> {
    if rules::allow(asked) { Ok(()) } else { Err(NoOpinion::new()) }
}

fn ensure(holds: bool, why: &str) -> Result<(), NoOpinion> {
    if holds { Ok(()) } else { Err(why.to_owned()) }
}

fn check_read(action: Action<'_>) -> Result<(), NoOpinion> {
    let reads = ["get", "list", "watch"].contains(&action.verb);
    ensure(reads, "can only read resources of this type")?;
    ensure(action.subresource.is_none(), "cannot read subresource")?;
    let namespaced = action.namespace.is_some_and(|namespace| !namespace.is_empty());
    ensure(namespaced, "can only read namespaced object of this type")
}

fn check_claim(action: Action<'_>) -> Result<(), NoOpinion> {
    match action.subresource {
        Some("status") => {
            let updates = ["update", "patch"].contains(&action.verb);
            ensure(updates, "can only get/update/patch this type")
        }
        _ => check_get(action),
    }
}

fn check_get(action: Action<'_>) -> Result<(), NoOpinion> {
    ensure(action.verb == "get", "can only get individual resources of this type")?;
    ensure(action.subresource.is_none(), "cannot get subresource")
}

fn check_account(action: Action<'_>) -> Result<(), NoOpinion> {
    if action.verb == "get" && action.subresource.is_none() {
        return check_read(action);
    }
    let creates = action.verb == "create" && !action.name.is_empty();
    ensure(creates, "can only create tokens for individual service accounts")?;
    let of_token = action.subresource == Some("token");
    ensure(of_token, "can only create token subresource of serviceaccount")
}

fn of_node(node: &str, action: Action<'_>) -> Result<(), NoOpinion> {
    match (action.subresource, action.verb) {
        (None, "create" | "update" | "patch") | (Some("status"), "update" | "patch") => Ok(()),
        // By the name: a kubelet looks for its object before there is one.
        (None, "get" | "list" | "watch") => match action.name {
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            name if name == node => Ok(()),
            name => Err(format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => Err(NoOpinion::new()),
    }
}

fn of_pods(
    node: &str,
    action: Action<'_>,
    related: impl Fn() -> Result<(), NoOpinion>,
) -> Result<(), NoOpinion> {
    match (action.subresource, action.verb) {
        (None, "get") => related(),
        (None, "list" | "watch") => {
            let selected = action.fields.and_then(|fields| fields.requires("spec.nodeName"));
            if selected == Some(node) {
                return Ok(());
            }
            ensure(
                !action.name.is_empty(),
                "can only list/watch pods with spec.nodeName field selector",
            )?;
            related()
        }
        (None, "create" | "delete")
        | (Some("status"), "update" | "patch")
        | (Some("eviction"), "create") => Ok(()),
        _ => Err(NoOpinion::new()),
    }
}

fn of_lease(node: &str, action: Action<'_>) -> Result<(), NoOpinion> {
    let verbs = ["get", "create", "update", "patch", "delete"];
    let why = "can only get, create, update, patch, or delete a node lease";
    ensure(verbs.contains(&action.verb), why)?;
    let namespaced = action.namespace == Some(LEASE_NAMESPACE);
    ensure(
        namespaced,
        &format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"),
    )?;
    // The name of what is made is not known yet.
    let own = action.verb == "create" || action.name == node;
    ensure(own, "can only access node lease with the same name as the requesting node")
}

fn of_csi_node(node: &str, action: Action<'_>) -> Result<(), NoOpinion> {
    let verbs = ["get", "create", "update", "patch", "delete"];
    let why = "can only get, create, update, patch, or delete a CSINode";
    ensure(verbs.contains(&action.verb), why)?;
    ensure(action.subresource.is_none(), "cannot authorize CSINode subresources")?;
    let own = action.verb == "create" || action.name == node;
    ensure(own, "can only access CSINode with the same name as the requesting node")
}

#[cfg(test)]
mod tests {
    use api_machinery::FieldSelector;

    use super::*;

    /// Of the node `n1`, whose pods use the object `used` of each kind in the namespace `default`.
    fn decide(action: Action<'_>) -> Result<(), String> {
        let uses = |_, namespace: &str, name: &str| namespace == "default" && name == "used";
        judge("n1", Asked::Resource(action), uses)
    }

    fn action<'a>(verb: &'a str, resource: &'a str, name: &'a str) -> Action<'a> {
        let (resource, subresource) = match resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (resource, None),
        };
        Action {
            verb,
            resource,
            subresource,
            name,
            namespace: Some("default"),
            ..Action::default()
        }
    }

    const UNRELATED: Result<(), &str> =
        Err("no relationship found between node 'n1' and this object");

    #[test]
    fn objects_are_read_that_pods_of_the_node_use_by_their_names() {
        let check = |verb: &str, resource: &str, name: &str, expected: Result<(), &str>| {
            let found = decide(action(verb, resource, name));
            assert_eq!(found, expected.map_err(str::to_owned), "{verb} {resource} {name}");
        };
        for resource in ["secrets", "configmaps"] {
            for verb in ["get", "list", "watch"] {
                check(verb, resource, "used", Ok(()));
                check(verb, resource, "other", UNRELATED);
            }
            check("list", resource, "", Err("No Object name found"));
            check("update", resource, "used", Err("can only read resources of this type"));
        }
        check("get", "persistentvolumeclaims", "used", Ok(()));
        let why = Err("can only get individual resources of this type");
        check("list", "persistentvolumeclaims", "used", why);
        check("patch", "persistentvolumeclaims/status", "used", Ok(()));
        check("get", "serviceaccounts", "used", Ok(()));
        check("create", "serviceaccounts/token", "used", Ok(()));
        check("create", "serviceaccounts/token", "other", UNRELATED);
        let why = Err("can only create tokens for individual service accounts");
        check("update", "serviceaccounts", "used", why);
        let everywhere = Action { namespace: None, ..action("list", "secrets", "used") };
        let why = "can only read namespaced object of this type";
        assert_eq!(decide(everywhere), Err(why.to_owned()));
    }

    #[test]
    fn pods_are_read_that_are_on_the_node() {
        let check = |fields: &str, name: &str, expected: bool| {
            let fields = FieldSelector::parse(fields).unwrap();
            let action = Action { fields: Some(&fields), ..action("watch", "pods", name) };
            assert_eq!(decide(action).is_ok(), expected, "{fields:?} {name}");
        };
        check("spec.nodeName=n1", "", true);
        check("spec.nodeName=n2", "", false);
        check("spec.nodeName!=n1", "", false);
        check("metadata.name=used", "used", true);
        check("metadata.name=other", "other", false);
        assert!(decide(action("list", "pods", "")).is_err());
        for (verb, resource, expected) in [
            ("patch", "pods/status", true),
            ("delete", "pods", true),
            ("create", "pods/eviction", true),
            ("patch", "pods", false),
            ("get", "pods/log", false),
            ("create", "pods/exec", false),
            ("create", "pods/binding", false),
            ("deletecollection", "pods", false),
        ] {
            assert_eq!(
                decide(action(verb, resource, "used")).is_ok(),
                expected,
                "{verb} {resource}"
            );
        }
    }

    #[test]
    fn a_node_has_its_own_node_and_lease() {
        let lease = |verb, name, namespace| Action {
            group: "coordination.k8s.io",
            namespace: Some(namespace),
            ..action(verb, "leases", name)
        };
        assert_eq!(decide(lease("update", "n1", LEASE_NAMESPACE)), Ok(()));
        assert_eq!(decide(lease("create", "", LEASE_NAMESPACE)), Ok(()));
        for (verb, name, namespace, why) in [
            (
                "update",
                "n2",
                LEASE_NAMESPACE,
                "can only access node lease with the same name as the requesting node",
            ),
            (
                "update",
                "n1",
                "kube-system",
                "can only access leases in the \"kube-node-lease\" system namespace",
            ),
            (
                "list",
                "",
                LEASE_NAMESPACE,
                "can only get, create, update, patch, or delete a node lease",
            ),
        ] {
            assert_eq!(decide(lease(verb, name, namespace)), Err(why.to_owned()));
        }
        assert_eq!(decide(action("get", "nodes", "n1")), Ok(()));
        let why = "node 'n1' cannot read 'n2', only its own Node object";
        assert_eq!(decide(action("get", "nodes", "n2")), Err(why.to_owned()));
        let why = "node 'n1' cannot read all nodes, only its own Node object";
        assert_eq!(decide(action("list", "nodes", "")), Err(why.to_owned()));
        assert!(decide(action("delete", "nodes", "n1")).is_err());
        assert!(decide(action("get", "nodes/proxy", "n1")).is_err());
    }

    #[test]
    fn little_is_allowed_to_all_nodes_alike() {
        let of = |group, verb, resource| Action { group, ..action(verb, resource, "") };
        for (group, verb, resource, expected) in [
            ("", "watch", "services", true),
            ("", "create", "events", true),
            ("certificates.k8s.io", "create", "certificatesigningrequests", true),
            ("certificates.k8s.io", "update", "certificatesigningrequests/approval", false),
            ("", "list", "namespaces", false),
            ("apps", "create", "deployments", false),
            ("rbac.authorization.k8s.io", "create", "clusterrolebindings", false),
        ] {
            let found = decide(of(group, verb, resource)).is_ok();
            assert_eq!(found, expected, "{verb} {resource}");
        }
        let path = Asked::Path { verb: "get", path: "/metrics" };
        assert!(judge("n1", path, |_, _, _| true).is_err());
    }
}
