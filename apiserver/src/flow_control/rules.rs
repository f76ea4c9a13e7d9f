//! Whether a request is one of those that a FlowSchema is about (Kubernetes: `util/flowcontrol/rule.go`). What rules may say is
//! checked when they are written: `*` is alone in its list.

use api_types::api::flowcontrol::v1::{
    NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::identity::{ACCOUNT_PREFIX, Identity};

const ALL: &str = "*";

/// What is looked at of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Digest<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) verb: &'a str,
    pub(crate) about: About<'a>,
}

/// What a request is about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum About<'a> {
    Resource {
        group: &'a str,
        resource: &'a str,
        subresource: Option<&'a str>,
        /// A Namespace itself is in itself.
        namespace: Option<&'a str>,
    },
    Path(&'a str),
}

impl<'a> Digest<'a> {
    /// Empty where it is in none.
    pub(super) fn namespace(&self) -> &'a str {
        match self.about {
            About::Resource { namespace, .. } => namespace.unwrap_or_default(),
            About::Path(_) => "",
        }
    }
}

/// Whether one of the rules is about the request.
pub(super) fn match_any(rules: &[PolicyRulesWithSubjects], digest: &Digest<'_>) -> bool {
    rules.iter().any(|rule| {
        rule.subjects.iter().any(|subject| is_subject(subject, digest.identity))
            && match digest.about {
                About::Resource { .. } => {
                    rule.resource_rules.iter().flatten().any(|rule| is_resource(rule, digest))
                }
                About::Path(path) => {
                    rule.non_resource_rules.iter().flatten().any(|rule| is_path(rule, digest, path))
                }
            }
    })
}

fn is_subject(subject: &Subject, identity: &Identity) -> bool {
    let Subject { kind, user, group, service_account } = subject;
    match kind.as_str() {
        "User" => user.as_ref().is_some_and(|it| it.name == ALL || it.name == identity.user),
        "Group" => group.as_ref().is_some_and(|it| it.name == ALL || identity.is_in(&it.name)),
        "ServiceAccount" => service_account.as_ref().is_some_and(|it| {
            let account = identity.user.strip_prefix(ACCOUNT_PREFIX);
            let account = account.and_then(|account| account.split_once(':'));
            account.is_some_and(|(namespace, name)| {
                namespace == it.namespace && (it.name == ALL || it.name == name)
            })
        }),
        _ => false,
    }
}

fn is_resource(rule: &ResourcePolicyRule, digest: &Digest<'_>) -> bool {
    let About::Resource { group, resource, subresource, namespace } = digest.about else {
        return false;
    };
    let is_it = |listed: &String| match subresource {
        None => listed == resource,
        Some(sub) => listed
            .strip_prefix(resource)
            .and_then(|rest| rest.strip_prefix('/'))
            .is_some_and(|rest| rest == sub),
    };
    has(&rule.verbs, digest.verb)
        && (is_all(&rule.resources) || rule.resources.iter().any(is_it))
        && has(&rule.api_groups, group)
        && match namespace {
            Some(namespace) => has(rule.namespaces.as_deref().unwrap_or_default(), namespace),
            None => rule.cluster_scope == Some(true),
        }
}

fn is_path(rule: &NonResourcePolicyRule, digest: &Digest<'_>, path: &str) -> bool {
    let is_it = |listed: &String| {
        let above = listed.strip_suffix('*').unwrap_or(listed);
        let above = above.strip_suffix('/').unwrap_or(above);
        listed == ALL
            || listed == path
            || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
    };
    has(&rule.verbs, digest.verb) && rule.non_resource_urls.iter().any(is_it)
}

fn has(list: &[String], one: &str) -> bool {
    is_all(list) || list.iter().any(|listed| listed == one)
}

