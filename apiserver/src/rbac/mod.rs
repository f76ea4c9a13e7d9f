//! Role-based access control: what roles and bindings, as the cache has them, let whom do
//! (Kubernetes: `plugin/pkg/auth/authorizer/rbac`). Whoever is asked for gets what the cache shows at that moment.

mod index;
mod rules;

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::rbac::v1::{PolicyRule, RoleRef};
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use store::Revision;

use crate::{catalogue::InForce, identity::Identity, objects::read_all, storage::Storage};

use self::index::{Index, Policy};
pub(crate) use self::{
    index::Decision,
    rules::{Action, Asked, missing},
};

/// The group that may do everything, whoever vouches.
const MASTERS: &str = "system:masters";
/// The kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// What kubelets' names as users begin with.
const NODE_PREFIX: &str = "system:node:";
/// As what the API server connects to kubelets.
const TO_KUBELETS: &str = "system:kube-apiserver";
/// Approves and signs requests for certificates.
const CONTROLLERS: &str = "system:kube-controller-manager";
/// The programs of the cluster.
const PROGRAMS: [&str; 5] = [
    "system:apiserver",
    CONTROLLERS,
    "system:kube-proxy",
    "system:kube-scheduler",
    "system:serverless-gateway",
];
/// What no program needs, and would make each host master of the others' containers.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

/// The API group of roles.
pub(crate) const GROUP: &str = "rbac.authorization.k8s.io";
const PLURALS: [&str; 4] = ["roles", "clusterroles", "rolebindings", "clusterrolebindings"];

/// See the module.
#[derive(Debug)]
pub(crate) struct Rbac {
    storage: Arc<Storage>,
    /// Of the four kinds, in the order of [`PLURALS`].
    prefixes: [String; 4],
    current: Mutex<(Option<[Revision; 4]>, Arc<Index>)>,
}

impl Rbac {
    pub(crate) fn new(catalogue: &InForce, storage: Arc<Storage>) -> Self {
        let catalogue = catalogue.load();
        let prefix = |plural| {
            catalogue.find(GROUP, "v1", plural).map(|def| def.prefix(None)).unwrap_or_default()
        };
        Self { storage, prefixes: PLURALS.map(prefix), current: Mutex::default() }
    }

    /// Whether somebody may do something.
    pub(crate) fn decide(&self, identity: &Identity, asked: Asked<'_>) -> Decision {
        if may_by_name(identity, asked) {
            return Decision::Allowed(String::new());
        }
        self.index().decide(identity, asked)
    }

    /// The rules that hold for somebody in a namespace, or, without one, in the whole cluster.
    pub(crate) fn rules(&self, identity: &Identity, namespace: Option<&str>) -> Vec<PolicyRule> {
        self.index().rules(identity, namespace).cloned().collect()
    }

