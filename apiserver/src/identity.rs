//! Who makes a request, as authentication found out.

use std::collections::BTreeMap;

use api_types::api::authentication::v1::UserInfo;

/// The name of whom nobody vouches for.
pub(crate) const ANONYMOUS: &str = "system:anonymous";
/// The group of everybody whom somebody vouches for.
pub(crate) const AUTHENTICATED: &str = "system:authenticated";
/// The group of the others.
pub(crate) const UNAUTHENTICATED: &str = "system:unauthenticated";

/// What names of service accounts begin with: the namespace and the name follow.
pub(crate) const ACCOUNT_PREFIX: &str = "system:serviceaccount:";
/// The group of all service accounts.
pub(crate) const ACCOUNTS: &str = "system:serviceaccounts";

/// The group of the kubelets.
pub(crate) const NODES: &str = "system:nodes";
/// What kubelets' names as users begin with: the node's name follows.
pub(crate) const NODE_PREFIX: &str = "system:node:";
/// As what kube-proxies come that have no node's certificate.
pub(crate) const KUBE_PROXY: &str = "system:kube-proxy";
/// As what serverless gateways come.
pub(crate) const SERVERLESS_GATEWAY: &str = "system:serverless-gateway";

/// Who the server is to itself.
const SERVER: &str = "system:apiserver";
/// The group of those who may do everything.
const MASTERS: &str = "system:masters";

/// A user and its groups. In a client certificate: the common name and the organizations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub user: String,
    pub groups: Vec<String>,
    /// Tells users of one name apart, where whoever vouches can.
    pub uid: Option<String>,
    /// What else is said about the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl Identity {
    /// An authenticated user.
    #[must_use]
    pub fn new(user: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&g| g.to_owned()).collect();
        Self { user: user.into(), groups, ..Self::default() }
    }

    /// The administrator of the cluster.
    #[must_use]
    pub fn admin() -> Self {
        Self::new("kubernetes-admin", &[MASTERS])
    }

    /// The server itself, in its requests to itself.
    pub(crate) fn server() -> Self {
        Self::new(SERVER, &[MASTERS])
    }

    /// A service account, which is known by a token.
    pub(crate) fn of_account(namespace: &str, name: &str) -> Self {
        let groups = vec![ACCOUNTS.to_owned(), format!("{ACCOUNTS}:{namespace}")];
        let user = format!("{ACCOUNT_PREFIX}{namespace}:{name}");
        Self { user, groups, ..Self::default() }
    }

    /// Nobody in particular: may only ask how the server is.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// Whether nobody vouches for this identity.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.user == ANONYMOUS
    }

    /// Whether it is the server itself. The name alone is no proof: providers, webhooks and impersonation give any name.
    pub(crate) fn is_server(&self) -> bool {
        self.user == SERVER && self.is_in(MASTERS)
    }

    /// The name of the node whose kubelet it is.
    pub(crate) fn node(&self) -> Option<&str> {
        self.user.strip_prefix(NODE_PREFIX).filter(|_| self.is_in(NODES))
    }

    /// As reviews tell of it.
    pub(crate) fn info(&self) -> UserInfo {
        let Self { user, groups, uid, extra } = self;
        UserInfo {
            extra: (!extra.is_empty()).then(|| extra.clone()),
            groups: (!groups.is_empty()).then(|| groups.clone()),
            uid: uid.clone(),
            username: Some(user.clone()),
        }
    }

    /// Whether the user is in a group.
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|g| g == group)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_but_the_server_s_name_is_not_the_server() {
        assert!(Identity::server().is_server());
        assert!(!Identity::new(SERVER, &[AUTHENTICATED]).is_server());
        assert!(!Identity::admin().is_server());
    }
}
