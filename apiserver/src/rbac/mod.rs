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

use crate::{
    catalogue::InForce,
    identity::{Identity, KUBE_PROXY, NODE_PREFIX, SERVERLESS_GATEWAY},
    objects::read_all,
    query::ReadAt,
    storage::Storage,
};

use self::index::{Index, Policy};
pub(crate) use self::{
    index::Decision,
    rules::{Action, Asked, allows, missing},
};

/// The group that may do everything, whoever vouches.
const MASTERS: &str = "system:masters";
/// As what the API server connects to kubelets.
const TO_KUBELETS: &str = "system:kube-apiserver";
/// Read and change objects of all kinds.
const CONTROLLERS: &str = "system:kube-controller-manager";
/// The programs of the cluster.
const PROGRAMS: [&str; 5] =
    ["system:apiserver", CONTROLLERS, KUBE_PROXY, "system:kube-scheduler", SERVERLESS_GATEWAY];
/// What they do not need of pods, though their role names no resources: the garbage of any kind is theirs.
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
        if has_every_right(identity) {
            return Decision::Allowed(String::new());
        }
        if identity.user == CONTROLLERS && connects(asked) {
            return Decision::Refused(String::new());
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
    pub(crate) async fn role(
        &self,
        role: &RoleRef,
        namespace: Option<&str>,
    ) -> Result<Arc<[PolicyRule]>, ApiError> {
        let plural = format!("{}s", role.kind.to_lowercase());
        if let Some(rules) = self.index().role(role, namespace) {
            return Ok(rules);
        }
        // It may have been made a moment ago, through another server perhaps.
        self.storage.reach(ReadAt::MostRecent).await?;
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

/// Whether it opens a connection into a container or to a server in one.
fn connects(asked: Asked<'_>) -> bool {
    let Asked::Resource(action) = asked else { return false };
    action.subresource.is_some_and(|subresource| CONNECTIONS.contains(&subresource))
}

/// Whether a user of this name is one of the cluster's own programs or nodes, whose certificates are not made for others.
pub(crate) fn is_reserved_user(name: &str) -> bool {
    PROGRAMS.contains(&name) || name == TO_KUBELETS || name.starts_with(NODE_PREFIX)
}

/// Whether the identity has every right, and so can give any to others.
pub(crate) fn has_every_right(identity: &Identity) -> bool {
    identity.is_in(MASTERS)
}

/// Whether it is a program of the cluster or a kubelet, which have the rights that they need.
pub(crate) fn is_program(identity: &Identity) -> bool {
    identity.node().is_some() || PROGRAMS.contains(&identity.user.as_str())
}

/// Rules for everything.
pub(crate) fn everything() -> Vec<PolicyRule> {
    rules::everything().into()
}
