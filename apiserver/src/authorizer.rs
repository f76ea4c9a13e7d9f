//! Who may do what: nodes what [`crate::node_authorizer`] says, and everybody what roles and bindings give.

use std::sync::Arc;

use crate::{
    catalogue::InForce,
    identity::{Identity, KUBE_PROXY},
    node_authorizer::NodeAuthorizer,
    rbac::{Asked, Decision, Rbac},
    storage::Storage,
};

/// The type of Secrets with the certificates that Ingresses name.
const CERTIFICATES: &str = "kubernetes.io/tls";

/// See the module.
#[derive(Debug)]
pub(crate) struct Authorizer {
    nodes: NodeAuthorizer,
    pub(crate) rbac: Rbac,
}

impl Authorizer {
    pub(crate) fn new(catalogue: &InForce, storage: &Arc<Storage>) -> Self {
        Self {
            nodes: NodeAuthorizer::new(catalogue, storage.clone()),
            rbac: Rbac::new(catalogue, storage.clone()),
        }
    }

    /// Whether somebody may do something.
    pub(crate) fn decide(&self, identity: &Identity, asked: Asked<'_>) -> Decision {
        if reads_certificates(identity, asked) {
            return Decision::Allowed(String::new());
        }
        let opinion = identity.node().map(|node| self.nodes.decide(node, asked));
        let why = match opinion {
            Some(Ok(())) => return Decision::Allowed(String::new()),
            Some(Err(why)) => why,
            None => String::new(),
        };
        match self.rbac.decide(identity, asked) {
            Decision::Refused(more) => Decision::Refused(both(why, more)),
            allowed @ Decision::Allowed(_) => allowed,
        }
    }
}

fn both(first: String, second: String) -> String {
    let reasons = [first, second].into_iter().filter(|reason| !reason.is_empty());
    reasons.collect::<Vec<_>>().join("\n")
}

/// Every kube-proxy serves every Ingress. A role could only give it all Secrets.
fn reads_certificates(identity: &Identity, asked: Asked<'_>) -> bool {
    let Asked::Resource(action) = asked else { return false };
    let proxies = identity.node().is_some() || identity.user == KUBE_PROXY;
    let secrets = (action.group, action.resource, action.subresource) == ("", "secrets", None);
    let selected = action.fields.and_then(|fields| fields.requires("type"));
    proxies && secrets && ["list", "watch"].contains(&action.verb) && selected == Some(CERTIFICATES)
}

#[cfg(test)]
mod tests {
    use api_machinery::FieldSelector;

    use super::*;
    use crate::{identity::NODES, rbac::Action};

    #[test]
    fn proxies_read_the_secrets_of_ingresses_and_no_others() {
        let check = |identity: &Identity, verb, fields: &str, expected: bool| {
            let fields = FieldSelector::parse(fields).unwrap();
            let asked =
                Action { verb, resource: "secrets", fields: Some(&fields), ..Action::default() };
            let found = reads_certificates(identity, Asked::Resource(asked));
            assert_eq!(found, expected, "{identity:?} {verb} {fields:?}");
        };
        let proxy = Identity::new(KUBE_PROXY, &[]);
        let node = Identity::new("system:node:n1", &[NODES]);
        for identity in [&proxy, &node] {
            check(identity, "list", "type=kubernetes.io/tls", true);
            check(identity, "watch", "type=kubernetes.io/tls", true);
            check(identity, "delete", "type=kubernetes.io/tls", false);
            check(identity, "list", "type!=kubernetes.io/tls", false);
            check(identity, "list", "type=Opaque", false);
            check(identity, "list", "", false);
        }
        let other = Identity::new("system:kube-scheduler", &[]);
        check(&other, "list", "type=kubernetes.io/tls", false);
        check(&Identity::new("system:node:n1", &[]), "list", "type=kubernetes.io/tls", false);
    }

    #[test]
    fn both_say_why_not() {
        let check = |first: &str, second: &str, expected: &str| {
            assert_eq!(both(first.to_owned(), second.to_owned()), expected);
        };
        check("", "", "");
        check("a", "", "a");
        check("a", "RBAC: b", "a\nRBAC: b");
    }
}
