//! Who may do what. There are no roles yet: who has a certificate of the cluster's CA may do everything. Others may do
//! what Kubernetes lets them without any role: nobody in particular may see how the server is, as health checks have
//! no certificate; service accounts, and who is only impersonated, may see what the server serves and ask who they are.

use api_machinery::ApiError;
use http::Method;

use crate::{
    identity::{ACCOUNTS, Credential, Identity},
    request::{NonResource, RequestInfo, Target},
};

/// The group that may do everything, whoever vouches.
const MASTERS: &str = "system:masters";
/// Those who watch over the cluster from outside, such as Prometheus: they may read where what they scrape is.
const MONITORS: &str = "system:monitoring";
const MONITORED: [(&str, &str); 6] = [
    ("", "endpoints"),
    ("", "namespaces"),
    ("", "nodes"),
    ("", "pods"),
    ("", "services"),
    ("discovery.k8s.io", "endpointslices"),
];
/// The kubelets.
const NODES: &str = "system:nodes";
/// The programs of the cluster.
const PROGRAMS: [&str; 5] = [
    "system:apiserver",
    "system:kube-controller-manager",
    "system:kube-proxy",
    "system:kube-scheduler",
    "system:serverless-gateway",
];
/// What no program needs, and would make each host master of the others' containers.
const CONNECTIONS: [&str; 4] = ["exec", "attach", "portforward", "proxy"];

/// Something to be done with a resource, in RBAC's words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action<'a> {
    pub(crate) verb: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: Option<&'a str>,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl<'a> From<&'a RequestInfo> for Action<'a> {
    fn from(info: &'a RequestInfo) -> Self {
        Self {
            verb: info.verb.as_str(),
            group: &info.def.names.group,
            resource: &info.def.names.plural,
            subresource: info.subresource.map(|s| s.name()),
            namespace: info.namespace.as_deref(),
            name: info.name.as_deref().unwrap_or_default(),
        }
    }
}

/// Fails with 403 unless the identity may do it.
pub(crate) fn authorize(
    identity: &Identity,
    target: &Target,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    match target {
        Target::Resource(info) => authorize_action(identity, Action::from(info)),
        Target::NonResource(what) if may_see(identity, what) => Ok(()),
        Target::NonResource(_) => Err(forbidden_path(identity, method, path)),
    }
}

/// Fails with 403 unless the identity may do it.
pub(crate) fn authorize_action(identity: &Identity, action: Action<'_>) -> Result<(), ApiError> {
    let needs_person = action.subresource.is_some_and(|name| CONNECTIONS.contains(&name));
    let may = may_do_everything(identity)
        && !(needs_person && is_program(identity))
        && (!is_about_kubelet(action) || identity.is_in(MASTERS));
    if may || is_about_oneself(identity, action) || is_monitoring(identity, action) {
        return Ok(());
    }
    Err(forbidden(identity, action))
}

/// What a kubelet takes from an API server is more than what one person may do with one pod.
fn is_about_kubelet(action: Action<'_>) -> bool {
    (action.resource, action.subresource) == ("nodes", Some("proxy"))
}

/// Fails with 403 unless the identity may be told whether a path exists.
pub(crate) fn authorize_unknown_path(
    identity: &Identity,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    if may_do_everything(identity) {
        return Ok(());
    }
    Err(forbidden_path(identity, method, path))
}

/// A certificate is the proof that somebody is trusted with the cluster, unless it is one for monitoring. A pod is given
/// its token by whoever makes it.
fn may_do_everything(identity: &Identity) -> bool {
    match identity.credential {
        Credential::Certificate => !identity.is_anonymous() && !is_monitor_only(identity),
        Credential::Impersonation => identity.is_in(MASTERS) || is_program(identity),
        Credential::Token => false,
    }
}

/// Kubernetes: the role `system:basic-user` of the authenticated.
fn is_about_oneself(identity: &Identity, action: Action<'_>) -> bool {
    let Action { verb, group, resource, .. } = action;
    let asked =
        (verb, group, resource) == ("create", "authentication.k8s.io", "selfsubjectreviews");
    asked && !identity.is_anonymous()
}

fn is_monitor_only(identity: &Identity) -> bool {
    identity.is_in(MONITORS) && !identity.is_in(MASTERS)
}