    /// Fails, and says why, unless somebody has all that these rules give (Kubernetes: `ConfirmNoEscalation`).
    pub(crate) fn confirm_no_escalation(
        &self,
        identity: &Identity,
        namespace: Option<&str>,
        wanted: &[PolicyRule],
    ) -> Result<(), String> {
        let index = self.index();
        let held: Vec<&PolicyRule> = index.rules(identity, namespace).collect();
        let missing = rules::missing(&held, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let Identity { user, groups, .. } = identity;
        Err(format!(
            "user {user:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            rules::quoted(groups),
            rules::described(&missing)
        ))
    }

    /// The rules of a role that a binding of this namespace refers to.
    ///
    /// # Errors
    /// 404 if there is no such role.
    pub(crate) fn role(
        &self,
        role: &RoleRef,
        namespace: Option<&str>,
    ) -> Result<Arc<[PolicyRule]>, ApiError> {
        let plural = format!("{}s", role.kind.to_lowercase());
        let missing = || ApiError::not_found(GROUP, &plural, &role.name);
        self.index().role(role, namespace).ok_or_else(missing)
    }

    /// Of what the cache has now: it is made anew when one of the kinds has changed.
    fn index(&self) -> Arc<Index> {
        let mut current = self.current.lock();
        // Before the lists: what changes meanwhile is looked at again next time.
        let latest = self.prefixes.each_ref().map(|prefix| self.storage.cache().latest(prefix));
        if current.0 != Some(latest) {
            *current = (Some(latest), Arc::new(Index::new(self.policy())));
        }
        current.1.clone()
    }

    fn policy(&self) -> Policy {
        let [roles, cluster_roles, bindings, cluster_bindings] = &self.prefixes;
        Policy {
            roles: self.all(roles),
            cluster_roles: self.all(cluster_roles),
            bindings: self.all(bindings),
            cluster_bindings: self.all(cluster_bindings),
        }
    }

    /// What can't be read gives nobody a right.
    fn all<K: DeserializeOwned>(&self, prefix: &str) -> Vec<K> {
        read_all(&self.storage, prefix)
    }
}

/// Who may do it, whatever roles there are.
fn may_by_name(identity: &Identity, asked: Asked<'_>) -> bool {
    let connects = |sub: Option<&str>| sub.is_some_and(|sub| CONNECTIONS.contains(&sub));
    let needs_person = matches!(asked, Asked::Resource(action) if connects(action.subresource));
    let is_others = decides_certificates(asked) && identity.user != CONTROLLERS;
    is_master(identity) || is_program(identity) && !needs_person && !is_others
}

/// Whether who may do it can have a certificate made for whomever it likes, and so have all rights.
fn decides_certificates(asked: Asked<'_>) -> bool {
    let Asked::Resource(action) = asked else { return false };
    let is_read = ["get", "list", "watch"].contains(&action.verb);
    let is_decision = match action.resource {
        "signers" => true,
        "certificatesigningrequests" => {
            action.subresource.is_some_and(|sub| ["approval", "status"].contains(&sub))
        }
        _ => false,
    };
    action.group == "certificates.k8s.io" && is_decision && !is_read
}

/// Whether a user of this name is one of the cluster's own programs or nodes, whose certificates are not made for others.
pub(crate) fn is_reserved_user(name: &str) -> bool {
    PROGRAMS.contains(&name) || name == TO_KUBELETS || name.starts_with(NODE_PREFIX)
}

/// Whether the identity has every right, and so can give any to others.
pub(crate) fn has_every_right(identity: &Identity) -> bool {
    is_master(identity) || is_program(identity)
}

fn is_master(identity: &Identity) -> bool {
    identity.is_in(MASTERS)
}

fn is_program(identity: &Identity) -> bool {
    identity.is_in(NODES) || PROGRAMS.contains(&identity.user.as_str())
}

/// Rules for everything.
pub(crate) fn everything() -> Vec<PolicyRule> {
    rules::everything().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_nodes_open_no_connection_into_a_container() {
        let may = |identity: &Identity, subresource| {
            let action = Action { verb: "get", resource: "pods", subresource, ..Action::default() };
            may_by_name(identity, Asked::Resource(action))
        };
        let node = Identity::new("system:node:n1", &[NODES]);
        let proxy = Identity::new("system:kube-proxy", &[]);
        for (identity, connects) in [(node, false), (proxy, false), (Identity::admin(), true)] {
            assert!(may(&identity, Some("log")), "{identity:?}");
            for subresource in CONNECTIONS {
                assert_eq!(may(&identity, Some(subresource)), connects, "{identity:?}");
            }
        }
        assert!(!may(&Identity::new("jane", &["system:authenticated"]), None));
    }

    #[test]
    fn of_the_programs_the_controllers_alone_decide_requests_for_certificates() {
        let group = "certificates.k8s.io";
        let csrs = "certificatesigningrequests";
        let decisions = [
            Action { verb: "approve", group, resource: "signers", ..Action::default() },
            Action { verb: "sign", group, resource: "signers", ..Action::default() },
            Action {
                verb: "update",
                group,
                resource: csrs,
                subresource: Some("approval"),
                ..Action::default()
            },
            Action {
                verb: "patch",
                group,
                resource: csrs,
                subresource: Some("status"),
                ..Action::default()
            },
        ];
        let node = Identity::new("system:node:n1", &[NODES]);
        let proxy = Identity::new("system:kube-proxy", &[]);
        let controllers = Identity::new(CONTROLLERS, &[]);
        for action in decisions {
            let may = |identity: &Identity| may_by_name(identity, Asked::Resource(action));
            assert!(may(&controllers) && may(&Identity::admin()), "{action:?}");
            assert!(!may(&node) && !may(&proxy), "{action:?}");
        }
        let create = Action { verb: "create", group, resource: csrs, ..Action::default() };
        let read = Action { verb: "get", subresource: Some("status"), ..create };
        for action in [create, read] {
            assert!(may_by_name(&node, Asked::Resource(action)), "{action:?}");
        }
    }
}