fn is_all(list: &[String]) -> bool {
    matches!(list, [only] if only == ALL)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(rule: &Value, identity: &Identity, verb: &str, about: About<'_>, expected: bool) {
        let rules: Vec<PolicyRulesWithSubjects> = serde_json::from_value(json!([rule])).unwrap();
        let found = match_any(&rules, &Digest { identity, verb, about });
        assert_eq!(found, expected, "{rule} {verb} {about:?}");
    }

    fn pods<'a>(namespace: Option<&'a str>, subresource: Option<&'a str>) -> About<'a> {
        About::Resource { group: "", resource: "pods", subresource, namespace }
    }

    #[test]
    fn subjects_are_users_groups_and_accounts() {
        let jane = Identity::new("jane", &["dev"]);
        let account = Identity::of_account("prod", "web");
        let of = |subject: Value, identity: &Identity, expected: bool| {
            let paths = json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]);
            let rule = json!({"subjects": [subject], "nonResourceRules": paths});
            check(&rule, identity, "get", About::Path("/x"), expected);
        };
        let user = |name: &str| json!({"kind": "User", "user": {"name": name}});
        let group = |name: &str| json!({"kind": "Group", "group": {"name": name}});
        let service_account = |namespace: &str, name: &str| {
            let it = json!({"namespace": namespace, "name": name});
            json!({"kind": "ServiceAccount", "serviceAccount": it})
        };
        of(user("jane"), &jane, true);
        of(user("*"), &account, true);
        of(user("dev"), &jane, false);
        of(group("dev"), &jane, true);
        of(group("*"), &jane, true);
        of(group("dev"), &account, false);
        of(service_account("prod", "web"), &account, true);
        of(service_account("prod", "*"), &account, true);
        of(service_account("pro", "*"), &account, false);
        of(service_account("prod", "we"), &account, false);
        of(service_account("prod", "*"), &jane, false);
    }

    #[test]
    fn resources_are_told_by_group_verb_place_and_subresource() {
        let jane = Identity::new("jane", &[]);
        let of = |more: Value, verb: &str, about: About<'_>, expected: bool| {
            let mut rule = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"],
                "namespaces": ["a"]});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let subjects = json!([{"kind": "User", "user": {"name": "jane"}}]);
            let rule = json!({"subjects": subjects, "resourceRules": [rule]});
            check(&rule, &jane, verb, about, expected);
        };
        of(json!({}), "get", pods(Some("a"), None), true);
        of(json!({}), "list", pods(Some("a"), None), false);
        of(json!({"verbs": ["*"]}), "list", pods(Some("a"), None), true);
        of(json!({}), "get", pods(Some("b"), None), false);
        of(json!({"namespaces": ["*"]}), "get", pods(Some("b"), None), true);
        of(json!({"namespaces": ["*"]}), "get", pods(None, None), false);
        of(json!({"clusterScope": true}), "get", pods(None, None), true);
        of(json!({"apiGroups": ["apps"]}), "get", pods(Some("a"), None), false);
        of(json!({"apiGroups": ["*"]}), "get", pods(Some("a"), None), true);
        of(json!({}), "get", pods(Some("a"), Some("status")), false);
        of(json!({"resources": ["pods/status"]}), "get", pods(Some("a"), Some("status")), true);
        of(json!({"resources": ["*"]}), "get", pods(Some("a"), Some("status")), true);
        of(json!({}), "get", About::Path("/pods"), false);
    }

    #[test]
    fn paths_are_told_by_what_they_begin_with() {
        let jane = Identity::new("jane", &[]);
        let of = |url: &str, path: &str, expected: bool| {
            let subjects = json!([{"kind": "User", "user": {"name": "*"}}]);
            let paths = json!([{"verbs": ["get"], "nonResourceURLs": [url]}]);
            let rule = json!({"subjects": subjects, "nonResourceRules": paths});
            check(&rule, &jane, "get", About::Path(path), expected);
            check(&rule, &jane, "post", About::Path(path), false);
        };
        of("*", "/x", true);
        of("/healthz", "/healthz", true);
        of("/healthz", "/healthz/etcd", true);
        of("/healthz", "/healthzz", false);
        of("/apis/*", "/apis/apps", true);
        of("/apis/*", "/apis", false);
        of("/", "/x", true);
    }
}