/// Kubernetes: what Prometheus is usually given a role for.
fn is_monitoring(identity: &Identity, action: Action<'_>) -> bool {
    let Action { verb, group, resource, subresource, .. } = action;
    let reads = ["get", "list", "watch"].contains(&verb) && subresource.is_none();
    identity.is_in(MONITORS) && reads && MONITORED.contains(&(group, resource))
}

fn is_program(identity: &Identity) -> bool {
    identity.is_in(NODES) || PROGRAMS.contains(&identity.user.as_str())
}

/// Kubernetes: the roles `system:public-info-viewer` of everybody, `system:discovery` of the authenticated, and
/// `system:service-account-issuer-discovery` of service accounts.
fn may_see(identity: &Identity, what: &NonResource) -> bool {
    match what {
        NonResource::Health(_) | NonResource::Version => true,
        NonResource::Metrics | NonResource::ScrapeTargets(_) => {
            may_do_everything(identity) || identity.is_in(MONITORS)
        }
        NonResource::Paths => may_do_everything(identity),
        NonResource::OpenIdConfiguration | NonResource::TokenKeys => {
            may_do_everything(identity) || identity.is_in(ACCOUNTS)
        }
        _ => !identity.is_anonymous(),
    }
}

fn forbidden_path(identity: &Identity, method: &Method, path: &str) -> ApiError {
    let (user, verb) = (&identity.user, method.as_str().to_lowercase());
    ApiError::new(403, "Forbidden", format!("forbidden: User {user:?} cannot {verb} path {path:?}"))
}

fn forbidden(identity: &Identity, action: Action<'_>) -> ApiError {
    let Action { verb, group, resource, subresource, namespace, name } = action;
    let user = &identity.user;
    let place = match namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let path = match subresource {
        Some(sub) => format!("{resource}/{sub}"),
        None => resource.to_owned(),
    };
    let why =
        format!("User {user:?} cannot {verb} resource {path:?} in API group {group:?} {place}");
    ApiError::forbidden(group, resource, name, &why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_monitors_reads_where_things_are_and_nothing_else() {
        let may = |verb, group, resource, subresource| {
            let (namespace, name) = (Some("default"), "web");
            let action = Action { verb, group, resource, subresource, namespace, name };
            let monitor = Identity::new("prometheus", &[MONITORS]);
            let master = Identity::new("prometheus", &[MONITORS, MASTERS]);
            assert!(authorize_action(&master, action).is_ok());
            authorize_action(&monitor, action).is_ok()
        };
        assert!(MONITORED.iter().all(|(group, resource)| may("watch", group, resource, None)));
        assert!(!may("list", "", "secrets", None));
        assert!(!may("list", "", "configmaps", None));
        assert!(!may("delete", "", "pods", None));
        assert!(!may("get", "", "pods", Some("log")));
        assert!(!may("get", "", "pods", Some("exec")));
        assert!(!may("list", "apps", "nodes", None));
        let monitor = Identity::new("prometheus", &[MONITORS]);
        assert!(may_see(&monitor, &NonResource::Metrics));
        assert!(!may_see(&monitor, &NonResource::Paths));
    }

    #[test]
    fn programs_and_nodes_open_no_connection_into_a_container() {
        let may = |identity: &Identity, subresource| {
            let action = Action {
                verb: "get",
                group: "",
                resource: "pods",
                subresource,
                namespace: Some("default"),
                name: "web",
            };
            authorize_action(identity, action).is_ok()
        };
        let node = Identity::new("system:node:n1", &[NODES]);
        let proxy = Identity::new("system:kube-proxy", &[]);
        for (identity, connects) in [(node, false), (proxy, false), (Identity::admin(), true)] {
            assert!(may(&identity, Some("log")), "{identity:?}");
            for subresource in CONNECTIONS {
                assert_eq!(may(&identity, Some(subresource)), connects, "{identity:?}");
            }
        }
    }

    #[test]
    fn only_masters_ask_a_kubelet_whatever_they_like() {
        let may = |identity: &Identity, resource| {
            let (subresource, namespace, name) = (Some("proxy"), None, "n1");
            let action = Action { verb: "get", group: "", resource, subresource, namespace, name };
            authorize_action(identity, action).is_ok()
        };
        let person = Identity::new("ann", &["developers"]);
        assert!(may(&person, "pods") && !may(&person, "nodes"));
        assert!(may(&Identity::admin(), "nodes"));
    }
}
